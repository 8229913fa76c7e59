"""Peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from physgan.metrics.checks import as_pair


def psnr(x_hat: Tensor, x: Tensor, *, data_range: float) -> Tensor:
    """10·log10(data_range² / MSE) of each image, over its channels and pixels.

    Args:
        x_hat: restored images, N×C×H×W.
        x: clear images, the same shape.
        data_range: largest minus smallest possible value: 1 for images in [0, 1].

    Returns:
        Decibels, shape N; infinite where the two images are equal.

    Raises:
        ShapeError: the shapes differ or are not N×C×H×W, or `data_range` is not positive.
    """
    x_hat, x = as_pair(x_hat, x, data_range=data_range)
    error = (x_hat - x).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(data_range**2 / error)
