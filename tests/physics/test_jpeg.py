"""JPEG: against Pillow's libjpeg, level by level; its gradient; what it draws and refuses."""

import io
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError, ThetaError
from physgan.physics.jpeg import Jpeg, Subsampling, jpeg
from physgan.physics.sensor import Clip, Noise, SensorChain, round_levels
from physgan.types import Sensor


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def picture(h: int, w: int, channels: int, seed: int = 0, noise: float = 0.08) -> Tensor:
    """Smooth shades, an even patch and noise, on the levels of a file."""
    own = generator(seed)
    knots = torch.rand(1, channels, max(2, h // 8), max(2, w // 8), generator=own)
    x = F.interpolate(knots, size=(h, w), mode="bicubic", align_corners=True)
    x = x + noise * torch.randn(x.shape, generator=own)
    x[..., h // 3 : h // 2, w // 4 :] = torch.rand(1, channels, 1, 1, generator=own)
    return round_levels(x.clamp(0, 1))


def by_pillow(x: Tensor, quality: int, subsampling: str) -> Tensor:
    pixels = (x[0] * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    made = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    made.save(file, "JPEG", quality=quality, subsampling=subsampling)
    read = np.array(Image.open(file))
    return torch.from_numpy(np.atleast_3d(read)).permute(2, 0, 1)[None].float() / 255


KINDS: list[tuple[int, Subsampling]] = [(1, "4:2:0"), (3, "4:4:4"), (3, "4:2:0")]
# Odd sizes, blocks half full, both parities of rows and columns of halved colour.
SIZES = [(64, 80), (61, 77), (97, 50), (18, 35), (50, 66), (41, 24)]


@pytest.mark.parametrize("quality", [1, 10, 30, 50, 75, 95, 100])
@pytest.mark.parametrize(("channels", "subsampling"), KINDS)
def test_is_pillows(channels: int, subsampling: Subsampling, quality: int) -> None:
    """Nearly every sample is equal, and the mean difference a fraction of a level.

    libjpeg's cosines are integers of 13 bits. A coefficient within their error of a half is
    rounded the other way now and then, which moves its block by up to a step's share; all else is
    the same to the last bit.
    """
    differences, losses = [], []
    for seed, size in enumerate(SIZES):
        x = picture(*size, channels, seed)
        y = jpeg(x, torch.tensor([float(quality)]), subsampling=subsampling)
        read = by_pillow(x, quality, subsampling)
        differences.append((y - read).mul(255).abs().round().flatten())
        losses.append((read - x).mul(255).abs().flatten())
    together = torch.cat(differences)
    assert together.mean() < 0.15
    assert (together == 0).double().mean() > 0.9
    # What JPEG takes away is more than ten times that, but at 100, where it takes nearly nothing.
    assert quality == 100 or torch.cat(losses).mean() > 10 * together.mean()


@pytest.mark.parametrize(("channels", "subsampling"), KINDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 4), (3, 5), (5, 3), (7, 6), (9, 17), (17, 2)])
def test_is_pillows_on_the_smallest(
    size: tuple[int, int], channels: int, subsampling: Subsampling
) -> None:
    near = 0
    for seed in range(20):
        x = picture(*size, channels, seed)
        y = jpeg(x, torch.tensor([80.0]), subsampling=subsampling)
        near += bool((y - by_pillow(x, 80, subsampling)).mul(255).abs().mean() < 0.15)
    # Of a picture of one block, a coefficient rounded the other way is a visible part.
    assert near >= 16


def test_each_image_has_its_quality() -> None:
    x = picture(24, 40, 3)
    qualities = [10.0, 50.0, 90.0]
    together = jpeg(x.expand(3, -1, -1, -1), torch.tensor(qualities))
    for row, quality in zip(together, qualities, strict=True):
        assert torch.equal(row[None], jpeg(x, torch.tensor([quality])))
    errors = (together - x).abs().mean(dim=(1, 2, 3))
    assert errors[0] > errors[1] > errors[2]


def test_colour_is_halved_in_4_2_0_alone() -> None:
    # Columns of red and blue of one luminance, one pixel wide.
    red, blue = torch.tensor([0.5, 0.2, 0.2]), torch.tensor([0.2, 0.2, 0.9868])
    stripes = torch.stack([red, blue] * 8, dim=1)[None, :, None].expand(1, 3, 16, 16)
    quality = torch.tensor([95.0])
    kept = jpeg(stripes, quality, subsampling="4:4:4")
    lost = jpeg(stripes, quality, subsampling="4:2:0")
    assert (kept - stripes).abs().mean() < 0.02
    assert (lost - stripes).abs().mean() > 0.1
    assert lost.std(dim=-1).amax() < 0.03  # light is even, and colour no longer told apart


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_channels_are_grey_each(channels: int) -> None:
    x = picture(19, 21, channels)
    y = jpeg(x, torch.tensor([40.0]))
    for c in range(channels):
        assert torch.equal(y[:, c : c + 1], jpeg(x[:, c : c + 1], torch.tensor([40.0])))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_levels_and_type(dtype: torch.dtype) -> None:
    y = jpeg(picture(20, 23, 3).to(dtype), torch.tensor([30.0]))
    assert y.dtype == dtype
    assert 0 <= y.min() <= y.max() <= 1
    assert torch.equal(y, ((y.double() * 255).round() / 255).to(dtype))


def test_saturated_values_are_clipped_first() -> None:
    x = picture(16, 16, 3)
    wild = torch.where(x > 0.6, 7.0, torch.where(x < 0.2, -3.0, x))
    quality = torch.tensor([60.0])
    assert torch.equal(jpeg(wild, quality), jpeg(wild.clamp(0, 1), quality))


# ---------------------------------------------------------------- gradient


def grey_within(h: int, w: int, channels: int) -> Tensor:
    """Far enough from black and white that nothing is clipped on the way."""
    return 0.3 + 0.4 * picture(h, w, channels, noise=0.02).double()


@pytest.mark.parametrize(("channels", "subsampling"), [(1, "4:2:0"), (2, "4:2:0"), (3, "4:4:4")])
def test_gradient_is_that_of_the_identity(channels: int, subsampling: Subsampling) -> None:
    y = grey_within(21, 19, channels).requires_grad_()
    weight = torch.randn(y.shape, generator=generator(), dtype=y.dtype)
    coded = jpeg(y, torch.tensor([75.0]), subsampling=subsampling)
    (gradient,) = torch.autograd.grad(coded, y, weight)
    torch.testing.assert_close(gradient, weight, rtol=0, atol=1e-12)


def test_gradient_of_halved_colour_is_that_of_halving() -> None:
    y = grey_within(16, 32, 3).requires_grad_()
    weight = torch.randn(y.shape, generator=generator(), dtype=y.dtype)
    (gradient,) = torch.autograd.grad(jpeg(y, torch.tensor([75.0])), y, weight)

    def linear(image: Tensor) -> Tensor:
        light = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, True)
        colour = F.interpolate(F.avg_pool2d(image - light, 2), scale_factor=2, mode="bilinear")
        return light + colour

    other = y.detach().clone().requires_grad_()
    (wanted,) = torch.autograd.grad(linear(other), other, weight)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-12)


def test_what_is_clipped_passes_no_gradient() -> None:
    y = torch.tensor([-0.5, 0.5, 1.5]).repeat_interleave(8)[None, None, None].expand(1, 1, 8, 24)
    y = y.clone().requires_grad_()
    jpeg(y, torch.tensor([100.0])).sum().backward()
    assert y.grad is not None
    assert y.grad[..., 0, ::8].flatten().tolist() == [0, pytest.approx(1), 0]


def test_quality_gets_no_gradient() -> None:
    y = grey_within(8, 8, 1).requires_grad_()
    quality = torch.tensor([50.0], requires_grad=True)
    jpeg(y, quality).sum().backward()
    assert quality.grad is None


# ---------------------------------------------------------------- the stage


def test_the_stage_draws_whole_qualities_in_its_range() -> None:
    x = torch.rand(4000, 1, 1, 1)
    state = torch.get_rng_state()
    (quality,) = Jpeg((40, 43)).sample(x, generator=generator()).values()
    assert torch.equal(torch.get_rng_state(), state)
    assert quality.dtype == torch.float32
    values, counts = quality.unique(return_counts=True)
    assert values.tolist() == [40, 41, 42, 43]
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3
    again = Jpeg((40, 43)).sample(x, generator=generator())
    assert torch.equal(again["quality"], quality)
    assert Jpeg().quality == (30, 95)
    assert Jpeg((70, 70)).sample(x[:2], generator=generator())["quality"].tolist() == [70, 70]


def test_some_images_are_not_compressed() -> None:
    x = torch.cat([picture(24, 40, 3, seed=i) for i in range(40)])
    stage = Jpeg((30, 60), raw=0.4)
    theta = stage.sample(x, generator=generator())
    stage.check(theta)
    raw = theta["quality"] == 0
    assert 8 < int(raw.sum()) < 24
    x.requires_grad_()
    y = stage(x, theta, generator=generator())
    torch.testing.assert_close(y[raw], (x[raw] * 255).round() / 255)
    assert ((y - x)[~raw].abs().amax((1, 2, 3)) > 2 / 255).all()
    # The others are what they are without those beside them.
    torch.testing.assert_close(y[~raw], jpeg(x[~raw], theta["quality"][~raw]))
    (slope,) = torch.autograd.grad(y[raw].sum(), x)
    torch.testing.assert_close(slope[raw], torch.ones_like(slope[raw]))


def test_beside_noise_in_one_camera() -> None:
    camera = SensorChain([Noise(), Clip(), Jpeg(subsampling="4:4:4")])
    assert isinstance(Jpeg(), Sensor)
    y = picture(16, 24, 3).expand(2, -1, -1, -1)
    theta = camera.sample(y, generator=generator())
    assert theta.keys() == {"sigma", "quality"}
    seen = camera(y, theta, generator=generator(1))
    noisy = Noise()(y, theta, generator=generator(1)).clamp(0, 1)
    assert torch.equal(seen, jpeg(noisy, theta["quality"], subsampling="4:4:4"))


def test_qualities_are_those_of_programs() -> None:
    x = picture(16, 16, 1)

    def coded(quality: float) -> Tensor:
        return jpeg(x, torch.tensor([quality]))

    assert torch.equal(coded(-7), coded(1))
    assert torch.equal(coded(400), coded(100))
    assert torch.equal(coded(60.4), coded(60))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"quality": (0, 50)}, "quality of JPEG: expected 1 <= least <= greatest <= 100"),
        ({"quality": (60, 50)}, "quality of JPEG"),
        ({"quality": (60, 101)}, "quality of JPEG"),
        ({"raw": 1.5}, "share of images without JPEG"),
        ({"subsampling": "4:2:2"}, r"subsampling of JPEG.*'4:2:2'.*Did you mean"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(ThetaError, match=part):
        Jpeg(**arguments)


def test_refusals() -> None:
    y = picture(8, 8, 3)
    with pytest.raises(ShapeError, match=r"quality of JPEG.*each of 1 images"):
        jpeg(y, torch.tensor([50.0, 60.0]))
    with pytest.raises(ShapeError, match="N×C×H×W"):
        jpeg(y[0], torch.tensor([50.0]))
    with pytest.raises(ShapeError, match="N×C×H×W"):
        jpeg(y[..., :0], torch.tensor([50.0]))
    with pytest.raises(ThetaError, match="subsampling"):
        jpeg(y, torch.tensor([50.0]), subsampling="4:1:1")  # type: ignore[arg-type]
    with pytest.raises(ThetaError, match=r"theta of a sensor with JPEG.*'quality'.*sigma"):
        Jpeg()(y, {"sigma": torch.zeros(1)}, generator=generator())
