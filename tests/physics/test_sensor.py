import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.physics.jpeg import Jpeg
from physgan.physics.sensor import (
    Clip,
    Noise,
    Round,
    SensorChain,
    add_noise,
    round_levels,
    saturated,
)
from physgan.types import Sensor, Theta


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def grey(n: int, c: int = 3, side: int = 64) -> Tensor:
    return torch.full((n, c, side, side), 0.5, dtype=torch.float64)


# ---------------------------------------------------------------- noise


def test_noise_has_the_sigma_of_its_image() -> None:
    sigma = torch.tensor([0.01, 0.03, 0.1, 1.0])
    noise = add_noise(grey(4), sigma, generator=generator()) - 0.5
    count = noise[0].numel()
    for values, wanted in zip(noise.flatten(1), sigma.tolist(), strict=True):
        # Five standard errors of mean and deviation.
        assert abs(float(values.mean())) < 5 * wanted / math.sqrt(count)
        assert float(values.std()) == pytest.approx(wanted, rel=5 / math.sqrt(2 * count))


def test_noise_is_gaussian_and_white() -> None:
    noise = (add_noise(grey(2), torch.ones(2), generator=generator()) - 0.5).numpy()
    for image in noise:
        assert scipy.stats.kstest(image.ravel(), "norm").pvalue > 1e-3
    # Independent between images, channels, rows and columns: no correlation above five errors.
    pairs = [
        (noise[0], noise[1]),
        (noise[:, 0], noise[:, 1]),
        (noise[:, 1], noise[:, 2]),
        (noise[..., 1:], noise[..., :-1]),
        (noise[..., 1:, :], noise[..., :-1, :]),
    ]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / math.sqrt(a.size)


def test_no_sigma_no_noise() -> None:
    y = torch.rand(2, 3, 5, 5, generator=generator())
    assert torch.equal(add_noise(y, torch.zeros(2), generator=generator()), y)
    mixed = add_noise(y, torch.tensor([0.0, 0.1]), generator=generator())
    assert torch.equal(mixed[0], y[0])
    assert not torch.equal(mixed[1], y[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_keeps_type_and_shape_and_passes_the_gradient(dtype: torch.dtype) -> None:
    y = torch.rand(2, 1, 5, 7, generator=generator(), dtype=dtype).requires_grad_()
    noisy = add_noise(y, torch.tensor([0.1, 0.2]), generator=generator())
    assert noisy.dtype == dtype
    assert noisy.shape == y.shape
    noisy.sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, torch.ones_like(y))


def test_the_generator_is_the_only_randomness() -> None:
    y, sigma = grey(2, side=4), torch.tensor([0.1, 0.2])
    own = generator()
    state = torch.get_rng_state()
    first = add_noise(y, sigma, generator=own)
    second = add_noise(y, sigma, generator=own)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, second)
    assert torch.equal(first, add_noise(y, sigma, generator=generator()))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1)])
def test_one_sigma_for_each_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"sigma of the noise.*each of 2 images"):
        add_noise(grey(2, side=4), torch.zeros(shape), generator=generator())


def test_a_share_has_no_noise() -> None:
    x = torch.rand(400, 1, 1, 1)
    sigma = Noise((0.02, 0.1), quiet=0.3).sample(x, generator=generator())["sigma"]
    none = sigma == 0
    assert 0.2 < none.float().mean() < 0.4
    every = Noise((0.02, 0.1)).sample(x, generator=generator())["sigma"]
    assert torch.equal(sigma[~none], every[~none])
    with pytest.raises(ThetaError, match="without noise"):
        Noise(quiet=-0.1)


def test_noise_draws_sigma_in_its_range() -> None:
    sigma = Noise((0.02, 0.1)).sample(torch.rand(2000, 1, 1, 1), generator=generator())["sigma"]
    assert sigma.shape == (2000,)
    assert scipy.stats.kstest(sigma.numpy(), "uniform", args=(0.02, 0.08)).pvalue > 1e-3
    (fixed,) = Noise((0.05, 0.05)).sample(torch.rand(1, 1, 1, 1), generator=generator()).values()
    assert float(fixed) == pytest.approx(0.05)
    assert Noise().sigma == (0.0, 0.1)  # the paper's


def test_quiet_images_can_be_drawn_more_often() -> None:
    x = torch.rand(4000, 1, 1, 1)
    sigma = Noise((0.02, 0.1), power=3).sample(x, generator=generator())["sigma"]
    assert 0.02 <= sigma.min() < 0.0201
    assert 0.0995 < sigma.max() <= 0.1
    assert sigma.median() == pytest.approx(0.02 + 0.08 / 8, abs=0.001)


@pytest.mark.parametrize("power", [0.0, -1.0, float("nan"), float("inf")])
def test_a_power_that_is_none_is_refused(power: float) -> None:
    with pytest.raises(ThetaError, match="power of the noise"):
        Noise(power=power)


@pytest.mark.parametrize("bounds", [(-0.1, 0.1), (0.2, 0.1), (0.0, math.inf), (math.nan, 0.1)])
def test_bad_sigma(bounds: tuple[float, float]) -> None:
    with pytest.raises(ThetaError, match="sigma of the noise, in units of the full range"):
        Noise(bounds)


# ---------------------------------------------------------------- clipping and rounding


def test_clip() -> None:
    y = torch.tensor([-1.0, -1e-3, 0.2, 0.9, 1.001, 7.0]).reshape(1, 1, 2, 3).requires_grad_()
    clipped = Clip()(y, {}, generator=generator())
    assert clipped.flatten().tolist() == [0, 0, pytest.approx(0.2), pytest.approx(0.9), 1, 1]
    clipped.sum().backward()
    assert y.grad is not None
    assert y.grad.flatten().tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding(bits: int, dtype: torch.dtype) -> None:
    steps = 2**bits - 1
    y = torch.rand(1, 3, 50, 50, generator=generator(bits), dtype=dtype)
    y[0, 0, 0, :3] = torch.tensor([0.0, 1.0, 0.5])
    leaf = y.clone().requires_grad_()
    rounded = Round(bits)(leaf, {}, generator=generator())
    assert rounded.dtype == dtype
    # Exactly on a level, as a file would hold it, and on the nearest one.
    assert np.array_equal(
        rounded.detach().numpy(), np.round(y.numpy() * steps) / y.numpy().dtype.type(steps)
    )
    assert (rounded - y).abs().max() <= 0.5 / steps + torch.finfo(dtype).eps
    assert len(rounded.unique()) <= steps + 1
    weight = torch.randn(y.shape, generator=generator(), dtype=dtype)
    (rounded * weight).sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, weight)


def test_rounding_again_changes_nothing() -> None:
    levels = torch.arange(256) / 255
    assert torch.equal(round_levels(levels), levels)
    assert torch.equal(round_levels(levels, 8), (levels * 255).round().to(torch.uint8) / 255)


@pytest.mark.parametrize("bits", [0, 17, -8])
def test_bad_bits(bits: int) -> None:
    with pytest.raises(ThetaError, match=f"bits of a sensor: expected 1 to 16, got {bits}"):
        Round(bits)


# ---------------------------------------------------------------- the chain


class Times:
    """A stage of a foreign sensor: its factor is drawn under a name of its own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return {self.name: 1 + torch.rand(len(x), generator=generator)}

    def __call__(self, y: Tensor, theta: Theta, *, generator: Generator) -> Tensor:
        return y * theta[self.name][:, None, None, None]


def test_stages_act_in_order() -> None:
    y = torch.full((1, 1, 2, 2), 0.9)
    theta = {"gain": torch.tensor([3.0])}
    clipped_last = SensorChain([Times("gain"), Clip()])(y, theta, generator=generator())
    clipped_first = SensorChain([Clip(), Times("gain")])(y, theta, generator=generator())
    torch.testing.assert_close(clipped_last, torch.ones(1, 1, 2, 2))
    torch.testing.assert_close(clipped_first, torch.full((1, 1, 2, 2), 2.7))


def test_the_whole_camera() -> None:
    camera = SensorChain([Noise((0.2, 0.2)), Clip(), Round(8)])
    assert isinstance(camera, Sensor)
    y = torch.rand(2, 3, 16, 16, generator=generator())
    own = generator(1)
    theta = camera.sample(y, generator=own)
    assert theta.keys() == {"sigma"}
    seen = camera(y, theta, generator=own)
    again = generator(1)
    sigma = Noise((0.2, 0.2)).sample(y, generator=again)["sigma"]
    wanted = round_levels(add_noise(y, sigma, generator=again).clamp(0, 1))
    assert torch.equal(seen, wanted)
    assert torch.equal(seen, (seen * 255).round() / 255)


def test_no_stages_is_a_perfect_camera() -> None:
    y = torch.rand(2, 3, 4, 4, generator=generator())
    own = generator()
    assert SensorChain().sample(y, generator=own) == {}
    assert SensorChain()(y, {}, generator=own) is y
    assert torch.equal(own.get_state(), generator().get_state())


def test_parameters_belong_to_one_stage() -> None:
    x = torch.rand(1, 1, 2, 2)
    both = SensorChain([Times("b"), Times("a")]).sample(x, generator=generator())
    assert both.keys() == {"a", "b"}
    with pytest.raises(ThetaError, match=r"stages of a sensor.*sigma drawn twice"):
        SensorChain([Noise(), Clip(), Noise()]).sample(x, generator=generator())


def test_missing_sigma() -> None:
    with pytest.raises(
        ThetaError, match=r"theta of a sensor with noise.*'sigma'.*parameters sgima"
    ):
        SensorChain([Noise()])(
            torch.rand(1, 1, 2, 2), {"sgima": torch.ones(1)}, generator=generator()
        )


# ---------------------------------------------------------------- saturation


def test_what_is_too_bright_comes_back_where_the_camera_saw_less() -> None:
    y = torch.tensor([-0.5, 0.0, 0.3, 1.0, 2.7], dtype=torch.float64, requires_grad=True)
    assert saturated(y).tolist() == [0.0, 0.0, 0.3, 1.0, 1.0]
    for slope, wanted in ((1.0, [0, 1, 1, 1, 1]), (-1.0, [-1, -1, -1, -1, 0])):
        (gradient,) = torch.autograd.grad(saturated(y), y, torch.full_like(y, slope))
        assert gradient.tolist() == wanted
    inside = torch.rand(5, dtype=torch.float64, generator=generator()).requires_grad_()
    assert torch.autograd.gradcheck(saturated, inside)


def test_who_saturates() -> None:
    assert SensorChain([Noise(), Clip()]).saturates
    assert SensorChain([Jpeg()]).saturates
    assert not SensorChain([Noise(), Round()]).saturates
    assert not SensorChain().saturates


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("stage", "theta", "told"),
    [
        (Noise(), {"sigma": torch.tensor([0.1, 5.1])}, r"\[0, 1\], got 0.1 to 5.1.*by 255"),
        (Noise(), {"sigma": torch.tensor([-0.02])}, "got -0.02"),
        (Noise(), {"sigma": torch.tensor([math.nan])}, "got nan"),
        (Noise(), {}, "a parameter 'sigma'"),
        (Jpeg(), {"quality": torch.tensor([-1.0])}, r"\[1, 100\], got -1 to -1"),
        (Jpeg(), {"quality": torch.tensor([math.nan])}, "got nan"),
    ],
)
def test_parameters_that_cannot_be(stage: Noise | Jpeg, theta: Theta, told: str) -> None:
    for sensor in (stage, SensorChain([Clip(), stage])):
        sensor.check({"sigma": torch.tensor([0.0, 1.0]), "quality": torch.tensor([0.0, 100.0])})
        with pytest.raises(ThetaError, match=told):
            sensor.check(theta)
