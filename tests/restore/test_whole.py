from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from physgan.errors import ShapeError
from physgan.networks import ResNetGenerator, init_normal
from physgan.restore import restore_whole
from physgan.types import RestoreFn

sides = st.integers(1, 40)


@dataclass
class Enlarge:
    """Repeats pixels `scale` times, and notes what it was given."""

    channels: int = 3
    scale: int = 1
    multiple_of: int = 1
    receptive_field: int | None = 1
    global_statistics: bool = False
    change: Callable[[Tensor], Tensor] = lambda y: y
    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, y: Tensor, /) -> Tensor:
        assert torch.is_inference_mode_enabled()
        self.seen.append(y)
        enlarged = y.repeat_interleave(self.scale, dim=2).repeat_interleave(self.scale, dim=3)
        return self.change(enlarged)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def mirrored(at: int, side: int) -> int:
    """The index that stands at `at` beyond the end of a row: mirrored, then the last repeated."""
    mirror = at if at < side else 2 * (side - 1) - at
    return max(mirror, 0)


@given(h=sides, w=sides, n=st.integers(1, 3), c=st.integers(1, 4), m=st.integers(1, 20))
def test_identity_at_any_size(h: int, w: int, n: int, c: int, m: int) -> None:
    fn = Enlarge(channels=c, multiple_of=m)
    y = images(n, c, h, w)
    x_hat = restore_whole(fn, y)
    assert torch.equal(x_hat, y)
    (seen,) = fn.seen
    for padded, side in zip(seen.shape[2:], (h, w), strict=True):
        assert padded % m == 0
        assert padded >= max(16, side)
        assert padded < max(16, side) + m
    rows = [mirrored(at, h) for at in range(seen.shape[2])]
    columns = [mirrored(at, w) for at in range(seen.shape[3])]
    assert torch.equal(seen, y[:, :, rows][:, :, :, columns])


@given(h=sides, w=sides, m=st.sampled_from([1, 4, 7]))
def test_scale_2_at_any_size(h: int, w: int, m: int) -> None:
    fn = Enlarge(scale=2, multiple_of=m)
    y = images(2, 3, h, w)
    wanted = y.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.equal(restore_whole(fn, y), wanted)


@given(h=sides, w=sides, scale=st.sampled_from([1, 2]))
def test_resnet_at_any_size(h: int, w: int, scale: int) -> None:
    network = ResNetGenerator(width=2, blocks=1, scale=scale)
    fn: RestoreFn = init_normal(network, generator=torch.Generator().manual_seed(0), std=0.5)
    x_hat = restore_whole(fn, images(1, 3, h, w))
    assert x_hat.shape == (1, 3, scale * h, scale * w)
    assert torch.isfinite(x_hat).all()


def test_what_needs_no_padding_is_handed_on() -> None:
    network = init_normal(
        ResNetGenerator(width=4, blocks=1), generator=torch.Generator().manual_seed(0), std=0.2
    )
    y = images(2, 3, 20, 32)
    torch.testing.assert_close(restore_whole(network, y), network(y).detach(), rtol=0, atol=0)


def test_result_is_clamped() -> None:
    x_hat = restore_whole(Enlarge(change=lambda y: 4 * y - 2), images(1, 3, 20, 20))
    assert x_hat.min() == 0
    assert x_hat.max() == 1


def test_result_is_an_ordinary_tensor_without_gradient() -> None:
    for y in (images(1, 3, 16, 16), images(1, 3, 17, 5)):
        x_hat = restore_whole(Enlarge(), y.requires_grad_())
        assert not x_hat.requires_grad
        assert not x_hat.is_inference()
        x_hat.mul_(0)  # and belongs to the caller
        assert y.detach().abs().max() > 0


@pytest.mark.parametrize(
    "shape",
    [(3, 16, 16), (1, 1, 16, 16), (0, 3, 16, 16), (1, 3, 0, 16), (1, 3, 16, 0), (1, 3, 1, 16, 16)],
)
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="images to restore"):
        restore_whole(Enlarge(), torch.zeros(shape))


def test_integers_are_refused() -> None:
    with pytest.raises(ShapeError, match="uint8"):
        restore_whole(Enlarge(), torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_a_restorer_that_belies_its_scale_is_found() -> None:
    with pytest.raises(ShapeError, match="its scale 1"):
        restore_whole(Enlarge(change=lambda y: y[..., ::2]), images(1, 3, 16, 16))
