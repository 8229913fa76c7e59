"""The window of the steepest slopes, of a whole picture and of one that passes by."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from physgan.networks.window import Search, steepest
from tests.networks.test_deconvolution import strokes


def searched(y: Tensor, side: int, cuts: list[int]) -> Tensor:
    """By `Search`, in strips of these heights in turn."""
    search, top = Search(y.shape[2], y.shape[3], side), 0
    while top < y.shape[2]:
        rows = cuts[top % len(cuts)]
        search.add(y[:, :, top : top + rows])
        top += rows
    return search.found()


def test_where_the_strokes_are() -> None:
    y = torch.full((2, 3, 100, 140), 0.5)
    y[0, :, 64:88, 16:40] = strokes(1, 24)[0]
    y[1, :, 0:24, 112:136] = strokes(1, 24)[0]
    window = steepest(y, 32)
    assert torch.equal(window[0], y[0, :, 56:88, 8:40])
    assert torch.equal(window[1], y[1, :, 0:32, 104:136])
    assert torch.equal(steepest(y, 200), y)


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    side=st.sampled_from((8, 16, 40, 64)),
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    kind=st.sampled_from(("noise", "one stroke", "plain", "last rows")),
    seed=st.integers(0, 1000),
)
def test_the_same_of_a_picture_that_passes_by(
    height: int, width: int, side: int, cuts: list[int], kind: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = torch.full((1, 3, height, width), 0.25)
    if kind == "noise":
        y = torch.rand(y.shape, generator=generator)
    elif kind == "one stroke":
        y[:, :, int(height * seed / 1001), int(width * (seed % 31) / 31) :] = 1
    elif kind == "last rows":
        y[:, :, -5:] = torch.rand(y[:, :, -5:].shape, generator=generator)
    whole = steepest(y, side)
    assert whole.shape == (1, 3, min(height, side), min(width, side))
    assert torch.equal(searched(y, side, cuts), whole)


def test_the_best_of_all_places() -> None:
    y = torch.rand(1, 1, 90, 75, generator=torch.Generator().manual_seed(0))
    y[:, :, :70] *= 0.5
    down, right = torch.zeros_like(y), torch.zeros_like(y)
    down[:, :, :-1], right[..., :-1] = y[:, :, 1:] - y[:, :, :-1], y[..., 1:] - y[..., :-1]
    steep = down.square() + right.square()
    sums = {
        (top, left): float(steep[0, 0, top : top + 16, left : left + 16].sum())
        for top in range(0, 90 - 15, 2)
        for left in range(0, 75 - 15, 2)
    }
    top, left = max(sums, key=lambda place: sums[place])
    assert torch.equal(steepest(y, 16), y[:, :, top : top + 16, left : left + 16])


def test_of_equal_windows_the_first() -> None:
    y = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1)).repeat(1, 1, 6, 5)
    marked = torch.cat([y, y * 0 + 0.5], dim=1)  # grey is the mean: as steep everywhere as before
    assert torch.equal(steepest(marked, 16), marked[:, :, :16, :16])
    assert torch.equal(searched(marked, 16, [7]), marked[:, :, :16, :16])


def test_rows_that_are_missing() -> None:
    search = Search(40, 30, 16)
    search.add(torch.rand(1, 3, 33, 30))
    with pytest.raises(RuntimeError, match="of 40 rows"):
        search.found()
