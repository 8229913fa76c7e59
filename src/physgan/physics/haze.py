"""Haze: light lost on its way and replaced by airlight, and a sampler of hazy scenes.

Conventions, pinned by tests: `y = x t + A (1 - t)` with transmission `t = exp(-beta depth)`, depth
in [0, 1] of the scene's greatest, beta the optical thickness at that greatest depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.physics.checks import check_range, parameter
from physgan.physics.draw import smooth_field, uniform
from physgan.types import Part, Theta


def haze(x: Tensor, transmission: Tensor, airlight: Tensor) -> Tensor:
    """Attenuates a scene and adds airlight: `x t + A (1 - t)` (section 4 of the paper).

    Args:
        x: images, N×C×H×W.
        transmission: share of the light that arrives, N×1×H×W in [0, 1], taken in the type of `x`.
        airlight: colour of the haze, N×C in [0, 1], taken in the type of `x`.

    Returns:
        Hazy images of the shape and type of `x`.

    Raises:
        ShapeError: the shapes do not belong together.
    """
    if x.ndim != 4:
        raise ShapeError("images of a haze", expected="N×C×H×W", got=f"shape {tuple(x.shape)}")
    n, c, h, w = x.shape
    if transmission.shape != (n, 1, h, w):
        raise ShapeError(
            "transmission of a haze",
            expected=f"N×1×H×W of the image's size, {(n, 1, h, w)}",
            got=f"{tuple(transmission.shape)}",
            remedy="Crop and resize transmission or depth together with the image.",
        )
    if airlight.shape != (n, c):
        raise ShapeError(
            "airlight of a haze", expected=f"N×C, {(n, c)}", got=f"{tuple(airlight.shape)}"
        )
    # A + (x - A) t has one product less and the same gradients.
    a = airlight.to(x.dtype)[:, :, None, None]
    return a + (x - a) * transmission.to(x.dtype)


def transmission_of(depth: Tensor, beta: Tensor) -> Tensor:
    """`exp(-beta depth)`: depth N×1×H×W (not negative) and beta N give transmission N×1×H×W."""
    return torch.exp(-beta[:, None, None, None] * depth)


class Haze:
    """The operator `haze`; theta: `transmission` N×1×H×W and `airlight` N×C."""

    scale = 1
    parts: Mapping[str, Part] = MappingProxyType({"transmission": "map", "airlight": "number"})

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        transmission = parameter(theta, "transmission", of="haze")
        return haze(x, transmission, parameter(theta, "airlight", of="haze"))

    def margin(self, theta: Theta) -> int:
        """0: every pixel for itself."""
        return 0


class DrawnHaze:
    """Haze over a drawn depth: a receding ground plane with smooth hills on it.

    Args:
        beta: optical thickness at the greatest depth, drawn uniformly per image.
        airlight: brightness of the haze, drawn uniformly per image.
        tint: greatest deviation of one channel's airlight from that brightness.
    """

    def __init__(
        self,
        beta: tuple[float, float] = (0.5, 2.5),
        airlight: tuple[float, float] = (0.7, 1.0),
        tint: float = 0.05,
    ) -> None:
        check_range("beta of a haze", beta)
        check_range("airlight of a haze", airlight, greatest=1.0)
        check_range("tint of a haze", (0.0, tint))
        self.beta, self.airlight, self.tint = beta, airlight, tint

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`transmission` N×1×H×W and `airlight` N×C for the images of `x`."""
        n, c, h, w = x.shape
        hills = smooth_field(n, (h, w), 4, generator=generator)
        share = uniform(n, (0.2, 0.8), generator=generator)[:, None, None, None]
        # The top of a picture is usually far away.
        plane = torch.linspace(1, 0, h, device=x.device)[None, None, :, None]
        depth = share * plane + (1 - share) * hills
        depth = depth / depth.amax(dim=(-2, -1), keepdim=True)
        beta = uniform(n, self.beta, generator=generator)
        level = uniform(n, self.airlight, generator=generator)[:, None]
        tint = uniform(n * c, (-self.tint, self.tint), generator=generator).reshape(n, c)
        return {
            "transmission": transmission_of(depth, beta),
            "airlight": (level + tint).clamp(0, 1),
        }


def check_haze(theta: Theta) -> None:
    """Raises ThetaError unless transmission and airlight lie in [0, 1]."""
    for name in ("transmission", "airlight"):
        values = parameter(theta, name, of="haze")
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):
            raise ThetaError(
                f"{name} of a haze",
                expected="values in [0, 1]",
                got=f"{low:.4g} to {high:.4g}",
                remedy="Divide by the full range of the file (255 for 8 bits).",
            )
