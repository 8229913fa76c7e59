"""Protocols: what exactly a PSNR and an SSIM are of. A number without its protocol is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from physgan.errors import ShapeError, nearest
from physgan.metrics.grey import grey
from physgan.metrics.luminance import luminance
from physgan.metrics.psnr import psnr
from physgan.metrics.quantise import to_8bit
from physgan.metrics.shift import best_shift, overlap
from physgan.metrics.ssim import ssim

GREATEST_PSNR = 100.0
"""What identical images count as, in dB, so that means stay finite."""


@dataclass(frozen=True)
class Protocol:
    """How two images are compared. Both are rounded to 8 bits first.

    Args:
        colour: `rgb`: PSNR over all channels and SSIM over grey; `y`: both over luminance.
        shift: greatest whole shift that is allowed for, found by PSNR; scores are over the overlap.
        border: pixels left out on every side.
        crop: sides are cut to multiples of this first, as tests of super-resolution do.
    """

    colour: str = "rgb"
    shift: int = 0
    border: int = 0
    crop: int = 1

    def described(self) -> dict[str, Any]:
        """For records beside the numbers."""
        return {**vars(self), "rounding": "8 bits", "data_range": 1.0}


def protocol(name: str, *, scale: int = 1) -> Protocol:
    """A protocol by name: `rgb`, `y`, `rgb-shift` or `y-shift`.

    For restorers that enlarge, a border of `scale` pixels is left out and sides are cut to
    multiples of `scale`, in every protocol.

    Raises:
        ShapeError: no such protocol.
    """
    names = ("rgb", "y", "rgb-shift", "y-shift")
    if name not in names:
        raise ShapeError(
            "protocol",
            expected=f"one of {', '.join(names)}",
            got=repr(name),
            remedy=nearest(name, names),
        )
    colour, _, shift = name.partition("-")
    border = scale if scale > 1 else 0
    return Protocol(colour, 4 if shift else 0, border, scale)


def scores(x_hat: Tensor, x: Tensor, how: Protocol) -> dict[str, float]:
    """PSNR in dB and SSIM of one image, by a protocol.

    Args:
        x_hat: 1×C×H×W in [0, 1].
        x: as `x_hat`.
        how: the protocol.

    Returns:
        `psnr`, `ssim` and, where shifts are allowed for, `down` and `right`.
    """
    h, w = (side // how.crop * how.crop for side in x.shape[-2:])
    a, b = to_8bit(x_hat[..., :h, :w]), to_8bit(x[..., :h, :w])
    if how.colour == "y":
        a, b = luminance(a), luminance(b)
    if how.border:
        inner = (..., slice(how.border, -how.border), slice(how.border, -how.border))
        a, b = a[inner], b[inner]
    found: dict[str, float] = {}
    if how.shift:
        down, right = best_shift(a, b, reach=how.shift)
        a, b = overlap(a, b, down, right)
        found = {"down": down, "right": right}
    db = float(psnr(a, b, data_range=1.0).clamp(max=GREATEST_PSNR))
    if how.colour == "rgb" and x.shape[1] == 3:
        a, b = grey(a), grey(b)
    return {"psnr": db, "ssim": float(ssim(a, b, data_range=1.0)), **found}
