"""Colour to grey, as the SSIM of the default protocol is taken."""

from __future__ import annotations

from torch import Tensor

from physgan.errors import ShapeError

BT601 = (0.299, 0.587, 0.114)


def grey(x: Tensor) -> Tensor:
    """0.299·R + 0.587·G + 0.114·B (BT.601, full range): [0, 1] stays [0, 1].

    Args:
        x: N×3×H×W, or N×1×H×W, which is grey already and is returned as it is.

    Returns:
        N×1×H×W.

    Raises:
        ShapeError: there are neither three channels nor one.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ShapeError(
            "the images to turn grey",
            expected="N×3×H×W or N×1×H×W",
            got=str(tuple(x.shape)),
        )
    if x.shape[1] == 1:
        return x
    red, green, blue = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    return BT601[0] * red + BT601[1] * green + BT601[2] * blue
