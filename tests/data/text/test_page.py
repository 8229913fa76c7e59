"""Rendered pages: seeds, sizes, and that they hold what pages hold."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physgan.data.pictures import hold_out
from physgan.data.text.page import render_page, scene
from physgan.data.text.pictures import TextPages
from physgan.errors import ImageError
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe

PAGES = TextPages(count=150, side=96, seed=3)


@pytest.fixture(scope="module")
def pages() -> torch.Tensor:
    return torch.stack([PAGES.read(i) for i in range(len(PAGES))]).float()


@settings(max_examples=25)
@given(side=st.integers(16, 220), seed=st.integers(0, 2**32))
def test_any_size_and_seed_gives_a_page(side: int, seed: int) -> None:
    page = render_page(side, Random(seed))
    assert page.shape == (3, side, side)
    assert page.dtype == torch.uint8
    assert page.is_contiguous()


def test_a_page_depends_on_seed_and_number_alone() -> None:
    again = TextPages(count=150, side=96, seed=3)
    assert torch.equal(PAGES.read(7), again.read(7))
    assert torch.equal(PAGES.read(7), PAGES.read(7))
    assert not torch.equal(PAGES.read(7), PAGES.read(8))
    assert not torch.equal(PAGES.read(7), TextPages(count=150, side=96, seed=4).read(7))


def test_most_pages_are_dark_on_white_and_some_are_not(pages: torch.Tensor) -> None:
    median = pages.flatten(1).median(dim=1).values
    assert (median > 240).float().mean() > 0.4
    assert (median < 110).float().mean() > 0.01
    assert ((median > 110) & (median < 240)).float().mean() > 0.1


def test_pages_hold_letters(pages: torch.Tensor) -> None:
    """Strokes: much contrast between close pixels, on most pages."""
    grey = pages.mean(dim=1)
    edges = (grey[:, :, 1:] - grey[:, :, :-1]).abs()
    busy = (edges > 60).float().mean(dim=(1, 2))
    assert (busy > 0.02).float().mean() > 0.75
    assert (busy == 0).float().mean() < 0.05  # hardly any is empty


def test_some_pages_hold_colour_and_half_tones(pages: torch.Tensor) -> None:
    spread = (pages.amax(dim=1) - pages.amin(dim=1)).flatten(1)
    assert ((spread > 40).float().mean(dim=1) > 0.05).float().mean() > 0.05
    half = ((pages > 60) & (pages < 190)).float().flatten(1).mean(dim=1)
    assert (half > 0.4).float().mean() > 0.03


def test_scenes_have_the_spectrum_of_photographs() -> None:
    """Energy falls with frequency: the lowest sixteenth holds much of it."""
    for seed in range(8):
        picture = torch.from_numpy(scene(64, 48, Random(seed))).float().mean(dim=-1)
        power = torch.fft.fft2(picture - picture.mean()).abs() ** 2
        whole = power.sum()
        power = torch.fft.fftshift(power)[18:30, 24:40]  # a sixteenth of all frequencies
        assert float(power.sum() / whole) > 0.3  # white noise would have 0.06


def test_wrong_sets_are_refused() -> None:
    with pytest.raises(ImageError, match="at least one page"):
        TextPages(count=0)
    with pytest.raises(ImageError, match="at least 16 pixels"):
        TextPages(side=8)


def test_pages_are_originals_of_their_own() -> None:
    kept, held = hold_out(PAGES, 10, seed=0)
    assert len(kept) == 140
    assert len(held) == 10
    assert not set(kept) & set(held)


def test_blurs_of_the_recipe_go_from_nearly_none_to_illegible() -> None:
    """As in collections of blurred documents: the observations of both are equally far off."""
    chain = build_degradation(load_recipe("deblur-text").physics)
    draws = torch.Generator().manual_seed(0)
    theta = chain.sample(torch.zeros(600, 3, 32, 32), generator=draws)
    kernel = theta["blur"]["kernel"]
    place = torch.arange(kernel.shape[-1]) - kernel.shape[-1] // 2
    variance = (kernel.sum(dim=1) * place**2).sum(dim=-1) + (kernel.sum(dim=2) * place**2).sum(-1)
    radius = variance.sqrt()
    assert radius.min() < 0.5
    assert 0.1 < (radius < 1.2).float().mean() < 0.45
    assert (radius > 4).float().mean() > 0.07
