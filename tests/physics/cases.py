"""The table of operators that every law of physics is tested on: a new physics is one line here."""

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Generator, Tensor

from physgan.physics.blur import (
    Blur,
    DefocusMotionKernels,
    DiscKernels,
    GaussianKernels,
    MotionKernels,
)
from physgan.physics.blur_field import BlurField, MovingObjects, ShakeField
from physgan.physics.compose import Degradation, Stage
from physgan.physics.downsample import Bicubic
from physgan.physics.draw import Nothing
from physgan.physics.haze import DepthHaze, Haze, HazyScenes, transmission_of
from physgan.physics.kernels import DrawnKernels
from physgan.physics.rain import DrawnRain, Rain
from physgan.physics.shake import ShakeKernels

AnyTheta: TypeAlias = Mapping[str, Any]
"""Theta of one operator or, nested once more, of a chain."""


class AnyOperator(Protocol):
    """An operator or a chain."""

    scale: int

    def __call__(self, x: Tensor, theta: Any, /) -> Tensor: ...


class AnySampler(Protocol):
    """What draws the theta of an operator or of a chain."""

    def sample(self, x: Tensor, /, *, generator: Generator) -> AnyTheta: ...


class Case(NamedTuple):
    """One operator with all that the laws ask for."""

    name: str
    operator: AnyOperator
    sampler: AnySampler
    neutral: Callable[[Tensor], AnyTheta] | None
    """theta at which the operator leaves `x` as it is; None: there is none"""
    linear: bool
    """whether the operator is linear in `x`"""
    overshoot: float = 0.0
    """how far results may leave [0, 1]: the share of a kernel's weights that is negative"""
    adds_light: bool | None = False
    """whether it adds light without taking any away, so that what was in [0, 1] exceeds 1; None:
    it may"""

    def draw(
        self,
        *,
        n: int = 2,
        channels: int = 3,
        size: tuple[int, int] = (12, 14),
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
    ) -> tuple[Tensor, AnyTheta]:
        """Images in [0, 1] and parameters for them from the operator's own sampler.

        Sides are rounded up to what the operator's scale takes.
        """
        generator = Generator().manual_seed(seed)
        scale = self.operator.scale
        sides = (-(-side // scale) * scale for side in size)
        x = torch.rand(n, channels, *sides, generator=generator, dtype=dtype)
        theta = self.sampler.sample(x, generator=generator)
        return x, on_tensors(lambda t: t.to(dtype), theta)


def on_tensors(change: Callable[[Tensor], Tensor], theta: AnyTheta) -> dict[str, Any]:
    """Theta with every tensor changed, however deep it is nested."""
    return {
        k: change(v) if isinstance(v, Tensor) else on_tensors(change, v) for k, v in theta.items()
    }


def rows(theta: AnyTheta, which: slice) -> dict[str, Any]:
    """The parameters of some images of a batch."""
    return on_tensors(lambda t: t[which], theta)


def tensors(theta: AnyTheta) -> dict[str, Tensor]:
    """All tensors of theta by their dotted names."""
    flat: dict[str, Tensor] = {}
    for name, value in theta.items():
        if isinstance(value, Tensor):
            flat[name] = value
        else:
            flat |= {f"{name}.{inner}": t for inner, t in tensors(value).items()}
    return flat


def _delta(x: Tensor) -> dict[str, Tensor]:
    kernel = torch.zeros(len(x), 3, 5, dtype=x.dtype)
    kernel[:, 1, 2] = 1
    return {"kernel": kernel}


class Transmissions:
    """Hazy scenes by their transmission, as theta of pairs from which it was recovered."""

    def sample(self, x: Tensor, /, *, generator: Generator) -> dict[str, Tensor]:
        theta = HazyScenes().sample(x, generator=generator)
        transmission = transmission_of(theta["depth"], theta["beta"])
        return {"transmission": transmission, "airlight": theta["airlight"]}


def _deltas(x: Tensor) -> dict[str, Tensor]:
    return {
        "kernel": _delta(x)["kernel"][:, None].expand(-1, 3, -1, -1),
        "weight": torch.full_like(x[:, :1], 1 / 3).expand(-1, 3, -1, -1),
    }


def _many_kernels() -> Tensor:
    """So many that no two draws of a test are likely to be the same."""
    kernel = torch.rand(5000, 3, 5, generator=Generator().manual_seed(0))
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def _clear_air(x: Tensor) -> dict[str, Tensor]:
    return {
        "transmission": torch.ones_like(x[:, :1]),
        "airlight": torch.full_like(x[:, :, 0, 0], 0.8),
    }


def _no_scattering(x: Tensor) -> dict[str, Tensor]:
    airlight = torch.full_like(x[:, :, 0, 0], 0.8)
    return {"depth": x[:, :1], "beta": torch.zeros_like(x[:, 0, 0, 0]), "airlight": airlight}


def _no_rain(x: Tensor) -> dict[str, Tensor]:
    return {"streaks": torch.zeros_like(x[:, :1])}


_rain_haze = Degradation(
    {
        "rain": Stage(Rain(), DrawnRain((0.3, 0.9))),
        "veil": Stage(DepthHaze(), HazyScenes((0.1, 0.6))),
    }
)
_haze_blur = Degradation(
    {"haze": Stage(DepthHaze(), HazyScenes()), "blur": Stage(Blur(), DiscKernels((0.0, 2.4)))}
)
_blur_blur = Degradation(
    {
        "lens": Stage(Blur("replicate"), DiscKernels((0.0, 1.4))),
        "hand": Stage(Blur("circular"), MotionKernels((3.0, 5.0))),
    }
)

# Discs within a pixel would be one another's equal.
_sampled_fog = Degradation(
    {
        "haze": Stage(DepthHaze(), HazyScenes()),
        "sampling": Stage(Bicubic(2), Nothing()),
        "blur": Stage(Blur(), DiscKernels((0.6, 1.4))),
    }
)

# Kernels of 5×5 are convolved directly, those of 19×19 and 21×21 by FFT.
CASES = [
    Case("blur, reflect", Blur("reflect"), DiscKernels((0.0, 2.4)), _delta, linear=True),
    Case("blur, replicate", Blur("replicate"), MotionKernels((3.0, 5.0)), _delta, linear=True),
    Case("blur, circular", Blur("circular"), MotionKernels((1.0, 5.0)), _delta, linear=True),
    Case("blur, zero", Blur("zero"), DiscKernels((0.0, 2.4)), _delta, linear=True),
    Case("wide blur, reflect", Blur("reflect"), MotionKernels((5, 19)), _delta, linear=True),
    Case("wide blur, replicate", Blur("replicate"), MotionKernels(), _delta, linear=True),
    Case(
        "wide blur, circular",
        Blur("circular"),
        DefocusMotionKernels((0, 3.4), (5, 13)),
        _delta,
        linear=True,
    ),
    Case("wide blur, zero", Blur("zero"), MotionKernels(), _delta, linear=True),
    Case(
        "gaussian blur", Blur("reflect"), GaussianKernels((0, 1.4), (0.3, 1)), _delta, linear=True
    ),
    Case("shake", Blur("replicate"), ShakeKernels((3, 9)), _delta, linear=True),
    Case("measured blur", Blur("zero"), DrawnKernels(_many_kernels()), _delta, linear=True),
    Case(
        "shake field",
        BlurField("reflect"),
        ShakeField((3, 7), (1, 8), grid=(2, 2)),
        _deltas,
        linear=True,
    ),
    Case(
        "moving objects",
        BlurField("replicate"),
        MovingObjects((1, 2), (3, 7), (1, 3)),
        _deltas,
        linear=True,
    ),
    Case("haze", Haze(), Transmissions(), _clear_air, linear=False),
    Case("haze from depth", DepthHaze(), HazyScenes(), _no_scattering, linear=False),
    Case("rain", Rain(), DrawnRain((0.3, 0.9)), _no_rain, linear=False, adds_light=True),
    Case(
        "rain, then haze",
        _rain_haze.operator,
        _rain_haze,
        lambda x: {"rain": _no_rain(x), "veil": _no_scattering(x)},
        linear=False,
        adds_light=True,
    ),
    Case(
        "haze, then blur",
        _haze_blur.operator,
        _haze_blur,
        lambda x: {"haze": _no_scattering(x), "blur": _delta(x)},
        linear=False,
    ),
    Case(
        "blur, then blur",
        _blur_blur.operator,
        _blur_blur,
        lambda x: {"lens": _delta(x), "hand": _delta(x)},
        linear=True,
    ),
    Case("bicubic, by 4", Bicubic(4), Nothing(), None, linear=True, overshoot=0.18665),
    Case(
        "haze, then bicubic by 2, then blur",
        _sampled_fog.operator,
        _sampled_fog,
        None,
        linear=False,
        overshoot=0.20508,
    ),
]

STAGES: dict[str, Stage] = {
    "blur": Stage(Blur("reflect"), DiscKernels((0.6, 1.4))),
    "shake": Stage(Blur("replicate"), ShakeKernels((3, 5))),
    "field": Stage(BlurField("replicate"), MovingObjects((1, 2), (3, 5), (1, 3))),
    "haze": Stage(DepthHaze(), HazyScenes()),
    "known haze": Stage(Haze(), Transmissions()),
    "rain": Stage(Rain(), DrawnRain((0.3, 0.9))),
    "sampling": Stage(Bicubic(2), Nothing()),
}
"""What compositions are drawn from."""


def _composed(seed: int) -> Case:
    """A chain of two or three stages in an order that is drawn."""
    drawn = random.Random(seed)
    names = drawn.sample(sorted(STAGES), drawn.choice((2, 3)))
    chain = Degradation({name: STAGES[name] for name in names})
    blurs = {"blur", "shake", "field", "sampling"}
    return Case(
        f"drawn: {', then '.join(names)}",
        chain.operator,
        chain,
        None,
        linear=blurs.issuperset(names),
        overshoot=0.25,
        adds_light=None if "rain" in names else False,
    )


CASES += [_composed(seed) for seed in (11, 12, 13)]

SAMPLERS: dict[str, AnySampler] = {
    case.name: case.sampler for case in CASES if not isinstance(case.sampler, Nothing)
} | {
    "disc": DiscKernels(),
    "motion": MotionKernels(),
    "defocus and motion": DefocusMotionKernels(),
    "gaussian": GaussianKernels(ratio=(0.2, 1.0)),
    "shake of any size": ShakeKernels(),
    "measured, turned": DrawnKernels(_many_kernels(), turns=True),
    "shake field of any size": ShakeField(),
    "three moving objects": MovingObjects(count=(3, 3)),
    "rain as it comes": DrawnRain(),
}
"""Everything that draws theta: the samplers of the table, and each sampler as it comes.

All but `Nothing`, of which there is no draw to compare.
"""

SETTLED: dict[type, frozenset[str]] = {ShakeField: frozenset({"weight"})}
"""What samplers of a class give that no draw changes."""
