"""The shapes that everything else is built on: protocols and aliases, nothing that computes.

Images are float32 tensors N×C×H×W in [0, 1] wherever one room hands them to another. `x` is clear,
`y` observed, `theta` the physical parameters that made `y` from `x`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from torch import Generator, Tensor

Theta: TypeAlias = "Mapping[str, Tensor]"
"""Parameters of one operator: flat, every tensor with the batch as its first dimension."""

ChainTheta: TypeAlias = "Mapping[str, Theta]"
"""Parameters of a chain, nested by stage: `theta["blur"]["kernel"]`, `theta["sensor"]["sigma"]`.

On disk it is a safetensors file whose names join stage and parameter by a dot: `blur.kernel`.
"""


@runtime_checkable
class Operator(Protocol):
    """The physics `H`: deterministic, differentiable in `x` and `theta`, without state.

    The same `x` and `theta` always give the same result, image `i` of the result depends on image
    `i` of `x` and row `i` of `theta` alone, and nothing is kept between calls.
    """

    scale: int
    """How many times larger `x` is than `H(x, theta)`: 1 unless the physics takes samples away."""

    def __call__(self, x: Tensor, theta: Theta, /) -> Tensor: ...


Part: TypeAlias = Literal["number", "map", "kernel"]
"""What a parameter is to the picture, which decides what becomes of it where that is cut or turned.

`number`: per image, N or N×C, to which neither place nor direction matters; an operator with an
angle or a displacement among its parameters tells no parts, and is refused. `map`: N×*×H×W, a value
for each pixel of what the operator is given. `kernel`: N×k×l or N×*×k×l about its centre, mirrored
and turned with the picture, the same at every place.
"""


@runtime_checkable
class Following(Protocol):
    """An operator whose theta can follow its image through cuts, flips and turns.

    With a scale, it commutes with flips and turns of the whole image: averaging does, taking every
    second pixel does not.
    """

    scale: int
    parts: Mapping[str, Part]
    """What each parameter is."""

    def __call__(self, x: Tensor, theta: Theta, /) -> Tensor: ...

    def margin(self, theta: Theta, /) -> int:
        """How many pixels of `x` beyond its own place a result depends on; 0: pointwise."""
        ...


@runtime_checkable
class Checking(Protocol):
    """An operator or a sensor that knows impossible parameters, such as a kernel of sum 2.

    Looking at values waits for the device, so operators do not look while they train.
    """

    def check(self, theta: Theta, /) -> None:
        """Raises ThetaError where a value cannot be; shapes are looked at in the call."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """Draws the parameters of one operator for a batch of clear images.

    Drawing and applying are apart, so that a draw can be kept, looked at and replayed.
    """

    def sample(self, x: Tensor, /, *, generator: Generator) -> Theta:
        """One row of parameters for each image of `x` (N×C×H×W), on the device of `x`.

        Most samplers read only how many images there are, their size and their device; a sampler
        of depth may look at the pictures. The generator is the caller's, on the device of `x`.
        """
        ...


@runtime_checkable
class Sparing(Protocol):
    """A `Sampler` of parameters that may be known, and of which drawing costs too much in vain."""

    def sample_rest(self, x: Tensor, /, *, known: Collection[str], generator: Generator) -> Theta:
        """As `sample`, without the parameters that are `known` by these names.

        The others are drawn as they would be with them.
        """
        ...


@runtime_checkable
class Sensor(Protocol):
    """What the camera does after `H`: noise, clipping, rounding. Random by `generator` alone.

    A chain of sensors is one, over one flat theta; so is each of its stages.
    """

    def sample(self, x: Tensor, /, *, generator: Generator) -> Theta:
        """The sensor's parameters for each image of a batch, as a `Sampler`; may be none."""
        ...

    def __call__(self, y: Tensor, theta: Theta, /, *, generator: Generator) -> Tensor: ...


@runtime_checkable
class RestoreFn(Protocol):
    """Everything that restores: a network, an exported graph, a classical method.

    `restore` pads, tiles, batches and streams by these attributes and asks for no others.
    """

    @property
    def channels(self) -> int:
        """Channels of `y` and of the result."""
        ...

    @property
    def scale(self) -> int:
        """How many times larger the result is than `y`."""
        ...

    @property
    def multiple_of(self) -> int:
        """Height and width of `y` must be multiples of this."""
        ...

    @property
    def receptive_field(self) -> int | None:
        """Side in pixels of the square of `y` that a result pixel depends on; None: unbounded.

        With global statistics, what it depends on besides them.
        """
        ...

    @property
    def global_statistics(self) -> bool:
        """Whether a result pixel depends on statistics of the whole image.

        Large images are then restored in tiles only if all of these are taken by
        `physgan.networks.norm.InstanceNorm`, or the restorer is `Conditional`; else in one piece.
        """
        ...

    def __call__(self, y: Tensor, /) -> Tensor:
        """Restores `y`, N×C×h×w in [0, 1], to N×C×(scale·h)×(scale·w) in [0, 1]."""
        ...


@runtime_checkable
class Conditional(Protocol):
    """A `RestoreFn` that first takes something of the whole image, such as its kernel.

    So large images can be restored in tiles, equal to the whole.
    """

    @property
    def window(self) -> int | None:
        """Side in pixels of the only part that is looked at, by `physgan.networks.window`.

        That is the square with the steepest slopes: `conditioned` makes the same of it as of the
        whole, so that files that memory does not hold can be restored. None: all of the image.
        """
        ...

    def conditioned(self, y: Tensor) -> RestoreFn:
        """The restorer of `y` and of its parts; no more statistics of the whole are asked for."""
        ...
