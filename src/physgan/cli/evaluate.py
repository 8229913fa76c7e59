"""`physgan evaluate`: a restorer measured on pairs of pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from physgan.cli.threads import wait_asleep
from physgan.cli.weights import chosen_weights

if TYPE_CHECKING:
    from torch import Tensor

    from physgan.types import ChainTheta
    from physgan.weights.file import WeightsInfo


@dataclass
class Arguments:
    """Measure a restorer on pairs: degraded pictures, and the clean ones of the same names.

    A pair that cannot be read or measured is named and left out of the means.
    """

    degraded: Path
    """Folder of observations."""
    clean: Path
    """Folder of the clear pictures, paired by stem."""
    output: Path
    """Folder for per_image.jsonl and summary.json."""
    task: str | None = None
    """Name of shipped weights, as physgan tasks lists them."""
    weights: str | None = None
    """A weights file, the folder of a run, an exported graph, or org/name of the Hugging Face hub,
    in place of a task."""
    protocol: Literal["rgb", "y", "rgb-shift", "y-shift"] = "rgb"
    """PSNR over colour or luminance; with the best shift of up to 4 px, or without."""
    text: bool = False
    """Also measure how much of the text tesseract reads wrongly."""
    theta: Path | None = None
    """Folder of the parameters that made the observations, NAME.safetensors each: also measure how
    well each restored picture explains its observation."""
    physics: str | None = None
    """Recipe, or manifest of pairs, whose physics `--theta` belongs to; that of the weights by
    default."""
    overwrite: bool = False
    """Replace an evaluation that is there."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the summary as one line of JSON."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    wait_asleep()
    from physgan.errors import PhysganError, UsageError

    source = chosen_weights(arguments.task, arguments.weights)
    if arguments.physics is not None and arguments.theta is None:
        raise UsageError("--physics", expected="--theta FOLDER beside it", got="none")
    from physgan.evaluation.run import (
        SUMMARY,
        evaluate_pair,
        require_folder,
        summarise,
        write_evaluation,
    )

    if (arguments.output / SUMMARY).exists() and not arguments.overwrite:
        raise UsageError(
            f"output '{arguments.output}'",
            expected="a folder without an evaluation",
            got="one that holds one",
            remedy="Replace it with --overwrite, or name another folder.",
        )
    from physgan.data.pairs import match_pairs, read_pair, without_partner
    from physgan.evaluation.reading import require_tesseract, text_error
    from physgan.metrics.protocol import protocol
    from physgan.restore.restorer import Restorer

    if arguments.text:
        require_tesseract()
    restorer = Restorer.from_pretrained(source, device=arguments.device)
    pairs, lonely = match_pairs(arguments.degraded, arguments.clean)
    if not pairs:
        raise without_partner(arguments.degraded, arguments.clean, lonely)
    for path in lonely:
        print(f"physgan: '{path}' is left out: no partner of its stem", file=sys.stderr, flush=True)
    how = protocol(arguments.protocol, scale=restorer.fn.scale)
    explaining = None
    if arguments.theta is not None:
        names = [name for name, _, _ in pairs]
        explaining = _explaining(
            arguments.theta,
            names,
            arguments.physics,
            restorer.info,
            channels=restorer.fn.channels,
        )
    require_folder(arguments.output)
    records: list[dict[str, Any]] = []
    for number, (name, degraded, clean) in enumerate(pairs, start=1):
        try:
            # First, since theta that cannot be is found sooner than a picture is restored.
            consistent = explaining(name) if explaining is not None else None
            record = evaluate_pair(
                restorer.fn,
                read_pair(name, degraded, clean, channels=restorer.fn.channels),
                how,
                text_error=text_error if arguments.text else None,
                consistent=consistent,
            )
        except PhysganError as error:
            print(f"physgan: '{name}' is left out: {error}", file=sys.stderr, flush=True)
            continue
        records.append(record)
        gain = record["psnr"] - record["input_psnr"]
        print(
            f"[{number}/{len(pairs)}] {name}: {record['psnr']:.2f} dB ({gain:+.2f})",
            file=sys.stderr,
            flush=True,
        )
    failed = len(lonely) + len(pairs) - len(records)
    summary = {**summarise(records, how), "failed": failed}
    write_evaluation(arguments.output, records, summary)
    if arguments.json:
        print(json.dumps(summary))
        return 1 if failed else 0
    rows = [
        ("", "input", "restored"),
        ("PSNR", "input_psnr", "psnr"),
        ("SSIM", "input_ssim", "ssim"),
    ]
    if arguments.text:
        rows.append(("text error", "input_text_error", "text_error"))
    without = f", {failed} left out" if failed else ""
    print(f"{summary['n']} images{without}, protocol {arguments.protocol}")
    for title, before, after in rows:
        cells = [f"{summary[key]:.4f}" if key in summary else key for key in (before, after)]
        print(f"{title:10} {cells[0]:>10} {cells[1]:>10}")
    for title in ("median gain", "worst gain"):
        print(f"{title:11} {summary[title.replace(' ', '_')]:>+20.2f}")
    if arguments.theta is not None:
        print(
            f"{'χ²/N':10} {summary['chi2']:>21.3f}   (the clear pictures: "
            f"{summary['clean_chi2']:.3f}; 1 is as far off as noise is)"
        )
        print(
            f"{'its median':10} {summary['median_chi2']:>21.3f}   (the clear pictures: "
            f"{summary['clean_median_chi2']:.3f})"
        )
        print(
            f"{'residual':10} {summary['residual']:>21.5f}   (the clear pictures: "
            f"{summary['clean_residual']:.5f})"
        )
        if summary["clean_chi2"] > 2:
            print(
                "physgan: theta does not explain the clear pictures either: physgan check-physics "
                "tells what fits.",
                file=sys.stderr,
            )
    return 1 if failed else 0


def _explaining(
    folder: Path,
    names: Sequence[str],
    physics: str | None,
    info: WeightsInfo | None,
    *,
    channels: int,
) -> Callable[[str], Callable[[Tensor, Tensor], dict[str, float]]]:
    """Given the name of a pair, what compares an image with its observation by theta."""
    import torch
    from torch import Generator

    from physgan.data.theta import load_theta, theta_files
    from physgan.errors import PhysganError, RecipeError, ThetaError
    from physgan.evaluation.consistency import consistency
    from physgan.physics.compose import SENSOR
    from physgan.recipes.build import build_degradation, place_of
    from physgan.recipes.load import physics_from, physics_of

    spec = physics_of(info and info.recipe) if physics is None else physics_from(physics)[0]
    degradation = build_degradation(spec, samplers=False)
    files = theta_files(folder, names)
    stages = set(degradation.operator.operators)
    try:
        blank = torch.full((1, channels, 64, 64), 0.5)
        sensor = degradation.sensor.sample(blank, generator=Generator())
    except Exception as error:  # whatever foreign code does
        raise RecipeError(
            "sensor of the physics",
            expected="sample(x, *, generator) to draw for a picture",
            got=f"{type(error).__name__}: {error}{place_of(error)}",
        ) from error

    def explaining(name: str) -> Callable[[Tensor, Tensor], dict[str, float]]:
        theta = load_theta(files[name])
        known = {stage: part for stage, part in theta.items() if stage in stages}
        if strange := sorted(_names(theta) - _names({**known, SENSOR: sensor})):
            raise ThetaError(
                f"theta of '{name}'",
                expected="parameters of the physics that the results are held to",
                got=f"'{strange[0]}', which it does not take",
                remedy="Name the physics that made the pairs: --physics RECIPE or MANIFEST.",
            )
        try:
            degradation.check(theta)
        except ThetaError as error:
            raise ThetaError(
                f"theta of '{name}', {error.what}",
                expected=error.expected,
                got=error.got,
                remedy=f"{error.remedy} What fits is found by: physgan check-physics.".strip(),
            ) from None

        def consistent(x: Tensor, y: Tensor) -> dict[str, float]:
            generator = Generator().manual_seed(0)
            try:
                return consistency(x, y, degradation, theta, generator=generator)
            except PhysganError:
                raise
            except Exception as error:  # whatever foreign physics does with theta of another
                raise ThetaError(
                    f"theta of '{name}'",
                    expected="one that the physics takes with this picture",
                    got=f"{type(error).__name__}: {error}{place_of(error)}",
                    remedy="Does it belong to this physics?",
                ) from error

        return consistent

    return explaining


def _names(theta: ChainTheta) -> set[str]:
    """Dotted names of all parameters."""
    return {f"{stage}.{name}" for stage, part in theta.items() for name in part}
