"""Files that are whole or not there: written beside their place, flushed, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Gives a path beside `path` to write to, and renames it to `path` when all went well.

    Whatever happens in between, killing included, `path` holds either what it held before or
    all that was written. What is replaced hands on who may read and write it.

    Args:
        path: of the file.
        overwrite: whether it may replace what is there by then, too.

    Raises:
        FileExistsError: there is something, which may not be replaced.
        OSError: the folder is not there or cannot be written.
    """
    beside, mode = _begun(path)
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        with suppress(OSError):
            mode = path.stat().st_mode & 0o777
        beside.chmod(mode)  # some writers make files that only their owner can read
        if overwrite or not _linked(beside, path):
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _begun(path: Path) -> tuple[Path, int]:
    """A name beside `path` that nobody else has, and the permissions of new files there."""
    # A name that is legal may leave no room for more: 255 bytes are all that most systems allow.
    beside = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part")
    made = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return beside, os.fstat(made).st_mode & 0o777
    finally:
        os.close(made)
        beside.unlink()


def _linked(beside: Path, path: Path) -> bool:
    """Gives a file its name, which only one can have; False where the system knows no links."""
    try:
        path.hardlink_to(beside)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def _sync_folder(folder: Path) -> None:
    """Makes the renaming last through a power cut, where the system can."""
    if os.name != "posix":
        return
    with suppress(OSError):  # a folder that may be written to, but not read
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
