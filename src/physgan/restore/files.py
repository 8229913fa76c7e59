"""Restoring files and folders of them: what goes where, and one picture after another.

A fault in one picture never costs another its result: it is an outcome beside the others.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from physgan.errors import ImageError, PhysganError
from physgan.images.picture import KINDS, read_picture
from physgan.images.strips import open_strips
from physgan.images.write import write_picture
from physgan.restore.page import restore_page
from physgan.restore.strips import restore_strips
from physgan.types import RestoreFn

STREAMED = 1 << 22
"""Pixels from which a picture is restored in strips, where its kind of file allows it."""


@dataclass(frozen=True)
class Job:
    """One picture to restore, and the file that it shall become."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one job: restored, skipped because it was there, or failed."""

    source: Path
    target: Path
    status: str
    """`restored`, `skipped` or `failed`"""
    seconds: float = 0.0
    error: PhysganError | None = None


def plan(
    paths: Sequence[Path], output: Path, *, recursive: bool = False
) -> tuple[list[Job], list[ImageError]]:
    """What is to be restored, and what of the request cannot be.

    A file goes to `output` under its own name; a folder's pictures keep their path relative to it.

    Args:
        paths: files and folders.
        output: the folder of the results.
        recursive: also takes what lies deeper in folders.

    Returns:
        Jobs in order, and faults: paths that are not there, folders without pictures, files in
        folders that are no pictures, two pictures that would become one file.
    """
    jobs: list[Job] = []
    faults: list[ImageError] = []
    for path in paths:
        try:
            folder = stat.S_ISDIR(path.stat().st_mode)
        except (OSError, ValueError) as error:
            faults.append(_unreachable(path, error))
            continue
        if not folder:
            jobs.append(Job(path, output / path.name))
            continue
        found, stray = _pictures_in(path, output, recursive=recursive, unread=faults.append)
        faults += [_stray(file) for file in stray]
        if not found:
            faults.append(_empty(path, recursive=recursive))
        jobs += [Job(file, output / file.relative_to(path)) for file in found]
    return _without_clashes(jobs, faults)


def restore_files(
    fn: RestoreFn,
    jobs: Sequence[Job],
    *,
    strength: float = 1.0,
    tile: int | None = None,
    skip_existing: bool = False,
    overwrite: bool = False,
    progress: Callable[[float], object] | None = None,
) -> Iterator[Outcome]:
    """Restores pictures one by one and tells what became of each.

    Args:
        fn: the restorer.
        jobs: from `plan`.
        strength: see `restore_page`.
        tile: see `restore_page`.
        skip_existing: leaves jobs alone whose target is there.
        overwrite: replaces targets that are there. Without either they are a fault.
        progress: told now and then what share of the picture at hand is done.

    Yields:
        One outcome for each job, in order.
    """
    for job in jobs:
        began = time.monotonic()
        if job.target.exists() and skip_existing:
            yield Outcome(job.source, job.target, "skipped")
            continue
        try:
            if job.target.exists() and not overwrite:
                raise ImageError(
                    f"result '{job.target}'",
                    expected="no file of that name",
                    got="one",
                    remedy="Replace it with --overwrite, leave it with --skip-existing.",
                )
            restore_file(
                fn, job.source, job.target, strength=strength, tile=tile, progress=progress
            )
        except PhysganError as error:
            yield Outcome(job.source, job.target, "failed", time.monotonic() - began, error)
        else:
            yield Outcome(job.source, job.target, "restored", time.monotonic() - began)


def restore_file(
    fn: RestoreFn,
    source: Path,
    target: Path,
    *,
    strength: float = 1.0,
    tile: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> None:
    """Restores one picture file: all of its pages, with all of its metadata.

    The target is written beside its place and renamed; its folder is made where it is missing.
    Large pictures are read, restored and written in strips.

    Raises:
        ImageError: the source cannot be read, or the target cannot be written or hold it.
    """
    if fn.receptive_field is not None and not fn.global_statistics:
        strips = open_strips(source)
        if strips is not None and strips.height * strips.width > STREAMED:
            _make_folder(target)
            restore_strips(fn, strips, target, strength=strength, tile=tile, progress=progress)
            return
    picture = read_picture(source)
    pages = []
    for done, page in enumerate(picture.pages):

        def told(share: float, done: int = done) -> None:
            if progress is not None:
                progress((done + share) / len(picture.pages))

        pages.append(restore_page(fn, page, strength=strength, tile=tile, progress=told))
    _make_folder(target)
    write_picture(target, replace(picture, pages=tuple(pages)))


def _make_folder(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"result '{target}'", expected="a folder that can be written", got=str(error)
        ) from None


def _pictures_in(
    folder: Path, output: Path, *, recursive: bool, unread: Callable[[ImageError], object]
) -> tuple[list[Path], list[Path]]:
    """Picture files of a folder and other files in it, sorted; results of earlier runs left out.

    Links that lead nowhere count as files, so that they are told of; `unread` is given a fault for
    each folder that may not be looked into.
    """
    inside = output.resolve()

    def refused(error: OSError) -> None:
        unread(_unreachable(Path(error.filename), error))

    files: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refused):
        # Hidden folders hold what systems put there, previews among it.
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    if inside != folder.resolve():
        files = [path for path in files if not path.resolve().is_relative_to(inside)]
    files.sort(key=lambda path: path.relative_to(folder).as_posix())
    pictures = [path for path in files if path.suffix.lower() in KINDS]
    return pictures, [path for path in files if path.suffix.lower() not in KINDS]


def _unreachable(path: Path, error: OSError | ValueError) -> ImageError:
    number = error.errno if isinstance(error, OSError) else None
    got = {
        errno.ENOENT: "nothing there",
        errno.EACCES: "one that may not be looked at",
    }.get(number or 0, (error.strerror if isinstance(error, OSError) else None) or str(error))
    return ImageError(f"picture '{path}'", expected="a file or a folder", got=got)


def _without_clashes(
    jobs: Sequence[Job], faults: list[ImageError]
) -> tuple[list[Job], list[ImageError]]:
    first: dict[Path, Job] = {}
    for job in jobs:
        if job.target in first:
            faults.append(
                ImageError(
                    f"pictures '{first[job.target].source}' and '{job.source}'",
                    expected="results of different names",
                    got=f"'{job.target}' for both",
                    remedy="Restore them into two folders; the first one is restored now.",
                )
            )
        else:
            first[job.target] = job
    return list(first.values()), faults


def _stray(path: Path) -> ImageError:
    return ImageError(
        f"file '{path}'",
        expected=f"a picture ending in {', '.join(sorted(KINDS))}",
        got=path.suffix or "no ending",
        remedy="It is left out.",
    )


def _empty(path: Path, *, recursive: bool) -> ImageError:
    return ImageError(
        f"folder '{path}'",
        expected="pictures in it",
        got="none",
        remedy="" if recursive else "Look deeper with --recursive.",
    )
