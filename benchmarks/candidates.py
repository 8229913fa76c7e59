"""Restorers that were tried as the default and lost, kept so that the comparison can be run again.

A recipe names them by import path: `generator: {name: benchmarks.candidates:GatedUNet}`.
docs/networks.md has the table.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgan.networks.unet import UNet


class PixelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, with gain and offset."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.permute(0, 2, 3, 1), self.gain.shape, self.gain, self.offset)
        return y.permute(0, 3, 1, 2)


class GatedBlock(nn.Module):
    """The simple-gate block of Chen et al. (NAFNet, 2022) without its pooled attention."""

    convolutions = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = PixelNorm(width), PixelNorm(width)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.spread = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.project = nn.Conv2d(width, width, 1)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(width, width, 1)
        self.gain1 = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gain2 = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.spread(self.expand(self.norm1(x))).chunk(2, dim=1)
        x = x + self.gain1 * self.project(a * b)
        a, b = self.widen(self.norm2(x)).chunk(2, dim=1)
        return x + self.gain2 * self.narrow(a * b)


GatedUNet = partial(UNet, widths=(64, 128, 256), blocks=(3, 3, 5), block=GatedBlock)
DeepUNet = partial(UNet, widths=(32, 64, 128, 192), blocks=(1, 1, 2, 3), unshuffle=1)
FlatNet = partial(UNet, widths=(128,), blocks=(13,), unshuffle=4)

__all__ = ["DeepUNet", "FlatNet", "GatedUNet"]
