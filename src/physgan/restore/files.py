"""Restoring many files: reading and writing go on beside the computing, small pictures together.

A fault in one picture never costs another its result: it is an outcome beside the others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from physgan.errors import ImageError, PhysganError
from physgan.images.picture import Picture
from physgan.images.strips import Strips
from physgan.restore.ahead import ahead
from physgan.restore.file import open_file, restore_opened, write_file
from physgan.restore.page import SMALL
from physgan.restore.pages import restore_pages
from physgan.restore.plan import Job
from physgan.restore.progress import Progress, part_of, untold
from physgan.types import RestoreFn

_WAITING = 1 << 22
"""pixels of pictures that may wait to be restored, and of results that may wait to be written"""
_TOGETHER = 16 * SMALL
"""pixels of small pictures among which those of one size are looked for"""
_MOST = 512
"""pictures in a group, however small"""


@dataclass(frozen=True)
class Outcome:
    """What became of one job: restored, skipped because its target was there, or failed."""

    source: Path
    target: Path
    status: str
    """`restored`, `skipped` or `failed`"""
    seconds: float = 0.0
    """that it took, of those restored together its share"""
    error: PhysganError | None = None


def restore_files(
    fn: RestoreFn,
    jobs: Sequence[Job],
    *,
    strength: float = 1.0,
    tile: int | None = None,
    skip_existing: bool = False,
    overwrite: bool = False,
    progress: Progress = untold,
) -> Iterator[Outcome]:
    """Restores pictures and tells what became of each.

    Args:
        fn: the restorer.
        jobs: from `plan`.
        strength: see `restore_page`.
        tile: see `restore_page`.
        skip_existing: leaves jobs alone whose target is there.
        overwrite: replaces targets that are there. Without either they are a fault.
        progress: told now and then what share of all jobs is restored.

    Yields:
        One outcome for each job, in order.
    """
    targets: set[Path] = set()

    def opened(job: Job) -> _Work:
        work = _Work(job)
        with work.step():
            there = job.target in targets or job.target.exists()
            if there and skip_existing:
                return work
            if there and (job.target in targets or not overwrite):
                raise _taken(job.target)
            targets.add(job.target)
            work.picture = open_file(fn, job.source)
        return work

    done = 0
    writing: deque[tuple[_Work, Future[Outcome]]] = deque()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="writing") as writer,
        ahead(opened, jobs, weight=_pixels, room=_WAITING) as works,
    ):
        for group in _groups(works):
            told = part_of(progress, done / len(jobs), (done + len(group)) / len(jobs))
            _restore(fn, group, strength, tile, told)
            done += len(group)
            writing += [(work, writer.submit(work.finish)) for work in group]
            while writing and (
                writing[0][1].done() or sum(_pixels(work) for work, _ in writing) > _WAITING
            ):
                yield writing.popleft()[1].result()
        for _, outcome in writing:
            yield outcome.result()


class _Work:
    """A job under way: its picture, then the restored one, then nothing, and what went wrong."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.picture: Picture | Strips | None = None
        self._status, self._seconds = "skipped", 0.0
        self._error: PhysganError | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Counts the time, and keeps a fault."""
        began = time.monotonic()
        try:
            yield
        except PhysganError as error:
            self.picture, self._status, self._error = None, "failed", error
        self._seconds += time.monotonic() - began

    def restored(self, picture: Picture | None, seconds: float = 0.0) -> None:
        """Takes the result, or None where it is written already."""
        self.picture, self._status = picture, "restored"
        self._seconds += seconds

    def finish(self) -> Outcome:
        """Writes the result, where there is one left to write, and tells how all went."""
        if isinstance(self.picture, Picture):
            with self.step():
                write_file(self.job.target, self.picture)
            self.picture = None
        return Outcome(self.job.source, self.job.target, self._status, self._seconds, self._error)


def _groups(works: Iterable[_Work]) -> Iterator[list[_Work]]:
    """Small pictures in groups, others by themselves, all in order."""
    group: list[_Work] = []
    for work in works:
        if _is_large(work):
            if group:
                yield group
            yield [work]
            group = []
            continue
        group.append(work)
        if len(group) >= _MOST or sum(map(_pixels, group)) >= _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _restore(
    fn: RestoreFn, group: Sequence[_Work], strength: float, tile: int | None, progress: Progress
) -> None:
    """Restores a group from `_groups`."""
    pictures = {work: work.picture for work in group if isinstance(work.picture, Picture)}
    if len(pictures) > 1:
        began = time.monotonic()
        pages = [page for picture in pictures.values() for page in picture.pages]
        try:
            restored = restore_pages(fn, pages, strength=strength, tile=tile, progress=progress)
        except PhysganError:
            for work in group:  # so that what is wrong with one costs the others nothing
                _restore(fn, [work], strength, tile, untold)
            return
        each, seconds = iter(restored), (time.monotonic() - began) / len(pictures)
        for work, picture in pictures.items():
            work.restored(replace(picture, pages=tuple(islice(each, len(picture.pages)))), seconds)
        return
    for work in group:
        if work.picture is not None:
            with work.step():
                result = restore_opened(
                    fn,
                    work.picture,
                    work.job.target,
                    strength=strength,
                    tile=tile,
                    progress=progress,
                )
                work.restored(result)


def _pixels(work: _Work) -> int:
    """Of a picture that is in memory."""
    if not isinstance(work.picture, Picture):
        return 0
    return sum(page.colour[0].numel() for page in work.picture.pages)


def _is_large(work: _Work) -> bool:
    return isinstance(work.picture, Strips) or _pixels(work) > SMALL


def _taken(target: Path) -> ImageError:
    return ImageError(
        f"result '{target}'",
        expected="no file of that name",
        got="one",
        remedy="Replace it with --overwrite, leave it with --skip-existing.",
    )
