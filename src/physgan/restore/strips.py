"""Restoring picture files that are too large for memory: read, restored and written in strips.

A strip is restored with the rows above and below that its pixels depend on, and these are cut away:
the file that comes out is that of the whole picture, and memory is that of a strip. A restorer that
looks at one part of the whole first, for its kernel, has that part found by reading the file twice.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from physgan.errors import OutOfMemory, ShapeError
from physgan.images.picture import Page
from physgan.images.strips import Strips, writing_strips
from physgan.networks.window import Search
from physgan.restore.device import Elsewhere, middle, with_room
from physgan.restore.memory import ran_out
from physgan.restore.page import Room, chosen_side, restore_page
from physgan.restore.progress import Progress, part_of, untold
from physgan.restore.tiles import margin_of, on_grid
from physgan.restore.whole import MINIMUM, in_its_channels, padded, padded_side
from physgan.types import Conditional, RestoreFn

_BICUBIC = 2
"""rows on either side that enlargement of alpha, or of what is mixed in, looks at"""
_ROWS = 256
"""that are read at a time where a file is only looked at; not below `whole.MINIMUM`"""
_VALUES = 1 << 24
"""pixels of a strip, or of its result, at most; but no strip is lower than its margins together"""
_LOOKING = 0.05
"""share of the work that this is, rather more than less"""


def by_window(fn: RestoreFn, channels: int) -> int | None:
    """Side of the one part that `fn` looks at before it restores a picture of so many channels.

    None: it looks at none, or at all of the picture, or, of one channel, at each colour by itself.
    """
    apart = fn.channels == 1 and channels != 1
    if apart or not fn.global_statistics or not isinstance(fn, Conditional):
        return None
    return fn.window


def restore_strips(
    fn: RestoreFn,
    strips: Strips,
    target: Path,
    *,
    strength: float = 1.0,
    tile: int | None = None,
    overwrite: bool = True,
    progress: Progress = untold,
) -> None:
    """Restores a picture file strip by strip into another.

    Args:
        fn: a restorer of bounded receptive field without global statistics, or one that looks at
            one part for them, see `by_window`.
        strips: the picture, from `open_strips`, nothing of it read yet.
        target: the file that it shall become, in a folder that is there.
        strength: see `restore_page`.
        tile: height of the strips and width of the tiles in them; None chooses. The last strip may
            be higher.
        overwrite: whether a target that is there by the end is replaced.
        progress: told after each tile what share of the picture is done.

    Raises:
        ImageError: the file is damaged or changes, or the target cannot be written or hold the
            picture.
        OutOfMemory: there is none left.
        ShapeError: `fn` looks at all of the picture.
    """
    height, scale = strips.height, fn.scale
    with writing_strips(
        target,
        strips.form,
        height=scale * height,
        width=scale * strips.width,
        transparent=bool(strips.alphas),
        overwrite=overwrite,
    ) as take:  # which refuses what cannot be written, before the work
        if fn.global_statistics:
            fn = _conditioned(fn, strips.again(), part_of(progress, 0.0, _LOOKING))
            progress = part_of(progress, _LOOKING, 1.0)
        elif isinstance(fn, Elsewhere) and not fn.settled:
            fn = _settled(fn, strips.again())
        side = on_grid(fn, tile if tile is not None else chosen_side(fn))
        # No window is so low that it would be padded below, where the whole goes on.
        margin = max(margin_of(fn), on_grid(fn, _BICUBIC), on_grid(fn, MINIMUM))
        # Memory is that of the whole width.
        high = on_grid(fn, max(2 * margin, _VALUES // (strips.width * scale**2)))
        high = side if tile is not None else min(side, high)
        room = Room()
        window, start, top = strips.read(high + margin), 0, 0
        while top < height:
            bottom = min(top + high, height)
            end = start + window.colour.shape[1]
            if end < min(bottom + margin, height):
                above = max(0, top - margin)
                rest = strips.read(bottom + margin - end)
                window, start = _below(_rows(window, above - start, None), rest), above
                end = start + window.colour.shape[1]
            if end == height:  # there is nothing below that it would have to be restored again for
                bottom = height
            within = part_of(progress, top / height, bottom / height)
            # One tile from top to bottom of the strip with its margins; several from left to right.
            sides = (window.colour.shape[1], side)
            restored = restore_page(
                fn, window, strength=strength, tile=sides, progress=within, room=room
            )
            take(_rows(restored, scale * (top - start), scale * (bottom - start)))
            top = bottom
        strips.require_same()


def _settled(fn: Elsewhere, strips: Strips) -> Elsewhere:
    """`fn` in one precision for all strips, which the middle of the picture decides."""
    rows, columns = middle(strips.height, strips.width)
    strips.skip(rows.start)
    colour = strips.read(rows.stop - rows.start).colour[None, :, :, columns]
    fn.settle_by(in_its_channels(fn, colour))
    return fn.as_settled()


def _conditioned(fn: RestoreFn, strips: Strips, progress: Progress) -> RestoreFn:
    """`fn` with what it takes of the whole picture."""
    side = by_window(fn, strips.form.channels)
    if side is None or not isinstance(fn, Conditional):
        raise ShapeError(
            "restorer of a picture in strips",
            expected="one that looks at one part of the whole at most",
            got="one that takes statistics of all of it",
            remedy="Read the picture whole.",
        )
    height, width = (padded_side(each, fn.multiple_of) for each in (strips.height, strips.width))
    search, rows, left = Search(height, width, side), on_grid(fn, _ROWS), strips.height
    across, along = middle(strips.height, strips.width)
    piece: list[Tensor] = []
    while left:
        # The last rows are enough to be mirrored below themselves, as those of the whole are.
        top = strips.height - left
        page = strips.read(rows if left >= 2 * rows else left)
        left -= page.colour.shape[1]
        y = in_its_channels(fn, page.colour[None])
        piece.append(y[:, :, max(0, across.start - top) : max(0, across.stop - top), along].clone())
        search.add(padded(fn, y))
        progress(1 - left / strips.height)
    window = search.found()

    def conditioned() -> RestoreFn:
        if isinstance(fn, Elsewhere):
            fn.settle_by(torch.cat(piece, dim=2))
        with torch.inference_mode():
            return fn.conditioned(window)

    try:
        return with_room(fn, conditioned)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    raise OutOfMemory(
        f"picture file '{strips.path}'",
        expected="memory to find its kernel",
        got="none left",
        remedy="Close other programs.",
    )


def _rows(page: Page, start: int, stop: int | None) -> Page:
    alpha = None if page.alpha is None else page.alpha[:, start:stop]
    return Page(page.colour[:, start:stop], alpha)


def _below(first: Page, second: Page) -> Page:
    """Two pages, the second one below the first."""
    alpha = None
    if first.alpha is not None and second.alpha is not None:
        alpha = torch.cat([first.alpha, second.alpha], dim=1)
    return Page(torch.cat([first.colour, second.colour], dim=1), alpha)
