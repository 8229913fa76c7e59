"""Haze inverted by its own formula: a network says how thick the haze is, and of what colour.

Where `y = x t + A (1 - t)` with `t = exp(-tau)`, the scene is `x = A + (y - A) exp(tau)`. The
optical thickness tau and the airlight A change slowly but at the outlines of things, and are told
by much of the picture rather than by details. So a `UNet` looks at the picture in a fraction of its
size, and gives both as maps of that size: A as it is, tau as linear functions of the colour at each
place, which keep the outlines when they are enlarged (guided filter, He et al. 2013; learnt as
such: Wu et al., "Fast End-to-End Trainable Guided Filter", 2018). Means of these over squares as
large as the network's coarsest stride leave nothing of a grid. Where no
thickness is found, the picture comes back to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.means import square_means
from physgan.networks.base import RestorationNetwork
from physgan.networks.checks import check_arguments, check_images
from physgan.networks.convolution import Conv2d
from physgan.networks.init import zeroed
from physgan.networks.unet import UNet

THICKEST = 3.0
"""Optical thickness that is undone at most: a twentieth of the light arrives."""
_USUAL_AIRLIGHT = 0.8


class HazeInversion(RestorationNetwork):
    """Restorer of pictures in haze, N×C×h×w to N×C×h×w, that starts as the identity.

    In training its results may leave [0, 1], and thickness may fall below none; in evaluation both
    are clamped.

    Args:
        channels: of the pictures.
        shrink: side of the square of pixels that thickness and airlight are found for as one.
        widths: see `UNet`.
        blocks: see `UNet`.
        unshuffle: see `UNet`; in pixels of the small picture.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        shrink: int = 4,
        widths: Sequence[int] = (48, 96, 192),
        blocks: Sequence[int] = (2, 2, 4),
        unshuffle: int = 2,
    ) -> None:
        check_arguments(channels=channels, shrink=shrink)
        super().__init__()
        self.channels: int = channels
        self.scale: int = 1
        self.shrink = shrink
        look = UNet(channels=channels, widths=widths, blocks=blocks, unshuffle=unshuffle)
        # Thickness by colour and without, and the airlight, in place of a picture.
        look.head = Conv2d(widths[0], (2 * channels + 1) * unshuffle**2, 3, padding=1)
        zeroed(look.head)
        self.small = look
        self.multiple_of: int = shrink * look.multiple_of
        assert look.receptive_field is not None
        # Means see half a square further, and enlarging one pixel of the maps.
        reach = look.receptive_field // 2 + look.multiple_of // 2 + 1
        self.receptive_field: int | None = shrink * (2 * reach + 1)
        self.global_statistics: bool = False

    def forward(self, y: Tensor) -> Tensor:
        """Restores `y`; height and width must be multiples of `multiple_of`.

        Raises:
            ShapeError: wrong rank, channels or sides.
        """
        thickness, airlight = self.haze_of(y)
        if not self.training:
            thickness = thickness.clamp(min=0)
        # Written so that no thickness changes nothing, to the bit.
        x_hat: Tensor = (y + (y - airlight) * thickness.expm1()).to(y.dtype)
        return x_hat if self.training else x_hat.clamp(0, 1)

    def haze_of(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Optical thickness N×1×h×w in ±`THICKEST`, and airlight N×C×h×w in [0, 1] of `y`.

        Both in at least single precision; what `y` may be, and what is raised, as in `forward`.
        """
        least = self.multiple_of
        check_images(y, channels=self.channels, minimum=least, multiple_of=least)
        small, side = self.small, self.small.unshuffle
        z = F.pixel_unshuffle(F.avg_pool2d(y, self.shrink) * 2 - 1, side)
        maps = F.pixel_shuffle(small.head(small.trunk(small.stem(z))), side)
        # Exponents and what they multiply in at least single precision.
        maps = maps if maps.dtype == torch.float64 else maps.float()
        maps = _means(maps, small.multiple_of)
        maps = F.interpolate(maps, scale_factor=float(self.shrink), mode="bilinear")
        slope, level, airlight = maps.split([self.channels, 1, self.channels], dim=1)
        thickness = (slope * (y * 2 - 1)).sum(dim=1, keepdim=True) + level
        return (
            thickness.clamp(-THICKEST, THICKEST),
            (_USUAL_AIRLIGHT + airlight).clamp(0, 1),
        )


def _means(maps: Tensor, side: int) -> Tensor:
    """Means over squares around each pixel; whatever repeats every `side` pixels is gone.

    The outermost pixels of squares of even side, one pixel larger, count by half.
    """
    wider = F.pad(maps, (side // 2,) * 4, mode="replicate")
    means = square_means(wider, side)
    return means if side % 2 else square_means(means, 2)
