"""The temporary folder of a server, and those that servers left which were killed.

A lock tells them apart: the system takes it from who dies, however he does. Where there are no such
locks, nothing is tidied up.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG

try:
    import fcntl
except ImportError:  # no Unix
    fcntl = None  # type: ignore[assignment]

_PREFIX = "physgan-"
_LOCK = ".physgan-server"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that goes with this server; those of servers that were killed go first."""
    _tidy(Path(tempfile.gettempdir()))
    made = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    with made as name:
        # Locked before it has its name, by which others find it.
        number, unnamed = tempfile.mkstemp(dir=name)
        try:
            if _locked(number):
                Path(unnamed).rename(Path(name) / _LOCK)
            yield Path(name)
        finally:
            os.close(number)


def _tidy(place: Path) -> None:
    for lock in place.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # gone meanwhile
            if not (_is_ours(lock.parent, S_ISDIR) and _is_ours(lock, S_ISREG)):
                continue
            number = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _locked(number):
                    shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(number)


def _is_ours(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether somebody of our name has made it, and it is no link."""
    status = path.lstat()
    return kind(status.st_mode) and status.st_uid == os.getuid()


def _locked(number: int) -> bool:
    """Locks an open file, unless somebody has, or files cannot be locked there."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
