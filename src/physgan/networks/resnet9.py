"""The paper's generator (Table 1): CycleGAN's residual network, nine blocks by default.

Table 1 as printed has slips: its first up-convolution has stride 2, not 1, and its last three
layers put out 2·width, width and `channels` channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgan.networks.base import RestorationNetwork
from physgan.networks.checks import check_arguments, check_images
from physgan.networks.convolution import Conv2d, ConvTranspose2d
from physgan.networks.init import init_normal
from physgan.networks.norm import InstanceNorm
from physgan.resize import bicubic


class ConvNormRelu(nn.Module):
    """A convolution (plain or transposed), instance normalisation, ReLU."""

    def __init__(self, conv: Conv2d | ConvTranspose2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = InstanceNorm(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×C'×H'×W', as the convolution has it."""
        return F.relu(self.norm(self.conv(x)))


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3×3, reflection padding, no activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm1 = InstanceNorm(channels)
        self.conv2 = Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm2 = InstanceNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to the same shape; H and W of at least 2."""
        inner = F.relu(self.norm1(self.conv1(x)))
        result: Tensor = x + self.norm2(self.conv2(inner))
        return result


class ResNetGenerator(RestorationNetwork):
    """Restores images by a residual network at a quarter of their size; a `RestoreFn`.

    Johnson et al. (2016) as CycleGAN (Zhu et al., 2017) and the paper's Table 1 have it:
    7×7 stem, two strided convolutions, residual blocks, two transposed convolutions, 7×7 head
    and tanh. 11,378,179 parameters with the default arguments.

    The weights are drawn on construction from torch's global generator; for a network that a
    seed determines, call `init_normal(network, generator=...)` after it.

    Args:
        channels: channels of the images.
        width: channels after the stem; twice and four times as many further in.
        blocks: residual blocks; 9 in the paper, which also tries 3 to 50.
        scale: enlargement. Above 1, the input is enlarged before the network, bicubically as in
            `physgan.resize`, and clamped to [0, 1], as a file would hold it: the paper's
            super-resolution, without a weight of its own.

    Raises:
        ShapeError: an argument is out of range.
    """

    def __init__(
        self, *, channels: int = 3, width: int = 64, blocks: int = 9, scale: int = 1
    ) -> None:
        check_arguments(channels=channels, width=width, scale=scale)
        check_arguments(at_least=0, blocks=blocks)
        super().__init__()
        self.channels: int = channels
        self.scale: int = scale
        # What the network needs after enlargement, which may bring some of it or all.
        self.multiple_of: int = 4 // math.gcd(4, scale)
        # To each side: stem and head, the strided and the transposed pair, the blocks at stride 4,
        # and three pixels of the grid; of what is enlarged, bicubic interpolation sees 2 px more.
        reach = 3 + 1 + 2 + 8 * blocks + 4 + 2 + 3 + 3
        reach = reach if scale == 1 else -(-reach // scale) + 2
        self.receptive_field: int | None = 2 * reach + 1
        self.global_statistics: bool = True

        def down(inner: int) -> ConvNormRelu:
            return ConvNormRelu(Conv2d(inner, 2 * inner, 3, stride=2, padding=1))

        def up(inner: int) -> ConvNormRelu:
            conv = ConvTranspose2d(inner, inner // 2, 3, stride=2, padding=1, output_padding=1)
            return ConvNormRelu(conv)

        self.stem = ConvNormRelu(Conv2d(channels, width, 7, padding=3, padding_mode="reflect"))
        self.down = nn.Sequential(down(width), down(2 * width))
        self.blocks = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(blocks)))
        self.up = nn.Sequential(up(4 * width), up(2 * width))
        self.head = Conv2d(width, channels, 7, padding=3, padding_mode="reflect")
        init_normal(self)

    def forward(self, y: Tensor) -> Tensor:
        """Restores `y`.

        Args:
            y: N×C×h×w in [0, 1]; after enlargement multiples of 4, and of at least 8 px, which
                reflection padding needs at a quarter of the size.

        Returns:
            N×C×(scale·h)×(scale·w) in [0, 1], of the type of `y`, also under autocast.

        Raises:
            ShapeError: rank, type, channels or size does not fit.
        """
        check_images(
            y,
            channels=self.channels,
            minimum=max(self.multiple_of, -(-8 // self.scale)),
            multiple_of=self.multiple_of,
        )
        x = y if self.scale == 1 else bicubic(y, up=self.scale).clamp(0, 1)
        x = self.down(self.stem(2 * x - 1))
        x = self.head(self.up(self.blocks(x)))
        return (torch.tanh(x.to(y.dtype)) + 1) / 2
