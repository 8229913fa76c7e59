"""Pictures in tar archives, as webdataset shards them, read in place.

A shard is a tar file; the files of one sample share a key, which is their name up to the first dot
of its last part: `000017.jpg`, `000017.json`. The picture of each sample is one of the set; samples
without one and hidden files are passed over. Only headers are read on opening; a picture is read
when it is asked for, so any number of shards may be larger than memory.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from torch import Tensor

from physgan.errors import ImageError
from physgan.images.read import SUFFIXES, decode_8bit

TAR_SUFFIX = ".tar"


class _Place(NamedTuple):
    """Where a picture lies."""

    shard: int
    name: str
    offset: int
    size: int


class TarPictures:
    """The pictures of one or more tar archives, in their order.

    Raises:
        ImageError: an archive cannot be read, is compressed, holds two pictures of one key, or
            none of them holds a picture.
    """

    def __init__(self, paths: Sequence[Path], *, channels: int = 3) -> None:
        self.paths, self.channels = tuple(paths), channels
        self._places: list[_Place] = []
        for shard, path in enumerate(self.paths):
            self._places += _places(shard, path)
        if not self._places:
            raise ImageError(
                f"archives of pictures '{self.paths[0]}'" if self.paths else "archives of pictures",
                expected=f"files ending in {', '.join(sorted(SUFFIXES))}",
                got="none",
            )

    def __len__(self) -> int:
        return len(self._places)

    def read(self, index: int) -> Tensor:
        """One picture, uint8 C×H×W.

        Raises:
            ImageError: it cannot be read.
        """
        place = self._places[index]
        path = self.paths[place.shard]
        # Opened for every picture: several threads read at once, and a seek is each one's own.
        try:
            with path.open("rb") as file:
                file.seek(place.offset)
                content = file.read(place.size)
        except OSError as error:
            raise ImageError(
                f"picture '{path / place.name}'",
                expected="an archive that can be read, as when it was opened",
                got=str(error),
            ) from None
        return decode_8bit(content, path / place.name, channels=self.channels)

    def origin(self, index: int) -> int:
        return index

    def identity(self) -> str:
        names = "\n".join(f"{place.name} {place.size}" for place in self._places)
        return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()


def _places(shard: int, path: Path) -> list[_Place]:
    """The pictures of one archive."""
    found: dict[str, _Place] = {}
    try:
        # Without compression alone do offsets mean anything.
        with tarfile.open(path, mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                hidden = any(part.startswith(".") for part in name.parts)
                if hidden or not member.isfile() or name.suffix.lower() not in SUFFIXES:
                    continue
                key = str(name.with_name(name.name.partition(".")[0]))
                if key in found:
                    raise ImageError(
                        f"archive '{path}'",
                        expected="one picture in each sample",
                        got=f"'{found[key].name}' and '{member.name}'",
                    )
                found[key] = _Place(shard, member.name, member.offset_data, member.size)
            _check_end(path, archive.offset)
    except (tarfile.TarError, OSError) as error:
        raise ImageError(
            f"archive '{path}'",
            expected="a whole tar file that is not compressed",
            got=str(error),
            remedy="Unpack .tar.gz to .tar: pictures are compressed as they are.",
        ) from None
    return list(found.values())


def _check_end(path: Path, start: int) -> None:
    """Raises TarError unless zeros alone follow what was read: tarfile stops at what is damaged."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(1 << 20):
            if any(piece):
                raise tarfile.ReadError(f"something else from byte {start} on")
    if size % tarfile.BLOCKSIZE or size <= start:
        raise tarfile.ReadError("a file that is cut short")
