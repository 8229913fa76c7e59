"""Haze: light lost on its way and replaced by airlight, and a sampler of hazy scenes.

Conventions, pinned by tests: `y = x t + A (1 - t)` with transmission `t = exp(-beta depth)`; drawn
depth lies in [0, 1] of the scene's greatest, which makes beta the optical thickness there.

Two operators, by what is known: `DepthHaze` where a scene's depth is, drawn or measured, and beta
says how thick the haze is; `Haze` where only the transmission of the very picture is, as for pairs
from which it was recovered. `DepthHaze` at (depth, beta) is `Haze` at `exp(-beta depth)`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError
from physgan.physics.checks import check_images, check_range, check_values, parameter
from physgan.physics.depth import scene_depth
from physgan.physics.draw import uniform
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
    check_images("images of a haze", x)
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


def depth_haze(x: Tensor, depth: Tensor, beta: Tensor, airlight: Tensor) -> Tensor:
    """Haze of one density over a scene: `x t + A (1 - t)`, `t = exp(-beta depth)`.

    Args:
        x: images, N×C×H×W.
        depth: N×1×H×W, not negative, in any unit.
        beta: scattering for one of that unit, N, not negative.
        airlight: colour of the haze, N×C in [0, 1].

    Returns:
        Hazy images of the shape and type of `x`; the parameters are taken in that type.

    Raises:
        ShapeError: the shapes do not belong together.
    """
    check_images("images of a haze", x)
    n, _, h, w = x.shape
    for name, value, wanted, remedy in (
        ("depth", depth, (n, 1, h, w), "Crop and resize depth together with the image."),
        ("beta", beta, (n,), "One number for each image."),
    ):
        if value.shape != wanted:
            raise ShapeError(
                f"{name} of a haze",
                expected=str(wanted),
                got=f"{tuple(value.shape)}",
                remedy=remedy,
            )
    return haze(x, transmission_of(depth.to(x.dtype), beta.to(x.dtype)), airlight)


def transmission_of(depth: Tensor, beta: Tensor) -> Tensor:
    """`exp(-beta depth)`: depth N×1×H×W (not negative) and beta N give transmission N×1×H×W."""
    return torch.exp(-beta[:, None, None, None] * depth)


_RANGE = "Divide by the full range of the file (255 for 8 bits)."


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

    def check(self, theta: Theta) -> None:
        """Raises ThetaError unless transmission and airlight lie in [0, 1]."""
        for name in self.parts:
            values = parameter(theta, name, of="haze")
            check_values(f"{name} of a haze", values, greatest=1, remedy=_RANGE)


class DepthHaze:
    """The operator `depth_haze`; theta: `depth` N×1×H×W, `beta` N and `airlight` N×C.

    Depth may be in any unit, beta is per that unit; drawn and read depth is 1 at its greatest.
    """

    scale = 1
    parts: Mapping[str, Part] = MappingProxyType(
        {"depth": "map", "beta": "number", "airlight": "number"}
    )

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        depth, beta, airlight = (parameter(theta, name, of="depth haze") for name in self.parts)
        return depth_haze(x, depth, beta, airlight)

    def margin(self, theta: Theta) -> int:
        """0: every pixel for itself."""
        return 0

    def check(self, theta: Theta) -> None:
        """Raises ThetaError unless airlight lies in [0, 1], and depth and beta are not negative."""
        depth, beta, airlight = (parameter(theta, name, of="depth haze") for name in self.parts)
        check_values("airlight of a haze", airlight, greatest=1, remedy=_RANGE)
        check_values("depth of a haze", depth, remedy="Fill what was not measured.")
        check_values("beta of a haze", beta)


class HazyScenes:
    """Haze over scenes drawn for the pictures (`physics.depth`), for photographs without depth.

    The defaults hold what was measured, and more. On the 122 pairs of NYU and Make3D scenes that
    the paper's release trains on, least squares give a grey airlight of 0.80 to 1.00 and an optical
    thickness at the scene's end of 0.33 to 1.6. In nine real photographs the haziest parts are 0.60
    to 1.00 bright, red and blue up to 0.08 to either side of that and green within 0.02.

    Args:
        beta: least and greatest optical thickness at the scene's greatest depth, drawn uniformly
            per image; at 1, 37 % of the light from there arrives.
        airlight: least and greatest brightness of the haze, in units of the full range, drawn
            uniformly per image.
        tint: greatest deviation of one channel's airlight from that brightness, in the same. The
            first and the last channel deviate to opposite sides, towards dust or blue air; a
            quarter of the deviation is each channel's own.
        clear: share of the images that have no haze at all, so that what is pale by itself is not
            taken for hazy.
    """

    def __init__(
        self,
        beta: tuple[float, float] = (0.2, 2.5),
        airlight: tuple[float, float] = (0.6, 1.0),
        tint: float = 0.08,
        clear: float = 0.0,
    ) -> None:
        check_range("beta of a haze", beta)
        check_range("airlight of a haze", airlight, greatest=1.0)
        check_range("tint of a haze", (0.0, tint), greatest=1.0)
        check_range("share of images without haze", (0.0, clear), greatest=1.0)
        self.beta, self.airlight, self.tint, self.clear = beta, airlight, tint, clear

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`depth` N×1×H×W up to 1, `beta` N and `airlight` N×C for the images of `x`."""
        return self.sample_rest(x, known=(), generator=generator)

    def sample_rest(
        self, x: Tensor, *, known: Collection[str], generator: Generator
    ) -> dict[str, Tensor]:
        """The same, without a depth that is `known`: it takes a quarter of a step of training."""
        n, c = x.shape[:2]
        beta = uniform(n, self.beta, generator=generator)
        if self.clear:
            beta = beta * (uniform(n, (0.0, 1.0), generator=generator) >= self.clear)
        level = uniform(n, self.airlight, generator=generator)[:, None]
        warmth = uniform(n, (-1.0, 1.0), generator=generator)[:, None]
        own = uniform(n * c, (-1.0, 1.0), generator=generator).reshape(n, c)
        spectrum = torch.linspace(1, -1, c, device=x.device)
        tint = self.tint * (0.75 * warmth * spectrum + 0.25 * own)
        theta = {"beta": beta, "airlight": (level + tint).clamp(0, 1)}
        if "depth" not in known:
            theta["depth"] = scene_depth(x, generator=generator)
        return theta
