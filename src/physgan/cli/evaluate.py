"""`physgan evaluate`: a restorer measured on pairs of pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from physgan.cli.weights import chosen_weights

if TYPE_CHECKING:
    from torch import Tensor

    from physgan.weights.file import WeightsInfo


@dataclass
class Arguments:
    """Measure a restorer on pairs: degraded pictures, and the clean ones of the same names."""

    degraded: Path
    """Folder of observations."""
    clean: Path
    """Folder of the clear pictures, paired by stem."""
    output: Path
    """Folder for per_image.jsonl and summary.json."""
    task: str | None = None
    """Name of shipped weights."""
    weights: Path | None = None
    """A weights file, or the folder of a run, in place of a task."""
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
    from physgan.errors import UsageError

    source = chosen_weights(arguments.task, arguments.weights)
    if arguments.physics is not None and arguments.theta is None:
        raise UsageError("--physics", expected="--theta FOLDER beside it", got="none")
    from physgan.evaluation.run import SUMMARY, evaluate_pairs, summarise, write_evaluation

    if (arguments.output / SUMMARY).exists() and not arguments.overwrite:
        raise UsageError(
            f"output '{arguments.output}'",
            expected="a folder without an evaluation",
            got="one that holds one",
            remedy="Replace it with --overwrite, or name another folder.",
        )
    from physgan.data.pairs import read_pairs
    from physgan.evaluation.reading import require_tesseract, text_error
    from physgan.metrics.protocol import protocol
    from physgan.restore.restorer import Restorer

    if arguments.text:
        require_tesseract()
    restorer = Restorer.from_pretrained(source, device=arguments.device)
    pairs = read_pairs(arguments.degraded, arguments.clean, channels=restorer.fn.channels)
    how = protocol(arguments.protocol, scale=restorer.fn.scale)
    consistent = None
    if arguments.theta is not None:
        names = [pair.name for pair in pairs]
        consistent = _consistency(arguments.theta, names, arguments.physics, restorer.info)
    records = []
    for record in evaluate_pairs(
        restorer.fn,
        pairs,
        how,
        text_error=text_error if arguments.text else None,
        consistent=consistent,
    ):
        records.append(record)
        gain = record["psnr"] - record["input_psnr"]
        print(
            f"[{len(records)}/{len(pairs)}] {record['name']}: "
            f"{record['psnr']:.2f} dB ({gain:+.2f})",
            file=sys.stderr,
            flush=True,
        )
    summary = summarise(records, how)
    write_evaluation(arguments.output, records, summary)
    if arguments.json:
        print(json.dumps(summary))
        return 0
    rows = [
        ("", "input", "restored"),
        ("PSNR", "input_psnr", "psnr"),
        ("SSIM", "input_ssim", "ssim"),
    ]
    if arguments.text:
        rows.append(("text error", "input_text_error", "text_error"))
    print(f"{summary['n']} images, protocol {arguments.protocol}")
    for title, before, after in rows:
        cells = [f"{summary[key]:.4f}" if key in summary else key for key in (before, after)]
        print(f"{title:10} {cells[0]:>10} {cells[1]:>10}")
    print(f"{'worst gain':10} {summary['worst_gain']:>+21.2f}")
    if arguments.theta is not None:
        print(
            f"{'χ²/N':10} {summary['chi2']:>21.3f}   (the clear pictures: "
            f"{summary['clean_chi2']:.3f}; 1 is as far off as noise is)"
        )
        print(
            f"{'residual':10} {summary['residual']:>21.5f}   (the clear pictures: "
            f"{summary['clean_residual']:.5f})"
        )
    return 0


def _consistency(
    folder: Path, names: Sequence[str], physics: str | None, info: WeightsInfo | None
) -> Callable[[str, Tensor, Tensor], dict[str, float]]:
    """What compares an image with an observation by the physics and by theta of its name."""
    from torch import Generator

    from physgan.data.theta import load_thetas
    from physgan.errors import ThetaError
    from physgan.evaluation.consistency import consistency
    from physgan.recipes.build import build_degradation
    from physgan.recipes.load import physics_from, physics_of

    spec = physics_of(info and info.recipe) if physics is None else physics_from(physics)[0]
    degradation = build_degradation(spec, samplers=False)
    thetas = dict(zip(names, load_thetas(folder, names), strict=True))
    for name, theta in thetas.items():
        try:
            degradation.check(theta)
        except ThetaError as error:
            raise ThetaError(
                f"theta of '{name}', {error.what}",
                expected=error.expected,
                got=error.got,
                remedy=f"{error.remedy} What fits is found by: physgan check-physics.".strip(),
            ) from None

    def consistent(name: str, x: Tensor, y: Tensor) -> dict[str, float]:
        generator = Generator().manual_seed(0)
        return consistency(x, y, degradation, thetas[name], generator=generator)

    return consistent
