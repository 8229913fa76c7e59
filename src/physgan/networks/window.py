"""The part of a large picture that its kernel is estimated from: that with the steepest slopes.

It is found by the sums of squares over blocks that windows begin on, and so is the same whether the
picture is there as a whole or passes by a few rows at a time.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError
from physgan.networks.estimation import slopes

WINDOW = 512
"""Side in pixels of the part of a picture that the kernel is estimated from, at most."""
_BLOCKS = 8
"""to the side of a window"""


def steepest(y: Tensor, side: int) -> Tensor:
    """The windows of `y` with the greatest squares of slopes, of at most `side` pixels.

    Windows begin an eighth of their side apart; of equal ones the first is taken.

    Args:
        y: N×C×h×w.
        side: of the windows, a multiple of 8; a shorter picture has windows of its own length.

    Returns:
        N×C×min(h, side)×min(w, side).

    Raises:
        ShapeError: `side` is no such multiple.
    """
    height, width = (min(side, length) for length in y.shape[2:])
    if (height, width) == tuple(y.shape[2:]):
        return y
    block = _block(side)
    steep = _over_blocks(_steepness(y), block)
    for dim, length, whole in ((1, height, y.shape[2]), (2, width, y.shape[3])):
        steep = _over_windows(steep, dim, length, whole, block)
    best = steep.float().flatten(1).argmax(dim=1).tolist()
    windows = []
    for one, at in zip(y, best, strict=True):
        top, left = (block * place for place in divmod(at, steep.shape[2]))
        windows.append(one[:, top : top + height, left : left + width])
    return torch.stack(windows)


class Search:
    """Finds what `steepest` finds in one picture that passes by from top to bottom.

    Args:
        height: of the picture.
        width: of the picture.
        side: see `steepest`.

    Raises:
        ShapeError: as `steepest`.
    """

    def __init__(self, height: int, width: int, side: int) -> None:
        self.height, self.width = height, width
        self._rows: Tensor | None = None
        self._top = self._summed = 0  # of the rows that are held, and of those yet to be summed
        self._block = _block(side)
        self._high, self._wide = min(height, side), min(width, side)
        blocks = -(-self._high // self._block)
        self._sums: deque[Tensor] = deque(maxlen=blocks)
        self._steepest: tuple[float, Tensor] | None = None

    def add(self, rows: Tensor) -> None:
        """Takes the next rows, 1×C×r×width."""
        held = rows if self._rows is None else torch.cat([self._rows, rows], dim=2)
        end = self._top + held.shape[2]
        while self._summed < self.height:
            stop = min(self._summed + self._block, self.height)
            if end < min(stop + 1, self.height):  # slopes look one row down
                break
            steep = _steepness(held[:, :, self._summed - self._top : stop + 1 - self._top])
            steep = steep[:, : stop - self._summed]
            self._sums.append(_over_blocks(steep, self._block))
            self._summed = stop
            self._judge(held)
        # From where the next window begins.
        begun = len(self._sums) - (len(self._sums) == self._sums.maxlen)
        above = max(self._top, -(-self._summed // self._block) * self._block - begun * self._block)
        self._rows, self._top = held[:, :, above - self._top :], above

    def found(self) -> Tensor:
        """The window, 1×C×min(height, side)×min(width, side), when all rows have passed."""
        if self._steepest is None or self._summed < self.height:
            raise RuntimeError(f"{self._summed} of {self.height} rows have passed")
        return self._steepest[1]

    def _judge(self, held: Tensor) -> None:
        """Looks at the windows whose last row is the last one that was summed."""
        blocks = self._sums.maxlen
        assert blocks is not None
        top = max(0, -(-self._summed // self._block) - blocks) * self._block
        if len(self._sums) < blocks or top + self._high > self.height:
            return
        steep = torch.cat(list(self._sums), dim=1).sum(dim=1, keepdim=True)
        steep = _over_windows(steep, 2, self._wide, self.width, self._block).float().flatten()
        at = int(steep.argmax())
        if self._steepest is None or float(steep[at]) > self._steepest[0]:
            rows = slice(top - self._top, top - self._top + self._high)
            left = self._block * at
            window = held[:, :, rows, left : left + self._wide].clone()
            self._steepest = float(steep[at]), window


def _block(side: int) -> int:
    """Side of the blocks that windows are made of."""
    if side < _BLOCKS or side % _BLOCKS:
        raise ShapeError(
            "side of a window", expected=f"a positive multiple of {_BLOCKS} px", got=str(side)
        )
    return side // _BLOCKS


def _steepness(y: Tensor) -> Tensor:
    """Squares of the slopes in grey, N×h×w."""
    steep: Tensor = slopes(y.float().mean(dim=1)).square().sum(dim=1)
    return steep


def _over_blocks(steep: Tensor, block: int) -> Tensor:
    """Sums over blocks, in double precision, so that their order does not matter."""
    down, right = (-length % block for length in steep.shape[1:])
    rows = F.pad(steep, (0, right, 0, down)).unflatten(2, (-1, block)).sum(-1, dtype=torch.float64)
    sums: Tensor = rows.unflatten(1, (-1, block)).sum(2)
    return sums


def _over_windows(sums: Tensor, dim: int, length: int, whole: int, block: int) -> Tensor:
    """Sums of blocks over windows, along one side; windows lie inside of the picture."""
    windows = sums.unfold(dim, -(-length // block), 1).sum(-1)
    return windows.narrow(dim, 0, (whole - length) // block + 1)
