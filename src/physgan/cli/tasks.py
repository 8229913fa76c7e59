"""`physgan tasks`: the shipped weights, what they do, how well, and under which licence."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from physgan.weights.file import WeightsInfo


@dataclass
class Arguments:
    """List the shipped weights, or show the card of one."""

    task: Annotated[str | None, tyro.conf.Positional] = None
    """Show the whole card of this one."""
    json: bool = False
    """Print one line of JSON for each task."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.cli.weights import chosen_weights
    from physgan.errors import WeightsError
    from physgan.weights.card import card_of
    from physgan.weights.catalogue import SHIPPED
    from physgan.weights.file import read_info

    if arguments.task is not None and not arguments.json:
        print(card_of(chosen_weights(arguments.task, None), title=arguments.task), end="")
        return 0
    failed = 0
    for name in [arguments.task] if arguments.task is not None else sorted(SHIPPED):
        try:
            path = chosen_weights(name, None)
            info = read_info(path)
        except WeightsError as error:
            failed += 1
            print(f"physgan: {error}", file=sys.stderr)
            continue
        if arguments.json:
            print(json.dumps(_record(name, info), ensure_ascii=False))
            continue
        print(f"{name}  {info.description}")
        print(f"    {path.stat().st_size / 1e6:.1f} MB, licence: {info.terms}")
        if info.experimental:
            print("    experimental: falls short of what is asked of this task (see its card)")
        for line in info.numbers():
            print(f"    {line}")
    return 1 if failed else 0


def _record(name: str, info: WeightsInfo) -> dict[str, Any]:
    return {
        "task": name,
        "description": info.description,
        "channels": info.channels,
        "scale": info.scale,
        "licence": info.licence,
        "experimental": info.experimental or None,
        "measured": info.measured,
        "training": {k: v for k, v in info.training.items() if k not in ("curve", "began_from")},
    }
