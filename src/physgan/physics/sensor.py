"""What a camera does after the physics: noise, clipping, rounding to whole levels.

Stages take theta's flat `sensor` part and the caller's generator. They are apart from the operators
because they are random or not smooth: the L1 terms of the objective use `H` alone, the
discriminator of observations may see what the sensor makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.physics.checks import check_range, check_values, parameter
from physgan.physics.draw import uniform
from physgan.types import Checking, Sensor, Theta


def add_noise(y: Tensor, sigma: Tensor, *, generator: Generator) -> Tensor:
    """Adds white Gaussian noise: y N×C×H×W in [0, 1], sigma N in units of the full range.

    Raises:
        ShapeError: not one sigma for each image.
    """
    if sigma.shape != y.shape[:1]:
        raise ShapeError(
            "sigma of the noise",
            expected=f"N, one for each of {y.shape[0]} images",
            got=f"shape {tuple(sigma.shape)}",
        )
    noise = torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)
    return y + sigma.to(y.dtype)[:, None, None, None] * noise


def round_levels(y: Tensor, bits: int = 8) -> Tensor:
    """Rounds [0, 1] to 2^bits - 1 equal steps; its gradient is that of the identity.

    The straight-through gradient keeps what stands behind a rounded image trainable.
    """
    steps = 2**bits - 1
    levels: Tensor = (torch.round(y * steps) / steps).detach()
    # The bracket is zero but for its gradient: the sum is exactly on a level.
    return levels + (y - y.detach())


def saturated(y: Tensor) -> Tensor:
    """Values clamped to [0, 1]; beyond an end they pass a gradient only where it leads back.

    What a camera that clips can tell of light: two that are too bright for it are the same. A plain
    clamp would leave a value that is too bright, where the camera saw less, without a way back.
    """
    result: Tensor = _Saturated.apply(y)  # type: ignore[no-untyped-call]
    return result


class _Saturated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return y.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (y,), (slope,) = ctx.saved_tensors, slopes
        # Descent moves against the slope.
        return torch.where(((y <= 1) | (slope > 0)) & ((y >= 0) | (slope < 0)), slope, 0)


class Noise:
    """White Gaussian noise; theta: `sigma` N, in units of the full range.

    Args:
        sigma: least and greatest sigma, drawn per image.
        power: 1 draws all of them as often; above it quiet images are more frequent: with 3, half
            of all lie in the lowest eighth of the range.
        quiet: share of the images that have no noise at all.
    """

    def __init__(
        self, sigma: tuple[float, float] = (0.0, 0.1), power: float = 1.0, quiet: float = 0.0
    ) -> None:
        check_range("sigma of the noise, in units of the full range", sigma, greatest=1.0)
        if not 0 < power < math.inf:
            raise ThetaError("power of the noise", expected="a number above 0", got=str(power))
        check_range("share of images without noise", (0.0, quiet), greatest=1.0)
        self.sigma, self.power, self.quiet = sigma, power, quiet

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        least, greatest = self.sigma
        u = uniform(x.shape[0], (0.0, 1.0), generator=generator) ** self.power
        sigma = least + (greatest - least) * u
        if self.quiet:
            quiet = uniform(x.shape[0], (0.0, 1.0), generator=generator) < self.quiet
            sigma = sigma.masked_fill(quiet, 0.0)
        return {"sigma": sigma}

    def __call__(self, y: Tensor, theta: Theta, *, generator: Generator) -> Tensor:
        return add_noise(y, parameter(theta, "sigma", of="sensor with noise"), generator=generator)

    def check(self, theta: Theta) -> None:
        """Raises ThetaError unless sigma lies in [0, 1]."""
        check_values(
            "sigma of the noise",
            parameter(theta, "sigma", of="sensor with noise"),
            greatest=1,
            remedy="It is in units of the full range: divide levels of 8 bits by 255.",
        )


class Clip:
    """Saturation: values outside [0, 1] stay at its ends, and pass no gradient."""

    saturates = True

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return {}

    def __call__(self, y: Tensor, theta: Theta, *, generator: Generator) -> Tensor:
        return y.clamp(0, 1)


class Round:
    """Rounding to whole levels, with a straight-through gradient.

    Args:
        bits: bits of one value, 8 for most files.
    """

    def __init__(self, bits: int = 8) -> None:
        if not 1 <= bits <= 16:
            raise ThetaError("bits of a sensor", expected="1 to 16", got=str(bits))
        self.bits = bits

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return {}

    def __call__(self, y: Tensor, theta: Theta, *, generator: Generator) -> Tensor:
        return round_levels(y, self.bits)


class SensorChain:
    """Stages one after another over one flat theta; without stages, a perfect camera."""

    def __init__(self, stages: Sequence[Sensor] = ()) -> None:
        self.stages = tuple(stages)

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """The parameters of all stages for the images of `x`.

        Raises:
            ThetaError: two stages draw a parameter of the same name.
        """
        theta: dict[str, Tensor] = {}
        for stage in self.stages:
            drawn: Mapping[str, Tensor] = stage.sample(x, generator=generator)
            if twice := sorted(theta.keys() & drawn.keys()):
                raise ThetaError(
                    "stages of a sensor",
                    expected="each parameter to belong to one stage",
                    got=f"{', '.join(twice)} drawn twice",
                )
            theta |= drawn
        return theta

    def __call__(self, y: Tensor, theta: Theta, *, generator: Generator) -> Tensor:
        for stage in self.stages:
            y = stage(y, theta, generator=generator)
        return y

    @property
    def saturates(self) -> bool:
        """Whether a stage records nothing outside [0, 1], and says so by `saturates`."""
        return any(getattr(stage, "saturates", False) for stage in self.stages)

    def check(self, theta: Theta) -> None:
        """Raises ThetaError where a stage finds a parameter missing, or one that cannot be."""
        for stage in self.stages:
            if isinstance(stage, Checking):
                stage.check(theta)
