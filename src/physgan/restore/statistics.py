"""Statistics of a whole image, gathered tile by tile, for networks that normalise by them.

What the second normalisation sees depends on the statistics of the first: they are gathered one
after the other, each by running the network on all tiles as far as that normalisation. Memory stays
that of a tile. Time does not: a network of K normalisations runs about K / 2 times in place of
once, so an image that fits into memory is better restored whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from physgan.errors import ShapeError
from physgan.networks.norm import statistics_from
from physgan.restore.progress import Progress, untold
from physgan.restore.tiles import Tile
from physgan.restore.whole import restore_padded
from physgan.types import RestoreFn


class Known:
    """Statistics of the normalisations of a network, in the order in which it runs."""

    def __init__(self) -> None:
        self.found: list[tuple[Tensor, Tensor]] = []

    def restore(self, fn: RestoreFn, window: Tensor) -> Tensor:
        """Runs `fn` on a window of the image as if it saw the whole."""
        given = iter(self.found)
        with statistics_from(lambda features: next(given)):
            return restore_padded(fn, window)


def gather(
    fn: RestoreFn, whole: Tensor, tiles: Sequence[Tile], *, progress: Progress = untold
) -> Known:
    """Takes the statistics of every normalisation of `fn` over the whole image.

    Args:
        fn: the restorer.
        whole: padded images N×C×h×w.
        tiles: that cover them.
        progress: told now and then what share of the work is done.

    Raises:
        ShapeError: the statistics of `fn` do not go through `InstanceNorm`, or the tiles do not
            fall on its grid.
    """
    known = Known()
    if not fn.global_statistics:
        return known
    count = normalisations(fn, tiles[0].window(whole))
    if not count:
        raise ShapeError(
            "restorer to be run in tiles",
            expected="one that takes statistics of the whole image by physgan's InstanceNorm",
            got="one that takes them in its own way, as an exported graph does",
            remedy="Restore the image whole, on a machine with more memory, or with the weights "
            "that the graph was exported from.",
        )
    effort, done = count * (count + 1) / 2 * len(tiles), 0.0
    for number in range(count):
        sums = _Sums()
        for tile in tiles:
            _look(fn, tile, tile.window(whole), known, sums)
            done += number + 1
            progress(done / effort)
        known.found.append(sums.result())
    return known


class _Reached(Exception):
    """The normalisation whose statistics are sought has been reached."""


def normalisations(fn: RestoreFn, window: Tensor) -> int:
    """How many normalisations a run of `fn` goes through that can be handed statistics."""
    calls = 0

    def own(features: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        variance, mean = torch.var_mean(features.float(), dim=(2, 3), correction=0)
        return mean, variance

    with statistics_from(own):
        restore_padded(fn, window)
    return calls


def _look(fn: RestoreFn, tile: Tile, window: Tensor, known: Known, sums: _Sums) -> None:
    """Adds what the next normalisation sees of a tile, without its margin."""
    given = iter(known.found)

    def source(features: Tensor) -> tuple[Tensor, Tensor]:
        found = next(given, None)
        if found is not None:
            return found
        sums.add(tile.inner(features, window))
        raise _Reached

    try:
        with statistics_from(source):
            restore_padded(fn, window)
    except _Reached:
        return


class _Sums:
    """Mean and variance of parts, joined in float64 as Chan, Golub and LeVeque (1979) do."""

    def __init__(self) -> None:
        self.count, self.mean, self.power = 0, torch.zeros(()), torch.zeros(())

    def add(self, features: Tensor) -> None:
        """Joins a part, N×C×h×w."""
        wide = features if features.dtype == torch.float64 else features.float()
        count = wide.shape[2] * wide.shape[3]
        # Not every device knows float64.
        found = torch.var_mean(wide, dim=(2, 3), correction=0)
        variance, mean = (t.cpu().double() for t in found)
        if not self.count:
            self.count, self.mean, self.power = count, mean, variance * count
            return
        both, apart = self.count + count, mean - self.mean
        self.power = self.power + variance * count + apart.square() * (self.count * count / both)
        self.mean = self.mean + apart * (count / both)
        self.count = both

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and biased variance, N×C."""
        return self.mean, self.power / self.count
