"""Depth maps from files, brought to what haze asks for: whole, of the picture's size, in [0, 1].

Maps come as pictures of 8 or 16 bits, `.npy` or `.mat`, and hold depth, or disparity, which is
inverse to it: for both the unit is immaterial. What a scanner or a stereo camera could not measure
is filled from its surroundings first, so that it never mixes into what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.data.mat import mat_shapes, read_mat
from physgan.errors import ImageError, ShapeError, UsageError, nearest
from physgan.images.picture import read_picture

Kind: TypeAlias = Literal["depth", "disparity"]
Placed: TypeAlias = Literal["scaled", "centred"]

# Of a thousand pixels one may be wrong. A stereo map of three such pixels in a million would
# otherwise put all the rest of its scene into the nearest eighth (Middlebury's Books).
_OUTLIERS = 1000

# Smaller numbers, and greater ones than its inverse, were not measured: their inverses and sums
# leave the range of single precision.
_LEAST = 1e-37

# How much more a map's sides must look like its picture's the other way round, to be refused.
_ACROSS = 1.1

# Relaxations of a hole on every level; more change nothing that could be seen.
_SWEEPS = 16


def read_depth(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    kind: Kind = "depth",
    placed: Placed = "scaled",
    invalid: float | None = None,
    variable: str | None = None,
) -> Tensor:
    """Reads a depth map.

    Args:
        path: a picture file of one channel (or of three equal ones), `.npy`, or `.mat` of version
            5 or 7.3, holding H×W numbers.
        size: height and width of the picture that the map belongs to; None for the map's own.
        kind: what the numbers are; see `depth_map`.
        placed: how the map lies on the picture; see `depth_map`.
        invalid: a number that stands for "not measured", besides 0, those below it, NaN, inf and
            what is beyond 1e37.
        variable: which one of a `.mat` file; may be left out where only one has two dimensions.

    Returns:
        Depth, float32 1×H×W in (0, 1], 1 the farthest; see `depth_map`.

    Raises:
        ImageError: the file cannot be read, is no map, has no valid pixel, or lies across its
            picture, high where that is wide; or the library that reads it is not installed.
        UsageError: no such kind, or no such placing.
    """
    values = _numbers(path, variable)
    if size is not None and values.ndim == 2 and _across(values.shape, size, placed):
        raise ImageError(
            f"depth map '{path}'",
            expected=f"one that lies as its picture, which is {size[0]}×{size[1]} (height, width)",
            got=f"{values.shape[0]}×{values.shape[1]}, across it",
            remedy="Turn it by a quarter. Pictures are read upright, as their Exif tells.",
        )
    try:
        return depth_map(values, size=size, kind=kind, placed=placed, invalid=invalid)
    except ShapeError as error:
        raise ImageError(
            f"depth map '{path}'", expected=error.expected, got=error.got, remedy=error.remedy
        ) from None


def depth_map(
    values: Tensor,
    *,
    size: tuple[int, int] | None = None,
    kind: Kind = "depth",
    placed: Placed = "scaled",
    invalid: float | None = None,
) -> Tensor:
    """Brings measured numbers to depth in (0, 1] of the scene's greatest.

    Disparity `d` becomes depth `1 / d` at the end: filling and resampling are exact for the
    disparity of planes, which is linear over the picture, and not for their depth.

    The greatest depth is that beyond which at most a thousandth of the pixels lie, and these
    become 1: a few wrong pixels do not decide the scale.

    Args:
        values: H×W, of any real type.
        size: height and width of the result; None for those of `values`.
        kind: `depth`, larger is farther, or `disparity`, larger is nearer.
        placed: `scaled`, map and picture show the same field and the map is resampled bilinearly;
            `centred`, their pixels are of one size and they share their centre (left and above it
            where the difference is odd), as after margins were cut off: what the map lacks is
            filled, what it has too much is left out.
        invalid: as in `read_depth`.

    Returns:
        float32 1×H×W.

    Raises:
        ShapeError: `values` is not H×W, or holds no valid number. Valid are those from 1e-37 to
            1e37 that are not `invalid`.
        UsageError: no such kind, or no such placing.
    """
    for what, given, known in (("kind", kind, Kind), ("placing", placed, Placed)):
        if given not in get_args(known):
            raise UsageError(
                f"{what} of a depth map",
                expected=" or ".join(get_args(known)),
                got=repr(given),
                remedy=nearest(str(given), get_args(known)),
            )
    if values.ndim != 2 or not values.numel():
        raise ShapeError("depth map", expected="H×W numbers", got=f"shape {tuple(values.shape)}")
    values = values.float()  # first: what it makes of a number decides whether that is one
    valid = (values >= _LEAST) & (values <= 1 / _LEAST)
    if invalid is not None:
        # Not exactly: files of 32 bits hold it rounded.
        valid &= ~values.isclose(values.new_tensor(invalid), rtol=1e-6, atol=0)
    if not valid.any():
        raise ShapeError(
            "depth map", expected="a pixel that was measured, above 0 and finite", got="none"
        )
    size = size or (values.shape[0], values.shape[1])
    if placed == "centred":
        (top, bottom), (left, right) = (
            ((new - old) // 2, new - old - (new - old) // 2)
            for new, old in zip(size, values.shape, strict=True)
        )
        values = F.pad(values, (left, right, top, bottom))  # a negative width cuts off
        valid = F.pad(valid, (left, right, top, bottom))
        if not valid.any():
            raise ShapeError(
                "depth map",
                expected="a measured pixel within the picture",
                got="none",
                remedy="Take placed='scaled'.",
            )
    values = filled(values, valid)
    if values.shape != size:
        values = F.interpolate(
            values[None, None], size, mode="bilinear", align_corners=False, antialias=True
        )[0, 0]
    depth = 1 / values if kind == "disparity" else values
    count = depth.numel()
    greatest = depth.flatten().kthvalue(count - count // _OUTLIERS).values
    return (depth / greatest).clamp(torch.finfo(depth.dtype).tiny, 1)[None]


def filled(values: Tensor, valid: Tensor) -> Tensor:
    """Fills what is not valid from its surroundings, as a soap film spans a wire frame.

    The result solves Laplace's equation in every hole, nearly: means of valid pixels are taken on
    ever coarser levels until no hole is left, and interpolated back level by level, each time
    relaxed towards the mean of the four neighbours. Every result lies between the least and the
    greatest valid number.

    Args:
        values: H×W float; what is not valid may be anything, NaN too.
        valid: H×W bool, true somewhere.

    Returns:
        H×W, valid pixels as they were.
    """
    if valid.all():
        return values
    known = torch.where(valid, values, 0)[None, None]
    weight = F.avg_pool2d(valid[None, None].to(values.dtype), 2, ceil_mode=True)
    mean = F.avg_pool2d(known, 2, ceil_mode=True) / weight  # 0 / 0 where nothing is known
    coarse = filled(mean[0, 0], weight[0, 0] > 0)
    fine = F.interpolate(coarse[None, None], scale_factor=2, mode="bilinear", align_corners=False)
    result = torch.where(valid, values, fine[0, 0, : values.shape[0], : values.shape[1]])
    for _ in range(_SWEEPS):
        p = F.pad(result[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
        around = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]) / 4
        # Not quite to the mean, for a chequerboard would only change its colours.
        result = torch.where(valid, result, result.lerp(around, 0.8))
    return result


def picture_numbers(path: Path) -> Tensor:
    """The numbers that a picture file of one channel holds, float64 H×W: 0 to 65535 for 16 bits.

    Raises:
        ImageError: the file cannot be read, has several pages, or is in colour.
    """
    picture = read_picture(path)
    colour = picture.pages[0].colour
    if len(picture.pages) > 1 or (colour != colour[:1]).any():
        raise ImageError(
            f"picture file '{path}'",
            expected="one page of one channel, or of three equal ones",
            got="several pages" if len(picture.pages) > 1 else "colours",
        )
    form = picture.form
    span = form.white - form.black
    numbers = form.black + colour[0].double() * span
    if form.number in ("uchar", "ushort"):
        return numbers.round()
    # On the way through [0, 1] as float32, a zero between two signs comes back as nearly one.
    return torch.where(numbers.abs() > 1e-6 * span, numbers, 0.0)


def _numbers(path: Path, variable: str | None) -> Tensor:
    """What a file holds, as a tensor H×W; other shapes are left for `depth_map` to refuse."""
    suffix = path.suffix.lower()
    if suffix == ".mat":
        array = read_mat(path, variable or _only_map(path))
    elif suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _no_numbers(path, str(error)) from None
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
            raise _no_numbers(path, f"type {getattr(array, 'dtype', type(array).__name__)}")
        array = array.squeeze()
    else:
        return picture_numbers(path)
    return torch.from_numpy(array.astype(np.float64))


def _across(shape: Sequence[int], size: tuple[int, int], placed: Placed) -> bool:
    """Whether sides are clearly nearer to a picture's the other way round than to its own.

    A map that lies centred has pixels of the picture's size, and a cut of it may be of any shape:
    there the sides must have changed places.
    """
    if not all((*shape, *size)):
        return False
    if placed == "centred":
        return shape[0] != shape[1] and (shape[1], shape[0]) == size
    own, of_picture = math.log(shape[0] / shape[1]), math.log(size[0] / size[1])
    return abs(own - of_picture) > abs(own + of_picture) + math.log(_ACROSS)


def _no_numbers(path: Path, got: str) -> ImageError:
    return ImageError(
        f"depth map '{path}'", expected="an array of real numbers as numpy.save writes it", got=got
    )


def _only_map(path: Path) -> str:
    """The only variable of a MATLAB file that is no row, column or number."""
    maps = [n for n, shape in mat_shapes(path).items() if len(shape) == 2 and min(shape) > 1]
    if len(maps) != 1:
        raise ImageError(
            f"depth map '{path}'",
            expected="one variable of two dimensions",
            got=", ".join(maps) if maps else "none",
            remedy="Name it: variable='NAME', or for degrade --depth-variable NAME.",
        )
    return maps[0]
