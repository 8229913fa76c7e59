"""Restoring one picture file into another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from physgan.errors import ImageError
from physgan.images.picture import Picture, read_picture
from physgan.images.strips import Strips, open_strips
from physgan.images.write import kind_of_picture, write_picture
from physgan.restore.device import is_conditional
from physgan.restore.pages import restore_pages
from physgan.restore.progress import Progress, untold
from physgan.restore.strips import by_window, restore_strips
from physgan.types import RestoreFn

STREAMED = 1 << 22
"""Pixels from which a picture is restored in strips, where its kind of file allows it."""


def restore_file(
    fn: RestoreFn,
    source: Path,
    target: Path,
    *,
    strength: float = 1.0,
    tile: int | None = None,
    overwrite: bool = True,
    progress: Progress = untold,
) -> None:
    """Restores one picture file: all of its pages, with all of its metadata.

    The target is written beside its place and renamed; its folder is made where it is missing.
    Large pictures are read, restored and written in strips.

    Raises:
        ImageError: the source cannot be read, or the target cannot be written or hold it, or is
            there and may not be replaced.
    """
    opened = open_file(fn, source, progress=progress)
    restored = restore_opened(
        fn,
        opened,
        target,
        strength=strength,
        tile=tile,
        overwrite=overwrite,
        progress=progress,
    )
    if restored is not None:
        write_file(target, restored, overwrite=overwrite)


def open_file(fn: RestoreFn, source: Path, *, progress: Progress = untold) -> Picture | Strips:
    """What `fn` restores of a file: the picture, or, of a large one, what reads it in strips.

    Args:
        fn: the restorer.
        source: a picture file.
        progress: told before each page is read that nothing is done yet; what it raises ends that.

    Raises:
        ImageError: the source cannot be read.
    """
    bounded = not fn.global_statistics
    if fn.receptive_field is not None and (bounded or is_conditional(fn)):
        strips = open_strips(source, above=STREAMED)
        if strips is not None and (bounded or by_window(fn, strips.form.channels)):
            return strips
    return read_picture(source, before_page=lambda: progress(0.0))


def restore_opened(
    fn: RestoreFn,
    opened: Picture | Strips,
    target: Path,
    *,
    strength: float = 1.0,
    tile: int | None = None,
    overwrite: bool = True,
    progress: Progress = untold,
) -> Picture | None:
    """Restores what `open_file` gave: a picture that is yet to be written; strips into `target`.

    Raises:
        ImageError: as `restore_strips`; or the target cannot hold the picture.
    """
    if isinstance(opened, Strips):
        _make_folder(target)
        restore_strips(
            fn,
            opened,
            target,
            strength=strength,
            tile=tile,
            overwrite=overwrite,
            progress=progress,
        )
        return None
    kind_of_picture(target, opened, scale=fn.scale)  # before the work, not after it
    pages = restore_pages(fn, opened.pages, strength=strength, tile=tile, progress=progress)
    return replace(opened, pages=tuple(pages))


def write_file(target: Path, picture: Picture, *, overwrite: bool = True) -> None:
    """Writes a restored picture, and makes its folder where it is missing.

    Raises:
        ImageError: the target cannot be written or hold the picture, or is there and may not be
            replaced.
    """
    _make_folder(target)
    write_picture(target, picture, overwrite=overwrite)


def taken(target: Path, *, remedy: str) -> ImageError:
    """What to say where a result would replace a file that nobody wanted replaced."""
    return ImageError(
        f"result '{target}'", expected="no file of that name", got="one", remedy=remedy
    )


def _make_folder(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"result '{target}'", expected="a folder that can be written", got=str(error)
        ) from None
