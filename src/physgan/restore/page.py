"""Restoring one page of a picture: channels and alpha made to fit, and strength."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from physgan.errors import OutOfMemory, UsageError
from physgan.images.picture import Page
from physgan.resize import bicubic
from physgan.restore.device import Elsewhere, is_conditional, with_room
from physgan.restore.memory import device_of, given_back, pixels_at_once, ran_out, surely_fits
from physgan.restore.progress import Progress, part_of, untold
from physgan.restore.statistics import normalisations
from physgan.restore.tiled import PIXELS, conditioned_by, restore_tiled, room_for, tile_side
from physgan.restore.tiles import Sides, height_and_width
from physgan.restore.whole import in_its_channels, padded, restore_whole
from physgan.types import RestoreFn

_log = logging.getLogger("physgan")

SMALL = 1 << 16
"""pixels of an image that is restored whole without further thought"""
_LEAST = 32
"""pixels to a side of the smallest tiles that are worth trying"""


@dataclass
class Room:
    """What memory had room for: sides of tiles, once larger ones had found none."""

    least: tuple[int, int] | None = None

    def within(self, sides: Sides) -> Sides:
        """No larger than that."""
        if self.least is None:
            return sides
        rows, columns = height_and_width(sides)
        return min(rows, self.least[0]), min(columns, self.least[1])


def restore_page(
    fn: RestoreFn,
    page: Page,
    *,
    strength: float = 1.0,
    tile: Sides | None = None,
    progress: Progress = untold,
    room: Room | None = None,
) -> Page:
    """Restores colour or grey, whatever the restorer was made for, and keeps alpha.

    A restorer of three channels gives grey back for grey, the mean of what it makes of three equal
    channels; one of a single channel restores each colour by itself. Transparency is kept, enlarged
    with the picture.

    Args:
        fn: the restorer.
        page: colour and alpha.
        strength: 0 leaves the page as it is (enlarged bicubically where the restorer enlarges), 1
            is what the restorer makes of it; between, a mixture of both.
        tile: side of the tiles that a large page is cut into, or height and width; None chooses.
            The result depends on it, and on whether there are any, by rounding alone; where memory
            runs out all the same, it is halved, with a warning.
        progress: told now and then what share of the page is done.
        room: what is known of memory from other parts of the same picture, and is kept for more.

    Returns:
        The page restored, `fn.scale` times as large.

    Raises:
        OutOfMemory: there is none left for the smallest tiles, or for the result.
        UsageError: a strength outside [0, 1].
    """
    check_strength(strength)
    room = Room() if room is None else room
    x_hat = _in_its_channels(fn, page.colour[None], tile, progress, room)
    return finished(fn, page, x_hat, strength)


def finished(fn: RestoreFn, page: Page, x_hat: Tensor, strength: float) -> Page:
    """The page that `x_hat`, 1×C×(scale·h)×(scale·w), is the restored colour of."""
    alpha = None if page.alpha is None else enlarged(page.alpha[None], fn.scale)[0]
    return Page(_mixed(fn, page.colour[None], x_hat, strength)[0], alpha)


def restore_images(
    fn: RestoreFn,
    y: Tensor,
    *,
    strength: float = 1.0,
    tile: Sides | None = None,
    progress: Progress = untold,
) -> Tensor:
    """As `restore_page`, for images N×C×h×w in [0, 1] of 1 or 3 channels, or of the restorer's.

    Raises:
        OutOfMemory: as `restore_page`.
        ShapeError: wrong rank, type or channels.
        UsageError: as `restore_page`.
    """
    check_strength(strength)
    return _mixed(fn, y, _in_its_channels(fn, y, tile, progress, Room()), strength)


def check_strength(strength: float) -> None:
    """Raises UsageError unless it lies in [0, 1]."""
    if not 0 <= strength <= 1:
        raise UsageError("strength of restoring", expected="0 to 1", got=f"{strength:g}")


def _mixed(fn: RestoreFn, y: Tensor, x_hat: Tensor, strength: float) -> Tensor:
    if strength == 1:
        return x_hat
    return torch.lerp(enlarged(y.detach(), fn.scale), x_hat, strength).clamp(0, 1)


def _in_its_channels(
    fn: RestoreFn, y: Tensor, tile: Sides | None, progress: Progress, room: Room
) -> Tensor:
    channels = y.shape[1] if y.ndim == 4 else 0
    if channels == 1 and fn.channels != 1:
        colour = _run(fn, in_its_channels(fn, y), tile, progress, room)
        return colour.mean(dim=1, keepdim=True)
    if fn.channels == 1 and channels > 1:
        planes = [
            _run(fn, plane, tile, part_of(progress, done / channels, (done + 1) / channels), room)
            for done, plane in enumerate(y.split(1, dim=1))
        ]
        return torch.cat(planes, dim=1)
    return _run(fn, y, tile, progress, room)  # where it does not fit, its own refusal says so


def _run(fn: RestoreFn, y: Tensor, tile: Sides | None, progress: Progress, room: Room) -> Tensor:
    """Restores in one piece or in tiles, as memory allows, and in smaller ones where it did not."""
    asked = None if tile is None or fn.receptive_field is None else room.within(tile)
    sides, chosen = asked, asked is not None
    known: RestoreFn | None = None  # with what it takes of the whole
    result: Tensor | None = None
    while True:
        device = device_of(fn)
        try:
            if isinstance(fn, Elsewhere):
                fn.settle(y)
            if not chosen:
                sides, chosen = _sides(fn, y), True
            if sides is None:
                x_hat = restore_whole(fn, y)
                progress(1.0)
                return x_hat
            known = known or conditioned_by(fn, y)
            if result is None:
                result = _room_for(fn, y)
            return restore_tiled(known, y, tile=sides, progress=progress, result=result)
        except OutOfMemory:  # for the result, which smaller tiles would not change
            raise
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        given_back()  # with the fault goes what it held
        # Smaller tiles help where it was tiles that found no room, or the whole.
        cut = chosen and (sides is None or known is not None) and _tiles_help(fn)
        smaller = _smaller(fn, y, sides) if cut else None
        if smaller is not None:
            sides = room.least = smaller
        elif isinstance(fn, Elsewhere) and fn.fall_back(device):
            known, sides, chosen = None, asked, asked is not None
        else:
            raise OutOfMemory(
                f"picture of {y.shape[3]}×{y.shape[2]}",
                expected="memory for a tile of it",
                got="none left",
                remedy="Close other programs, or restore a part of the picture."
                if cut
                else "These weights look at the whole picture at once: restore a part of it.",
            )


def _room_for(fn: RestoreFn, y: Tensor) -> Tensor:
    """Memory for the result.

    Raises:
        OutOfMemory: there is none.
    """
    try:
        return room_for(fn, y)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        height, width = (fn.scale * side for side in y.shape[2:])
        raise OutOfMemory(
            f"result of {width}×{height}",
            expected="memory for all of it",
            got="none left",
            remedy="Close other programs, or restore a part of the picture.",
        ) from None


def _sides(fn: RestoreFn, y: Tensor) -> Sides | None:
    """Sides of the tiles that an image is cut into; None: it is restored whole."""
    if fn.receptive_field is None or y.ndim != 4:
        return None
    images = y.shape[0]
    pixels = images * y.shape[2] * y.shape[3]
    if pixels <= SMALL or (pixels <= PIXELS and surely_fits(fn, pixels)):
        return None
    room = _room(fn)
    if pixels <= room or not _can_be_cut(fn):
        return None
    return tile_side(fn, pixels=room // images)


def chosen_side(fn: RestoreFn) -> int:
    """Side of the tiles that memory allows for an image at a time, on the CPU if nowhere else."""
    return with_room(fn, lambda: tile_side(fn, pixels=_room(fn)))


def _room(fn: RestoreFn) -> int:
    """Pixels to restore at a time."""
    # Statistics over tiles take many times as long as those of the whole: all that memory allows.
    fed = fn.global_statistics and not is_conditional(fn)
    return pixels_at_once(fn) if fed else min(pixels_at_once(fn), PIXELS)


def _can_be_cut(fn: RestoreFn) -> bool:
    """Whether what a restorer takes of the whole image, if anything, can be handed to it."""
    if not fn.global_statistics or is_conditional(fn):
        return True
    return normalisations(fn, padded(fn, torch.zeros(1, fn.channels, 64, 64))) > 0


def _tiles_help(fn: RestoreFn) -> bool:
    """Whether an image may be restored in tiles, as far as there is room to find out."""
    try:
        return fn.receptive_field is not None and _can_be_cut(fn)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return False


def _smaller(fn: RestoreFn, y: Tensor, sides: Sides | None) -> tuple[int, int] | None:
    """The next sides to try where memory ran out; None where smaller ones hardly take less."""
    rows, columns = y.shape[2:]
    if sides is not None:
        down, across = height_and_width(sides)
        rows, columns = min(down, rows), min(across, columns)
    if max(rows, columns) <= max(2 * _LEAST, fn.receptive_field or 0):
        return None
    smaller = (rows // 2, columns) if rows > columns else (rows, columns // 2)
    _log.warning(
        "memory ran out at tiles of %d×%d px; going on with %d×%d",
        columns,
        rows,
        smaller[1],
        smaller[0],
    )
    return smaller


def enlarged(image: Tensor, scale: int) -> Tensor:
    """Images N×C×h×w in [0, 1], `scale` times as large by `physgan.resize.bicubic`, clamped.

    What a restorer that enlarges is mixed with, and measured against.
    """
    return image if scale == 1 else bicubic(image, up=scale).clamp(0, 1)
