"""`physgan check-physics`: how well H explains pairs, and which convention does best."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from physgan.data.pairs import Pair
    from physgan.evaluation.physics import Finding, Report
    from physgan.types import ChainTheta


@dataclass
class Arguments:
    """Check how well a physics explains pairs, and which convention explains them best.

    Tried are kernels mirrored, turned and transposed, shifts of up to 4 pixels, boundaries, physics
    in linear light, and airlight and transmission of other ranges.
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
    from physgan.data.maker import MANIFEST
    from physgan.errors import UsageError
    from physgan.evaluation.physics import check_physics
    from physgan.recipes.build import build_degradation
    from physgan.recipes.load import recipe_or_manifest

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
    recipe = recipe_or_manifest(physics)
    degradation = build_degradation(recipe.physics)
    if any(folder.glob("*.mat")):
        chosen, thetas = _of_levin(folder, most, list(recipe.physics.stages))
    else:
        chosen, thetas = _of_folders(folder, most, recipe.data.channels)
    report = check_physics(chosen, thetas, degradation)
    if arguments.json:
        print(json.dumps(_record(report)))
    else:
        _show(report)
    return 0


def _of_folders(folder: Path, most: int, channels: int) -> tuple[list[Pair], list[ChainTheta]]:
    """Pairs and parameters as `physgan degrade` lays them down."""
    from physgan.data.maker import CLEAN, DEGRADED, THETA
    from physgan.data.pairs import read_pairs
    from physgan.data.theta import load_thetas

    pairs = read_pairs(folder / DEGRADED, folder / CLEAN, channels=channels)
    chosen = pairs[:: -(-len(pairs) // most)]
    return chosen, [*load_thetas(folder / THETA, [pair.name for pair in chosen])]


def _of_levin(
    folder: Path, most: int, stages: Sequence[str]
) -> tuple[list[Pair], list[ChainTheta]]:
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
    places = range(0, len(stored), -(-len(stored) // most))
    thetas = [{stages[0]: {"kernel": stored.stored_kernel(place)[None]}} for place in places]
    return [stored.read(place) for place in places], [*thetas]


def _record(report: Report) -> dict[str, Any]:
    return {
        "pairs": report.pairs,
        "agrees": report.agrees,
        "input_residual": report.input_residual,
        "chi2": report.chi2,
        "best_chi2": report.best_chi2,
        "stored": _finding(report.stored),
        "best": _finding(report.best),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "residual": finding.residual,
        "residual_to_the_edges": finding.to_the_edges,
        "shifts": [list(shift) for shift in finding.shifts],
        "convention": finding.convention.described(),
    }


def _show(report: Report) -> None:
    stored, best = report.stored, report.best
    print(f"{report.pairs} pairs; residuals are roots of mean squares, full range 1")
    print(f"without physics, x - y      {report.input_residual:.5f}")
    noise = "" if report.chi2 is None else f"   χ²/N {report.chi2:.3f}"
    print(f"H(x, theta) - y, as it is   {stored.residual:.5f}{noise}")
    for finding in report.steps:
        print(f"  {finding.residual:.5f}  {'; '.join(_clauses(finding)) or 'as it is'}")
    if report.agrees:
        print("The physics explains the pairs; no other convention explains them better.")
        if report.chi2 is not None and report.chi2 > 1.5:
            print(
                f"What is left is more than the sensor's noise (χ²/N {report.chi2:.2f}; 1 is as "
                "far off as noise is)."
            )
        return
    print(f"Another convention explains the pairs better: {'; '.join(_clauses(best))}.")


def _clauses(finding: Finding) -> list[str]:
    clauses = finding.convention.described()
    shifts = set(finding.shifts)
    if len(shifts) > 1:
        most = max(max(map(abs, shift)) for shift in shifts)
        clauses.append(f"y shifted by up to {most} px, otherwise from pair to pair")
    elif shifts != {(0, 0)}:
        ((down, right),) = shifts
        clauses.append(f"y shifted by {down:+d} down, {right:+d} right")
    return clauses
