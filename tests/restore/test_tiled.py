"""A tiled result equals the whole one: by property over sizes, tiles, scales and networks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from physgan.errors import ShapeError
from physgan.networks import ResNetGenerator, UNet
from physgan.restore.tiled import restore_tiled, tile_side
from physgan.restore.whole import restore_whole


def network(scale: int, unshuffle: int, levels: int) -> UNet:
    """A small network with weights that let every pixel of its receptive field matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        widths, blocks = (4, 6, 8)[:levels], (1,) * levels
        made = UNet(scale=scale, widths=widths, blocks=blocks, unshuffle=unshuffle).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.normal_(0, 0.3)
    return made


@settings(max_examples=40)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    tile=st.integers(1, 90),
    scale=st.sampled_from((1, 2, 4)),
    unshuffle=st.sampled_from((1, 2)),
    levels=st.integers(1, 3),
)
def test_tiles_equal_the_whole(
    height: int, width: int, tile: int, scale: int, unshuffle: int, levels: int
) -> None:
    fn = network(scale, unshuffle, levels).double()
    draws = Generator().manual_seed(height * 151 + width)
    y = torch.rand(1, 3, height, width, generator=draws, dtype=torch.float64)
    whole = restore_whole(fn, y)
    tiled = restore_tiled(fn, y, tile=max(tile, 24))
    assert tiled.shape == whole.shape
    # In float64, where the order of sums does not show, nothing else does either.
    assert float((tiled - whole).abs().max()) < 1e-9


def test_a_margin_too_small_would_show() -> None:
    """The test above can fail: with half the margin the difference is plain."""
    fn = network(1, 2, 2)
    y = torch.rand(1, 3, 96, 96, generator=Generator().manual_seed(0))
    assert fn.receptive_field is not None
    fn.receptive_field //= 3
    difference = (restore_tiled(fn, y, tile=24) - restore_whole(fn, y)).abs().max()
    assert float(difference) > 1e-4


def test_networks_with_global_statistics_are_not_tiled() -> None:
    fn = ResNetGenerator(width=2, blocks=1).eval()
    with pytest.raises(ShapeError, match="depends on the whole image"):
        restore_tiled(fn, torch.rand(1, 3, 32, 32), tile=16)


def test_tiles_hold_about_as_many_pixels_as_asked() -> None:
    fn = UNet()
    side = tile_side(fn, pixels=640 * 640)
    assert fn.receptive_field is not None
    assert side + 2 * (fn.receptive_field // 2) == 640
    assert tile_side(fn, pixels=10) == fn.multiple_of
