"""Does H explain the pairs, and would it under another convention?

Data from elsewhere comes with conventions of its own: kernels for correlation rather than
convolution, transposed, off by some pixels, another boundary, airlight of 0 to 255, physics in
linear light. What does not fit shows as a residual; which convention fits is found by trying.

Two questions are kept apart. *Which convention fits best* is decided by squared residuals on the
pixels that two conventions have in common: one is better where it gains more than four standard
errors of that difference. *Whether it explains the pairs* is decided by χ²/N, the residual in units
of what the sensor scatters: the nearest of all that was tried may still explain nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Generator, Tensor

from physgan.data.pairs import Pair
from physgan.errors import ImageError, PhysganError, ThetaError
from physgan.evaluation.consistency import FILE_STEP, recorded
from physgan.metrics.quantise import to_8bit
from physgan.metrics.shift import overlap
from physgan.physics.blur import Boundary
from physgan.physics.compose import SENSOR, Chain, Degradation
from physgan.physics.follow import Box, cropped, margin
from physgan.resize import bicubic
from physgan.types import ChainTheta, Operator

SHIFTS = 4
"""Greatest shift that is tried, in pixels of the observation to each side."""

GAMMA = 2.2
"""What light was encoded with, where physics is tried in linear light."""

SIDE = 384
"""Of longer sides of a clear picture the middle is left out, about so many pixels are kept."""

ERRORS = 4
"""How many standard errors a gain must have, or χ² may lie off, before it counts."""

AGAIN = 8
"""How many observations are simulated, to see how far χ² scatters between them."""

CHI2_TOLERANCE = 0.25
"""How far χ²/N may lie off that of simulated observations beside their scatter.

As much as comes of rounding the clear pictures to 8 bits where sigma is 0.002 or more, even if the
physics averages nothing; or of a sigma that is known to a tenth.
"""

ROUNDING = FILE_STEP / 2
"""Greatest root mean square that rounding explains alone, x and y each by 1/sqrt(12) of a step."""

Verdict: TypeAlias = Literal["explains", "explains otherwise", "unexplained", "noise unknown"]
"""Whether the pairs are explained: as they are; under the best convention; by nothing that was
tried; or nobody can tell, since theta does not say what the sensor did."""

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

# Pictures that differ by less than this differ by rounding of single precision.
_SAME = 2e-6

# JPEG's blocks, with halved colour: cuts on this grid keep them whole.
_BLOCK = 16


class Choice(NamedTuple):
    """Something that can be read in several ways, the package's own first.

    Args:
        kind: a parameter of a stage, the boundary of a stage, or the light that physics acts in.
        key: dotted name of the parameter, or name of the stage.
        ways: the names of the ways.
    """

    kind: Literal["parameter", "boundary", "light"]
    key: str
    ways: tuple[str, ...]


Convention: TypeAlias = Mapping[Choice, str]
"""A way to read pairs and theta: one for each choice."""


@dataclass(frozen=True)
class Finding:
    """How well a convention fits the pairs.

    Args:
        convention: what is unlike the package's own, a clause each.
        shifts: of each pair, (down, right) by which the observation lies beside where the physics
            puts it, in its pixels; kernels that are not centred are one cause.
        residual: root of the mean square of H(x, theta) - y, away from the edges; H(x, theta) is
            clamped to [0, 1], as y is.
        to_the_edges: the same with the edges, where the boundary shows.
    """

    convention: tuple[str, ...]
    shifts: tuple[tuple[int, int], ...]
    residual: float
    to_the_edges: float

    def described(self) -> list[str]:
        """What is unlike the package's own, shifts included, a clause each."""
        clauses, shifts = list(self.convention), set(self.shifts)
        if len(shifts) > 1:
            most = max(max(map(abs, shift)) for shift in shifts)
            clauses.append(f"y shifted by up to {most} px, otherwise from pair to pair")
        elif shifts != {(0, 0)}:
            ((down, right),) = shifts
            clauses.append(f"y shifted by {down:+d} down, {right:+d} right")
        return clauses


@dataclass(frozen=True, repr=False)
class Report:
    """What the check found.

    Args:
        stored: the pairs as they are, unshifted.
        best: the convention that fits them best, each pair at its best shift.
        steps: from the one to the other, each unlike the one before in one choice, or in shifts.
        input_residual: root of the mean square of x - y, as if there were no physics; x made as
            small as y where physics takes samples away.
        chi2: χ²/N of the pairs as they are, its mean over them; None where theta does not tell
            what the sensor did.
        best_chi2: the same of the best convention.
        missing: parameters of the sensor that theta lacks.
        unexplained: names of the pairs of which is not known that the best convention explains
            them: χ² is too great, or unknown.
        overstated: names of the pairs whose residual is less than theta's own noise would leave.
        impossible: what the best convention leaves in theta that cannot be, by its clause and the
            name of the first pair that has it.
        pairs: how many were looked at.
    """

    stored: Finding
    best: Finding
    steps: tuple[Finding, ...]
    input_residual: float
    chi2: float | None
    best_chi2: float | None
    missing: tuple[str, ...]
    unexplained: tuple[str, ...]
    overstated: tuple[str, ...]
    impossible: Mapping[str, str]
    pairs: int

    @property
    def agrees(self) -> bool:
        """Whether no other convention, and no shift, fits the pairs better."""
        return not self.best.described()

    @property
    def verdict(self) -> Verdict:
        """Whether the pairs are explained.

        A pair is where its χ²/N lies no further above that of simulated observations than chance
        and `CHI2_TOLERANCE` let it, or its residual to the edges is at most `ROUNDING`. Where it
        lies as far below, the noise is less than theta says, and theirs cannot be told from it.
        """
        if self.unexplained:
            return "noise unknown" if self.best_chi2 is None else "unexplained"
        if self.overstated:
            return "noise unknown"
        return "explains" if self.agrees else "explains otherwise"

    def __repr__(self) -> str:
        noise = "" if self.best_chi2 is None else f", χ²/N {self.best_chi2:.3f}"
        best = "; ".join(self.best.described()) or "as it is"
        return (
            f"Report({self.pairs} pairs: {self.verdict}; residual {self.stored.residual:.5f} as "
            f"stored, {self.best.residual:.5f} at best{noise}; best: {best})"
        )


class _Case(NamedTuple):
    """A pair with its theta, large ones without their middle; `valid` h×w, where y_hat is right."""

    name: str
    x: Tensor
    y: Tensor
    theta: ChainTheta
    valid: Tensor


class _Trial(NamedTuple):
    """A convention on all pairs: their shifts, and their squared residuals h×w.

    NaN stands where a pixel of y has no counterpart.
    """

    convention: Convention
    shifts: tuple[tuple[int, int], ...]
    squares: tuple[Tensor, ...]

    def means(self) -> list[float]:
        """Mean square of each pair."""
        return [float(squares.double().nanmean()) for squares in self.squares]


@torch.no_grad()
def check_physics(
    pairs: Sequence[Pair],
    thetas: Sequence[ChainTheta],
    degradation: Degradation,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Tries conventions on pairs with known parameters.

    All conventions that differ from the best so far in one choice are tried, each pair at its best
    shift. What counts is the mean square of residuals, of each pair as a share of what it is as
    stored, so that a pair which nothing explains does not outweigh the others. The convention where
    it is least becomes the best if it gains more than `ERRORS` standard errors; and so on until
    none does, since one may hide behind another. None is tried twice, and the mean falls at every
    step.

    Where operators tell their `parts`, the middle of large pictures is left out, which spares time
    and keeps all four edges.

    Args:
        pairs: observations and clear pictures, of sizes that belong together.
        thetas: the parameters of each pair, nested by stage, batches of one.
        degradation: physics and sensor.
        progress: is told what is being tried.

    Raises:
        ImageError: there are no pairs, of other sizes than the physics gives, or too small.
        ThetaError, ShapeError: theta does not fit the physics, or the physics gives no numbers.
    """
    if not pairs:
        raise ImageError("pairs to check", expected="at least one", got="none")
    chain = degradation.operator
    cases = [_case(*both, chain) for both in zip(pairs, thetas, strict=True)]
    choices = _choices(thetas[0], chain)
    progress("the pairs as they are")
    own = {choice: choice.ways[0] for choice in choices}
    stored = best = _tried(cases, chain, own, shifted=False)
    # What rounding leaves is nothing to be outweighed by.
    shares = [1 / max(mean, ROUNDING**2) for mean in stored.means()]

    def total(trial: _Trial) -> float:
        return sum(share * mean for share, mean in zip(shares, trial.means(), strict=True))

    steps: list[Finding] = []
    visited: list[Convention] = []
    while True:
        better = best
        for convention in [
            {**best.convention, choice: way} for choice in choices for way in choice.ways
        ]:
            if convention in visited:
                continue
            visited.append(convention)
            progress("; ".join(_described(convention)) or "shifts")
            try:
                trial = _tried(cases, chain, convention)
            except (PhysganError, RuntimeError, ValueError):
                if convention == own:
                    raise
                continue  # not every operator takes every reading
            if total(trial) < total(better) and _gains(trial.squares, best.squares, shares):
                better = trial
        if better is best:
            break
        best = better
        steps.append(_finding(best))
    progress("the noise")
    missing = _missing(cases, degradation)
    impossible, noise_known = _impossible(cases, degradation, best.convention, missing)
    noise = _explained(cases, degradation, best, noise_known=noise_known)
    stored_noise = noise
    if best is not stored:
        stored_noise = _explained(cases, degradation, stored, noise_known=noise_known)
    plain = [float((bicubic(pair.x, down=chain.scale) - pair.y).square().mean()) for pair in pairs]
    return Report(
        _finding(stored),
        _finding(best),
        tuple(steps),
        input_residual=math.sqrt(sum(plain) / len(plain)),
        chi2=stored_noise.chi2,
        best_chi2=noise.chi2,
        missing=missing,
        unexplained=noise.unexplained,
        overstated=noise.overstated,
        impossible=impossible,
        pairs=len(pairs),
    )


def _choices(theta: ChainTheta, chain: Chain) -> list[Choice]:
    """Everything that may be read in another way."""
    choices = []
    for stage, operator in chain.operators.items():
        parts = getattr(operator, "parts", {})
        for name, tensor in theta.get(stage, {}).items():
            if parts.get(name) == "kernel":
                choices.append(Choice("parameter", f"{stage}.{name}", tuple(_DIHEDRAL)))
            # Shares of light, of which people keep several ranges.
            elif name in ("airlight", "transmission") and tensor.is_floating_point():
                choices.append(Choice("parameter", f"{stage}.{name}", tuple(_RANGES)))
        own = getattr(operator, "boundary", None)
        if isinstance(own, str) and own in get_args(Boundary):
            others = [boundary for boundary in get_args(Boundary) if boundary != own]
            choices.append(Choice("boundary", stage, (own, *others)))
    return [*choices, Choice("light", "", ("encoded", "linear"))]


def _described(convention: Convention) -> list[str]:
    """What is unlike the package's own, a clause each."""
    texts = {
        "parameter": "'{key}' {way}",
        "boundary": "boundary of '{key}' {way}",
        "light": f"physics in linear light (gamma {GAMMA})",
    }
    return [
        texts[choice.kind].format(key=choice.key, way=way)
        for choice, way in convention.items()
        if way != choice.ways[0]
    ]


def _finding(trial: _Trial) -> Finding:
    inner = 0.0
    for squares in trial.squares:
        edge = min(32, min(squares.shape) // 4)
        inner += float(squares[edge:-edge, edge:-edge].double().nanmean())
    return Finding(
        tuple(_described(trial.convention)),
        trial.shifts,
        residual=math.sqrt(inner / len(trial.squares)),
        to_the_edges=math.sqrt(sum(trial.means()) / len(trial.squares)),
    )


# ---------------------------------------------------------------- one convention on the pairs


def _tried(
    cases: Sequence[_Case], chain: Chain, convention: Convention, *, shifted: bool = True
) -> _Trial:
    """Residuals under a convention, each pair unshifted unless a shift gains."""
    shifts, results = [], []
    for case in cases:
        # Nothing brighter than white is in a file.
        y_hat = _predicted(case, chain, convention).clamp(0, 1)
        shift, squares = (0, 0), _squares(y_hat, case, (0, 0))
        if shifted:
            nearest = _nearest_shift(y_hat, case)
            moved = _squares(y_hat, case, nearest)
            if _gains([moved], [squares], [1.0]):
                shift, squares = nearest, moved
        shifts.append(shift)
        results.append(squares)
    return _Trial(convention, tuple(shifts), tuple(results))


def _predicted(case: _Case, chain: Chain, convention: Convention) -> Tensor:
    """H(x, theta) as a convention reads them."""
    theta = _read(case.theta, convention)
    operators: dict[str, Operator] = dict(chain.operators)
    linear = False
    for choice, way in convention.items():
        if way == choice.ways[0]:
            continue
        if choice.kind == "boundary":
            # Deep, since what an operator holds is its own business.
            operators[choice.key] = copy.deepcopy(operators[choice.key])
            operators[choice.key].boundary = way  # type: ignore[attr-defined]
        linear = linear or choice.kind == "light"
    read = Chain(operators)
    if linear:
        y_hat = read(case.x.clamp(min=0) ** GAMMA, theta).clamp(min=0) ** (1 / GAMMA)
    else:
        y_hat = read(case.x, theta)
    if y_hat.shape != case.y.shape or min(case.y.shape[-2:]) <= 4 * SHIFTS:
        raise ImageError(
            f"pair '{case.name}' to be checked",
            expected=f"an observation of the size that the physics gives, "
            f"{'×'.join(map(str, y_hat.shape[1:]))}, of more than {4 * SHIFTS} pixels a side",
            got="×".join(map(str, case.y.shape[1:])),
        )
    if not y_hat.isfinite().all():
        raise ThetaError(
            f"physics of pair '{case.name}'", expected="finite numbers", got="infinite ones, or NaN"
        )
    return y_hat


def _read(theta: ChainTheta, convention: Convention) -> dict[str, dict[str, Tensor]]:
    """The parameters as a convention reads them."""
    read = {stage: dict(part) for stage, part in theta.items()}
    for choice, way in convention.items():
        if choice.kind == "parameter" and way != choice.ways[0]:
            stage, _, name = choice.key.partition(".")
            change = _DIHEDRAL.get(way) or _RANGES[way]
            read[stage][name] = change(read[stage][name])
    return read


def _impossible(
    cases: Sequence[_Case], degradation: Degradation, convention: Convention, missing: Sequence[str]
) -> tuple[dict[str, str], bool]:
    """What stages object to in theta, each with the first pair that has it; whether noise is known.

    It is known where the sensor has all its parameters and objects to none.
    """
    found: dict[str, str] = {}
    known = not missing
    for case in cases:
        theta = _read(case.theta, convention)
        try:
            degradation.operator.check(theta)
        except ThetaError as error:
            found.setdefault(str(error), case.name)
        try:
            if not missing:
                degradation.check_sensor(theta)
        except ThetaError as error:
            found.setdefault(str(error), case.name)
            known = False
    return found, known


def _squares(y_hat: Tensor, case: _Case, shift: tuple[int, int]) -> Tensor:
    """Squared residuals of the pixels of y, h×w, the mean over channels.

    They belong to the pixels of y, not of y_hat, so that between two shifts the noise is the same.
    """
    result = torch.full(case.y.shape[-2:], torch.nan)
    moved, fixed = overlap(y_hat.masked_fill(~case.valid, torch.nan), case.y, *shift)
    overlap(result, result, *shift)[1].copy_((moved - fixed).square().mean(1)[0])
    return result


def _nearest_shift(y_hat: Tensor, case: _Case) -> tuple[int, int]:
    """(down, right) at which y is nearest to y_hat, in grey, by the correlation theorem.

    On the pixels p of y_hat that all shifts s have a counterpart for, those of the mask M,
    sum M (y_hat(p) - y(p + s))² = sum M y(p + s)² - 2 sum M y_hat(p) y(p + s) + const.
    """
    mask = torch.zeros_like(case.valid)
    inside = slice(SHIFTS, -SHIFTS)
    mask[inside, inside] = case.valid[inside, inside]
    size = mask.shape

    def spectrum(image: Tensor) -> Tensor:
        result: Tensor = torch.fft.rfft2(image.double())
        return result

    grey, y = y_hat.mean(1)[0].double(), case.y.mean(1)[0].double()
    correlated = spectrum(mask).conj() * spectrum(y.square())
    correlated -= 2 * spectrum(mask * grey).conj() * spectrum(y)
    near = torch.arange(-SHIFTS, SHIFTS + 1)
    squares = torch.fft.irfft2(correlated, s=size)[near][:, near]
    down, right = divmod(int(squares.argmin()), len(near))
    return down - SHIFTS, right - SHIFTS


def _gains(squares: Sequence[Tensor], over: Sequence[Tensor], shares: Sequence[float]) -> bool:
    """Whether squared residuals are less than others, by more than chance, on common pixels."""
    gain, variance, most = 0.0, 0.0, 0.0
    for these, others, share in zip(squares, over, shares, strict=True):
        common = ~(these.isnan() | others.isnan())
        new, old = these[common].double(), others[common].double()
        gain += share * float((old - new).mean())
        variance += share**2 * float((old - new).var()) / len(new)
        most = max(most, math.sqrt(float(old.mean())) - math.sqrt(float(new.mean())))
    return gain > ERRORS * math.sqrt(variance) and most > _SAME


# ---------------------------------------------------------------- whether it explains them


def _missing(cases: Sequence[_Case], degradation: Degradation) -> tuple[str, ...]:
    """Parameters of the sensor that a theta lacks."""
    needed = degradation.sensor.sample(cases[0].y, generator=Generator().manual_seed(0)).keys()
    lacking = {name for case in cases for name in needed - case.theta.get(SENSOR, {}).keys()}
    return tuple(f"{SENSOR}.{name}" for name in sorted(lacking))


class _Noise(NamedTuple):
    """χ²/N over the pairs, if it is known, and the pairs where it is too great or too small."""

    chi2: float | None
    unexplained: tuple[str, ...]
    overstated: tuple[str, ...]


def _explained(
    cases: Sequence[_Case], degradation: Degradation, trial: _Trial, *, noise_known: bool
) -> _Noise:
    """Compares each residual with what the sensor scatters.

    χ² of observations that are simulated from the same H(x, theta) says how far χ² itself scatters:
    further than independent pixels would let it where a sensor works on blocks, as JPEG does.
    """
    total = 0.0
    unexplained, overstated = [], []
    for case, shift, squares in zip(cases, trial.shifts, trial.squares, strict=True):
        rounded = float(squares.double().nanmean()) <= ROUNDING**2
        if not noise_known:
            if not rounded:
                unexplained.append(case.name)
            continue
        generator = Generator().manual_seed(0)
        y_hat = _predicted(case, degradation.operator, trial.convention)
        mean, variance = recorded(y_hat, degradation, case.theta, generator=generator)
        mean = mean.masked_fill(~case.valid, torch.nan)

        def chi_squares(y: Tensor, by: tuple[int, int], mean: Tensor = mean) -> Tensor:
            expected, seen = overlap(mean, y, *by)
            scatter, _ = overlap(variance, y, *by)  # noqa: B023
            values = ((expected - seen).square() / scatter).double()
            return values[~values.isnan()]

        values = chi_squares(case.y, shift)
        chi2 = float(values.mean())
        total += chi2 / len(cases)
        simulated = torch.tensor(
            [
                float(chi_squares(to_8bit(y), (0, 0)).mean())
                for y in (
                    degradation.sense(y_hat, case.theta, generator=generator) for _ in range(AGAIN)
                )
            ]
        )
        usual, scatter = float(simulated.mean()), float(simulated.std())
        error = math.sqrt(float(values.var()) / len(values))
        chance = CHI2_TOLERANCE + ERRORS * max(scatter, error)
        if not rounded and chi2 > max(1.0, usual) + chance:
            unexplained.append(case.name)
        if not rounded and chi2 < usual - chance:
            overstated.append(case.name)
    return _Noise(total if noise_known else None, tuple(unexplained), tuple(overstated))


# ---------------------------------------------------------------- large pictures


def _case(pair: Pair, theta: ChainTheta, chain: Chain) -> _Case:
    """A pair to work on: as it is, or where operators can follow, without the middle.

    Four corners laid together keep every edge and what lies across it, for boundaries to show; at
    the seams between them y_hat is not valid.
    """
    whole = _Case(pair.name, pair.x, pair.y, theta, torch.ones(pair.y.shape[-2:], dtype=torch.bool))
    scale = chain.scale
    rows, columns = (_spans(side, _BLOCK * scale) for side in pair.x.shape[-2:])
    if len(rows) == len(columns) == 1 or any(
        side != scale * small
        for side, small in zip(pair.x.shape[-2:], pair.y.shape[-2:], strict=True)
    ):
        return whole
    try:
        reach = -(-margin(chain, theta) // scale) + SHIFTS
        parts = [
            [cropped(chain, theta, Box(top, left, height, width)) for left, width in columns]
            for top, height in rows
        ]
    except ThetaError:
        return whole  # an operator that does not tell what its parameters are
    if 4 * reach * scale > SIDE:
        return whole

    def joined(tensors: Sequence[Sequence[Tensor]]) -> Tensor:
        return torch.cat([torch.cat([*row], dim=-1) for row in tensors], dim=-2)

    def corners(image: Tensor, step: int) -> Tensor:
        return joined(
            [
                [
                    image[..., t // step : (t + h) // step, l // step : (l + w) // step]
                    for l, w in columns  # noqa: E741
                ]
                for t, h in rows
            ]
        )

    small = {stage: dict(part) for stage, part in parts[0][0].items()}
    for stage, operator in chain.operators.items():
        for name in small[stage]:
            if operator.parts[name] == "map":  # type: ignore[attr-defined]
                small[stage][name] = joined([[p[stage][name] for p in row] for row in parts])
    y = corners(pair.y, scale)
    valid = torch.ones(y.shape[-2:], dtype=torch.bool)
    for spans, lines in ((rows, valid), (columns, valid.mT)):
        if len(spans) > 1:
            seam = spans[0][1] // scale
            lines[seam - reach : seam + reach] = False
    return _Case(pair.name, corners(pair.x, 1), y, small, valid)


def _spans(side: int, grid: int) -> list[tuple[int, int]]:
    """What to keep of a side, as places and lengths: all of it, or both ends."""
    near = max(grid, SIDE // 2 // grid * grid)
    far = (side - near) // grid * grid
    return [(0, side)] if far <= near else [(0, near), (far, side - far)]
