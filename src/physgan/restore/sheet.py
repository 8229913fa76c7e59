"""Contact sheets: each picture of a run before and after, small, with its name below.

Above each column of a page stands which is which.

A sheet has as many pages as it needs, a file each: NAME.png, NAME-2.png, NAME-3.png ... Only the
page at hand is in memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from physgan.errors import ImageError, UsageError
from physgan.files import replacing
from physgan.images.preview import read_preview
from physgan.restore.panels import GAP, WHITE, line_of_text
from physgan.restore.plan import Job

PER_PAGE = 40
_ACROSS = 4
_SIDE = 192
_TEXT = 14
_LINE = _TEXT * 3 // 2
_WIDTH = 2 * _SIDE + GAP // 2
_HEADING = _LINE + GAP // 2

_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


class Written(NamedTuple):
    """A page that was written."""

    page: Path
    pictures: int
    """that it names, the failed ones included"""
    failed: int


def pages_of(path: Path, pictures: int) -> list[Path]:
    """The files that a sheet of so many pictures becomes."""
    count = max(1, -(-pictures // PER_PAGE))
    return [path, *(path.with_stem(f"{path.stem}-{page}") for page in range(2, count + 1))]


class Sheet:
    """A contact sheet that grows with the pictures of a run.

    Args:
        path: its first page, ending in .png, .jpg or .jpeg; its folder is made where it is missing.
        jobs: the pictures.
        others: how many more will be added, such as those that cannot be restored.
        overwrite: replaces pages that are there.

    Raises:
        UsageError: the name has another ending, a page is there or is a picture of the run, or
            results take the place of their pictures, which then cannot be shown.
    """

    def __init__(
        self, path: Path, jobs: Sequence[Job], *, others: int = 0, overwrite: bool = False
    ) -> None:
        what, kinds = f"sheet '{path}'", ", ".join(_KINDS)
        if path.suffix.lower() not in _KINDS:
            raise UsageError(what, expected=f"a name ending in {kinds}", got=f"'{path.name}'")
        pages = pages_of(path, len(jobs) + others)
        sources = {_whole(job.source) for job in jobs}
        targets = {_whole(job.target) for job in jobs}
        if sources & targets:
            raise UsageError(
                what,
                expected="results in another place than their pictures, to show both",
                got="results that replace them",
                remedy="Name another folder: --output FOLDER.",
            )
        for page in pages:
            if _whole(page) in sources | targets:
                got = "that of a picture of this run"
                raise UsageError(what, expected="a name of its own", got=f"'{page}', {got}")
            if page.exists() and not overwrite:
                raise UsageError(
                    f"sheet '{page}'",
                    expected="no file of that name",
                    got="one",
                    remedy="Replace it with --overwrite, or name another.",
                )
        self._pages, self._cells, self._failed = pages, list[Image.Image](), 0
        self._overwrite = overwrite

    def add(self, name: str, before: Path, after: Path | None) -> Written | None:
        """Adds a picture, and writes the page that is full by it.

        Args:
            name: what stands below it.
            before: the picture; one that cannot be read leaves its place empty.
            after: the result; None where it failed, which is told in its place.

        Returns:
            The page, if one was written.

        Raises:
            ImageError: the page cannot be written.
        """
        self._cells.append(_cell(name, before, after))
        self._failed += after is None
        return self.end() if len(self._cells) == PER_PAGE else None

    @property
    def page(self) -> Path:
        """The page at hand."""
        return self._pages[0]

    def end(self) -> Written | None:
        """Writes what is left, as `add` does."""
        if not self._cells:
            return None
        cells, failed = self._cells, self._failed
        self._cells, self._failed = [], 0
        page = self.page
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
            with replacing(page, overwrite=self._overwrite) as beside:
                _drawn(cells).save(beside, format=_KINDS[page.suffix.lower()], quality=90)
        except OSError as error:
            raise ImageError(
                f"sheet '{page}'", expected="a place that can be written", got=str(error)
            ) from None
        self._pages.pop(0)
        return Written(page, len(cells), failed)


def _whole(path: Path) -> Path:
    """A path that is the same for the same place."""
    return Path(os.path.realpath(path))


def _cell(name: str, before: Path, after: Path | None) -> Image.Image:
    """Both pictures, and the name below; as high as that takes."""
    left, right = _small(before), None if after is None else _small(after)
    if left is not None and right is not None and max(left.size) < max(right.size):
        left = left.resize(right.size, Image.Resampling.NEAREST)  # what was enlarged
    if right is None:
        right = line_of_text("failed" if after is None else "not shown", size=_TEXT)
    tall = max(right.height, left.height if left is not None else 0)
    cell = Image.new("RGB", (_WIDTH, tall + GAP // 2 + _LINE), WHITE)
    for place, image in ((0, left), (_WIDTH - _SIDE, right)):
        if image is not None:
            cell.paste(image, (place, tall - image.height))
    cell.paste(line_of_text(name, size=_TEXT, width=_WIDTH), (0, tall + GAP // 2))
    return cell


def _small(path: Path) -> Image.Image | None:
    try:
        return Image.fromarray(read_preview(path, longest=_SIDE))
    except ImageError:
        return None


def _drawn(cells: Sequence[Image.Image]) -> Image.Image:
    """A page: cells in rows, white around them, and headings above."""
    across = min(_ACROSS, len(cells))
    rows = [cells[start : start + _ACROSS] for start in range(0, len(cells), _ACROSS)]
    heights = [max(cell.height for cell in row) for row in rows]
    gap = 2 * GAP
    size = across * (_WIDTH + gap) + gap, _HEADING + sum(heights) + gap * (len(rows) + 1)
    page = Image.new("RGB", size, WHITE)
    lefts = [gap + column * (_WIDTH + gap) for column in range(across)]
    for left in lefts:
        for place, heading in ((left, "before"), (left + _WIDTH - _SIDE, "after")):
            page.paste(line_of_text(heading, size=_TEXT), (place, gap))
    bottom = gap + _HEADING
    for row, height in zip(rows, heights, strict=True):
        bottom += height
        for cell, left in zip(row, lefts, strict=False):
            page.paste(cell, (left, bottom - cell.height))  # names in a line
        bottom += gap
    return page
