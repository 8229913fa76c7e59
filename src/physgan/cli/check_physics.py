"""`physgan check-physics`: how well H explains pairs, and which convention does best."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import tyro

if TYPE_CHECKING:
    from physgan.data.pairs import Pair
    from physgan.evaluation.physics import Finding, Report
    from physgan.types import ChainTheta

    Reading: TypeAlias = Callable[[], tuple[Pair, ChainTheta]]


@dataclass
class Arguments:
    """Check how well a physics explains pairs, and which convention explains them best.

    Tried are kernels mirrored, turned and transposed, shifts of up to 4 pixels, boundaries, physics
    in linear light, and airlight and transmission of other ranges. A pair that cannot be read is
    named and left out.
    """

    pairs: Annotated[Path, tyro.conf.Positional]
    """Folder of pairs as `physgan degrade` makes them: clean, degraded, theta; or of MATLAB files
    with x, y and the kernel f, as Levin et al. keep theirs."""
    physics: str | None = None
    """Recipe of the physics, or a manifest; by default the manifest in the folder."""
    pairs_at_most: int = 8
    """How many of the pairs to look at, evenly chosen."""
    json: bool = False
    """Print the report as one line of JSON."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.data.manifest import MANIFEST
    from physgan.errors import PhysganError, RecipeError, UsageError
    from physgan.evaluation.physics import check_physics
    from physgan.recipes.build import build_degradation, place_of
    from physgan.recipes.load import physics_from

    most = arguments.pairs_at_most
    if most < 1:
        raise UsageError("--pairs-at-most", expected="at least 1", got=str(most))
    folder = arguments.pairs
    physics = arguments.physics
    if physics is None:
        if not (folder / MANIFEST).is_file():
            raise UsageError(
                "physics", expected="--physics RECIPE, or a manifest in the folder", got="neither"
            )
        physics = str(folder / MANIFEST)
    spec, channels = physics_from(physics)
    degradation = build_degradation(spec, samplers=False)
    if any(folder.glob("*.mat")):
        reading = _of_levin(folder, most, list(spec.stages))
    else:
        reading = _of_folders(folder, most, channels)
    pairs, thetas = [], []
    for read in reading:
        try:
            pair, theta = read()
        except PhysganError as error:
            _tell(f"physgan: a pair is left out: {error}")
            continue
        pairs.append(pair)
        thetas.append(theta)
    failed = len(reading) - len(pairs)
    try:
        report = check_physics(pairs, thetas, degradation, progress=_tell)
    except PhysganError:
        raise
    except Exception as error:  # whatever foreign code does
        raise RecipeError(
            f"physics of '{physics}' on the pairs",
            expected="stages that take their pictures and theta",
            got=f"{type(error).__name__}: {error}{place_of(error)}",
        ) from error
    if arguments.json:
        print(json.dumps(_record(report) | {"failed": failed}))
    else:
        _show(report)
    return 1 if failed else 0


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _of_folders(folder: Path, most: int, channels: int) -> list[Reading]:
    """Pairs and parameters as `physgan degrade` lays them down."""
    from physgan.data.maker import CLEAN, DEGRADED, THETA
    from physgan.data.pairs import list_pairs, read_pair
    from physgan.data.theta import load_theta, theta_files

    files = list_pairs(folder / DEGRADED, folder / CLEAN)
    chosen = files[:: -(-len(files) // most)]
    thetas = theta_files(folder / THETA, [name for name, _, _ in chosen])

    def read(name: str, degraded: Path, clean: Path) -> tuple[Pair, ChainTheta]:
        return read_pair(name, degraded, clean, channels=channels), load_theta(thetas[name])

    return [partial(read, *pair) for pair in chosen]


def _of_levin(folder: Path, most: int, stages: Sequence[str]) -> list[Reading]:
    """Pairs of MATLAB files with their kernels as they are stored."""
    from physgan.data.sets import Levin
    from physgan.errors import UsageError

    if len(stages) != 1:
        raise UsageError(
            "physics of pairs with a kernel",
            expected="one stage, which blurs",
            got=", ".join(stages),
        )
    stored = Levin(folder)

    def read(place: int) -> tuple[Pair, ChainTheta]:
        return stored.read(place), {stages[0]: {"kernel": stored.stored_kernel(place)[None]}}

    return [partial(read, place) for place in range(0, len(stored), -(-len(stored) // most))]


def _record(report: Report) -> dict[str, Any]:
    return {
        "pairs": report.pairs,
        "verdict": report.verdict,
        "agrees": report.agrees,
        "unexplained": list(report.unexplained),
        "input_residual": report.input_residual,
        "chi2": report.chi2,
        "best_chi2": report.best_chi2,
        "overstated": list(report.overstated),
        "missing": list(report.missing),
        "impossible": dict(report.impossible),
        "stored": _finding(report.stored),
        "best": _finding(report.best),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "residual": finding.residual,
        "residual_to_the_edges": finding.to_the_edges,
        "shifts": [list(shift) for shift in finding.shifts],
        "convention": list(finding.convention),
    }


def _show(report: Report) -> None:
    print(f"{report.pairs} pairs; residuals are roots of mean squares, full range 1")
    print("                           inside   to the edges")
    print(f"without physics, x - y              {report.input_residual:.5f}")
    print(_row("H(x, theta) - y, as it is", report.stored, report.chi2))
    for finding in report.steps:
        chi2 = report.best_chi2 if finding is report.steps[-1] else None
        print(_row("", finding, chi2) + f"   {_clauses(finding)}")
    if report.chi2 is not None:
        print("χ²/N is 1 where the residual is what the sensor scatters, 0 where nothing is left.")
    elif report.missing:
        print(
            f"χ²/N is not known: theta has no {', '.join(map(repr, report.missing))}, which the "
            "sensor needs."
        )
    for clause, name in report.impossible.items():
        print(f"Theta of '{name}' cannot be: {clause}")
    print(_verdict(report))


def _row(title: str, finding: Finding, chi2: float | None) -> str:
    noise = "" if chi2 is None else f"   χ²/N {chi2:.3f}"
    return f"{title:25}  {finding.residual:.5f}  {finding.to_the_edges:.5f}{noise}"


def _verdict(report: Report) -> str:
    """The conclusion, one line."""
    best = _clauses(report.best)
    if report.verdict == "explains":
        return "The physics explains the pairs; no other convention explains them better."
    if report.verdict == "explains otherwise":
        return f"Another convention explains the pairs: {best}."
    if report.verdict == "unexplained":
        lost = f"{len(report.unexplained)} of {report.pairs}, such as '{report.unexplained[0]}'"
        nearest = f"The nearest is the physics {best if report.agrees else 'with ' + best}."
        return f"Nothing that was tried explains the pairs ({lost}). {nearest}"
    if report.overstated:
        low = f"{len(report.overstated)} of {report.pairs}, such as '{report.overstated[0]}'"
        fits = "No other convention fits better" if report.agrees else f"Nearest is {best}"
        return f"{fits}, but less is left than theta's noise ({low}): theta overstates the noise."
    if report.agrees:
        return "No other convention fits the pairs better; what noise is left is not known."
    less = 1 - report.best.residual / report.stored.residual
    return (
        f"Another convention fits the pairs better: {best}. It takes {less:.0%} of the residual "
        "away; whether the rest is noise is not known."
    )


def _clauses(finding: Finding) -> str:
    return "; ".join(finding.described()) or "as it is"
