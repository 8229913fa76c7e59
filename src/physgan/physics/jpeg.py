"""JPEG as a stage of the sensor: compressed and decoded again, with a gradient.

Conventions, pinned by tests: baseline JPEG (ITU-T T.81) as libjpeg and what follows it write and
read it by default.

* Levels 0 to 255. Three channels are R, G, B and go through full-range YCbCr of BT.601 (JFIF);
  one, two, or more than three are compressed each by itself as grey.
* `quality` scales the example tables of T.81 (annex K.1) as libjpeg does: 50 takes them as they
  are, 100 makes all steps 1.
* `4:2:0` halves colour, not light, in both directions: means of 2×2 samples, read back by linear
  interpolation between the centres of those.
* Blocks of 8×8 that reach over the right or lower edge are filled by repeating the last samples.

Everything that a codec rounds is rounded here: samples, coefficients, decoded levels. Roundings
pass the gradient as if they were not there, so the gradient is that of the linear way through:
all of it for grey, light and smooth colour for colour.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError
from physgan.physics.checks import check_choice, check_images, check_range, check_values, parameter
from physgan.physics.draw import uniform
from physgan.types import Theta

Subsampling: TypeAlias = Literal["4:2:0", "4:4:4"]

_LIGHT = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
_COLOUR = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *([99] * 32),
)
# Rows: Y, Cb, Cr of R, G, B.
_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.299 / 1.772, -0.587 / 1.772, 0.5),
    (0.5, -0.587 / 1.402, -0.114 / 1.402),
)
_RGB = (
    (1.0, 0.0, 1.402),
    (1.0, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587),
    (1.0, 1.772, 0.0),
)


def jpeg(y: Tensor, quality: Tensor, *, subsampling: Subsampling = "4:2:0") -> Tensor:
    """What is left of each image of a batch after JPEG of its own quality.

    Computed in at least float32, also under autocast.

    Args:
        y: images N×C×H×W in [0, 1]; what lies outside is clipped first. C = 3 is colour, all else
            is grey, channel by channel.
        quality: N, whole numbers from 1 to 100 as programs name them, others are rounded; 0
            leaves an image as it is, but for levels.
        subsampling: of colour; changes nothing for grey.

    Returns:
        Images of the shape and type of `y`, on the 256 levels of a file, with straight-through
        gradients to `y`, none to `quality`.

    Raises:
        ThetaError: no such subsampling.
        ShapeError: `y` has another rank, or `quality` is not one number for each image.
    """
    check_choice("subsampling of JPEG", subsampling, get_args(Subsampling))
    check_images("images to compress", y)
    if 0 in y.shape[1:]:
        raise ShapeError(
            "images to compress", expected="N×C×H×W, none of them 0", got=f"{tuple(y.shape)}"
        )
    if quality.shape != y.shape[:1]:
        raise ShapeError(
            "quality of JPEG",
            expected=f"N, one for each of {y.shape[0]} images",
            got=f"shape {tuple(quality.shape)}",
        )
    wide = y if y.dtype == torch.float64 else y.float()
    with torch.autocast(y.device.type, enabled=False):
        return _compressed(wide, quality, subsampling).to(y.dtype)


def _compressed(y: Tensor, quality: Tensor, subsampling: Subsampling) -> Tensor:
    levels = _round(y.clamp(0, 1) * 255)
    raw = quality == 0
    light, colour = _steps(quality, _LIGHT), _steps(quality, _COLOUR)
    if y.shape[1] != 3:
        decoded = _coded(levels - 128, light) + 128
    else:
        samples = _mixed(levels, _YCBCR)
        luma = _coded(_round(samples[:, :1]) - 128, light)
        # Halves down: pure blue and red lie at 127.5, and 127 is the greatest there is.
        chroma = _through(samples[:, 1:], (samples[:, 1:] - 0.5).ceil())
        chroma = _halved(chroma, colour) if subsampling == "4:2:0" else _coded(chroma, colour)
        decoded = _round(_mixed(torch.cat([luma + 128, chroma], dim=1), _RGB)).clamp(0, 255)
    return torch.where(raw[:, None, None, None], levels, decoded) / 255


class Jpeg:
    """JPEG; theta: `quality` N, whole numbers.

    Its result is clipped and rounded to 8 bits already.

    Args:
        quality: least and greatest quality, from 1 to 100, drawn uniformly per image.
        subsampling: `4:2:0` as most programs write, or `4:4:4`, which keeps all colour.
        raw: share of the images that are not compressed; their quality is 0.
    """

    saturates = True

    def __init__(
        self,
        quality: tuple[int, int] = (30, 95),
        subsampling: Subsampling = "4:2:0",
        raw: float = 0.0,
    ) -> None:
        check_range("quality of JPEG", quality, least=1, greatest=100)
        check_choice("subsampling of JPEG", subsampling, get_args(Subsampling))
        check_range("share of images without JPEG", (0.0, raw), greatest=1.0)
        self.quality, self.raw = quality, raw
        self.subsampling: Subsampling = subsampling

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        low, high = self.quality
        drawn = torch.randint(
            low, high + 1, x.shape[:1], generator=generator, device=generator.device
        )
        quality = drawn.float()
        if self.raw:
            raw = uniform(x.shape[0], (0.0, 1.0), generator=generator) < self.raw
            quality = quality.masked_fill(raw, 0)
        return {"quality": quality}

    def __call__(self, y: Tensor, theta: Theta, *, generator: Generator) -> Tensor:
        quality = parameter(theta, "quality", of="sensor with JPEG")
        return jpeg(y, quality, subsampling=self.subsampling)

    def check(self, theta: Theta) -> None:
        """Raises ThetaError unless quality lies in 1 to 100, or is 0."""
        quality = parameter(theta, "quality", of="sensor with JPEG")
        quality = quality[quality != 0]
        check_values("quality of JPEG", quality, least=1, greatest=100)


def _coded(samples: Tensor, steps: Tensor) -> Tensor:
    """Planes N×C×H×W about 0, through quantised coefficients of blocks, and in -128 to 127 again.

    Args:
        samples: whole numbers.
        steps: of quantisation, N×8×8, one row for each horizontal frequency.
    """
    h, w = samples.shape[-2:]
    padded = F.pad(samples, (0, -w % 8, 0, -h % 8), mode="replicate")
    blocks = padded.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-3, -2)
    cosines = _cosines(samples)
    steps = steps.to(samples.dtype)[:, None, None, None]
    # Rounded where libjpeg's integers are: along the rows to quarters, both ways. Coefficients are
    # eight times theirs, since the cosines have no root of 8 in them.
    rows = _quarters(blocks @ cosines.mT)
    coefficients = _round(rows.mT @ cosines.mT) / (8 * steps)
    whole = coefficients.sign() * (coefficients.abs() + 0.5).floor()
    columns = _quarters((_through(coefficients, whole) * steps) @ cosines)
    decoded = columns.mT @ cosines / 8
    decoded = decoded.transpose(-3, -2).flatten(-2).flatten(-3, -2)[..., :h, :w]
    return _round(decoded).clamp(-128, 127)


def _halved(chroma: Tensor, steps: Tensor) -> Tensor:
    """Chroma N×2×H×W at half of its size, coded, and back at its size."""
    h, w = chroma.shape[-2:]
    # Odd sides are filled by repetition, and the right edge of a block before halving; rows, as in
    # libjpeg, after it.
    padded = F.pad(chroma, (0, -w % 16, 0, -h % 2), mode="replicate")
    # Halves go down in one column and up in the next, so that nothing drifts.
    means = F.avg_pool2d(padded, 2)
    odd = torch.arange(means.shape[-1], device=means.device) % 2
    small = _coded(_through(means, (means + 0.25 + 0.25 * odd).floor()), steps)[..., : -(-w // 2)]
    # libjpeg repeats samples where a picture is too narrow for its interpolation.
    mode = "bilinear" if small.shape[-1] > 2 else "nearest"
    large = F.interpolate(small, scale_factor=2, mode=mode)[..., :h, :w]
    odd = torch.arange(w, device=large.device) % 2
    return _through(large, (large + 0.5 - odd / 16).floor())


def _steps(quality: Tensor, table: tuple[int, ...]) -> Tensor:
    """Steps of quantisation, N×8×8: the table, turned, scaled by quality as libjpeg scales it."""
    quality = quality.detach().float().round().clamp(1, 100)
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    base = torch.tensor(table, dtype=torch.float32, device=quality.device)
    scaled = (base.reshape(8, 8).mT * percent[:, None, None] + 50) / 100
    return scaled.floor().clamp(1, 255)


def _cosines(like: Tensor) -> Tensor:
    """The cosine transform of 8 samples, 8×8 (frequency, place), times the root of 8.

    So scaled, coefficients that are sums and differences of samples are whole numbers, and are
    rounded as integers would be.
    """
    table = [
        [1.0 if k == 0 else 2**0.5 * math.cos(math.pi * (2 * i + 1) * k / 16) for i in range(8)]
        for k in range(8)
    ]
    return like.new_tensor(table)


def _mixed(planes: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Colours through a 3×3 matrix."""
    return torch.einsum("rc,nchw->nrhw", planes.new_tensor(matrix), planes)


def _round(x: Tensor) -> Tensor:
    """The nearest whole number, halves up, with the gradient of the identity."""
    return _through(x, (x + 0.5).floor())


def _quarters(x: Tensor) -> Tensor:
    return _round(4 * x) / 4


def _through(exact: Tensor, rounded: Tensor) -> Tensor:
    """The value of `rounded` with the gradient of `exact`."""
    return rounded.detach() + (exact - exact.detach())
