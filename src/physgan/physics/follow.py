"""Theta follows its image: its parameters where x is mirrored, turned, cut or resized.

For every operator H that says what its parameters are, and for chains of such,

* `H(mirrored x, mirrored theta)` is the mirrored `H(x, theta)`, and so for quarter turns;
* `H(cut x, cut theta)` is the cut `H(x, theta)` where the cut lies on the grid of `H`'s scale and
  pixels closer than `margin` to its edges are left out; both hold but for rounding;
* `H(resized x, resized theta)` is near the resized `H(x, theta)` where `H` is pointwise: averaging
  does not commute with products, so near is all there is (within 0.02 on average where x is
  smooth; a test pins it).

Whatever else would be wrong without a word is refused: other operators, other parameters, cuts off
the grid, resizing a blur. The part of the sensor is numbers, and stays: what it makes of a cut is
the cut of what it makes of the whole only where it acts on every pixel for itself. JPEG acts on
blocks of 8 pixels, 16 for colour, which flips and cuts off that grid divide otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError, ThetaError
from physgan.physics.compose import SENSOR, Chain, stage_theta
from physgan.types import Following, Operator, Part, Theta

AnyTheta = Mapping[str, Any]
"""Theta of an operator, flat, or of a chain, nested by stage."""


class Box(NamedTuple):
    """A rectangle of x, in pixels."""

    top: int
    left: int
    height: int
    width: int


def mirrored(
    operator: Operator | Chain, theta: AnyTheta, *, left_right: bool = False, up_down: bool = False
) -> dict[str, Any]:
    """Theta of the mirrored image.

    Args:
        operator: an operator that tells its `parts`, or a chain of such.
        theta: its parameters.
        left_right: whether left and right change places.
        up_down: whether top and bottom do.

    Raises:
        ThetaError: the operator does not tell what its parameters are.
    """
    dims = [dim for dim, asked in ((-2, up_down), (-1, left_right)) if asked]

    def change(part: Part, tensor: Tensor, scale: int) -> Tensor:
        return tensor if part == "number" else tensor.flip(dims)

    return _changed(operator, theta, change)


def turned(operator: Operator | Chain, theta: AnyTheta, quarters: int) -> dict[str, Any]:
    """Theta of the image turned by quarter turns, counter-clockwise as `torch.rot90` turns it.

    Raises:
        ThetaError: as `mirrored`.
    """

    def change(part: Part, tensor: Tensor, scale: int) -> Tensor:
        return tensor if part == "number" else torch.rot90(tensor, quarters, (-2, -1))

    return _changed(operator, theta, change)


def cropped(operator: Operator | Chain, theta: AnyTheta, box: Box) -> dict[str, Any]:
    """Theta of a cut of the image.

    What the operator makes of the cut equals the cut of what it makes of the whole, but for pixels
    closer than `margin(operator, theta)` to an edge of the cut.

    Args:
        operator: as for `mirrored`.
        theta: its parameters.
        box: in pixels of x; where the operator has a scale, on its grid.

    Raises:
        ThetaError: as `mirrored`.
        ShapeError: the box is off the grid, or reaches beyond a map.
    """
    if min(box) < 0 or not (box.height and box.width):
        raise ShapeError(
            "cut of an image and its theta",
            expected="a rectangle of at least one pixel, from (0, 0) on",
            got=str(tuple(box)),
        )
    if any(side % operator.scale for side in box):
        raise ShapeError(
            "cut of an image and its theta",
            expected=f"places and sides that are multiples of the physics' scale {operator.scale}",
            got=str(tuple(box)),
        )

    def change(part: Part, tensor: Tensor, scale: int) -> Tensor:
        if part != "map":
            return tensor
        top, left, height, width = (side // scale for side in box)
        rows, columns = tensor.shape[-2:]
        if not (0 <= top <= rows - height and 0 <= left <= columns - width and height and width):
            raise ShapeError(
                "cut of a map of theta",
                expected=f"a rectangle within {rows}×{columns}",
                got=f"{height}×{width} from ({top}, {left})",
            )
        return tensor[..., top : top + height, left : left + width]

    return _changed(operator, theta, change)


def resized(operator: Operator | Chain, theta: AnyTheta, size: tuple[int, int]) -> dict[str, Any]:
    """Theta of the image resized to a height and width, maps bilinearly and antialiased.

    Raises:
        ThetaError: as `mirrored`; or the operator is not pointwise, and would act at another scale.
    """
    if operator.scale != 1 or margin(operator, theta) != 0:
        raise ThetaError(
            "physics of a resized image",
            expected="operators that act on every pixel for itself",
            got="one that reaches further or takes samples away",
            remedy="Degrade after resizing.",
        )

    def change(part: Part, tensor: Tensor, scale: int) -> Tensor:
        if part != "map":
            return tensor
        planes = tensor.reshape(-1, 1, *tensor.shape[-2:])
        planes = F.interpolate(
            planes, size=size, mode="bilinear", align_corners=False, antialias=True
        )
        return planes.reshape(*tensor.shape[:-2], *size)

    return _changed(operator, theta, change)


def margin(operator: Operator | Chain, theta: AnyTheta) -> int:
    """How many pixels of x beyond its own place a result depends on, to each side.

    Raises:
        ThetaError: as `mirrored`.
    """
    reach, scale = 0, 1
    for _, stage, part in _stages(operator, theta):
        _check(stage, part)
        reach += scale * stage.margin(part)  # type: ignore[attr-defined]
        scale *= stage.scale
    return reach


def _stages(operator: Operator | Chain, theta: AnyTheta) -> list[tuple[str, Operator, Theta]]:
    if not isinstance(operator, Chain):
        return [("", operator, theta)]
    return [(name, stage, stage_theta(theta, name)) for name, stage in operator.operators.items()]


def _changed(
    operator: Operator | Chain, theta: AnyTheta, change: Callable[[Part, Tensor, int], Tensor]
) -> dict[str, Any]:
    """Every parameter by its part and by the scale of the picture that its stage is given."""
    result: dict[str, Any] = {}
    scale = 1
    for name, stage, part in _stages(operator, theta):
        parts = _check(stage, part)
        followed = {key: change(parts[key], tensor, scale) for key, tensor in part.items()}
        result |= {name: followed} if name else followed
        scale *= stage.scale
    if isinstance(operator, Chain) and SENSOR in theta:
        result[SENSOR] = dict(theta[SENSOR])
    return result


def _check(operator: Operator, theta: Theta) -> Mapping[str, Part]:
    """What the parameters are, of an operator that tells of all of them."""
    name = type(operator).__name__
    if not isinstance(operator, Following):
        raise ThetaError(
            f"operator '{name}' of an image that is cut, turned or resized",
            expected="`parts`, which tell what its parameters are, and `margin`",
            got="neither or one of them",
            remedy="Give it both (physgan.types.Following), or degrade the image afterwards.",
        )
    if untold := sorted(theta.keys() - operator.parts.keys()):
        raise ThetaError(
            f"theta of '{name}'",
            expected=f"the parameters {', '.join(operator.parts) or 'none'}",
            got=f"{', '.join(untold)} besides",
        )
    if lacking := sorted(operator.parts.keys() - theta.keys()):
        raise ThetaError(
            f"theta of '{name}'",
            expected=f"the parameters {', '.join(operator.parts)}",
            got=f"none called {', '.join(lacking)}",
        )
    return operator.parts
