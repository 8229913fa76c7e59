"""What JPEG costs restorers: shipped weights on observations that were compressed once more.

    python -m benchmarks.jpeg DATA [--task TASK ...] [--every N] [--output FILE.json]

Nearly all pictures that people bring were JPEG once, and most weights never saw any. The first
check set of each task (see benchmarks/checks.py) is compressed by Pillow with 4:2:0, restored, and
measured against the clear pictures, next to what comes of it without JPEG. In FILE.json rows of
other tasks stay where they are of the weights that ship.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.checks import check_sets
from physgan.data.pairs import Pair
from physgan.evaluation.run import evaluate_pair
from physgan.files import write_text
from physgan.metrics.protocol import protocol
from physgan.metrics.quantise import to_levels
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED
from physgan.weights.file import JSON

QUALITIES = (None, 95, 85, 70, 50)
"""of JPEG; None leaves it out"""


def compressed(y: Tensor, quality: int) -> Tensor:
    """What JPEG leaves of a picture, 1×3×h×w in [0, 1]."""
    levels = to_levels(y)[0].to(torch.uint8).movedim(0, -1).numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(file) as image:
        decoded = np.asarray(image)
    return torch.from_numpy(decoded.copy()).movedim(-1, 0)[None].float() / 255


def measure(restorer: Restorer, task: str, data: Path, *, every: int) -> list[dict[str, JSON]]:
    """A row for each quality, of every n-th pair of a task's first check set."""
    first = check_sets(task, data)[0]
    name = first.protocols[-1]
    how = protocol(name, scale=restorer.fn.scale)
    records: dict[int | None, list[dict[str, float]]] = {quality: [] for quality in QUALITIES}
    for pair in islice(first.pairs(), 0, None, every):
        for quality, told in records.items():
            y = pair.y if quality is None else compressed(pair.y, quality)
            told.append(evaluate_pair(restorer.fn, Pair(pair.name, y, pair.x), how))
    rows: list[dict[str, JSON]] = []
    for quality, told in records.items():
        means: dict[str, JSON] = {
            key: round(statistics.mean(one[key] for one in told), 4)
            for key in ("input_psnr", "psnr")
        }
        row: dict[str, JSON] = {"task": task, "sha256": SHIPPED[task]}
        row |= {"set": first.name, "protocol": name}
        rows.append(row | {"quality": quality, "n": len(told)} | means)
    return rows


def table(rows: Sequence[dict[str, JSON]]) -> str:
    """Rows in Markdown: a line for each task, PSNR before and after at each quality."""
    heads = ["without" if quality is None else str(quality) for quality in QUALITIES]
    lines = ["| task | " + " | ".join(heads) + " |", "|---" * (1 + len(heads)) + "|"]
    for task in dict.fromkeys(row["task"] for row in rows):
        cells = [f"{r['input_psnr']:.2f} → {r['psnr']:.2f}" for r in rows if r["task"] == task]
        lines.append(f"| `{task}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected a whole number of at least 1")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder with the check sets")
    parser.add_argument("--task", nargs="+", choices=SHIPPED, default=list(SHIPPED))
    parser.add_argument("--every", type=_positive, default=1, help="take each N-th pair alone")
    parser.add_argument("--output", type=Path, help="JSON with the rows")
    given = parser.parse_args(argv)
    rows: list[dict[str, JSON]] = []
    if given.output is not None and given.output.exists():
        rows += [
            row
            for row in json.loads(given.output.read_text(encoding="utf-8"))
            if row["task"] not in given.task and row["sha256"] == SHIPPED[row["task"]]
        ]
    for task in given.task:
        restorer = Restorer.from_pretrained(task)
        rows += measure(restorer, task, given.data, every=given.every)
        print(table(rows), flush=True)
        if given.output is not None:
            rows.sort(key=lambda row: str(row["task"]))
            write_text(given.output, json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
