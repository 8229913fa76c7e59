"""Down-sampling: light gathered on fewer pixels, as data of super-resolution are made.

Conventions, pinned by tests: MATLAB's imresize (see `physgan.resize`), which papers on
super-resolution share. Pixel (i, j) of the result covers the square of s×s pixels from (s·i, s·j)
and is centred on it; the kernel, Keys' with a = -1/2 stretched by s, reaches over 4s pixels;
beyond an edge lies the picture's mirror image, edge row included. Nothing is clamped or rounded:
that is the sensor's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.resize import bicubic
from physgan.types import Part, Theta


class Bicubic:
    """The operator `bicubic`: down-sampling by a whole factor; it has no parameters.

    Linear. The kernel's negative lobes let results leave [0, 1] beside edges: follow it by the
    sensor's `clip`. Its sampler is `physgan.physics.draw.Nothing`.

    Args:
        scale: how many times larger `x` is than the result.

    Raises:
        ThetaError: a scale below 1.
    """

    parts: Mapping[str, Part] = MappingProxyType({})

    def __init__(self, scale: int = 4) -> None:
        if scale < 1:
            raise ThetaError("scale of a down-sampling", expected="at least 1", got=str(scale))
        self.scale = scale

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        """`x`, N×C×(s·h)×(s·w), to N×C×h×w of its type.

        Raises:
            ShapeError: another rank or type; or a side is no multiple of the scale, and the last
                pixels would cover less than their square.
        """
        if x.ndim == 4 and any(side % self.scale for side in x.shape[-2:]):
            h, w = (side // self.scale * self.scale for side in x.shape[-2:])
            raise ShapeError(
                "images to sample down",
                expected=f"sides that are multiples of {self.scale}",
                got=f"{x.shape[-2]}×{x.shape[-1]}",
                remedy=f"Crop them to {h}×{w}." if h and w else "Take larger ones.",
            )
        return bicubic(x, down=self.scale)

    def margin(self, theta: Theta) -> int:
        """The kernel's reach of 2s less the half square that a result stands for."""
        return 3 * self.scale // 2 if self.scale > 1 else 0
