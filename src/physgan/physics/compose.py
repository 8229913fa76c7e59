"""Chains of stages, and the whole way from a clear image to an observation.

Stages act in physical order, light first: haze and rain before the lens, blur in it, then sampling,
then the sensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Generator, Tensor

from physgan.errors import PhysganError, ThetaError, nearest
from physgan.physics.sensor import SensorChain, saturated
from physgan.types import ChainTheta, Checking, Operator, Sampler, Sensor, Sparing, Theta

SENSOR = "sensor"
"""The name under which a chain's theta keeps the parameters of its sensor."""

NOTHING_KNOWN: Theta = MappingProxyType({})
"""Of pictures with which nothing was measured."""


class Chain:
    """Operators one after another; theta is nested by their names."""

    def __init__(self, operators: Mapping[str, Operator]) -> None:
        if not operators or SENSOR in operators or any("." in name for name in operators):
            raise ThetaError(
                "stages of a chain",
                expected=f"at least one, none called '{SENSOR}' nor with a dot in its name",
                got=", ".join(operators) or "none",
            )
        self.operators = dict(operators)
        self.scale = math.prod(operator.scale for operator in self.operators.values())

    def __call__(self, x: Tensor, theta: ChainTheta) -> Tensor:
        for name, operator in self.operators.items():
            x = operator(x, stage_theta(theta, name))
        return x

    def check(self, theta: ChainTheta) -> None:
        """Raises ThetaError where a stage is missing or has parameters that cannot be."""
        for name, operator in self.operators.items():
            part = stage_theta(theta, name)
            if isinstance(operator, Checking):
                _objected(name, operator, part)


class Stage(NamedTuple):
    """An operator and what draws its parameters."""

    operator: Operator
    sampler: Sampler


class Degradation:
    """Everything that happens to a clear image: named stages, then the sensor.

    Args:
        stages: operator and sampler of each stage by name, in physical order.
        sensor: what the camera does at the end.
    """

    def __init__(self, stages: Mapping[str, Stage], sensor: Sensor | None = None) -> None:
        self.operator = Chain({name: stage.operator for name, stage in stages.items()})
        self.samplers = {name: stage.sampler for name, stage in stages.items()}
        self.sensor: Sensor = sensor if sensor is not None else SensorChain()

    def sample(
        self, x: Tensor, *, generator: Generator, known: Theta = NOTHING_KNOWN
    ) -> dict[str, Theta]:
        """Parameters of all stages and of the sensor for clear images `x`, N×C×H×W.

        Args:
            x: the images.
            generator: the caller's, on their device.
            known: maps N×*×H×W that were measured with the pictures, such as `depth`. Each takes
                the place of what a sampler draws for the parameters of that name.
        """
        theta: dict[str, Theta] = {}
        for name, sampler in self.samplers.items():
            taken = {p: values for p, values in known.items() if name in self.stages_with(p)}
            if taken and isinstance(sampler, Sparing):
                drawn = sampler.sample_rest(x, known=taken, generator=generator)
            else:
                drawn = sampler.sample(x, generator=generator)
            theta[name] = {**drawn, **taken}
            # A later stage sees the picture that an earlier one has made smaller.
            step = self.operator.operators[name].scale
            x = x[..., ::step, ::step]
        theta[SENSOR] = self.sensor.sample(x, generator=generator)
        return theta

    def stages_with(self, parameter: str) -> list[str]:
        """The stages with a parameter of that name that has a value for each pixel."""
        parts = {n: getattr(o, "parts", {}) for n, o in self.operator.operators.items()}
        return [name for name, kinds in parts.items() if kinds.get(parameter) == "map"]

    def expose(self, x: Tensor, theta: ChainTheta) -> tuple[Tensor, Tensor]:
        """H(x, theta), and what a sensor without noise can tell of it: saturated, if it clips."""
        y_hat = self.operator(x, theta)
        return y_hat, saturated(y_hat) if getattr(self.sensor, "saturates", False) else y_hat

    def check(self, theta: ChainTheta) -> None:
        """Raises ThetaError where theta lacks a parameter, or has one that cannot be."""
        self.operator.check(theta)
        self.check_sensor(theta)

    def check_sensor(self, theta: ChainTheta) -> None:
        """Raises ThetaError as `check`, by the sensor alone."""
        if isinstance(self.sensor, Checking):
            _objected(SENSOR, self.sensor, theta.get(SENSOR, {}))

    def sense(self, y: Tensor, theta: ChainTheta, *, generator: Generator) -> Tensor:
        """What the camera of `theta` records of `y = H(x)`, with fresh noise."""
        return self.sensor(y, theta.get(SENSOR, {}), generator=generator)


def _objected(name: str, stage: Checking, theta: Theta) -> None:
    """Lets a stage look at its parameters; whatever foreign code raises becomes a ThetaError."""
    what = f"theta of the stage '{name}'"
    try:
        stage.check(theta)
    except PhysganError:
        raise
    except KeyError as error:
        got = f"parameters {', '.join(theta) or 'none'}"
        raise ThetaError(what, expected=f"a parameter {error}", got=got) from error
    except (ValueError, AssertionError) as error:
        raise ThetaError(what, expected="possible parameters", got=str(error)) from error
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise ThetaError(what, expected="a check that can look at them", got=got) from error


def stage_theta(theta: ChainTheta, name: str) -> Theta:
    """The parameters of one stage.

    Raises:
        ThetaError: theta has no such stage.
    """
    try:
        return theta[name]
    except KeyError:
        raise ThetaError(
            "theta of a chain",
            expected=f"parameters of the stage '{name}'",
            got=f"stages {', '.join(theta) or 'none'}",
            remedy=nearest(name, theta) if theta else "",
        ) from None
