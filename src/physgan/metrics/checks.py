"""What every metric refuses: images that are not pairs, and a data range that is none."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physgan.errors import ShapeError


def as_pair(x_hat: Tensor, x: Tensor, *, data_range: float) -> tuple[Tensor, Tensor]:
    """Both images as float32, or as float64 where either is.

    Args:
        x_hat: N×C×H×W.
        x: the same shape.
        data_range: largest minus smallest possible value.

    Raises:
        ShapeError: the shapes differ, are not N×C×H×W or hold no pixel, or `data_range` is not
            positive and finite.
    """
    if x_hat.shape != x.shape or x.ndim != 4 or 0 in x.shape[1:]:
        raise ShapeError(
            "the two images to compare",
            expected="one shape N×C×H×W for both",
            got=f"{tuple(x_hat.shape)} and {tuple(x.shape)}",
        )
    if not (math.isfinite(data_range) and data_range > 0):
        raise ShapeError(
            "the data range of a metric",
            expected="a positive number, 1 for images in [0, 1]",
            got=repr(data_range),
        )
    # Integers and half precision would wrap round or round off in the difference.
    dtype = torch.float64 if torch.float64 in (x_hat.dtype, x.dtype) else torch.float32
    return x_hat.to(dtype), x.to(dtype)
