"""The grid that pixel shuffling can leave in pictures, every second row and column, taken out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.networks.mirror import mirrored

REACH = 12
"""Pixels to each side over which means are taken: the wider, the less of the picture changes, and
the less a grid may vary from place to place. With 8 all of it seemed to stay, 16 took no more."""


def without_grid(x: Tensor) -> Tensor:
    """Images less what the four pixels of a square of 2×2 px differ by on average nearby.

    A convolution before a pixel shuffle has other weights for each of the four, which need not
    agree (Odena et al., "Deconvolution and Checkerboard Artifacts", 2016). Linear and
    differentiable. Of a spectrum it takes what lies at the three frequencies of a grid, and half of
    what lies 1/26 cycles a pixel from them. An edge has some of that: within 12 px of it, pixels
    move up and down in turn, next to it by 1/26 of its step. So a network learns with this behind
    it, and what it gives before then is no picture to be used. Computed in at least float32, also
    under autocast.

    Args:
        x: N×C×H×W, floating.

    Returns:
        The same shape and type.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    at = torch.arange(-REACH, REACH + 1, device=x.device, dtype=wide.dtype)
    all_of_them = 1 + torch.cos(torch.pi / (REACH + 1) * at)
    every_second = all_of_them * (at % 2 == 0)
    with torch.autocast(x.device.type, enabled=False):
        # With channels last a convolution of each by itself takes an eighth of the time.
        around = mirrored(wide, REACH).contiguous(memory_format=torch.channels_last)
        grid = _means(around, every_second) - _means(around, all_of_them)
        return (wide - grid).to(x.dtype)


def _means(x: Tensor, weights: Tensor) -> Tensor:
    """Weighted means along rows and columns."""
    channels = x.shape[1]
    taps = (weights / weights.sum()).expand(channels, 1, 1, -1)
    rows = F.conv2d(x, taps.mT, groups=channels)
    return F.conv2d(rows, taps, groups=channels)
