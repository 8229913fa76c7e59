"""Restoring images whole: pad to a size the restorer takes, restore, crop."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError
from physgan.types import RestoreFn

MINIMUM = 16
"""Every image is padded to at least this side in pixels.

Networks with reflection padding at a fraction of the size cannot take less than a few pixels; a
larger need is a larger `multiple_of`.
"""


def restore_whole(fn: RestoreFn, y: Tensor) -> Tensor:
    """Restores images of any size, each in one piece, without gradients.

    Below and to the right, `y` is mirrored as far as it reaches and its last pixel repeated beyond,
    until its sides are multiples of `fn.multiple_of` and at least 16 px.

    Args:
        fn: the restorer, on the device of `y`.
        y: N×C×h×w in [0, 1], floating, N, h and w of at least 1.

    Returns:
        N×C×(scale·h)×(scale·w), clamped to [0, 1].

    Raises:
        ShapeError: `y` has another rank, type or number of channels or no pixel, or `fn` returns
            another shape than it states.
    """
    check_images(fn, y)
    height, width = y.shape[2:]
    x_hat = restore_padded(fn, padded(fn, y))
    # Outside inference mode, so that the result is an ordinary tensor and not a view of padding.
    return x_hat[:, :, : fn.scale * height, : fn.scale * width].clamp(0, 1).contiguous()


def check_images(fn: RestoreFn, y: Tensor) -> None:
    """Raises ShapeError unless `y` is N×C×h×w, floating, of the restorer's channels, not empty."""
    if y.ndim != 4 or y.shape[1] != fn.channels or 0 in y.shape:
        raise ShapeError(
            "the images to restore",
            expected=f"N×{fn.channels}×h×w, N, h and w of at least 1",
            got=str(tuple(y.shape)),
            remedy="Add a batch dimension to a single image: y[None]." if y.ndim == 3 else "",
        )
    if not y.is_floating_point():
        raise ShapeError(
            "the images to restore",
            expected="floating numbers in [0, 1]",
            got=str(y.dtype),
            remedy="Divide 8-bit values by 255 first.",
        )


def in_its_channels(fn: RestoreFn, y: Tensor) -> Tensor:
    """`y` of 1 or 3 channels with as many as `fn` takes: grey repeated, or the first alone."""
    if y.shape[1] == fn.channels:
        return y
    return y[:, :1].expand(-1, fn.channels, -1, -1)


def padded(fn: RestoreFn, y: Tensor) -> Tensor:
    """`y`, padded below and to the right to a size that `fn` takes; see `restore_whole`."""
    with torch.inference_mode():
        height, width = (padded_side(side, fn.multiple_of) for side in y.shape[2:])
        return _pad(y.detach(), height, width)


def restore_padded(fn: RestoreFn, y: Tensor) -> Tensor:
    """Runs `fn` on images of a size that it takes, without gradients, and checks what it returns.

    Raises:
        ShapeError: another shape than `fn` states.
    """
    with torch.inference_mode():
        x_hat = fn(y)
    expected = (*y.shape[:2], *(fn.scale * side for side in y.shape[2:]))
    if tuple(x_hat.shape) != expected:
        raise ShapeError(
            "the result of the restorer",
            expected=f"{expected}, as its scale {fn.scale} says",
            got=str(tuple(x_hat.shape)),
        )
    return x_hat


def padded_side(side: int, multiple_of: int) -> int:
    """The side to which `padded` pads: the next multiple that is not below `side` and `MINIMUM`."""
    return -(-max(side, MINIMUM) // multiple_of) * multiple_of


def _pad(y: Tensor, height: int, width: int) -> Tensor:
    """Pads below and to the right, mirrored where the side allows, the last pixel beyond."""
    down, right = height - y.shape[2], width - y.shape[3]
    mirror_down, mirror_right = min(down, y.shape[2] - 1), min(right, y.shape[3] - 1)
    y = F.pad(y, (0, mirror_right, 0, mirror_down), mode="reflect")
    return F.pad(y, (0, right - mirror_right, 0, down - mirror_down), mode="replicate")
