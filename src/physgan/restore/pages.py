"""Restoring many pages, small ones of one size together.

A network takes a batch of small images in a fraction of the time that they take one by one. Images
are padded to a size that it takes in any case: those of one padded size make a batch, and each
comes out as it would alone, to rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch

from physgan.images.picture import Page
from physgan.restore.page import SMALL, finished, restore_images, restore_page
from physgan.restore.progress import Progress, part_of, untold
from physgan.restore.tiles import Sides
from physgan.restore.whole import padded, padded_side
from physgan.types import RestoreFn


def restore_pages(
    fn: RestoreFn,
    pages: Sequence[Page],
    *,
    strength: float = 1.0,
    tile: Sides | None = None,
    progress: Progress = untold,
) -> list[Page]:
    """As `restore_page`, for any number of pages of any sizes; results in their order.

    Args:
        fn: the restorer.
        pages: to restore.
        strength: see `restore_page`.
        tile: see `restore_page`; where given, no page is restored together with others.
        progress: told now and then what share of the pages is done.
    """
    restored: dict[int, Page] = {}
    for batch in _batches(fn, pages, apart=tile is not None):
        done = len(restored)
        told = part_of(progress, done / len(pages), (done + len(batch)) / len(pages))
        chosen = [pages[number] for number in batch]
        if len(batch) == 1:
            results = [restore_page(fn, chosen[0], strength=strength, tile=tile, progress=told)]
        else:
            results = _together(fn, chosen, strength, told)
        restored.update(zip(batch, results, strict=True))
    return [restored[number] for number in range(len(pages))]


def padded_size(fn: RestoreFn, page: Page) -> tuple[int, ...]:
    """What pages have in common that make a batch: channels, and height and width as padded."""
    channels, *sides = page.colour.shape
    return channels, *(padded_side(side, fn.multiple_of) for side in sides)


def _batches(fn: RestoreFn, pages: Sequence[Page], *, apart: bool) -> Iterator[list[int]]:
    """Which pages are restored together, by their numbers."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, page in enumerate(pages):
        alike[padded_size(fn, page)].append(number)
    for (_, height, width), numbers in alike.items():
        most = 1 if apart else max(1, SMALL // (height * width))
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))


def _together(
    fn: RestoreFn, pages: Sequence[Page], strength: float, progress: Progress
) -> list[Page]:
    """Restores pages of one padded size in one batch."""
    y = torch.cat([padded(fn, page.colour[None]) for page in pages])
    x_hat = restore_images(fn, y, progress=progress)
    results = []
    for page, result in zip(pages, x_hat.split(1), strict=True):
        height, width = (fn.scale * side for side in page.colour.shape[1:])
        results.append(finished(fn, page, result[:, :, :height, :width], strength))
    return results
