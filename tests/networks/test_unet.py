from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from physgan.errors import ShapeError
from physgan.networks.unet import UNet
from physgan.resize import bicubic
from physgan.types import RestoreFn

TINY: dict[str, Any] = {"widths": (4, 6, 8), "blocks": (1, 1, 1)}


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=generator(), dtype=dtype)


def perturbed(network: UNet, std: float = 0.05) -> UNet:
    """A network that is no longer the identity."""
    own = generator(1)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=own, dtype=parameter.dtype)
            parameter.add_(noise, alpha=std)
    return network


def positive(network: UNet) -> UNet:
    """Weights above zero and small: no ReLU is closed and no path cancels another."""
    own = generator(1)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.rand(parameter.shape, generator=own, dtype=parameter.dtype)
            parameter.copy_((0.1 + noise) / max(1, parameter[0].numel()))
    return network


# ---------------------------------------------------------------- size


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_half_precision_is_at_most_8_megabytes(scale: int, channels: int) -> None:
    network = UNet(scale=scale, channels=channels)
    assert sum(p.numel() for p in network.parameters()) <= 4_000_000
    state = network.half().state_dict()
    assert sum(t.numel() * t.element_size() for t in state.values()) <= 8_000_000


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_is_a_restore_fn(scale: int, channels: int) -> None:
    network = UNet(channels=channels, scale=scale, **TINY)
    fn: RestoreFn = network
    assert isinstance(fn, RestoreFn)
    assert (fn.channels, fn.scale, fn.multiple_of) == (channels, scale, 8)
    assert fn.global_statistics is False
    assert fn(images(2, channels, 16, 24)).shape == (2, channels, 16 * scale, 24 * scale)


def test_default_holds_what_the_design_demands_for_shipping() -> None:
    network = UNet()
    assert network.receptive_field is not None
    assert network.receptive_field <= 256
    assert not network.global_statistics


# ---------------------------------------------------------------- what it computes


def test_starts_as_the_identity() -> None:
    network = UNet()
    y = images(2, 3, 16, 24)
    assert torch.equal(network.train()(y), y)
    assert torch.equal(network.eval()(y), y)


def test_starts_as_bicubic_enlargement() -> None:
    network = UNet(scale=4, **TINY).train()
    y = images(1, 3, 8, 8).round()
    wanted = bicubic(y, up=4)
    assert wanted.min() < 0
    assert torch.equal(network(y), wanted)
    assert torch.equal(network.eval()(y), wanted.clamp(0, 1))


def test_evaluation_clamps_and_training_does_not() -> None:
    network = perturbed(UNet(**TINY), std=0.5)
    y = images(1, 3, 16, 16)
    free = network.train()(y)
    assert free.min() < 0
    assert free.max() > 1
    assert torch.equal(network.eval()(y), free.clamp(0, 1))


@pytest.mark.parametrize("arguments", [{}, {"scale": 4}, TINY])
def test_every_parameter_learns(arguments: dict[str, Any]) -> None:
    network = perturbed(UNet(**arguments)).train()
    network(images(1, 3, 16, 16)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_each_level_hands_its_features_across() -> None:
    network = perturbed(UNet(**TINY)).train()
    y = images(1, 3, 16, 16).requires_grad_()
    for down in reversed(network.downs):
        # With all below a level cut off, what is above still shapes the result.
        down.weight.requires_grad_(False).zero_()  # type: ignore[operator]
        (gradient,) = torch.autograd.grad((network(y) - y).square().sum(), y)
        assert gradient.abs().max() > 0


def test_the_first_step_moves_the_head() -> None:
    network = UNet(**TINY).train()
    (network(images(1, 3, 16, 16)) - 0.5).square().mean().backward()
    assert network.head.weight.grad is not None
    assert network.head.weight.grad.abs().max() > 0


@given(n=st.integers(2, 4), h=st.integers(1, 4), w=st.integers(1, 4), scale=st.sampled_from([1, 2]))
def test_images_of_a_batch_do_not_touch(n: int, h: int, w: int, scale: int) -> None:
    network = perturbed(UNet(scale=scale, **TINY).double()).train()
    y = images(n, 3, 8 * h, 8 * w, dtype=torch.float64)
    together = network(y)
    for i in range(n):
        torch.testing.assert_close(together[i : i + 1], network(y[i : i + 1]), rtol=0, atol=1e-12)


def test_bf16_is_close() -> None:
    network = perturbed(UNet(), std=0.01).train()
    y = images(1, 3, 32, 32)
    full = network(y)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(y)
    assert half.dtype == torch.float32  # the input is added in its own precision
    change = (full - y).abs().mean()
    assert change > 0.005
    assert (half - full).abs().mean() < 0.03 * change


# ---------------------------------------------------------------- receptive field


def measured_field(network: UNet) -> int:
    """Twice the farthest that any pixel of the result looks to any side, and itself."""
    assert network.receptive_field is not None
    step = network.multiple_of
    side = -(-(2 * network.receptive_field + step) // step) * step
    y = images(1, network.channels, side, side, dtype=torch.float64).requires_grad_()
    x_hat = network(y)
    reach = 0
    # All places within one square of the coarsest level, and both diagonals of it.
    for place in range(step):
        for row, column in ((place, place), (place, step - 1 - place)):
            at = (side // 2 // step * step + row, side // 2 // step * step + column)
            pixel = x_hat[0, 0, at[0] * network.scale, at[1] * network.scale]
            (gradient,) = torch.autograd.grad(pixel, y, retain_graph=True)
            for axis in (0, 1):
                touched = gradient[0].abs().amax(dim=(0, 2 - axis)).nonzero()
                assert int(touched.min()) > 0  # the picture is large enough to see its end
                assert int(touched.max()) < side - 1
                reach = max(reach, at[axis] - int(touched.min()), int(touched.max()) - at[axis])
    return 2 * reach + 1


@pytest.mark.parametrize(
    "arguments",
    [
        TINY,
        {**TINY, "scale": 2},
        {**TINY, "channels": 1, "unshuffle": 1},
        {"widths": (2, 3), "blocks": (2, 1), "unshuffle": 3},
        {"widths": (3,), "blocks": (2,)},
        {"widths": (2, 2, 2, 2), "blocks": (0, 1, 0, 1), "unshuffle": 1},
        {"widths": (2,), "blocks": (0,), "unshuffle": 1, "scale": 3},
        {"widths": (2,), "blocks": (0,), "unshuffle": 1, "scale": 4},
    ],
)
def test_declared_receptive_field_is_the_measured_one(arguments: dict[str, Any]) -> None:
    network = positive(UNet(**arguments).double()).train()
    assert network.receptive_field is not None
    measured = measured_field(network)
    assert measured <= network.receptive_field
    assert measured >= 0.8 * network.receptive_field


def test_receptive_field_of_the_default() -> None:
    # The depth decides, not the width: the same network, thin.
    network = positive(UNet(widths=(2, 2, 2)).double()).train()
    assert network.receptive_field == UNet().receptive_field
    assert network.receptive_field is not None
    measured = measured_field(network)
    assert 0.8 * network.receptive_field <= measured <= network.receptive_field <= 256


@pytest.mark.parametrize("scale", [1, 2])
def test_what_is_far_away_changes_nothing(scale: int) -> None:
    network = perturbed(UNet(scale=scale, **TINY), std=0.2).eval()
    assert network.receptive_field is not None
    reach = network.receptive_field // 2
    side = -(-(2 * reach + 32) // 8) * 8
    y = images(1, 3, side, side)
    other = torch.rand(y.shape, generator=generator(5))
    middle = slice(side // 2, side // 2 + 8)
    near = slice(middle.start - reach, middle.stop + reach)
    other[..., near, near] = y[..., near, near]
    seen = slice(middle.start * scale, middle.stop * scale)
    a, b = network(y)[..., seen, seen], network(other)[..., seen, seen]
    assert torch.equal(a, b)
    # And what is near changes it.
    other[..., middle.start, middle.start] += 0.5
    assert not torch.equal(a, network(other)[..., seen, seen])


def test_shifts_with_the_picture() -> None:
    network = perturbed(UNet(**TINY).double(), std=0.2).eval()
    assert network.receptive_field is not None
    reach = -(-(network.receptive_field // 2) // 8) * 8
    y = images(1, 3, 2 * reach + 32, 2 * reach + 32, dtype=torch.float64)
    moved = network(y[..., 8:, 16:])
    inner = network(y)[..., 8:, 16:]
    crop = (..., slice(reach, -reach), slice(reach, -reach))
    torch.testing.assert_close(moved[crop], inner[crop], rtol=0, atol=1e-12)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"channels": 0}, "'channels'"),
        ({"scale": 0}, "'scale'"),
        ({"scale": 1.5}, "'scale'"),
        ({"unshuffle": 0}, "'unshuffle'"),
        ({"widths": (8, 8)}, "levels of a U-shaped network.*got 3 and 2"),
        ({"widths": (), "blocks": ()}, "at least one.*got 0 and 0"),
        ({"widths": (8, 0, 8)}, "'widths'.*got 0"),
        ({"widths": (8, 8, 4.0)}, "'widths'.*got 4.0"),
        ({"blocks": (1, -1, 1)}, "'blocks'.*at least 0, got -1"),
    ],
)
def test_arguments(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(ShapeError, match=part):
        UNet(**arguments)


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((3, 16, 16), "four dimensions"),
        ((1, 1, 16, 16), "channels"),
        ((1, 3, 12, 16), "multiples of 8 px|multiples of 8"),
        ((1, 3, 16, 20), "multiples of 8"),
        ((1, 3, 0, 16), "at least 8"),
        ((1, 3, 4, 4), "at least 8"),
    ],
)
def test_images_it_cannot_take(shape: tuple[int, ...], part: str) -> None:
    with pytest.raises(ShapeError, match=part):
        UNet(**TINY)(torch.zeros(shape))


def test_bytes_are_refused() -> None:
    with pytest.raises(ShapeError, match="uint8"):
        UNet(**TINY)(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
