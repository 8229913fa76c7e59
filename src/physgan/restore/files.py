"""Restoring many files: read ahead, small ones of one size together, every core with its own.

A fault in one picture never costs another its result: it is an outcome beside the others.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import local

import torch

from physgan.errors import ImageError, OutOfMemory, PhysganError
from physgan.images.picture import Picture
from physgan.images.strips import Strips
from physgan.images.write import kind_of_picture
from physgan.restore.ahead import ahead
from physgan.restore.device import Elsewhere
from physgan.restore.file import open_file, restore_opened, taken, write_file
from physgan.restore.memory import device_of, pixels_at_once, ran_out, surely_fits
from physgan.restore.page import SMALL, check_strength
from physgan.restore.pages import padded_size, restore_pages
from physgan.restore.plan import Job
from physgan.restore.progress import Progress, part_of, rising, untold
from physgan.restore.whole import in_its_channels
from physgan.types import RestoreFn

_WAITING = 1 << 22
"""pixels of pictures that may wait to be read on, for others of their size, and to be written"""
_PATIENCE = 500
"""pictures that go past one that waits for others of its size"""

_REMEDY = "Replace it with --overwrite, leave it with --skip-existing."


@dataclass(frozen=True, repr=False)
class Outcome:
    """What became of one job: restored, skipped because its target was there, or failed."""

    source: Path
    target: Path
    status: str
    """`restored`, `skipped` or `failed`"""
    seconds: float = 0.0
    """that it took, of those restored together its share"""
    error: PhysganError | None = None

    def __repr__(self) -> str:
        told = f" in {self.seconds:.1f} s" if self.seconds and self.error is None else ""
        why = "" if self.error is None else f": {self.error}"
        return f"Outcome({self.source} -> {self.target}: {self.status}{told}{why})"


def restore_files(
    fn: RestoreFn,
    jobs: Sequence[Job],
    *,
    strength: float = 1.0,
    tile: int | None = None,
    skip_existing: bool = False,
    overwrite: bool = False,
    progress: Progress = untold,
) -> Generator[Outcome, None, None]:
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
        One outcome for each job, in order. Closed early, it ends with the pictures at hand.

    Raises:
        UsageError: a strength outside [0, 1].
    """
    check_strength(strength)
    targets: set[Path] = set()

    def opened(job: Job) -> _Work:
        work = _Work(job, overwrite=overwrite)
        with work.step():
            there, error = target_fault(job, overwrite=overwrite, before=targets)
            if there and skip_existing:
                return work
            if error is not None:
                raise error
            work.picture = open_file(fn, job.source)
            if isinstance(work.picture, Picture):  # before the work, not after it
                kind_of_picture(job.target, work.picture, scale=fn.scale)
            targets.add(job.target)
        return work

    def restore(group: Sequence[_Work], using: RestoreFn, told: Progress = untold) -> Future[None]:
        with _answering(group):
            _restore(using, group, strength, tile, told)
        if before := getattr(own, "written", None):
            wait([before])  # results do not pile up where writing takes longer
        own.written = writing.submit(_write, group)
        written: Future[None] = own.written
        return written

    progress, own = rising(progress), local()
    given: deque[_Work] = deque()  # to be told of, in order
    running: set[Future[Future[None]]] = set()
    ended = 0
    with (
        ThreadPoolExecutor(1, "writing") as writing,
        _one_core_each(fn) as (restoring, cores),
        ahead(opened, jobs, weight=_weight, room=_WAITING) as works,
    ):
        try:
            for group in _groups(fn, _noted(fn, works, given)):
                using = fn
                if isinstance(fn, Elsewhere) and not isinstance(group[0].picture, Strips):
                    # In the precision of now, so that it does not hang upon which thread is first.
                    using = fn.as_settled()
                if _is_large(group[0]) or len(jobs) == 1:
                    wait(running)  # all cores, and memory, are this one's
                    done = (ended + sum(work.outcome.done() for work in given)) / len(jobs)
                    written = restore(group, using, part_of(progress, done, done + 1 / len(jobs)))
                    if _pixels(group[0]) > _WAITING:
                        wait([written])
                else:
                    running.add(restoring.submit(restore, group, using))
                    if len(running) > 2 * cores:
                        _, running = wait(running, return_when=FIRST_COMPLETED)
                while given and given[0].outcome.done():
                    yield given.popleft().outcome.result()
                    ended += 1
                progress((ended + sum(work.outcome.done() for work in given)) / len(jobs))
            for work in given:
                yield work.outcome.result()
                ended += 1
                progress(ended / len(jobs))
        except BaseException:  # nobody waits for those that have not been begun
            restoring.shutdown(wait=False, cancel_futures=True)
            raise


def target_fault(
    job: Job, *, overwrite: bool, before: Collection[Path] = ()
) -> tuple[bool, ImageError | None]:
    """Whether a job's target is there, and the fault that this is, or that nobody can tell.

    Args:
        job: the job.
        overwrite: whether targets are replaced; those of `before` never are.
        before: targets of the jobs before it.
    """
    own = job.target in before
    try:
        there = own or _exists(job.target)
    except ImageError as error:
        return False, error
    fault = there and (own or not overwrite)
    return there, taken(job.target, remedy=_REMEDY) if fault else None


class _Work:
    """A job under way: its picture, then the restored one, then nothing, and what went wrong."""

    def __init__(self, job: Job, *, overwrite: bool) -> None:
        self.job, self.overwrite = job, overwrite
        self.picture: Picture | Strips | None = None
        self.outcome: Future[Outcome] = Future()
        self._status, self._seconds = "skipped", 0.0
        self._error: PhysganError | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Counts the time, and keeps a fault."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            self.picture, self._status = None, "failed"
            self._error = _known(self.job.source, error)
            _without_locals(self._error)
        self._seconds += time.monotonic() - began

    def require_target(self) -> None:
        """Raises ImageError if the target has come to be there since this job was begun."""
        if not self.overwrite and _exists(self.job.target):
            raise taken(self.job.target, remedy=_REMEDY)

    def restored(self, picture: Picture | None, seconds: float = 0.0) -> None:
        """Takes the result, or None where it is written already."""
        self.picture, self._status = picture, "restored"
        self._seconds += seconds

    def finish(self) -> Outcome:
        """Writes the result, where there is one left to write, and tells how all went."""
        if isinstance(self.picture, Picture):
            with self.step():
                self.require_target()
                write_file(self.job.target, self.picture, overwrite=self.overwrite)
            self.picture = None
        seconds = 0.0 if self._status == "skipped" else self._seconds
        return Outcome(self.job.source, self.job.target, self._status, seconds, self._error)


@contextmanager
def _answering(group: Sequence[_Work]) -> Iterator[None]:
    """What goes wrong unexpectedly is raised where the outcomes are asked for."""
    try:
        yield
    except BaseException as error:
        for work in group:
            if not work.outcome.done():
                work.outcome.set_exception(error)
        if not isinstance(error, Exception):  # somebody wants the whole run to end
            raise


def _write(group: Sequence[_Work]) -> None:
    with _answering(group):
        for work in group:
            if not work.outcome.done():
                work.outcome.set_result(work.finish())


@contextmanager
def _one_core_each(fn: RestoreFn) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Threads for small pictures, which use one core well and two badly; and how many they are."""
    if device_of(fn).type != "cpu":
        with ThreadPoolExecutor(1, "restoring") as pool:
            yield pool, 1
        return
    threads = cores = torch.get_num_threads()
    if not surely_fits(fn, cores * SMALL):
        cores = max(1, min(cores, pixels_at_once(fn) // SMALL))
    # How many cores work on an operation is a thread's own, and the default of those to come.
    try:
        with ThreadPoolExecutor(cores, "restoring", torch.set_num_threads, (1,)) as pool:
            yield pool, cores
    finally:
        torch.set_num_threads(threads)


def _noted(fn: RestoreFn, works: Iterable[_Work], given: deque[_Work]) -> Iterator[_Work]:
    """The same, written down in order; the first picture that can tell decides on a precision."""
    for work in works:
        given.append(work)
        if isinstance(fn, Elsewhere) and not fn.settled and isinstance(work.picture, Picture):
            with work.step():
                fn.settle(in_its_channels(fn, work.picture.pages[0].colour[None]))
        yield work


def _groups(fn: RestoreFn, works: Iterable[_Work]) -> Iterator[list[_Work]]:
    """Small pictures that make a batch together, as soon as there is one; others by themselves."""
    bins: dict[tuple[int, ...], list[_Work]] = {}
    begun: dict[tuple[int, ...], int] = {}
    for number, work in enumerate(works):
        if _is_large(work) or not isinstance(work.picture, Picture) or len(work.picture.pages) > 1:
            yield [work]
        else:
            size = padded_size(fn, work.picture.pages[0])
            if size not in bins:
                bins[size], begun[size] = [], number
            bins[size].append(work)
            if (len(bins[size]) + 1) * size[1] * size[2] > SMALL:
                yield bins.pop(size)
        oldest = next(iter(bins), None)
        waiting = sum(len(group) * size[1] * size[2] for size, group in bins.items())
        if oldest is not None and (number - begun[oldest] >= _PATIENCE or waiting > _WAITING):
            yield bins.pop(oldest)
    yield from bins.values()


def _restore(
    fn: RestoreFn, group: Sequence[_Work], strength: float, tile: int | None, progress: Progress
) -> None:
    """Restores a group from `_groups`."""
    if len(group) > 1:
        began = time.monotonic()
        pictures = [work.picture for work in group if isinstance(work.picture, Picture)]
        pages = [picture.pages[0] for picture in pictures]
        try:
            restored = restore_pages(fn, pages, strength=strength, tile=tile)
        except Exception:
            for work in group:  # so that what is wrong with one costs the others nothing
                _restore(fn, [work], strength, tile, untold)
            return
        seconds = (time.monotonic() - began) / len(group)
        for work, picture, page in zip(group, pictures, restored, strict=True):
            work.restored(replace(picture, pages=(page,)), seconds)
        return
    (work,) = group
    if work.picture is not None:
        with work.step():
            if isinstance(work.picture, Strips):  # written while it is restored
                work.require_target()
            result = restore_opened(
                fn,
                work.picture,
                work.job.target,
                strength=strength,
                tile=tile,
                overwrite=work.overwrite,
                progress=progress,
            )
            work.restored(result)


def _known(source: Path, error: Exception) -> PhysganError:
    """What went wrong with one file, which costs no other, whatever it is."""
    if isinstance(error, PhysganError):
        return error if str(source) in str(error) else error.of(f"picture file '{source}'")
    if ran_out(error):
        return OutOfMemory(
            f"picture file '{source}'",
            expected="memory to read, restore and write it",
            got="none left",
            remedy="Close other programs, or restore a part of the picture.",
        )
    fault = ImageError(
        f"picture file '{source}'",
        expected="to be read, restored and written, or to be refused for a reason",
        got=f"{type(error).__name__}: {error}",
        remedy="Please report it, with the file.",
    )
    fault.__cause__ = error  # with all that Python tells of it
    return fault


def _without_locals(error: BaseException | None) -> None:
    """Takes from an error, and from those behind it, what their calls held: pictures, above all."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _pixels(work: _Work) -> int:
    """Of a picture that is in memory."""
    picture = work.picture  # which another thread may write and forget
    if not isinstance(picture, Picture):
        return 0
    return sum(page.colour[0].numel() for page in picture.pages)


def _weight(work: _Work) -> int:
    """Of what was read ahead; of files that are read in strips, one at a time is open."""
    return _WAITING if isinstance(work.picture, Strips) else _pixels(work)


def _is_large(work: _Work) -> bool:
    return isinstance(work.picture, Strips) or _pixels(work) > SMALL


def _exists(target: Path) -> bool:
    try:
        return target.exists()
    except OSError as error:
        raise ImageError(
            f"result '{target}'", expected="a folder that may be looked into", got=str(error)
        ) from None
