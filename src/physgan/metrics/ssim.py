"""Structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError
from physgan.metrics.checks import as_pair

WINDOW = 11
SIGMA = 1.5


def ssim(x_hat: Tensor, x: Tensor, *, data_range: float) -> Tensor:
    """Mean structural similarity of each image, over its channels and the window's positions.

    Wang et al., "Image quality assessment" (2004): Gaussian window 11×11 with sigma 1.5 px, only
    where it lies within the image; K1 = 0.01, K2 = 0.03; biased variances. Channels are compared
    one by one: for the usual protocol hand in `grey` images. float64 images are compared in
    float64, all others in float32.

    Args:
        x_hat: restored images, N×C×H×W, sides of at least 11 px.
        x: clear images, the same shape.
        data_range: largest minus smallest possible value: 1 for images in [0, 1].

    Returns:
        Similarities in [-1, 1], shape N; 1 where the two images are equal.

    Raises:
        ShapeError: the shapes differ, are not N×C×H×W or too small, or `data_range` is not
            positive.
    """
    x_hat, x = as_pair(x_hat, x, data_range=data_range)
    if min(x.shape[2:]) < WINDOW:
        raise ShapeError(
            "the size of the images for SSIM",
            expected=f"sides of at least {WINDOW} px",
            got=f"{x.shape[2]}×{x.shape[3]}",
        )
    # Variances are differences of squares; about the image's mean they lose fewer digits.
    centre = x.mean(dim=(1, 2, 3), keepdim=True)
    a, b = x_hat - centre, x - centre
    mean_a, mean_b, aa, bb, ab = _blur(torch.stack([a, b, a * a, b * b, a * b])).unbind()
    var_a, var_b, cov = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    mean_a, mean_b = mean_a + centre, mean_b + centre
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _blur(images: Tensor) -> Tensor:
    """The Gaussian window over the last two dimensions, without padding."""
    at = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    window = torch.exp(-(at**2) / (2 * SIGMA**2))
    window = window / window.sum()
    planes = images.reshape(-1, 1, *images.shape[-2:])
    planes = F.conv2d(F.conv2d(planes, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return planes.reshape(*images.shape[:-2], *planes.shape[-2:])
