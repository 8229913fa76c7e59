"""The desk where uploads wait to be restored: bounded, in order, to be cancelled at any time.

It knows nothing of HTTP and of pages; both hand it files and hold a ticket for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event, Lock
from time import monotonic, sleep
from typing import Any

from physgan.errors import ImageError, PhysganError, UsageError, nearest
from physgan.images.picture import KINDS, Glance, glance_at
from physgan.restore.file import restore_file
from physgan.restore.progress import rising
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import WeightsInfo, read_info

VERSION = version("physgan")
PAGES = 500
"""that a picture may have: each takes time to open, however small it is"""
SOON = 60
"""seconds after which who found all places taken may come back, as told: in a minute"""


@dataclass(frozen=True)
class Limits:
    """What a desk takes.

    Args:
        megabytes: of one upload, at most.
        megapixels: of one picture, all of its pages counted, and of what is made of it, at most.
        waiting: pictures that may wait while others are restored.
        at_once: pictures that are restored at the same time.
        seconds: in which a picture must have come, and must be restored.
    """

    megabytes: float = 200
    megapixels: float = 200
    waiting: int = 100
    at_once: int = 2
    seconds: float = 600

    @property
    def bytes(self) -> int:
        """Of one upload, at most."""
        return int(self.megabytes * 1e6)


class Busy(PhysganError, RuntimeError):
    """So many pictures wait that no more is taken for now."""


class Cancelled(PhysganError, RuntimeError):
    """Somebody who waited for a picture no longer does."""


class TooLarge(ImageError):
    """A picture has more pixels or pages than the desk takes, or what is made of it would."""


class TooSlow(PhysganError, RuntimeError):
    """Restoring a picture takes longer than the desk gives it."""


class Ticket:
    """What is known of a picture that was handed in.

    Args:
        name: of the restored picture, as people shall know it.
        folder: where its result goes.
        seconds: that restoring it may take, once begun.
    """

    def __init__(self, name: str, folder: Path, seconds: float) -> None:
        self.name, self.folder = name, folder
        self.share = 0.0
        """that is done, from 0 to 1"""
        self.begun = False
        """whether it is being restored, and no longer waits"""
        self.future: Future[Path] = Future()
        """the restored file; or why there is none"""
        self.job: Future[None] | None = None
        """the desk's work on it"""
        self._seconds, self._ends = seconds, float("inf")
        self._cancelled = Event()

    def begin(self) -> None:
        """It is being restored from now on."""
        self._ends = monotonic() + self._seconds
        self.told(0.0)
        self.begun = True

    def cancel(self) -> None:
        """Nobody waits for it any more: it ends before its next tile, at once if not begun."""
        self._cancelled.set()
        if self.job is not None:
            self.job.cancel()

    def told(self, share: float) -> None:
        """Takes the progress of the restoring, and ends it where nobody waits, or for too long."""
        self.share = share
        if self._cancelled.is_set():
            raise cancelled(self.name)
        if monotonic() > self._ends:
            raise TooSlow(
                f"restoring '{self.name}'",
                expected=f"at most {counted(self._seconds, 'second')}",
                got="more",
                remedy="Cut it into parts, or restore it with `physgan restore`.",
            )


class Desk:
    """Restores files in threads of its own, with weights that are loaded when first asked for.

    Args:
        limits: see there.
        device: as for `Restorer.from_pretrained`.
        weights: name -> weights file; the shipped ones by default.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        device: str = "auto",
        weights: Mapping[str, Path] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._device = device
        self._files = dict(weights) if weights is not None else _shipped()
        self._infos = {name: read_info(path) for name, path in self._files.items()}
        self._restorers: dict[str, Restorer] = {}
        self._loading, self._counting = Lock(), Lock()
        self._held: set[Ticket] = set()
        self._pool = ThreadPoolExecutor(self.limits.at_once, "restoring")

    @property
    def tasks(self) -> Mapping[str, WeightsInfo]:
        """Name -> header of the weights."""
        return self._infos

    @property
    def held(self) -> int:
        """Pictures that wait or are being restored."""
        return len(self._held)

    @property
    def full(self) -> bool:
        """Whether no more is taken for now."""
        return self.held >= self.limits.waiting + self.limits.at_once

    def submit(
        self, source: Path, folder: Path, *, task: str, strength: float = 1.0, name: str
    ) -> Ticket:
        """Hands a file in.

        What is wrong with it is told of by its name, not by its path, here and by the ticket.

        Args:
            source: a picture file; looked at now, read later.
            folder: where the restored file goes, under a name that the desk chooses.
            task: one of `tasks`.
            strength: from 0, the picture as it is, to 1, as the network restores it.
            name: of the picture; its ending chooses the kind of the result, or else its content.

        Raises:
            UsageError: no such task, or the strength is out of range.
            TooLarge: more pixels or pages than the desk takes, or than the result may have.
            ImageError: no picture, by what the head of the file tells.
            Busy: too many wait.
        """
        self.require(task, strength)
        try:
            glance = glance_at(source)
        except ImageError as error:
            raise renamed(error, {source: name}) from None
        self._require_size(glance, name, self._infos[task].scale)
        if Path(name).suffix.lower() not in KINDS:
            name += next(suffix for suffix, kind in KINDS.items() if kind == glance.kind)
        ticket = Ticket(name, folder, self.limits.seconds)
        target = folder / f"restored{Path(name).suffix.lower()}"
        with self._counting:
            if self.full:
                raise Busy(
                    "pictures that wait",
                    expected=f"fewer than {self.limits.waiting}",
                    got=str(self.held),
                    remedy="Come back in a minute.",
                )
            ticket.job = self._pool.submit(self._work, ticket, source, target, task, strength)
            self._held.add(ticket)
        ticket.job.add_done_callback(lambda job: self._dropped(ticket, job))
        return ticket

    def _require_size(self, glance: Glance, name: str, scale: int) -> None:
        most = self.limits.megapixels * 1e6
        remedy = "Cut it into parts, or restore it with `physgan restore`."
        expected = f"at most {counted(self.limits.megapixels, 'megapixel')}"
        if glance.pages > PAGES:
            expected, got = f"at most {PAGES} pages", str(glance.pages)
        elif glance.pixels > most:
            got = f"{glance.pixels / 1e6:.1f}"
        elif glance.pixels * scale**2 > most:
            expected += f" when it is {scale} times as large"
            got = f"{glance.pixels * scale**2 / 1e6:.1f}"
        else:
            return
        raise TooLarge(f"picture '{name}'", expected=expected, got=got, remedy=remedy)

    def require(self, task: str, strength: float) -> None:
        """Raises UsageError unless there is such a task, and the strength is one."""
        if task not in self._infos:
            raise UsageError(
                "task",
                expected="the name of one",
                got=repr(task),
                remedy=nearest(task, self._infos),
            )
        if not 0 <= strength <= 1:  # NaN is neither
            raise UsageError("strength", expected="0 to 1", got=f"{strength:g}")

    def close(self, *, patience: float = float("inf")) -> int:
        """Ends what is under way before its next tile, and takes no more.

        Args:
            patience: seconds after which what does not end is left; `held` tells of how many.

        Returns:
            How many pictures waited, or were being restored.
        """
        with self._counting:
            left = list(self._held)
        for ticket in left:
            ticket.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        ends = monotonic() + patience
        while self.held and monotonic() < ends:
            sleep(0.02)
        return len(left)

    def _work(self, ticket: Ticket, source: Path, target: Path, task: str, strength: float) -> None:
        try:
            ticket.begin()
            # In the precision that serves this picture, whatever came before it.
            fn = self._restorer(task).fn.anew()
            restore_file(fn, source, target, strength=strength, progress=rising(ticket.told))
            ticket.told(1.0)  # who cancelled after the last tile waits no more either
            result: Path | BaseException = target
        except PhysganError as error:
            result = renamed(error, {source: ticket.name, target: f"restored {ticket.name}"})
        except BaseException as error:
            result = error
        self._end(ticket, result)

    def _dropped(self, ticket: Ticket, job: Future[None]) -> None:
        if job.cancelled():
            self._end(ticket, cancelled(ticket.name))

    def _end(self, ticket: Ticket, result: Path | BaseException) -> None:
        with self._counting:
            self._held.remove(ticket)
        # Whoever waits goes on now, and may hand in the next.
        if isinstance(result, BaseException):
            ticket.future.set_exception(result)
        else:
            ticket.future.set_result(result)

    def _restorer(self, task: str) -> Restorer:
        with self._loading:
            if task not in self._restorers:
                self._restorers[task] = Restorer.from_pretrained(
                    self._files[task], device=self._device
                )
            return self._restorers[task]


def counted(number: float, unit: str) -> str:
    """A number of something: `1 second`, `0.5 seconds`."""
    return f"{number:g} {unit}" if number == 1 else f"{number:g} {unit}s"


def cancelled(name: str) -> Cancelled:
    """What is told of a picture that nobody waits for."""
    return Cancelled(f"picture '{name}'", expected="somebody who waits for it", got="nobody")


def renamed(error: PhysganError, names: Mapping[Path, str]) -> PhysganError:
    """The same fault told with other names of files, since paths of the server are nobody's."""

    def told(text: str) -> str:
        for path, name in names.items():
            text = text.replace(str(path), name)
        for path in names:
            text = text.replace(str(path.parent), "its folder")
        return text

    parts: dict[str, Any] = {
        part: told(getattr(error, part)) for part in ("expected", "got", "remedy")
    }
    return type(error)(told(error.what), **parts)


def _shipped() -> dict[str, Path]:
    return {name: shipped_file(name) for name in sorted(SHIPPED)}
