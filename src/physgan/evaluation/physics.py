"""Does H explain the pairs, and would it under another convention?

Data from elsewhere comes with conventions of its own: kernels for correlation rather than
convolution, transposed, off by some pixels, another boundary, airlight of 0 to 255, physics in
linear light. What does not fit shows as a residual; which convention fits is found by trying.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.data.pairs import Pair
from physgan.errors import ImageError
from physgan.evaluation.consistency import consistency
from physgan.physics.blur import Blur, Boundary
from physgan.physics.compose import SENSOR, Chain, Degradation
from physgan.types import ChainTheta, Operator

SHIFTS = 4
"""Greatest shift that is tried, in pixels of the observation to each side."""

GAMMA = 2.2
"""What light was encoded with, where physics is tried in linear light."""

_DIHEDRAL: Mapping[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda k: k,
    "turned by 180° (correlation)": lambda k: k.flip(-2, -1),
    "mirrored left to right": lambda k: k.flip(-1),
    "mirrored upside down": lambda k: k.flip(-2),
    "transposed": lambda k: k.mT,
    "transposed over the other diagonal": lambda k: k.mT.flip(-2, -1),
    "turned by 90°": lambda k: torch.rot90(k, 1, (-2, -1)),
    "turned by 270°": lambda k: torch.rot90(k, 3, (-2, -1)),
}
"""The eight ways in which a kernel can lie, as what is done to the stored one."""

_RANGES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda a: a,
    "divided by 255": lambda a: a / 255,
    "taken from [-1, 1]": lambda a: (a + 1) / 2,
    "as 1 less it": lambda a: 1 - a,
}
"""What may have to be done to values that should lie in [0, 1]."""

_PLAIN = "as it is"


@dataclass(frozen=True)
class Convention:
    """A way to read pairs and theta. The first of every choice is the package's own.

    Args:
        theta: by dotted name of a parameter, what is done to it.
        boundary: by name of a stage, the boundary in place of its own.
        gamma: whether physics acts in linear light.
    """

    theta: tuple[tuple[str, str], ...] = ()
    boundary: tuple[tuple[str, Boundary], ...] = ()
    gamma: bool = False

    def described(self) -> list[str]:
        """What is unlike the package's own, a clause each."""
        clauses = [f"'{name}' {how}" for name, how in self.theta if how != _PLAIN]
        clauses += [f"boundary of '{stage}' {boundary}" for stage, boundary in self.boundary]
        return clauses + ([f"physics in linear light (gamma {GAMMA})"] if self.gamma else [])


@dataclass(frozen=True)
class Finding:
    """How well a convention explains the pairs.

    Args:
        convention: the way to read them.
        shifts: of each pair, (down, right) by which the observation lies beside where the physics
            puts it, in its pixels; kernels that are not centred are one cause.
        residual: root of the mean square of H(x, theta) - y, away from the edges.
        to_the_edges: the same with the edges, where the boundary shows.
    """

    convention: Convention
    shifts: tuple[tuple[int, int], ...]
    residual: float
    to_the_edges: float


@dataclass(frozen=True)
class Report:
    """What the check found.

    Args:
        stored: the pairs as they are.
        best: the convention that explains them best.
        steps: from the one to the other, each the best after one more choice was tried.
        input_residual: root of the mean square of x - y, as if there were no physics.
        chi2: χ²/N of the pairs as they are, edges included; None where theta does not tell what
            the sensor did.
        best_chi2: χ²/N under the best convention, where that has no shift.
        pairs: how many were looked at.
    """

    stored: Finding
    best: Finding
    steps: tuple[Finding, ...]
    input_residual: float
    chi2: float | None
    best_chi2: float | None
    pairs: int

    @property
    def agrees(self) -> bool:
        """Whether no other convention explains the pairs better, by more than one part in 50."""
        best, stored = self.best, self.stored
        return not (
            best.residual < 0.98 * stored.residual or best.to_the_edges < 0.98 * stored.to_the_edges
        )


def check_physics(
    pairs: Sequence[Pair], thetas: Sequence[ChainTheta], degradation: Degradation
) -> Report:
    """Tries conventions on pairs with known parameters.

    Choices are tried one after another, each pair at its best shift, and kept where they lower the
    residual, until none does: one may hide behind another.

    Args:
        pairs: observations and clear pictures, of sizes that belong together.
        thetas: the parameters of each pair, nested by stage, batches of one.
        degradation: physics and sensor.

    Raises:
        ImageError: there are no pairs, or pictures too small to leave out their edges.
        ThetaError, ShapeError: theta does not fit the physics.
    """
    if not pairs:
        raise ImageError("pairs to check", expected="at least one", got="none")
    chain = degradation.operator
    stored = best = _tried(pairs, thetas, chain, Convention())
    steps: list[Finding] = []
    before = None
    while before is not best:
        before = best
        for measure, choice in _choices(thetas[0], chain, best.convention):
            found = [_tried(pairs, thetas, chain, convention) for convention in choice]
            better = min(found, key=measure, default=best)
            # Rounding alone must not change a convention.
            if measure(better) < 0.999 * measure(best) - 1e-9:
                best = better
                steps.append(best)
    scale = chain.scale
    plain = [_enlarged_residual(pair, scale) for pair in pairs]
    at_best = None
    if not any(map(any, best.shifts)) and not best.convention.gamma:
        at_best = _chi2(pairs, thetas, degradation, best.convention)
    return Report(
        stored,
        best,
        tuple(steps),
        input_residual=math.sqrt(sum(plain) / len(plain)),
        chi2=_chi2(pairs, thetas, degradation, Convention()),
        best_chi2=at_best,
        pairs=len(pairs),
    )


def _choices(
    theta: ChainTheta, chain: Chain, now: Convention
) -> Iterator[tuple[Callable[[Finding], float], list[Convention]]]:
    """For each thing that may differ, by what it shows and the conventions that differ in it."""

    def inner(finding: Finding) -> float:
        return finding.residual

    def whole(finding: Finding) -> float:
        return finding.to_the_edges

    for stage, operator in chain.operators.items():
        parts = getattr(operator, "parts", {})
        for name, tensor in theta.get(stage, {}).items():
            key = f"{stage}.{name}"
            if parts.get(name) == "kernel":
                yield inner, [replace(now, theta=_set(now.theta, key, how)) for how in _DIHEDRAL]
            elif parts.get(name) is not None and _may_have_a_range(tensor, name):
                yield inner, [replace(now, theta=_set(now.theta, key, how)) for how in _RANGES]
        if isinstance(operator, Blur):
            others = [b for b in get_args(Boundary) if b != operator.boundary]
            changed = [replace(now, boundary=_set(now.boundary, stage, b)) for b in others]
            yield whole, changed
    yield inner, [replace(now, gamma=not now.gamma)]


def _may_have_a_range(tensor: Tensor, name: str) -> bool:
    """Whether a parameter is one of shares of light, of which people keep several ranges."""
    return name in ("airlight", "transmission") and tensor.is_floating_point()


def _set(pairs: tuple[tuple[str, Any], ...], key: str, value: Any) -> tuple[tuple[str, Any], ...]:
    return (*(pair for pair in pairs if pair[0] != key), (key, value))


def _tried(
    pairs: Sequence[Pair], thetas: Sequence[ChainTheta], chain: Chain, convention: Convention
) -> Finding:
    """The residual of a convention, each pair at its best shift."""
    shifts = []
    inner, whole = 0.0, 0.0
    for pair, theta in zip(pairs, thetas, strict=True):
        y_hat = _predicted(pair.x, theta, chain, convention)
        if y_hat.shape != pair.y.shape or min(pair.y.shape[-2:]) <= 4 * SHIFTS:
            raise ImageError(
                f"pair '{pair.name}' to be checked",
                expected=f"an observation of the size that the physics gives, "
                f"{'×'.join(map(str, y_hat.shape[1:]))}, of more than {4 * SHIFTS} pixels a side",
                got="×".join(map(str, pair.y.shape[1:])),
            )
        shift = _best_shift(y_hat, pair.y)
        shifts.append(shift)
        inner += float(_squares(y_hat, pair.y, shift, edge=_edge(pair.y)))
        whole += float(_squares(y_hat, pair.y, shift, edge=SHIFTS))
    residual, to_the_edges = (math.sqrt(total / len(pairs)) for total in (inner, whole))
    return Finding(convention, tuple(shifts), residual, to_the_edges)


@torch.no_grad()
def _predicted(x: Tensor, theta: ChainTheta, chain: Chain, convention: Convention) -> Tensor:
    chain, theta = _under(chain, theta, convention)
    if convention.gamma:
        return chain(x.clamp(min=0) ** GAMMA, theta).clamp(min=0) ** (1 / GAMMA)
    return chain(x, theta)


def _under(
    chain: Chain, theta: ChainTheta, convention: Convention
) -> tuple[Chain, dict[str, dict[str, Tensor]]]:
    """The chain and theta as a convention reads them."""
    read = {stage: dict(part) for stage, part in theta.items()}
    for key, how in convention.theta:
        stage, _, name = key.partition(".")
        change = _DIHEDRAL.get(how) or _RANGES[how]
        read[stage][name] = change(read[stage][name])
    operators: dict[str, Operator] = dict(chain.operators)
    for stage, boundary in convention.boundary:
        operators[stage] = copy.copy(operators[stage])
        operators[stage].boundary = boundary  # type: ignore[attr-defined]
    return Chain(operators), read


def _edge(y: Tensor) -> int:
    """How much of an observation is left out on each side, where boundaries shall not count."""
    return min(32, min(y.shape[-2:]) // 4)


def _best_shift(y_hat: Tensor, y: Tensor) -> tuple[int, int]:
    """(down, right) at which y is nearest to y_hat, in grey; none unless one is better."""
    span = range(-SHIFTS, SHIFTS + 1)
    grey_hat, grey = y_hat.mean(1), y.mean(1)
    every = {
        (down, right): float(_squares(grey_hat, grey, (down, right), edge=_edge(y)))
        for down in span
        for right in span
    }
    best = min(every, key=lambda shift: every[shift])
    return best if every[best] < 0.9999 * every[0, 0] else (0, 0)


def _squares(y_hat: Tensor, y: Tensor, shift: tuple[int, int], *, edge: int) -> Tensor:
    """Mean square of y_hat - y where y is taken (down, right) further, edges left out."""
    height, width = y.shape[-2] - 2 * edge, y.shape[-1] - 2 * edge
    top, left = edge + shift[0], edge + shift[1]
    moved = y[..., top : top + height, left : left + width]
    off = y_hat[..., edge : edge + height, edge : edge + width] - moved
    return off.square().mean(dtype=torch.float64)


def _enlarged_residual(pair: Pair, scale: int) -> float:
    x = pair.x if scale == 1 else F.avg_pool2d(pair.x, scale)
    return float((x - pair.y).square().mean())


def _chi2(
    pairs: Sequence[Pair],
    thetas: Sequence[ChainTheta],
    degradation: Degradation,
    convention: Convention,
) -> float | None:
    needed = degradation.sensor.sample(pairs[0].y, generator=Generator()).keys()
    if any(needed - theta.get(SENSOR, {}).keys() for theta in thetas):
        return None
    total = 0.0
    for pair, theta in zip(pairs, thetas, strict=True):
        changed = copy.copy(degradation)
        changed.operator, read = _under(degradation.operator, theta, convention)
        generator = Generator().manual_seed(0)
        total += consistency(pair.x, pair.y, changed, read, generator=generator)["chi2"]
    return total / len(pairs)
