"""Trying physics and networks on one crop before training: what does not fit shows at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

from physgan.errors import PhysganError, RecipeError, ShapeError
from physgan.physics.compose import Degradation, stage_theta
from physgan.recipes.build import place_of
from physgan.training.loop import GENERATOR
from physgan.training.step import CLEAR, OBSERVATION
from physgan.types import ChainTheta

T = TypeVar("T")


def try_physics(
    degradation: Degradation, *, crop: int, channels: int, known: Sequence[str] = ()
) -> None:
    """Draws and degrades two crops twice with one seed; maps that are `known` lie in [0, 1].

    Raises:
        RecipeError: a draw that cannot be, such as a kernel of sum 2; a stage raises, gives no
            numbers, or another size than its scale says; or the same seed gives another draw.
    """
    x = torch.rand(2, channels, crop, crop, generator=Generator().manual_seed(0))
    maps = dict.fromkeys(known, x[:, :1])

    def draw() -> ChainTheta:
        return degradation.sample(x, generator=Generator().manual_seed(1), known=maps)

    theta = _carried_out("sampler of the physics", draw)
    for name, part in draw().items():
        for parameter, again in part.items():
            if not torch.equal(theta[name][parameter], again):
                raise RecipeError(
                    f"sampler of the stage '{name}'",
                    expected="the same draw for the same seed",
                    got=f"another '{parameter}'",
                    remedy="Every random number must come from the generator that it is given.",
                )
    _carried_out("sampler of the physics", lambda: degradation.check(theta))
    y = x
    for name, operator in degradation.operator.operators.items():
        what = f"operator of the stage '{name}' on {channels} channels"
        before = y
        y = _carried_out(what, lambda: operator(before, stage_theta(theta, name)))  # noqa: B023
        size = tuple(side // operator.scale for side in before.shape[-2:])
        if tuple(y.shape) != (*before.shape[:2], *size):
            raise RecipeError(
                what,
                expected=f"{(*before.shape[:2], *size)} from {tuple(before.shape)}",
                got=str(tuple(y.shape)),
                remedy=f"Its scale is {operator.scale}.",
            )
        _finite(what, y)
    sensed = _carried_out(
        "sensor", lambda: degradation.sense(y, theta, generator=Generator().manual_seed(2))
    )
    _finite("sensor", sensed)


def try_networks(
    networks: Mapping[str, nn.Module], *, crop: int, channels: int, scale: int
) -> None:
    """Runs every network on one empty crop.

    Raises:
        RecipeError: the crop is no multiple of what the generator needs, a network does not take
            it, or the generator gives another size than it should.
    """
    multiple_of = int(networks[GENERATOR].multiple_of)  # type: ignore[arg-type]
    whole = scale * multiple_of
    if crop % whole:
        raise RecipeError(
            "field 'data.crop'",
            expected=f"a multiple of {whole}, the generator's {multiple_of} times "
            f"the physics' scale {scale}",
            got=str(crop),
            remedy=f"Such as {crop // whole * whole or whole}.",
        )
    x = torch.zeros(1, channels, crop, crop)
    y = x[..., ::scale, ::scale]
    # Copies, since a foreign network may keep statistics of what it sees.
    tried = {name: copy.deepcopy(network).eval() for name, network in networks.items()}
    try:
        with torch.no_grad():
            made = tried[GENERATOR](y)
            for name, image in ((CLEAR, x), (OBSERVATION, y)):
                if name in tried:
                    tried[name](image)
    except (ShapeError, RuntimeError) as error:
        needs = error.expected if isinstance(error, ShapeError) else str(error).splitlines()[0]
        raise RecipeError(
            "field 'data.crop'",
            expected=f"crops that all networks take: {needs}",
            got=f"{crop}",
            remedy="Set another --data.crop.",
        ) from None
    if made.shape != x.shape:
        raise RecipeError(
            "result of the generator",
            expected=f"{tuple(x.shape)} from {tuple(y.shape)}",
            got=f"{tuple(made.shape)}",
        )


def _carried_out(what: str, action: Callable[[], T]) -> T:
    """What an action gives; whatever it raises becomes a RecipeError with its place."""
    try:
        with torch.no_grad():
            return action()
    except PhysganError as error:
        raise RecipeError(
            f"{what}, {error.what}", expected=error.expected, got=error.got, remedy=error.remedy
        ) from None
    except Exception as error:  # whatever foreign code does
        raise RecipeError(
            what,
            expected="code that takes a crop",
            got=f"{type(error).__name__}: {error}{place_of(error)}",
        ) from error


def _finite(what: str, image: Tensor) -> None:
    if not torch.isfinite(image).all():
        raise RecipeError(
            f"result of the {what}",
            expected="finite numbers",
            got="infinite ones, or NaN",
            remedy="Look for divisions by 0, logarithms and powers.",
        )
