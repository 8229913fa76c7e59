"""Scores that allow for a shift: a blur whose kernel is off its centre moves the whole picture."""

from __future__ import annotations

from torch import Tensor

from physgan.errors import ShapeError
from physgan.metrics.psnr import psnr


def overlap(x_hat: Tensor, x: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """The parts of two images that cover each other when `x_hat` is moved down and right."""
    h, w = x.shape[-2:]
    moved = x_hat[..., max(0, -down) : h - max(0, down), max(0, -right) : w - max(0, right)]
    fixed = x[..., max(0, down) : h - max(0, -down), max(0, right) : w - max(0, -right)]
    return moved, fixed


def best_shift(x_hat: Tensor, x: Tensor, *, reach: int = 4) -> tuple[int, int]:
    """The whole shift (down, right) of `x_hat` with the greatest PSNR over the overlap.

    Of equals the smallest shift is taken.

    Args:
        x_hat: one image, 1×C×H×W.
        x: what it should be, as `x_hat`.
        reach: greatest shift to each side, in pixels.

    Raises:
        ShapeError: more than one image, or images too small to be shifted.
    """
    if x.shape[0] != 1 or x_hat.shape != x.shape or min(x.shape[-2:]) <= reach:
        raise ShapeError(
            "images to be aligned",
            expected=f"one image each, of one shape, sides above {reach} px",
            got=f"{tuple(x_hat.shape)} and {tuple(x.shape)}",
        )
    shifts = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]
    shifts.sort(key=lambda shift: abs(shift[0]) + abs(shift[1]))
    return max(shifts, key=lambda shift: float(psnr(*overlap(x_hat, x, *shift), data_range=1.0)))
