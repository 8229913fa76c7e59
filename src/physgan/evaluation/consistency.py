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

DRAWS = 32
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

    Mean and variance of each recorded value come from running the sensor, see `recorded`. The
    square of a value's distance from the mean, over the variance, averages 1 where `x` is the
    truth, noise included; `x` that explains less is above, and one that explains the noise as well
    is below.

    Where noise is so weak that the file's 8 bits hide it, or where there is none, nothing scatters
    and the variance of rounding takes its place: the truth then gets 0, each value that is one
    level off adds 12, and 1 is a root mean square of 0.29 levels. Such numbers compare one `x` with
    another; they do not say how likely it is.

    Args:
        x: a clear image, or a restored one, 1×C×H×W in [0, 1].
        y: the observation, 1×C×h×w in [0, 1], read from an 8-bit file.
        degradation: physics and sensor.
        theta: the parameters that made `y`, nested by stage.
        generator: of the sensor's draws.
        draws: at least 4.

    Returns:
        `residual`, the root of the mean square of H(x, theta) - y, where the sensor clips of what
        it leaves of H(x, theta), and `chi2`, χ²/N.

    Raises:
        ThetaError: theta lacks what a stage needs.
        ShapeError: theta or `y` is not of the size of `x`.
    """
    light, y_hat = degradation.expose(x, theta)
    mean, variance = recorded(light, degradation, theta, generator=generator, draws=draws)
    return {
        "residual": math.sqrt(float((y_hat - y).square().mean())),
        "chi2": float(((y - mean).square() / variance).mean()),
    }


@torch.no_grad()
def recorded(
    y_hat: Tensor,
    degradation: Degradation,
    theta: ChainTheta,
    *,
    generator: Generator,
    draws: int = DRAWS,
) -> tuple[Tensor, Tensor]:
    """Mean and variance of what an 8-bit file keeps of `y_hat` after the sensor, pixel by pixel.

    The sensor is run `draws` times, so noise that is clipped, rounded or depends on the signal is
    met as it is. Where all draws are equal, the variance is that of rounding, a twelfth of the
    squared step; elsewhere it is such that (y - mean)²/variance averages 1.

    Args:
        y_hat: H(x, theta), N×C×h×w in [0, 1].
        degradation: whose sensor is run.
        theta: nested by stage.
        generator: of the draws.
        draws: at least 4.

    Returns:
        Two tensors of the shape of `y_hat`.
    """
    # Welford's update, so that memory does not grow with the draws.
    mean, scatter = torch.zeros_like(y_hat), torch.zeros_like(y_hat)
    for drawn in range(1, draws + 1):
        seen = degradation.sense(y_hat, theta, generator=generator)
        off = seen.clamp(0, 1).mul(255).round() / 255 - mean
        mean += off / drawn
        scatter += off.square() * ((drawn - 1) / drawn)
    # For values scattered like a Gaussian, (y - mean)²/variance of estimates averages
    # (1 + 1/n)(n - 1)/(n - 3) rather than 1.
    bias = (1 + 1 / draws) * (draws - 1) / (draws - 3)
    variance = scatter / (draws - 1)
    # Equal draws leave rounding of single precision, a single one that differs far more.
    still = variance < 1e-3 * FILE_STEP**2
    return mean, torch.where(still, FILE_STEP**2 / 12, variance * bias)
