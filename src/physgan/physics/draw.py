"""Draws that samplers share, on the device and with the state of the caller's generator.

And the sampler that draws nothing.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


def uniform(
    shape: int | tuple[int, ...], bounds: tuple[float, float], *, generator: Generator
) -> Tensor:
    """Numbers drawn uniformly between two bounds, float32, on the generator's device.

    Args:
        shape: how many, or the shape of the result.
        bounds: least and greatest.
        generator: the caller's.
    """
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


class Nothing:
    """The sampler of operators without parameters: an empty theta, and no number drawn."""

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return {}


def smooth_field(n: int, size: tuple[int, int], cells: int, *, generator: Generator) -> Tensor:
    """n smooth random surfaces, n×1×H×W, each stretched to span [0, 1].

    Args:
        n: how many.
        size: height and width.
        cells: how many independent values lie along each side; fewer are smoother.
        generator: the caller's.
    """
    knots = torch.rand(n, 1, cells + 1, cells + 1, generator=generator, device=generator.device)
    field = F.interpolate(knots, size=size, mode="bicubic", align_corners=True)
    low, high = field.amin(dim=(-2, -1), keepdim=True), field.amax(dim=(-2, -1), keepdim=True)
    return (field - low) / (high - low).clamp(min=1e-6)
