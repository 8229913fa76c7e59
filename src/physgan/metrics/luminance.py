"""Luminance as papers on super-resolution and text measure it."""

from __future__ import annotations

from torch import Tensor

from physgan.errors import ShapeError


def luminance(x: Tensor) -> Tensor:
    """Y of ITU-R BT.601 in its studio range, 16/255 for black to 235/255 for white.

    Args:
        x: N×3×H×W in [0, 1], or N×1×H×W, which is taken as grey.

    Returns:
        N×1×H×W.

    Raises:
        ShapeError: other channels.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ShapeError(
            "images to take the luminance of",
            expected="N×3×H×W or N×1×H×W",
            got=f"{tuple(x.shape)}",
        )
    weights = x.new_tensor([65.481, 128.553, 24.966])
    if x.shape[1] == 1:
        return (x * weights.sum() + 16) / 255
    return ((x * weights[:, None, None]).sum(dim=1, keepdim=True) + 16) / 255
