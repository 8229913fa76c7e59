"""Rounding to 8 bits, which every protocol does before it compares."""

from __future__ import annotations

import torch
from torch import Tensor


def to_8bit(x: Tensor) -> Tensor:
    """The values that an 8-bit file would keep: clamped to [0, 1], rounded to multiples of 1/255.

    Has no useful gradient; the sensor of `physics` has a rounding that lets gradients through.

    Args:
        x: any shape, floating, clear range [0, 1].

    Returns:
        The same shape and type.
    """
    return x.clamp(0, 1).mul(255).round().div(255)


def to_levels(image: Tensor) -> Tensor:
    """The nearest of the 256 levels of [0, 1], as uint8, detached."""
    return image.detach().mul(255).round().clamp(0, 255).to(torch.uint8)


def from_levels(levels: Tensor, dtype: torch.dtype) -> Tensor:
    """Levels as numbers in [0, 1]."""
    return levels.to(dtype) / 255
