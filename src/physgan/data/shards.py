"""Packed shards: many uint8 crops of one size in one safetensors file.

A shard is read by memory map and without any image library, so that training runs on machines that
have none. Its tensors are `crops`, M×C×S×S uint8, and `origins`, M int64, the number of the picture
that each crop was cut from; its header carries `format`, `seed` and `origin_count`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from physgan.errors import ImageError
from physgan.files import write_bytes

SHARD_SUFFIX = ".safetensors"
_FORMAT = "physgan-crops-1"


class ShardPictures:
    """The crops of one or more shards, as a set of pictures."""

    def __init__(self, paths: Sequence[Path], *, channels: int = 3) -> None:
        self._files = []
        self._index: list[tuple[int, int]] = []
        self._origins: list[int] = []
        self._digest = hashlib.sha256()
        base = 0
        for number, path in enumerate(paths):
            try:
                file = safe_open(str(path), framework="pt")
                header = file.metadata() or {}
                if header.get("format") != _FORMAT:
                    raise _not_a_shard(path, f"format '{header.get('format')}'")
                crops, origins = file.get_slice("crops"), file.get_tensor("origins")
                shape = crops.get_shape()
                if len(shape) != 4 or not shape[0] or origins.shape != (shape[0],):
                    raise _not_a_shard(path, f"crops {shape} of origins {list(origins.shape)}")
            except (SafetensorError, OSError) as error:
                raise _not_a_shard(path, str(error)) from None
            if shape[1] != channels:
                raise ImageError(
                    f"shard '{path}'",
                    expected=f"pictures of {channels} channels",
                    got=f"{shape[1]}",
                    remedy="Pack again, or set --data.channels.",
                )
            # Of the pixels the first and the last crop, since all of them may be many gigabytes.
            told = (path.name, shape, header.get("seed"), origins.tolist())
            self._digest.update(repr(told).encode(errors="surrogateescape"))
            for row in (0, shape[0] - 1):
                self._digest.update(crops[row].numpy().tobytes())
            self._files.append(file)
            self._index += [(number, row) for row in range(shape[0])]
            self._origins += (origins + base).tolist()
            base = max(self._origins, default=-1) + 1

    def __len__(self) -> int:
        return len(self._index)

    def read(self, index: int) -> Tensor:
        number, row = self._index[index]
        crop: Tensor = self._files[number].get_slice("crops")[row]
        return crop

    def origin(self, index: int) -> int:
        return self._origins[index]

    def identity(self) -> str:
        return self._digest.hexdigest()


def write_shards(
    crops: Iterable[tuple[int, Tensor]],
    folder: Path,
    *,
    seed: int,
    shard_bytes: int,
) -> Iterator[tuple[Path, int]]:
    """Packs crops into shards of at most `shard_bytes` of pixels; yields path and count of each.

    Args:
        crops: number of the original picture, and a crop of it, uint8 C×S×S, all of one shape;
            crops of one original follow each other.
        folder: where `crops-00000.safetensors`, … are written; it must exist.
        seed: what the crops were drawn with, for the header.
        shard_bytes: upper bound of one shard's pixels; at least one original goes into each.
    """
    rows: list[Tensor] = []
    origins: list[int] = []
    number = 0

    def flush() -> tuple[Path, int]:
        first = min(origins)
        path = folder / f"crops-{number:05d}{SHARD_SUFFIX}"
        header = {"format": _FORMAT, "seed": str(seed), "origin_count": str(len(set(origins)))}
        tensors = {"crops": torch.stack(rows), "origins": torch.tensor(origins) - first}
        count = len(rows)
        rows.clear()  # a shard is large, and `save` makes another copy of it
        write_bytes(path, save(tensors, header))
        return path, count

    # A shard ends only between originals, so that none lies on both sides of a hold-out.
    for origin, members in groupby(crops, key=lambda item: item[0]):
        new = [crop for _, crop in members]
        if rows and (len(rows) + len(new)) * new[0].numel() > shard_bytes:
            yield flush()
            rows, origins, number = [], [], number + 1
        rows += new
        origins += [origin] * len(new)
    if rows:
        yield flush()


def _not_a_shard(path: Path, got: str) -> ImageError:
    return ImageError(
        f"shard '{path}'",
        expected="a file made by `physgan pack`",
        got=got,
        remedy="Pack the pictures again.",
    )
