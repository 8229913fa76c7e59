"""Cards of the weights that ship, as docs/cards has them.

    python -m benchmarks.cards [--task TASK ...] [--number 32]

A card is what the header of the file tells, and what the package does not carry: what the physics
is worth, where a twin was trained without (twins.py), what was seen on real photographs (real.py),
and where the weights fail (failures.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import failures, real
from physgan.files import write_text
from physgan.weights.card import card_of
from physgan.weights.catalogue import SHIPPED, shipped_file

CARDS = Path(__file__).parents[1] / "docs" / "cards"
RESULTS = Path(__file__).parent / "results"


def twin_file(task: str) -> Path:
    """Where what a twin is measured at is kept."""
    return RESULTS / f"twin-{task}.json"


def twin_of(task: str) -> dict[str, Any] | None:
    """What the twin of the weights that ship is measured at; None where there is none of these."""
    path = twin_file(task)
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return told if told.get("sha256") == SHIPPED[task] else None


def twin_section(twin: Mapping[str, Any]) -> str:
    """What the physics is worth, as a section of a card."""
    told = (
        "The same recipe without the physics (γ = 0), from the same start and by the same seeds "
        f"({twin['seed']}), for {twin['scope']}: {twin['steps']:,} steps. The interval is of the "
        "mean over the pictures, 95 % by Student's t; another seed may say otherwise."
    )
    lines = ["## What the physics is worth", "", told, ""]
    lines += ["| set | protocol | n | with | without | difference |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row['set']} | {row['protocol']} | {row['n']} | {row['psnr']:.2f} dB "
        f"| {row['psnr_without_physics']:.2f} dB "
        f"| {row['physics_gain']:+.2f} ± {row['interval']:.2f} dB |"
        for row in twin["rows"]
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", action="append", default=[], choices=sorted(SHIPPED))
    parser.add_argument("--number", type=int, default=32, help="of cases among which failures are")
    options = parser.parse_args()
    CARDS.mkdir(exist_ok=True)
    for task in options.task or sorted(SHIPPED):
        sections = [card_of(shipped_file(task), title=task)]
        if (twin := twin_of(task)) is not None:
            sections.append(twin_section(twin))
        sections += [real.describe(task), failures.describe(task, number=options.number)]
        write_text(CARDS / f"{task}.md", "\n".join(sections))
        print("\n".join(sections[1:]), flush=True)


if __name__ == "__main__":
    main()
