"""How an image is cut into tiles with margins, and what of a tile's result counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from physgan.errors import ShapeError
from physgan.types import RestoreFn

Sides: TypeAlias = int | tuple[int, int]
"""Side of tiles in pixels, or height and width."""


@dataclass(frozen=True)
class Tile:
    """A part of an image: what counts of it, and the window that is looked at for that."""

    top: int
    bottom: int
    left: int
    right: int
    margin: int

    def window(self, whole: Tensor) -> Tensor:
        """The tile with its margin, as far as the image reaches."""
        above, before = self._corner()
        below, after = self.bottom + self.margin, self.right + self.margin
        return whole[:, :, above:below, before:after]

    def inner(self, features: Tensor, window: Tensor) -> Tensor:
        """What a network made of the window, at any resolution, without the margin.

        Raises:
            ShapeError: the margin is no whole number of features.
        """
        above, before = self._corner()
        rows = _scaled(self.top - above, self.bottom - above, features.shape[2], window.shape[2])
        columns = _scaled(
            self.left - before, self.right - before, features.shape[3], window.shape[3]
        )
        return features[:, :, rows, columns]

    def place(self, result: Tensor, scale: int) -> Tensor:
        """Where the tile lies in a result `scale` times as large as the image."""
        return result[
            :,
            :,
            scale * self.top : scale * self.bottom,
            scale * self.left : scale * self.right,
        ]

    def _corner(self) -> tuple[int, int]:
        return max(0, self.top - self.margin), max(0, self.left - self.margin)


def cut(fn: RestoreFn, rows: int, columns: int, *, tile: Sides) -> list[Tile]:
    """Tiles for an image padded to rows × columns, from left to right and from top to bottom.

    Args:
        fn: the restorer, of bounded receptive field.
        rows: of the padded image.
        columns: of it.
        tile: side, or height and width, without margin; rounded up to multiples of
            `fn.multiple_of`.
    """
    down, across = (on_grid(fn, side) for side in height_and_width(tile))
    margin = margin_of(fn)
    return [
        Tile(top, min(top + down, rows), left, min(left + across, columns), margin)
        for top in range(0, rows, down)
        for left in range(0, columns, across)
    ]


def height_and_width(sides: Sides) -> tuple[int, int]:
    """Both sides of tiles."""
    return sides if isinstance(sides, tuple) else (sides, sides)


def margin_of(fn: RestoreFn) -> int:
    """Pixels that a tile of `fn` needs on every side: half its receptive field, on its grid."""
    return on_grid(fn, (fn.receptive_field or 1) // 2)


def on_grid(fn: RestoreFn, pixels: int) -> int:
    """The next multiple of `fn.multiple_of`."""
    return -(-pixels // fn.multiple_of) * fn.multiple_of


def _scaled(start: int, stop: int, features: int, pixels: int) -> slice:
    if start * features % pixels or stop * features % pixels:
        raise ShapeError(
            "features of a tile",
            expected=f"a grid on which pixels {start} to {stop} of {pixels} lie",
            got=f"{features} features for {pixels} pixels",
            remedy="multiple_of of the restorer must be a multiple of every stride in it.",
        )
    return slice(start * features // pixels, stop * features // pixels)
