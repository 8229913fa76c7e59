"""The temporary folder of a server, and those that servers left which were killed.

A lock tells them apart: the system takes it from who dies, however he does. Where there are no such
locks, nothing is tidied up.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # no Unix
    fcntl = None  # type: ignore[assignment]

_PREFIX = "physgan-"
_LOCK = "lock"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that goes with this server; those of servers that were killed go first."""
    _tidy(Path(tempfile.gettempdir()))
    made = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    with made as name:
        # Locked before it has its name, by which others find it.
        number, unnamed = tempfile.mkstemp(dir=name)
        _locked(number)
        Path(unnamed).rename(Path(name) / _LOCK)
        try:
            yield Path(name)
        finally:
            os.close(number)


def _tidy(place: Path) -> None:
    for lock in place.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # somebody else's, or gone meanwhile
            number = os.open(lock, os.O_RDWR)
            try:
                if _locked(number):
                    shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(number)


def _locked(number: int) -> bool:
    """Locks an open file, unless somebody has."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
