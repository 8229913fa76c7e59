"""Weights of a run, measured and put into the package, with their card in docs/cards.

    python -m benchmarks.ship RUN --task deblur-text --data DATA [--pages 12]

Measures on the check sets of the task (checks.py) and on drawn pages. The numbers go into the
header, and from it into the card (cards.py).
What falls short of its task's floors is marked experimental, with what it misses. Nothing is
shipped that is larger than the package allows.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import subprocess
import sys
from importlib import resources
from pathlib import Path

from benchmarks.checks import FLOORS, measure, shortfalls
from benchmarks.pages import STRENGTHS
from benchmarks.pages import measure as read_pages
from physgan.errors import WeightsError
from physgan.files import replacing, write_text
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED
from physgan.weights.file import JSON, load_weights, save_weights
from physgan.weights.find import find_weights

LARGEST = 8_000_000
"""Bytes of one shipped file."""


def on_pages(restorer: Restorer, pages: int) -> list[JSON]:
    """A row for each strength of blur."""
    rows: list[JSON] = []
    for strength in STRENGTHS:
        numbers = {k: round(v, 4) for k, v in read_pages(restorer, strength, pages).items()}
        rows.append(
            {"set": f"drawn pages, blur {strength:g}", "protocol": "rgb", "n": pages, **numbers}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", required=True, choices=sorted(FLOORS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pages", type=int, default=0)
    options = parser.parse_args()
    source = find_weights(options.run)
    network, info = load_weights(source)
    restorer = Restorer(network, info)
    # Of a run: what it held out. Shipped ones bring what was measured then, which is done again.
    held = info.measured if isinstance(info.measured, dict) else None
    measured: list[JSON] = [held] if held else []
    rows = measure(restorer, options.task, options.data)
    short = shortfalls(options.task, rows)
    measured += rows
    if options.pages:
        measured += on_pages(restorer, options.pages)
    training = {k: v for k, v in info.training.items() if k != "experimental"}
    if short:
        training["experimental"] = "; ".join(short)
    info = dataclasses.replace(info, measured=measured, training=training)

    folder = Path(str(resources.files("physgan.weights"))) / "shipped"
    target = folder / f"{options.task}.safetensors"
    with replacing(target) as beside:
        save_weights(beside, network.state_dict(), info)
        if (size := beside.stat().st_size) > LARGEST:
            raise WeightsError(f"'{source}'", expected=f"at most {LARGEST} bytes", got=str(size))
    sums = dict(SHIPPED) | {options.task: hashlib.sha256(target.read_bytes()).hexdigest()}
    lines = [f"{digest}  {name}.safetensors\n" for name, digest in sorted(sums.items())]
    write_text(folder / "SHA256SUMS", "".join(lines))
    # In a process of its own: what ships is read when the package is imported.
    subprocess.run([sys.executable, "-m", "benchmarks.cards", "--task", options.task], check=True)


if __name__ == "__main__":
    main()
