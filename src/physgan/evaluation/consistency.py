"""How well a restored image explains its observation: degraded again, does it give it back?

The residual of the physics is measured in units of what the sensor scatters, so that 1 means as far
off as noise alone is, whatever the sensor.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from physgan.physics.compose import Degradation
from physgan.types import ChainTheta

DRAWS = 128
"""How often the sensor is run to learn its mean and scatter at every pixel."""

FILE_STEP = 1 / 255
"""Observations come from 8-bit files, whose rounding no sensor stage need mention."""


@torch.no_grad()
def consistency(
    x: Tensor,
    y: Tensor,
    degradation: Degradation,
    theta: ChainTheta,
    *,
    generator: Generator,
    draws: int = DRAWS,
) -> dict[str, float]:
    """Compares an observation with what the camera would record of `x`.

    Mean and variance of each recorded value come from running the sensor `draws` times on
    `H(x, theta)`, so noise that is clipped, rounded or depends on the signal is met as it is. The
    square of a value's distance from the mean, over the variance, averages 1 where `x` is the
    truth, noise included; `x` that explains less is above, and one that explains the noise as well
    is below. Without noise, rounding to 8 bits stands for it.

    Args:
        x: a clear image, or a restored one, 1×C×H×W in [0, 1].
        y: the observation, 1×C×h×w in [0, 1], read from an 8-bit file.
        degradation: physics and sensor.
        theta: the parameters that made `y`, nested by stage.
        generator: of the sensor's draws.
        draws: at least 4.

    Returns:
        `residual`, the root of the mean square of H(x, theta) - y, and `chi2`, χ²/N.

    Raises:
        ThetaError: theta lacks what a stage needs.
        ShapeError: theta or `y` is not of the size of `x`.
    """
    y_hat = degradation.operator(x, theta)
    # Welford's update, so that memory does not grow with the draws.
    mean, scatter = torch.zeros_like(y_hat), torch.zeros_like(y_hat)
    for drawn in range(1, draws + 1):
        seen = degradation.sense(y_hat, theta, generator=generator)
        off = seen - mean
        mean += off / drawn
        scatter += off * (seen - mean)
    variance = scatter / (draws - 1) + FILE_STEP**2 / 12
    # For values scattered like a Gaussian, (y - mean)²/variance of estimates averages
    # (1 + 1/n)(n - 1)/(n - 3) rather than 1.
    bias = (1 + 1 / draws) * (draws - 1) / (draws - 3)
    return {
        "residual": math.sqrt(float((y_hat - y).square().mean())),
        "chi2": float(((y - mean).square() / variance).mean()) / bias,
    }
