"""Sets of pictures that tests train on: in memory, of known content."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


@dataclass
class MemoryPictures:
    """Pictures held in memory, one original each unless told otherwise."""

    pictures: list[Tensor]
    origins: list[int] | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, index: int) -> Tensor:
        return self.pictures[index]

    def origin(self, index: int) -> int:
        return self.origins[index] if self.origins is not None else index

    def identity(self) -> str:
        return f"{len(self.pictures)} {self.origins}"


@dataclass
class MemoryScenes(MemoryPictures):
    """Pictures whose depth is their first channel, see `depth_of`."""

    def depth(self, index: int, size: tuple[int, int] | None = None) -> Tensor:
        depth = depth_of(self.pictures[index][:1])
        return depth if size is None else F.interpolate(depth[None], size, mode="nearest")[0]


def depth_of(channel: Tensor) -> Tensor:
    """Bytes as depth in (0, 1]."""
    return (channel.float() + 1) / 256


def picture(h: int, w: int, *, channels: int = 3, seed: int = 0) -> Tensor:
    """A picture of random bytes, C×H×W."""
    generator = Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, h, w), generator=generator, dtype=torch.uint8)
