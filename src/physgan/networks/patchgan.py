"""The paper's discriminator (Table 1): a PatchGAN that judges squares of 70×70 pixels.

The first and the last layer that Table 1 calls CILR have no normalisation, and the last has no
activation either, as in the network it is taken from (Isola et al., 2017).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from physgan.networks.checks import check_arguments, check_images
from physgan.networks.convolution import Conv2d
from physgan.networks.init import init_normal
from physgan.networks.norm import InstanceNorm


class ConvNormLeaky(nn.Module):
    """A 4×4 convolution, instance normalisation, LeakyReLU with slope 0.2."""

    def __init__(self, channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, out_channels, 4, stride=stride, padding=1)
        self.norm = InstanceNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×C'×H'×W'."""
        return F.leaky_relu(self.norm(self.conv(x)), 0.2)


class PatchDiscriminator(nn.Module):
    """Judges overlapping 70×70 squares of an image; 2,764,737 parameters by default.

    The weights are drawn on construction from torch's global generator; for a network that a
    seed determines, call `init_normal(network, generator=...)` after it.

    Args:
        channels: channels of the images.
        width: channels after the first layer; two, four and eight times as many further in.

    Raises:
        ShapeError: an argument is out of range.
    """

    def __init__(self, *, channels: int = 3, width: int = 64) -> None:
        check_arguments(channels=channels, width=width)
        super().__init__()
        self.channels: int = channels
        self.stem = Conv2d(channels, width, 4, stride=2, padding=1)
        self.body = nn.Sequential(
            ConvNormLeaky(width, 2 * width, stride=2),
            ConvNormLeaky(2 * width, 4 * width, stride=2),
            ConvNormLeaky(4 * width, 8 * width, stride=1),
        )
        self.head = Conv2d(8 * width, 1, 4, stride=1, padding=1)
        init_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Judges `images`.

        Args:
            images: N×C×H×W in [0, 1], H and W of at least 24 px.

        Returns:
            Unbounded scores, N×1×(H//8 − 2)×(W//8 − 2), of the type of `images`; high is real.

        Raises:
            ShapeError: rank, type, channels or size does not fit.
        """
        check_images(images, channels=self.channels, minimum=24)
        x = self.body(F.leaky_relu(self.stem(2 * images - 1), 0.2))
        scores: Tensor = self.head(x)
        return scores.to(images.dtype)
