"""A tiled result equals the whole one: by property over sizes, tiles, scales and networks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, nn

from physgan.errors import ShapeError
from physgan.networks import ResNetGenerator, UNet, channels_last
from physgan.networks.norm import statistics_from
from physgan.restore.statistics import Known
from physgan.restore.tiled import restore_tiled, tile_side
from physgan.restore.whole import restore_padded, restore_whole


def network(scale: int, unshuffle: int, levels: int) -> UNet:
    """A small network with weights that let every pixel of its receptive field matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        widths, blocks = (4, 6, 8)[:levels], (1,) * levels
        made = UNet(scale=scale, widths=widths, blocks=blocks, unshuffle=unshuffle).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.normal_(0, 0.3)
    return made


@settings(max_examples=40)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    tile=st.integers(1, 90),
    scale=st.sampled_from((1, 2, 4)),
    unshuffle=st.sampled_from((1, 2)),
    levels=st.integers(1, 3),
)
def test_tiles_equal_the_whole(
    height: int, width: int, tile: int, scale: int, unshuffle: int, levels: int
) -> None:
    fn = network(scale, unshuffle, levels).double()
    draws = Generator().manual_seed(height * 151 + width)
    y = torch.rand(1, 3, height, width, generator=draws, dtype=torch.float64)
    whole = restore_whole(fn, y)
    tiled = restore_tiled(fn, y, tile=max(tile, 24))
    assert tiled.shape == whole.shape
    # In float64, where the order of sums does not show, nothing else does either.
    assert float((tiled - whole).abs().max()) < 1e-9


def test_a_margin_too_small_would_show() -> None:
    """The test above can fail: with half the margin the difference is plain."""
    fn = network(1, 2, 2)
    y = torch.rand(1, 3, 96, 96, generator=Generator().manual_seed(0))
    assert fn.receptive_field is not None
    fn.receptive_field //= 3
    difference = (restore_tiled(fn, y, tile=24) - restore_whole(fn, y)).abs().max()
    assert float(difference) > 1e-4


@settings(max_examples=20)
@given(
    height=st.integers(3, 120),
    width=st.integers(3, 120),
    tile=st.integers(24, 90),
    scale=st.sampled_from((1, 2, 3, 4)),
    blocks=st.integers(0, 2),
)
def test_tiles_with_statistics_equal_the_whole(
    height: int, width: int, tile: int, scale: int, blocks: int
) -> None:
    # An image of a single colour has no variance to divide by, tiles or not.
    fn = normalising(scale, blocks).double()
    draws = Generator().manual_seed(height * 151 + width)
    y = torch.rand(2, 3, height, width, generator=draws, dtype=torch.float64)
    whole = restore_whole(fn, y)
    tiled = restore_tiled(fn, y, tile=tile)
    assert float((tiled - whole).abs().max()) < 1e-9


def normalising(scale: int = 1, blocks: int = 1) -> ResNetGenerator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = ResNetGenerator(width=3, blocks=blocks, scale=scale).eval()
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.3)
    return made


def test_tiles_of_the_paper_s_network_in_float32() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fn = channels_last(ResNetGenerator(width=16).eval())
    y = torch.rand(1, 3, 300, 260, generator=Generator().manual_seed(0))
    shares: list[float] = []
    tiled = restore_tiled(fn, y, tile=128, progress=shares.append)
    assert float((tiled - restore_whole(fn, y)).abs().max()) < 1e-4
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_tiles_without_statistics_of_the_whole_would_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tests above can fail: a tile that normalises by itself is plain to see."""
    fn = normalising()
    y = torch.rand(1, 3, 120, 120, generator=Generator().manual_seed(0))
    y[..., :60] *= 0.1
    whole = restore_whole(fn, y)
    monkeypatch.setattr(Known, "restore", lambda self, fn, window: restore_padded(fn, window))
    assert float((restore_tiled(fn, y, tile=40) - whole).abs().max()) > 1e-2


@pytest.mark.parametrize("what", ["features that end in nothing", "scale"])
def test_receptive_field_besides_statistics_is_the_measured_one(what: str) -> None:
    fn = normalising(scale=3 if what == "scale" else 1, blocks=2).double()
    assert fn.receptive_field is not None
    side = -(-(2 * fn.receptive_field) // 4) * 4
    y = torch.rand(1, 3, side, side, generator=Generator().manual_seed(0), dtype=torch.float64)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
        found.append((mean, variance))
        return found[-1]

    with statistics_from(keep), torch.no_grad():
        fn(y)
    reaches = []
    for corner in range(4):  # the grid shifts what a pixel sees
        z = y.clone().requires_grad_()
        given = iter([(mean.detach(), variance.detach()) for mean, variance in found])
        with statistics_from(partial(_next_of, given)):
            x_hat = fn(z)
        middle = fn.scale * (side // 2) + corner
        x_hat[0, :, middle, middle].sum().backward()
        assert z.grad is not None
        seen = z.grad.abs().sum(dim=(0, 1)).nonzero()
        reaches.append(int((seen - side // 2).abs().max()))
    assert max(reaches) <= fn.receptive_field // 2
    assert max(reaches) > 0.7 * (fn.receptive_field // 2)


def _next_of(
    given: Iterator[tuple[torch.Tensor, torch.Tensor]], features: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    return next(given)


def test_statistics_that_cannot_be_handed_in_are_refused() -> None:
    """As those of an exported graph."""

    class Own:
        channels, scale, multiple_of, receptive_field, global_statistics = 3, 1, 1, 3, True

        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            return y - y.mean(dim=(2, 3), keepdim=True)

    with pytest.raises(ShapeError, match="exported graph"):
        restore_tiled(Own(), torch.rand(1, 3, 32, 32), tile=16)


def test_unbounded_restorers_are_refused() -> None:
    fn = UNet().eval()
    fn.receptive_field = None
    with pytest.raises(ShapeError, match="depends on the whole image"):
        restore_tiled(fn, torch.rand(1, 3, 32, 32), tile=16)


def test_tiles_hold_about_as_many_pixels_as_asked() -> None:
    fn = UNet()
    side = tile_side(fn, pixels=640 * 640)
    assert fn.receptive_field is not None
    assert side + 2 * (fn.receptive_field // 2) == 640
    assert tile_side(fn, pixels=10) == 2 * (fn.receptive_field // 2)  # less would not help
