"""Restoring files and folders of them: what goes where, and one picture after another.

A fault in one picture never costs another its result: it is an outcome beside the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from physgan.errors import ImageError, PhysganError
from physgan.images.picture import KINDS, read_picture
from physgan.images.write import write_picture
from physgan.restore.page import restore_page
from physgan.types import RestoreFn


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
        if path.is_dir():
            found, stray = _pictures_in(path, output, recursive=recursive)
            faults += [_stray(file) for file in stray]
            if not found:
                faults.append(_empty(path, recursive=recursive))
            jobs += [Job(file, output / file.relative_to(path)) for file in found]
        elif path.exists():
            jobs.append(Job(path, output / path.name))
        else:
            faults.append(
                ImageError(f"picture '{path}'", expected="a file or a folder", got="nothing there")
            )
    return _without_clashes(jobs, faults)


def restore_files(
    fn: RestoreFn,
    jobs: Sequence[Job],
    *,
    strength: float = 1.0,
    tile: int | None = None,
    skip_existing: bool = False,
    overwrite: bool = False,
) -> Iterator[Outcome]:
    """Restores pictures one by one and tells what became of each.

    Args:
        fn: the restorer.
        jobs: from `plan`.
        strength: see `restore_page`.
        tile: see `restore_page`.
        skip_existing: leaves jobs alone whose target is there.
        overwrite: replaces targets that are there. Without either they are a fault.

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
            restore_file(fn, job.source, job.target, strength=strength, tile=tile)
        except PhysganError as error:
            yield Outcome(job.source, job.target, "failed", time.monotonic() - began, error)
        else:
            yield Outcome(job.source, job.target, "restored", time.monotonic() - began)


def restore_file(
    fn: RestoreFn, source: Path, target: Path, *, strength: float = 1.0, tile: int | None = None
) -> None:
    """Restores one picture file: all of its pages, with all of its metadata.

    The target is written beside its place and renamed; its folder is made where it is missing.

    Raises:
        ImageError: the source cannot be read, or the target cannot be written or hold it.
    """
    picture = read_picture(source)
    pages = tuple(restore_page(fn, page, strength=strength, tile=tile) for page in picture.pages)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"result '{target}'", expected="a folder that can be written", got=str(error)
        ) from None
    write_picture(target, replace(picture, pages=pages))


def _pictures_in(folder: Path, output: Path, *, recursive: bool) -> tuple[list[Path], list[Path]]:
    """Picture files of a folder and other files in it, sorted; results of earlier runs left out."""
    inside = output.resolve()
    files = [
        path
        for path in (folder.rglob("*") if recursive else folder.iterdir())
        if path.is_file()
        and not path.name.startswith(".")
        and not (inside != folder.resolve() and path.resolve().is_relative_to(inside))
    ]
    files.sort(key=lambda path: path.relative_to(folder).as_posix())
    pictures = [path for path in files if path.suffix.lower() in KINDS]
    return pictures, [path for path in files if path.suffix.lower() not in KINDS]


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
