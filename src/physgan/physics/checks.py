"""What every physics refuses before it computes: missing parameters and impossible ranges."""

from __future__ import annotations

import math

from torch import Tensor

from physgan.errors import ShapeError, ThetaError, nearest
from physgan.types import Theta


def parameter(theta: Theta, name: str, *, of: str) -> Tensor:
    """One parameter out of theta.

    Raises:
        ThetaError: theta has no parameter of that name.
    """
    try:
        return theta[name]
    except KeyError:
        raise ThetaError(
            f"theta of a {of}",
            expected=f"a parameter '{name}'",
            got=f"parameters {', '.join(theta) or 'none'}",
            remedy=remedy if (remedy := nearest(name, theta)).startswith("Did") else "",
        ) from None


def check_images(what: str, x: Tensor) -> None:
    """Raises ShapeError unless `x` is N×C×H×W of floating numbers: levels would truncate theta."""
    if x.ndim != 4 or not x.is_floating_point():
        raise ShapeError(
            what,
            expected="N×C×H×W of floating numbers",
            got=f"shape {tuple(x.shape)} of {x.dtype}",
            remedy="" if x.is_floating_point() else "Divide levels of 8 bits by 255.",
        )


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ThetaError unless the value is one of the choices."""
    if value not in choices:
        raise ThetaError(
            what,
            expected=f"one of {', '.join(choices)}",
            got=repr(value),
            remedy=nearest(str(value), choices),
        )


def check_values(
    what: str, values: Tensor, *, least: float = 0.0, greatest: float = math.inf, remedy: str = ""
) -> None:
    """Raises ThetaError unless `least <= values <= greatest`, and all are finite."""
    if values.numel() == 0:
        return
    low, high = float(values.min()), float(values.max())
    if not (low >= least and high <= greatest and high < math.inf):
        bounded = f"values in [{least:g}, {greatest:g}]"
        raise ThetaError(
            what,
            expected=bounded if greatest < math.inf else f"finite values of at least {least:g}",
            got=f"{low:.4g} to {high:.4g}",
            remedy=remedy,
        )


def check_range(
    what: str, bounds: tuple[float, float], *, least: float = 0.0, greatest: float = math.inf
) -> None:
    """Raises ThetaError unless `least <= bounds[0] <= bounds[1] <= greatest`, and all is finite."""
    if not (least <= bounds[0] <= bounds[1] <= greatest and bounds[1] < math.inf):
        limit = f" <= {greatest:g}" if greatest < math.inf else ""
        raise ThetaError(
            what,
            expected=f"{least:g} <= least <= greatest{limit}",
            got=f"{bounds[0]:g} to {bounds[1]:g}",
        )
