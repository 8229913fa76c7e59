"""The stream of training crops: which pictures, where cut, how turned, as a function of the step.

Batch `t` of a stream depends on its seed and `t` alone. A run that resumes at step `t` therefore
needs to remember no more than `t`, whatever had been read ahead.
"""

from __future__ import annotations

import collections.abc
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.data.pictures import Pictures, measured
from physgan.errors import ImageError
from physgan.types import Theta

_log = logging.getLogger("physgan")

T = TypeVar("T")
Ahead: TypeAlias = "collections.abc.Generator[T, None, None]"
"""A stream that is read ahead, and must be closed when it is left before its end."""

Fit: TypeAlias = Literal["crop", "resize"]
Augment: TypeAlias = Literal["none", "flip", "dihedral"]


class Crops(NamedTuple):
    """A batch of square crops."""

    x: Tensor
    """clear pictures, uint8 N×C×S×S"""
    known: Theta
    """maps N×*×S×S that were measured with them, such as `depth`, cut and turned as they are"""


@dataclass(frozen=True)
class CropStream:
    """Batches of square crops without end.

    Args:
        pictures: the set.
        indices: which members of it take part.
        size: side of a crop in pixels.
        batch: crops in one batch.
        seed: decides order, places and turns.
        fit: `crop` cuts at a random place, and first enlarges a picture that is smaller than the
            crop; `resize` brings whole pictures to the size.
        augment: `none`; `flip`, mirrored left to right half of the time; `dihedral`, any of the
            eight flips and quarter turns.
        known: whether maps that were measured with the pictures are read with them.

    A picture that cannot be read is passed over, with one warning: the next of the set takes its
    place, always the same one.
    """

    pictures: Pictures
    indices: Sequence[int]
    size: int
    batch: int
    seed: int
    fit: Fit = "crop"
    augment: Augment = "dihedral"
    known: bool = True
    _unreadable: set[int] = field(default_factory=set, repr=False, compare=False)

    def __call__(self, step: int) -> Crops:
        """Batch number `step`, counted from 0. Each epoch takes every picture once."""
        crops, known = zip(
            *(self._item(step * self.batch + i) for i in range(self.batch)), strict=True
        )
        return Crops(torch.stack(crops), stacked(known))

    @property
    def steps_per_epoch(self) -> int:
        """Batches after which every picture has been taken once, rounded up."""
        return -(-len(self.indices) // self.batch)

    def _item(self, position: int) -> tuple[Tensor, dict[str, Tensor]]:
        epoch, place = divmod(position, len(self.indices))
        first = _order(len(self.indices), self.seed, epoch)[place]
        generator = _generator(self.seed, 2 * position + 1)
        picture, known = self._read(first)
        top, left = _corner(picture, self.size, generator)
        turn = _below({"none": 1, "flip": 2, "dihedral": 8}[self.augment], generator)

        def crop(image: Tensor) -> Tensor:
            return turned(_cut(image, top, left, self.size), turn)

        return crop(picture), {name: crop(values) for name, values in known.items()}

    def _read(self, first: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The member at place `first` of the indices, or the next that can be read."""
        for offset in range(len(self.indices)):
            index = self.indices[(first + offset) % len(self.indices)]
            try:
                return read_fitted(self.pictures, index, self.size, self.fit, known=self.known)
            except ImageError as error:
                if index not in self._unreadable:
                    self._unreadable.add(index)
                    _log.warning("passed over: %s", error)
                last = error
        raise last


def read_fitted(
    pictures: Pictures, index: int, size: int, fit: Fit, *, known: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """A picture of a set that is `fitted`, and the maps measured with it, fitted alike.

    Maps are asked for at the picture's own size, since how they lie on it may be known in its
    pixels alone.

    Raises:
        ImageError: it cannot be read.
    """
    picture = pictures.read(index)
    height, width = picture.shape[-2:]
    maps = measured(pictures, index, (height, width)) if known else {}
    target = _target(height, width, size, fit)
    return fitted(picture, size, fit), {n: _fitted_map(m, target) for n, m in maps.items()}


def stacked(known: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The maps of single pictures as those of a batch."""
    return {name: torch.stack([maps[name] for maps in known]) for name in known[0]}


def fitted(picture: Tensor, size: int, fit: Fit) -> Tensor:
    """A uint8 picture C×H×W made large enough for a crop, or brought to size×size as a whole."""
    h, w = picture.shape[-2:]
    target = _target(h, w, size, fit)
    if target == (h, w):
        return picture
    resized = F.interpolate(
        picture[None].float(), target, mode="bicubic", align_corners=False, antialias=True
    )
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _target(h: int, w: int, size: int, fit: Fit) -> tuple[int, int]:
    """Height and width of a fitted picture that is H×W."""
    if fit == "resize":
        return size, size
    factor = max(1.0, size / min(h, w))
    return max(size, round(h * factor)), max(size, round(w * factor))


def _fitted_map(values: Tensor, target: tuple[int, int]) -> Tensor:
    """A floating map *×H×W at another size, none of it beyond what was measured."""
    if values.shape[-2:] == target:
        return values
    # Not bicubic as pictures are: that overshoots where depth jumps.
    resized = F.interpolate(
        values[None], target, mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0].clamp(values.min(), values.max())


def turned(picture: Tensor, turn: int) -> Tensor:
    """One of the eight flips and quarter turns of a square: bit 0 mirrors, the rest turn."""
    picture = picture.flip(-1) if turn & 1 else picture
    return torch.rot90(picture, turn >> 1, (-2, -1))


def centre_crop(
    pictures: Pictures, index: int, size: int, fit: Fit, *, known: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """The middle of a picture and of its maps, size×size, fitted as training fits them.

    Raises:
        ImageError: it cannot be read.
    """
    picture, maps = read_fitted(pictures, index, size, fit, known=known)
    top, left = (picture.shape[-2] - size) // 2, (picture.shape[-1] - size) // 2
    crops = {name: _cut(values, top, left, size) for name, values in maps.items()}
    return _cut(picture, top, left, size), crops


def ahead(stream: Callable[[int], T], start: int, stop: int, *, workers: int = 1) -> Ahead[T]:
    """Batches `start` to `stop - 1` of a stream, read in the background, in order."""
    depth = max(4, 2 * workers)
    with ThreadPoolExecutor(workers, thread_name_prefix="crops") as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for step in range(start, stop):
                waiting.append(pool.submit(stream, step))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@lru_cache(maxsize=8)
def _order(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The order of an epoch; the last ones are kept, since every crop asks for them."""
    return tuple(torch.randperm(count, generator=_generator(seed, 2 * epoch)).tolist())


def _generator(seed: int, counter: int) -> Generator:
    """A generator for one counter: seeds that lie close together must not give streams that do."""
    mixed = (seed * 0x9E3779B97F4A7C15 + counter * 0xD1B54A32D192ED03 + 0x2545F4914F6CDD1D) % 2**64
    mixed = ((mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9) % 2**64
    return Generator().manual_seed(mixed ^ (mixed >> 29))


def _corner(picture: Tensor, size: int, generator: Generator) -> tuple[int, int]:
    """Top and left of a square at a random place of a picture C×H×W that is large enough."""
    top = _below(picture.shape[-2] - size + 1, generator)
    return top, _below(picture.shape[-1] - size + 1, generator)


def _cut(image: Tensor, top: int, left: int, size: int) -> Tensor:
    return image[:, top : top + size, left : left + size]


def _below(n: int, generator: Generator) -> int:
    return int(torch.randint(n, (), generator=generator))


def packed_crops(
    pictures: Pictures,
    *,
    size: int,
    per_picture: int,
    seed: int,
    on_error: Callable[[ImageError], None],
) -> Iterator[tuple[int, Tensor]]:
    """Crops for shards: the number of the picture, and a uint8 crop C×size×size of it.

    A picture that cannot be read is handed to `on_error`, and the others are still packed.
    """
    for index in range(len(pictures)):
        try:
            picture = fitted(pictures.read(index), size, "crop")
        except ImageError as error:
            on_error(error)
            continue
        for place in range(per_picture):
            generator = _generator(seed, index * per_picture + place)
            yield index, _cut(picture, *_corner(picture, size, generator), size)
