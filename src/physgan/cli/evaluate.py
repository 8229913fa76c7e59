"""`physgan evaluate`: a restorer measured on pairs of pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
    overwrite: bool = False
    """Replace an evaluation that is there."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the summary as one line of JSON."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.errors import UsageError

    source = arguments.task if arguments.task is not None else arguments.weights
    if source is None or (arguments.task is not None and arguments.weights is not None):
        raise UsageError(
            "restorer",
            expected="--task NAME or --weights FILE",
            got="none" if source is None else "both",
        )
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
    pairs = read_pairs(arguments.degraded, arguments.clean)
    how = protocol(arguments.protocol, scale=restorer.fn.scale)
    records = []
    for record in evaluate_pairs(
        restorer.fn, pairs, how, text_error=text_error if arguments.text else None
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
    return 0
