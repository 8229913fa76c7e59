"""Pairs in haze and without: the transmission and the airlight that lie between them.

Where a scene was recorded twice, or hazed by somebody else, its depth is in the pair: along each
pixel `hazy = clear · t + A · (1 − t)`, with one A for the picture (Narasimhan and Nayar, "Vision
and the Atmosphere", 2002). The minus logarithm of t is depth, as far as haze tells: the pair gives
haze a scene in the place of a depth map.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from physgan.data.layout import by_name, partners
from physgan.data.pictures import FolderPictures, Size
from physgan.data.scenes import DepthFiles, measured
from physgan.errors import ImageError
from physgan.images.read import list_images, read_8bit
from physgan.means import square_means

_TURNS = 60
"""of fitting one unknown while the other is held"""
_ENOUGH = 1 << 14
"""pixels that tell the airlight"""
_SMOOTH = 9
"""pixels to a side of the squares over which transmission is taken to be one"""
_NEAR = 1e-6
"""share of the greatest depth that is as good as none"""
_KEPT = 1 << 29
"""bytes of depth that are kept for the next time"""
_LEAST = 0.02
"""transmission below which nothing is left of the scene"""


def transmission_of(hazy: Tensor, clear: Tensor) -> tuple[Tensor, Tensor]:
    """Transmission and airlight of a pair, by least squares.

    Each pixel moves from its clear colour towards the airlight, by the share 1 − t. The share that
    fits best for an airlight, and the airlight that fits best for the shares, are sought in turns.
    A pixel of the airlight's own colour tells no share and takes that of its surroundings.

    Args:
        hazy: C×H×W in [0, 1], C of at least 1.
        clear: the same scene without haze, of the same shape.

    Returns:
        Transmission 1×H×W in (0, 1], and the airlight, C values in [0, 1].
    """
    airlight = _airlight(hazy, clear)
    way, moved = airlight[:, None, None] - clear, hazy - clear
    along, length = (_around(t) for t in ((moved * way).sum(0), way.square().sum(0)))
    share = (along / length.clamp(min=1e-6)).clamp(0, 1 - _LEAST)
    return 1 - share, airlight


def _airlight(hazy: Tensor, clear: Tensor) -> Tensor:
    step = max(1, int((hazy[0].numel() / _ENOUGH) ** 0.5))
    y, x = (t[:, ::step, ::step].double().flatten(1) for t in (hazy, clear))
    moved = y - x
    # To begin with: the haze's own colour shows where it is thickest.
    thick = y.mean(0).topk(max(1, y.shape[1] // 100)).indices
    airlight = y[:, thick].mean(1)
    for _ in range(_TURNS):
        way = airlight[:, None] - x
        share = ((moved * way).sum(0) / way.square().sum(0).clamp(min=1e-6)).clamp(0, 1)
        weight = share.square().sum().clamp(min=1e-9)
        airlight = ((share * (moved + share * x)).sum(1) / weight).clamp(0, 1)
    return airlight.to(clear.dtype)


def _around(values: Tensor) -> Tensor:
    """Means over squares, 1×H×W."""
    border = _SMOOTH // 2
    wider = F.pad(values[None, None], (border,) * 4, mode="replicate")
    return square_means(wider, _SMOOTH)[0]


def hazed_pairs(hazy: Path, clear: Path, *, channels: int = 3) -> DepthFiles:
    """Clear pictures with the depth that the same scenes in haze tell, paired by stem.

    Args:
        hazy: folder of the scenes in haze.
        clear: folder of the same scenes without, of the same sizes.
        channels: of the pictures, 1 or 3.

    Raises:
        ImageError: a folder is not there, or a picture is without its partner.
    """
    title = "pairs in haze"
    parts = {
        "a clear picture": by_name(title, list_images(clear), "(.+)", root=clear),
        "the same in haze": by_name(title, list_images(hazy), "(.+)", root=hazy),
    }
    _, (pictures, in_haze) = partners(title, clear, parts)
    partner = dict(zip(in_haze, pictures, strict=True))
    read = partial(_depth, partner=partner, channels=channels, kept={})
    return DepthFiles(FolderPictures(clear, paths=pictures, channels=channels), in_haze, read)


def _depth(
    path: Path,
    size: Size | None,
    *,
    partner: dict[Path, Path],
    channels: int,
    kept: dict[tuple[Path, Size | None], Tensor],
) -> Tensor:
    if (path, size) in kept:
        return kept[path, size]
    hazy, clear = (read_8bit(p, channels=channels).float() / 255 for p in (path, partner[path]))
    if hazy.shape != clear.shape:
        raise ImageError(
            f"picture '{path}'",
            expected=f"{clear.shape[2]}×{clear.shape[1]}, as '{partner[path]}'",
            got=f"{hazy.shape[2]}×{hazy.shape[1]}",
        )
    transmission, _ = transmission_of(hazy, clear)
    thickness = -transmission[0].log()
    thickest = thickness.max()
    if not thickest > 0:
        raise ImageError(
            f"haze in '{path}'",
            expected=f"some, to tell the depth of '{partner[path]}' by",
            got="none",
            remedy="Take the pair away.",
        )
    # Where there is no haze it is near, and not a place that could not be measured.
    depth = measured(thickness.clamp(min=_NEAR * thickest), size, origin=f"haze in '{path}'")
    # In training, every scene is read many times. A tuple, since threads add to what is kept.
    if sum(known.nbytes for known in tuple(kept.values())) + depth.nbytes <= _KEPT:
        kept[path, size] = depth
    return depth
