"""Trying physics and networks on one crop before training: what does not fit shows at once."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from torch import Generator, Tensor, nn

from physgan.errors import PhysganError, RecipeError, ShapeError
from physgan.physics.compose import SENSOR, Degradation
from physgan.recipes.build import place_of
from physgan.training.step import CLEAR, GENERATOR, OBSERVATION
from physgan.types import Following, Operator, Part, Sampler, Sparing, Theta

T = TypeVar("T")


def try_physics(
    degradation: Degradation,
    *,
    crop: int,
    channels: int,
    known: Sequence[str] = (),
    differentiable: bool = False,
) -> None:
    """Draws and degrades two crops, and holds samplers and operators to what they must keep.

    A sampler draws the same for the same seed, a tensor with a row for each image for every
    parameter; an operator gives the same for the same x and theta, image by image, in the size that
    its scale says, and leaves both as they are (`physgan.types`).

    Args:
        degradation: physics and sensor.
        crop: side of the crops.
        channels: of the crops.
        known: names of maps that come with the pictures; in the trial they lie in [0, 1].
        differentiable: whether gradients must reach x through the operators.

    Raises:
        RecipeError: one of them raises or does otherwise, with the place in its file.
    """
    x = torch.rand(2, channels, crop, crop, generator=Generator().manual_seed(0))
    theta: dict[str, Theta] = {}
    # A sampler sees the clear picture, made smaller as `Degradation.sample` makes it.
    y = clear = x
    for name, operator in degradation.operator.operators.items():
        maps = [parameter for parameter in known if name in degradation.stages_with(parameter)]
        drawn = _drawn(name, degradation.samplers[name], clear, maps)
        theta[name] = {**drawn, **dict.fromkeys(maps, x[:, :1])}
        _told(name, operator, theta[name])
        y = _degraded(name, operator, y, theta[name], differentiable=differentiable)
        clear = clear[..., :: operator.scale, :: operator.scale]
    theta[SENSOR] = _carried_out(
        "sensor", lambda: degradation.sensor.sample(clear, generator=Generator().manual_seed(1))
    )
    _carried_out("physics", lambda: degradation.check(theta))
    sensed = _carried_out(
        "sensor",
        lambda: degradation.sense(y, theta, generator=Generator().manual_seed(2)),
        of=degradation.sensor,
    )
    _finite("sensor", sensed)


def _drawn(name: str, sampler: Sampler, x: Tensor, known: Sequence[str]) -> dict[str, Tensor]:
    """What a sampler draws, made sure of; and that it draws the same beside what is known."""
    what = f"sampler of the stage '{name}'"

    def draw() -> Any:  # by foreign code
        return sampler.sample(x, generator=Generator().manual_seed(1))

    before = x.clone()
    wanted = "sample(x, *, generator) to draw for two crops"
    theta, again = (_carried_out(what, draw, of=sampler, wanted=wanted) for _ in range(2))
    if not isinstance(theta, Mapping):
        raise RecipeError(
            what,
            expected="a dictionary of tensors from sample(x, *, generator)",
            got=f"{type(theta).__name__}{_file_of(sampler)}",
        )
    if theta.keys() != again.keys():
        raise RecipeError(
            what,
            expected="the same parameters at every draw",
            got=f"{', '.join(sorted(theta.keys() ^ again.keys()))} now and then{_file_of(sampler)}",
        )
    for parameter, values in theta.items():
        shape = tuple(values.shape) if isinstance(values, Tensor) else ()
        if not shape or shape[0] != len(x):
            got = f"shape {shape}" if isinstance(values, Tensor) else f"{values!r}"
            raise RecipeError(
                f"'{parameter}' of the {what}",
                expected=f"a tensor with a row for each of {len(x)} images",
                got=f"{got}{_file_of(sampler)}",
                remedy="One number for all: torch.full((len(x),), VALUE, device=x.device).",
            )
        if not torch.equal(values, again[parameter]):
            raise RecipeError(
                what,
                expected="the same draw for the same seed",
                got=f"another '{parameter}'{_file_of(sampler)}",
                remedy="Every random number must come from the generator that it is given.",
            )
    if known and isinstance(sampler, Sparing):
        rest: Any = _carried_out(
            what,
            lambda: sampler.sample_rest(x, known=known, generator=Generator().manual_seed(1)),
            of=sampler,
            wanted=f"sample_rest(x, *, known, generator) to draw beside {', '.join(known)}",
        )
        for parameter in theta.keys() - set(known):
            if parameter not in rest or not torch.equal(rest[parameter], theta[parameter]):
                raise RecipeError(
                    what,
                    expected="sample_rest to draw what sample draws",
                    got=f"another '{parameter}', or none{_file_of(sampler)}",
                    remedy="Draw what may be left out after all else.",
                )
    _unchanged(what, "x", before, x)
    return dict(theta)


def _told(name: str, operator: Operator, theta: Theta) -> None:
    """Makes sure of what an operator tells of its parameters, if it tells anything."""
    if not isinstance(operator, Following):
        return
    what = f"operator of the stage '{name}'"
    words = get_args(Part)
    if wrong := [f"'{part}'" for part in operator.parts.values() if part not in words]:
        raise RecipeError(
            f"`parts` of the {what}",
            expected=f"one of {', '.join(words)} for each parameter",
            got=f"{wrong[0]}{_file_of(operator)}",
        )
    margin: Any = _carried_out(f"margin of the {what}", lambda: operator.margin(theta), of=operator)
    if not hasattr(margin, "__index__") or margin < 0:
        raise RecipeError(
            f"`margin` of the {what}",
            expected="a whole number of pixels, at least 0",
            got=f"{margin!r}{_file_of(operator)}",
        )


def _degraded(
    name: str, operator: Operator, x: Tensor, theta: Theta, *, differentiable: bool
) -> Tensor:
    """What an operator makes of two crops, made sure of."""
    what = f"operator of the stage '{name}' on {x.shape[1]} channels"
    before, kept = x.clone(), {key: values.clone() for key, values in theta.items()}
    y: Any = _carried_out(what, lambda: operator(x, theta), of=operator)
    size = tuple(side // operator.scale for side in x.shape[-2:])
    if not isinstance(y, Tensor) or tuple(y.shape) != (*x.shape[:2], *size):
        raise RecipeError(
            what,
            expected=f"{(*x.shape[:2], *size)} from {tuple(x.shape)}",
            got=str(tuple(y.shape)) if isinstance(y, Tensor) else type(y).__name__,
            remedy=f"Its scale is {operator.scale}.",
        )
    _finite(what, y)
    _unchanged(what, "x", before, x)
    for key, values in theta.items():
        _unchanged(what, f"'{key}' of theta", kept[key], values)
    if not torch.equal(y, _carried_out(what, lambda: operator(x, theta), of=operator)):
        raise RecipeError(
            what,
            expected="the same result for the same x and theta",
            got=f"another{_file_of(operator)}",
            remedy="What is random belongs to the sampler, or to the sensor.",
        )
    first = {key: values[:1] for key, values in theta.items()}
    alone: Any = _carried_out(what, lambda: operator(x[:1], first), of=operator)
    if alone.shape != y[:1].shape or not torch.allclose(alone, y[:1], atol=1e-4):
        raise RecipeError(
            what,
            expected="an image to become the same alone and among others",
            got=f"another result{_file_of(operator)}",
            remedy="Nothing may be taken over the first dimension, which counts the images.",
        )
    if differentiable:
        leaf = x.clone().requires_grad_()
        # Along noise, since a physics of differences has a sum without gradient.
        along = torch.randn(y.shape, generator=Generator().manual_seed(3))

        def slope() -> Tensor | None:
            light: Tensor = operator(leaf, theta)
            if not light.requires_grad:
                return None
            return torch.autograd.grad((light * along).sum(), leaf, allow_unused=True)[0]

        gradient = _carried_out(what, slope, of=operator, grad=True)
        if gradient is None or not gradient.any():
            raise RecipeError(
                what,
                expected="a gradient that reaches x, for the terms of the objective behind it",
                got=f"none{_file_of(operator)}",
                remedy="Without detach, rounding and conversions; or gamma, mu and the weight of "
                "adversarial_observation 0.",
            )
    result: Tensor = y
    return result


def _unchanged(what: str, name: str, before: Tensor, after: Tensor) -> None:
    if not torch.equal(before, after):
        raise RecipeError(
            what,
            expected=f"{name} left as it is",
            got="one changed in place",
            remedy="Write x * t rather than x.mul_(t) or x *= t.",
        )


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


def _file_of(made: object) -> str:
    """Where an object's class stands, for one that is not the package's own."""
    if type(made).__module__.startswith("physgan.") or not hasattr(type(made), "__module__"):
        return ""
    try:
        return f" ({Path(inspect.getfile(type(made))).name})"
    except (TypeError, OSError):
        return ""


def _carried_out(
    what: str,
    action: Callable[[], T],
    *,
    of: object = None,
    grad: bool = False,
    wanted: str = "code that takes a crop",
) -> T:
    """What an action gives; whatever it raises becomes a RecipeError with its place."""
    try:
        with torch.set_grad_enabled(grad):
            return action()
    except PhysganError as error:
        raise RecipeError(
            f"{what}, {error.what}", expected=error.expected, got=error.got, remedy=error.remedy
        ) from None
    except Exception as error:  # whatever foreign code does
        raise RecipeError(
            what,
            expected=wanted,
            got=f"{type(error).__name__}: {error}{place_of(error) or _file_of(of)}",
        ) from error


def _finite(what: str, image: Tensor) -> None:
    if not torch.isfinite(image).all():
        raise RecipeError(
            f"result of the {what}",
            expected="finite numbers",
            got="infinite ones, or NaN",
            remedy="Look for divisions by 0, logarithms and powers.",
        )
