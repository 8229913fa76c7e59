"""The compact restorer for shipping: a U-shaped network of plain residual blocks.

No statistics over the image, a bounded receptive field, half-precision weights of at most 8 MB. It
works on a pixel-unshuffled picture, adds its result to its input, and starts as the identity, or
as bicubic enlargement.
Chosen by measurement (docs/networks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgan.errors import ShapeError
from physgan.networks.base import RestorationNetwork
from physgan.networks.checks import check_arguments, check_images
from physgan.networks.convolution import Conv2d
from physgan.networks.init import zeroed
from physgan.resize import bicubic


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), 3×3, of one width."""

    convolutions = 2
    """how many 3×3 convolutions lie behind one another, for the receptive field"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv2d(width, width, 3, padding=1)
        self.second = Conv2d(width, width, 3, padding=1)
        # Deep sums of residuals grow without this; the first steps then overshoot.
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(F.relu(self.first(x)))
        return result


class UNet(RestorationNetwork):
    """U-shaped restorer, N×C×h×w to N×C×(scale·h)×(scale·w).

    In training its results may leave [0, 1], so that saturated pixels still teach; in evaluation
    they are clamped.

    Args:
        channels: of the pictures.
        scale: how many times larger the result is, by pixel shuffle.
        widths: features of each level, the finest first; each further level halves the sides.
        blocks: residual blocks of each level on the way down, and again on the way up; the last
            level has its number once.
        unshuffle: side of the square of pixels that the finest level takes as one.
        block: makes a block of one width.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        scale: int = 1,
        widths: Sequence[int] = (48, 96, 192),
        blocks: Sequence[int] = (2, 2, 4),
        unshuffle: int = 2,
        block: Callable[[int], nn.Module] = ResidualBlock,
    ) -> None:
        check_arguments(channels=channels, scale=scale, unshuffle=unshuffle)
        if len(widths) != len(blocks) or not widths:
            raise ShapeError(
                "levels of a U-shaped network",
                expected="as many numbers of blocks as widths, at least one",
                got=f"{len(blocks)} and {len(widths)}",
            )
        for width, count in zip(widths, blocks, strict=True):
            check_arguments(widths=width)
            check_arguments(blocks=count, at_least=0)
        super().__init__()
        self.channels: int = channels
        self.scale: int = scale
        self.unshuffle = unshuffle
        self.multiple_of: int = unshuffle * 2 ** (len(widths) - 1)
        self.receptive_field: int | None = _receptive_field(
            blocks, unshuffle, getattr(block, "convolutions", 2)
        )
        self.global_statistics: bool = False
        self.stem = Conv2d(channels * unshuffle**2, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList()
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.decoders = nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths[:-1], blocks[:-1], strict=True)):
            below = widths[level + 1]
            self.encoders.append(nn.Sequential(*(block(width) for _ in range(count))))
            self.downs.append(Conv2d(width, below, 2, stride=2))
            self.ups.append(Conv2d(below, width * 4, 1))
            self.decoders.append(nn.Sequential(*(block(width) for _ in range(count))))
        self.bottom = nn.Sequential(*(block(widths[-1]) for _ in range(blocks[-1])))
        self.head = Conv2d(widths[0], channels * (unshuffle * scale) ** 2, 3, padding=1)
        zeroed(self.head)

    def forward(self, y: Tensor) -> Tensor:
        """Restores `y`; height and width must be multiples of `multiple_of`.

        Raises:
            ShapeError: wrong rank, channels or sides.
        """
        check_images(
            y, channels=self.channels, minimum=self.multiple_of, multiple_of=self.multiple_of
        )
        x_hat = self.look(y)
        return x_hat if self.training else x_hat.clamp(0, 1)

    def look(self, y: Tensor) -> Tensor:
        """What `forward` gives, not clamped and not checked."""
        z = self.trunk(self.stem(F.pixel_unshuffle(y * 2 - 1, self.unshuffle)))
        residual = F.pixel_shuffle(self.head(z), self.unshuffle * self.scale)
        return bicubic(y, up=self.scale) + residual

    def trunk(self, z: Tensor) -> Tensor:
        """All that lies between stem and head, from features of the finest level to such."""
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            z = encoder(z)
            skips.append(z)
            z = down(z)
        z = self.bottom(z)
        for decoder, up in zip(reversed(self.decoders), reversed(self.ups), strict=True):
            z = decoder(F.pixel_shuffle(up(z), 2) + skips.pop())
        return z


def _receptive_field(blocks: Sequence[int], unshuffle: int, convolutions: int) -> int:
    """Side of the square of input pixels that one result pixel depends on, an upper bound.

    Reach to each side is summed in pixels: a 3×3 convolution at stride s reaches s further; the
    squares of pixel shuffling and of the strided convolutions add at most one square less a pixel.
    Bicubic enlargement reaches 2 pixels, and stem and head at least as far.
    """
    reach = 2 * unshuffle  # stem and head
    stride = unshuffle
    for count in blocks[:-1]:
        reach += 2 * count * convolutions * stride
        stride *= 2
    reach += blocks[-1] * convolutions * stride
    return 2 * (reach + stride - 1) + 1
