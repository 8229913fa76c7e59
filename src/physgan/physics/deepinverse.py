"""Adapters for DeepInverse's physics, both ways, by its methods alone: nothing of it is imported.

    FromDeepInverse(deepinv.physics.BlurFFT(...))             an operator for recipes and training
    FromGenerator(deepinv.physics.generator.MotionBlurGenerator(...))      its sampler
    ToDeepInverse(Blur(), theta)                              a physics for its algorithms

Its parameters are keyword arguments that bear the batch first, as ours are the entries of theta.
In a recipe, a function of a file of your own makes the object: `physics.py:blur`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from physgan.errors import ThetaError
from physgan.physics.compose import SENSOR, Chain
from physgan.types import ChainTheta, Operator, Theta


class ForwardModel(Protocol):
    """What is asked of a DeepInverse `Physics`."""

    def A(self, x: Tensor, **parameters: Tensor) -> Tensor:
        """The observation of `x`, without noise."""
        ...


class ParameterGenerator(Protocol):
    """What is asked of a DeepInverse `PhysicsGenerator`."""

    def step(self, batch_size: int = 1, seed: int | None = None) -> Mapping[str, Tensor]:
        """Parameters for a batch."""
        ...


class FromDeepInverse:
    """An operator of a DeepInverse `Physics`: `H(x, theta)` is `physics.A(x, **theta)`.

    All parameters that change from image to image must be in theta; what the physics was made with
    stays as it is. Its noise is left to the sensor of the chain.

    Args:
        physics: made of the type and on the device of the images.
        scale: how many times larger `x` is than what it gives.
    """

    def __init__(self, physics: ForwardModel, *, scale: int = 1) -> None:
        self.physics, self.scale = physics, scale

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        return self.physics.A(x, **theta)


class FromGenerator:
    """A sampler of a DeepInverse `PhysicsGenerator`.

    Its random numbers are its own; it is seeded for every batch from the caller's generator, so
    that a seed of ours decides what it draws.
    """

    def __init__(self, generator: ParameterGenerator) -> None:
        self.generator = generator

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """One row of parameters for each image.

        Raises:
            ThetaError: a parameter does not bear the batch first.
        """
        drawn = torch.randint(2**31, (), generator=generator, device=generator.device)
        theta = dict(self.generator.step(batch_size=len(x), seed=int(drawn)))
        for name, tensor in theta.items():
            if tensor.ndim == 0 or len(tensor) != len(x):
                raise ThetaError(
                    f"parameter '{name}' of a DeepInverse generator",
                    expected=f"one row for each of {len(x)} images",
                    got=f"shape {tuple(tensor.shape)}",
                )
        return {name: tensor.to(x.device) for name, tensor in theta.items()}


class ToDeepInverse(nn.Module):
    """A physics for DeepInverse's algorithms, of an operator and its parameters.

    It has the methods of its `LinearPhysics` that losses and iterations call. Where the class
    itself is asked for, hand it over: `deepinv.physics.LinearPhysics(A=p.A,
    A_adjoint=p.A_adjoint)`, or `Physics(A=p.A)` where the operator is not linear.

    Args:
        operator: the physics `H`, or a chain of such.
        theta: its parameters, of the batch that will be observed; `update_parameters` changes them.
            Those of a chain go by dotted names, `blur.kernel`.
        size: channels, height and width of `x`; needed by `A_adjoint` where the operator changes
            the size otherwise than by its scale.
    """

    def __init__(
        self,
        operator: Operator | Chain,
        theta: Theta | ChainTheta,
        *,
        size: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.operator, self.size = operator, size
        flat: dict[str, Tensor] = {}
        for name, value in theta.items():
            if isinstance(value, Tensor):
                flat[name] = value
            elif name != SENSOR:
                flat |= {f"{name}.{parameter}": tensor for parameter, tensor in value.items()}
        self.names = tuple(flat)
        self.update_parameters(**flat)

    def update_parameters(self, **theta: Tensor) -> None:
        """Replaces the parameters that are given.

        Raises:
            ThetaError: there is none of such a name.
        """
        for name, tensor in theta.items():
            if name not in self.names:
                raise ThetaError(
                    "parameter of a physics",
                    expected=f"one of {', '.join(self.names)}",
                    got=repr(name),
                )
            # Under a name of its own: `scale` and `training` may be parameters, too.
            self.register_buffer(_buffer(name), tensor)

    def theta(self, **changes: Tensor) -> dict[str, Tensor]:
        """The parameters by their flat names, with changes."""
        return {name: self.get_buffer(_buffer(name)) for name in self.names} | changes

    def A(self, x: Tensor, **changes: Tensor) -> Tensor:
        """`H(x, theta)`."""
        theta = self.theta(**changes)
        if not isinstance(self.operator, Chain):
            return self.operator(x, theta)
        nested: dict[str, dict[str, Tensor]] = {stage: {} for stage in self.operator.operators}
        for name, tensor in theta.items():
            stage, _, parameter = name.partition(".")
            nested[stage][parameter] = tensor
        return self.operator(x, nested)

    def forward(self, x: Tensor, **changes: Tensor) -> Tensor:
        """`H(x, theta)`: without noise, which belongs to the sensor."""
        return self.A(x, **changes)

    def A_vjp(self, x: Tensor, v: Tensor) -> Tensor:
        """The transposed derivative of `H` at `x`, applied to `v`."""
        return _transposed(self.A, x)[1](v)

    def A_adjoint(self, y: Tensor, **changes: Tensor) -> Tensor:
        """The adjoint of a linear `H`, applied to `y`.

        Raises:
            ThetaError: the operator gives another size than that of `y`.
        """
        scale = self.operator.scale
        channels, height, width = self.size or (
            y.shape[1],
            scale * y.shape[2],
            scale * y.shape[3],
        )
        x = y.new_zeros(len(y), channels, height, width)
        y_of_zero, back = _transposed(lambda x: self.A(x, **changes), x)
        if y_of_zero.shape != y.shape:
            raise ThetaError(
                "observation for an adjoint",
                expected=f"shape {tuple(y_of_zero.shape)}, which the operator gives",
                got=f"{tuple(y.shape)}",
                remedy="Say of which size x is: ToDeepInverse(..., size=(C, H, W)).",
            )
        return back(y)

    def A_adjoint_A(self, x: Tensor, **changes: Tensor) -> Tensor:
        """The adjoint of what `x` gives."""
        return self.A_adjoint(self.A(x, **changes), **changes)

    def A_A_adjoint(self, y: Tensor, **changes: Tensor) -> Tensor:
        """What the adjoint of `y` gives."""
        return self.A(self.A_adjoint(y, **changes), **changes)


def _buffer(name: str) -> str:
    return f"theta_{name.replace('.', '__')}"


def _transposed(
    forward: Callable[[Tensor], Tensor], x: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """`forward(x)`, and what applies the transposed derivative there."""
    result: Any = torch.func.vjp(forward, x)
    return result[0], lambda v: result[1](v)[0]
