"""Sets of clear pictures to train on, all of one shape: numbered, read one at a time.

A set is a folder of picture files, of packed shards or of tar archives; more kinds need only the
members of `Pictures`, and where the depth of the scenes was measured, those of `Scenes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from physgan.data.shards import SHARD_SUFFIX, ShardPictures
from physgan.data.tars import TAR_SUFFIX, TarPictures
from physgan.errors import ImageError
from physgan.images.read import list_images, read_8bit

Size: TypeAlias = tuple[int, int]
"""Height and width."""


class Pictures(Protocol):
    """A set of clear pictures."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Tensor:
        """One picture, uint8 C×H×W."""
        ...

    def origin(self, index: int) -> int:
        """Which original picture it was cut from: crops of one original share this number."""
        ...

    def identity(self) -> str:
        """A text that changes when members come, go or change places, and not when they move."""
        ...


@runtime_checkable
class Scenes(Pictures, Protocol):
    """A set of clear pictures whose depth is known."""

    def depth(self, index: int, size: Size | None = None) -> Tensor:
        """Depth of a picture's scene, float32 1×H×W in (0, 1], 1 the farthest.

        Args:
            index: of the picture.
            size: height and width of the result; None for those of the map.
        """
        ...


def measures(pictures: Pictures) -> tuple[str, ...]:
    """Names of the maps that come with the pictures: parameters of a physics, such as `depth`."""
    return ("depth",) if callable(getattr(pictures, "depth", None)) else ()


def measured(pictures: Pictures, index: int, size: Size) -> dict[str, Tensor]:
    """Maps *×H×W that were measured with a picture, by name.

    Raises:
        ImageError: a map cannot be read, or is not what `Scenes` promises.
    """
    if not isinstance(pictures, Scenes):
        return {}
    depth: object = pictures.depth(index, size)  # whatever a foreign set gives
    if not isinstance(depth, Tensor) or depth.dtype != torch.float32:
        got = f"{depth.dtype}" if isinstance(depth, Tensor) else type(depth).__name__
    elif depth.shape != (1, *size):
        got = f"shape {tuple(depth.shape)}"
    elif not bool(((depth > 0) & (depth <= 1)).all()):  # NaN is neither
        got = f"numbers from {float(depth.min()):.4g} to {float(depth.max()):.4g}"
    else:
        return {"depth": depth}
    raise ImageError(
        f"depth of picture {index} of the set",
        expected=f"float32 in (0, 1], of shape {(1, *size)}",
        got=got,
        remedy="physgan.data.depth.depth_map brings measured numbers there.",
    )


class FolderPictures:
    """The picture files below a folder, or those of them that are named, decoded when asked for."""

    def __init__(
        self, folder: Path, *, paths: Sequence[Path] | None = None, channels: int = 3
    ) -> None:
        self.folder = folder
        self.paths = list_images(folder) if paths is None else list(paths)
        self.channels = channels

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        return read_8bit(self.paths[index], channels=self.channels)

    def origin(self, index: int) -> int:
        return index

    def identity(self) -> str:
        names = "\n".join(path.relative_to(self.folder).as_posix() for path in self.paths)
        return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()


def open_pictures(path: Path, *, channels: int = 3) -> Pictures:
    """Pictures, shards or tar archives of pictures: a folder of them or one, by what lies there.

    Raises:
        ImageError: nothing there, or nothing in it, or shards of other channels.
    """
    for suffix, kind in ((SHARD_SUFFIX, ShardPictures), (TAR_SUFFIX, TarPictures)):
        if path.is_file() and path.suffix == suffix:
            return kind([path], channels=channels)
        shards = sorted(path.glob(f"*{suffix}")) if path.is_dir() else []
        if shards:
            return kind(shards, channels=channels)
    if path.is_file():
        raise ImageError(
            f"training pictures '{path}'",
            expected=f"a folder of pictures, a shard ending in {SHARD_SUFFIX} or an archive "
            f"ending in {TAR_SUFFIX}",
            got="another file",
        )
    return FolderPictures(path, channels=channels)


def hold_out(
    pictures: Pictures,
    count: int,
    *,
    seed: int,
    readable: Callable[[int], bool] = lambda index: True,
) -> tuple[Sequence[int], Sequence[int]]:
    """Splits a set into indices to train on and indices of `count` originals to check on.

    No original has crops on both sides; of each held-out original the first crop is given. The
    choice depends on the set's size and the seed alone, and on what is not `readable`: the next
    original in the order that was drawn is taken in its stead, and it stays among the others.

    Raises:
        ImageError: there are not more originals than are to be held out, or too few are readable.
    """
    by_origin: dict[int, list[int]] = {}
    for index in range(len(pictures)):
        by_origin.setdefault(pictures.origin(index), []).append(index)
    origins = list(by_origin)
    if count >= len(origins):
        raise ImageError(
            "training pictures",
            expected=f"more than the {count} that are held out for checking",
            got=str(len(origins)),
            remedy="Give more pictures, or hold out fewer: --data.hold_out.",
        )
    order = torch.randperm(len(origins), generator=torch.Generator().manual_seed(seed)).tolist()
    candidates = (origins[i] for i in order)
    held = list(islice((o for o in candidates if readable(by_origin[o][0])), count))
    if len(held) < count:
        raise ImageError(
            "training pictures",
            expected=f"{count} that can be read, to be held out for checking",
            got=str(len(held)),
            remedy="Mend the files, or hold out fewer: --data.hold_out.",
        )
    held_set = set(held)
    kept = [i for o, members in by_origin.items() if o not in held_set for i in members]
    return kept, [by_origin[origin][0] for origin in sorted(held)]
