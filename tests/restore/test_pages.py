"""Pages restored together come out as they would alone, in their order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, nn

from physgan.images.picture import Page
from physgan.networks import ResNetGenerator, UNet
from physgan.restore.page import SMALL, restore_page
from physgan.restore.pages import restore_pages
from physgan.types import RestoreFn
from tests.restore.small import Inverts


def drawn(network: type[UNet | ResNetGenerator], scale: int) -> RestoreFn:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fn = (
            UNet(scale=scale, widths=(4, 6), blocks=(1, 1))
            if network is UNet
            else ResNetGenerator(width=3, blocks=1, scale=scale)
        )
        for parameter in fn.parameters():
            nn.init.normal_(parameter, std=0.2)
    return fn.eval()


def page(channels: int, height: int, width: int, *, alpha: bool) -> Page:
    draws = Generator().manual_seed(100 * height + width)
    colour = torch.rand(channels, height, width, generator=draws)
    return Page(colour, torch.rand(1, height, width, generator=draws) if alpha else None)


SIDES = st.integers(1, 40)
PAGES = st.builds(page, st.sampled_from([1, 3]), SIDES, SIDES, alpha=st.booleans())


@settings(max_examples=30)
@given(
    pages=st.lists(PAGES, min_size=1, max_size=8),
    network=st.sampled_from([UNet, ResNetGenerator]),
    scale=st.sampled_from([1, 2]),
    strength=st.sampled_from([1.0, 0.3]),
)
def test_together_as_alone(
    pages: list[Page], network: type[UNet | ResNetGenerator], scale: int, strength: float
) -> None:
    fn = drawn(network, scale)
    together = restore_pages(fn, pages, strength=strength)
    assert len(together) == len(pages)
    for given_, found in zip(pages, together, strict=True):
        alone = restore_page(fn, given_, strength=strength)
        torch.testing.assert_close(found.colour, alone.colour, rtol=0, atol=1e-5)
        assert (found.alpha is None) == (alone.alpha is None)
        if found.alpha is not None and alone.alpha is not None:
            assert torch.equal(found.alpha, alone.alpha)


def test_those_of_one_padded_size_make_a_batch() -> None:
    fn, shares = Inverts(), list[float]()
    pages = [page(3, h, w, alpha=False) for h, w in [(17, 17), (30, 30), (18, 20), (20, 19)]]
    restore_pages(fn, pages, progress=shares.append)
    assert fn.sizes == [(3, 3, 20, 20), (1, 3, 32, 32)]
    assert shares == [0.75, 1.0]
    restore_pages(fn, pages, tile=8)
    assert all(size[0] == 1 for size in fn.sizes[2:])


@pytest.mark.parametrize(
    ("side", "batches"), [(32, [64, 6]), (128, [4] * 17 + [2]), (256, [1] * 70)]
)
def test_batches_are_no_larger_than_is_small(side: int, batches: list[int]) -> None:
    fn = Inverts()
    restore_pages(fn, [page(1, side, side, alpha=False)] * 70)
    assert [size[0] for size in fn.sizes] == batches
    assert batches[0] * side * side <= SMALL


def test_no_pages() -> None:
    assert restore_pages(Inverts(), []) == []
