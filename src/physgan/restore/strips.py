"""Restoring picture files that are too large for memory: read, restored and written in strips.

A strip is restored with the rows above and below that its pixels depend on, and these are cut away:
the file that comes out is that of the whole picture, and memory is that of a strip.
"""

from __future__ import annotations

from pathlib import Path

import torch

from physgan.images.picture import Page
from physgan.images.strips import Strips, writing_strips
from physgan.restore.page import chosen_side, restore_page
from physgan.restore.progress import Progress, part_of, untold
from physgan.restore.tiles import margin_of, on_grid
from physgan.types import RestoreFn

_BICUBIC = 2
"""rows on either side that enlargement of alpha, or of what is mixed in, looks at"""


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
        fn: a restorer of bounded receptive field without global statistics.
        strips: the picture, from `open_strips`, nothing of it read yet.
        target: the file that it shall become, in a folder that is there.
        strength: see `restore_page`.
        tile: height of the strips and width of the tiles in them; None chooses.
        overwrite: whether a target that is there by the end is replaced.
        progress: told after each tile what share of the picture is done.

    Raises:
        ImageError: the file is damaged, or the target cannot be written or hold the picture.
    """
    height, scale = strips.height, fn.scale
    side = on_grid(fn, tile if tile is not None else chosen_side(fn))
    margin = max(margin_of(fn), on_grid(fn, _BICUBIC))
    with writing_strips(
        target,
        strips.form,
        height=scale * height,
        width=scale * strips.width,
        transparent=bool(strips.alphas),
        overwrite=overwrite,
    ) as take:
        window, start = strips.read(side + margin), 0
        for top in range(0, height, side):
            bottom = min(top + side, height)
            end = start + window.colour.shape[1]
            if end < min(bottom + margin, height):
                above = max(0, top - margin)
                rest = strips.read(bottom + margin - end)
                window, start = _below(_rows(window, above - start, None), rest), above
            within = part_of(progress, top / height, bottom / height)
            # One tile from top to bottom of the strip with its margins; several from left to right.
            sides = (window.colour.shape[1], side)
            restored = restore_page(fn, window, strength=strength, tile=sides, progress=within)
            take(_rows(restored, scale * (top - start), scale * (bottom - start)))


def _rows(page: Page, start: int, stop: int | None) -> Page:
    alpha = None if page.alpha is None else page.alpha[:, start:stop]
    return Page(page.colour[:, start:stop], alpha)


def _below(first: Page, second: Page) -> Page:
    """Two pages, the second one below the first."""
    alpha = None
    if first.alpha is not None and second.alpha is not None:
        alpha = torch.cat([first.alpha, second.alpha], dim=1)
    return Page(torch.cat([first.colour, second.colour], dim=1), alpha)
