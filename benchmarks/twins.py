"""What the physics is worth: weights that ship against a twin trained without.

    python -m benchmarks.twins TWIN --task TASK --data DATA

TWIN is the task's last run over again, with `--objective.gamma 0` and else the same: seed, steps,
what it began from, pictures. Both are measured on the check sets (checks.py), picture by
picture; the rows go to benchmarks/results, where cards.py finds them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cards import twin_file
from benchmarks.checks import FLOORS, measure
from physgan.errors import UsageError
from physgan.files import write_text
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED, find_weights, shipped_file
from physgan.weights.file import WeightsInfo, read_info


def require_twins(shipped: WeightsInfo, twin: WeightsInfo) -> None:
    """Raises UsageError unless two runs differ in the weight of the physics alone.

    Where files lie, how often a run reports and how it keeps its checkpoints does not matter.
    """
    ours, theirs = (_alike(info) for info in (shipped, twin))
    weights = (ours.pop("gamma"), theirs.pop("gamma"))
    for what, gamma, right in (
        ("what ships", weights[0], weights[0] > 0),
        ("the twin", weights[1], weights[1] == 0),
    ):
        if not right:
            raise UsageError(
                f"gamma of {what}", expected="0 for the twin alone", got=str(gamma), remedy=_REMEDY
            )
    for name, value in ours.items():
        if theirs[name] != value:
            raise UsageError(
                f"{name} of the twin", expected=str(value), got=str(theirs[name]), remedy=_REMEDY
            )


_REMEDY = "Train it with --objective.gamma 0, and else as what ships was trained."


def _alike(info: WeightsInfo) -> dict[str, Any]:
    """What two twins have in common, and gamma."""
    if not isinstance(info.recipe, Mapping):
        raise UsageError("weights to compare", expected="the recipe in their header", got="none")
    recipe: dict[str, Any] = dict(info.recipe)
    alike = {name: recipe[name] for name in ("physics", "generator", "discriminator", "optimiser")}
    alike["objective"] = dict(recipe["objective"])
    alike["gamma"] = alike["objective"].pop("gamma")
    alike["data"] = {k: recipe["data"][k] for k in ("channels", "crop", "fit", "augment")}
    told = ("batch", "schedule", "ema", "precision")
    alike["training"] = {k: recipe["training"][k] for k in told}
    run = ("steps", "seed", "began_from", "arithmetic")
    return alike | {name: info.training.get(name) for name in run}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("twin", type=Path)
    parser.add_argument("--task", required=True, choices=sorted(FLOORS))
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    shipped, twin = read_info(shipped_file(options.task)), read_info(find_weights(options.twin))
    require_twins(shipped, twin)
    rows = measure(
        Restorer.from_pretrained(options.task),
        options.task,
        options.data,
        twin=Restorer.from_pretrained(options.twin),
    )
    whole = "all of the training" if "began_from" not in shipped.training else "the last run alone"
    kept = ("set", "protocol", "n", "psnr", "psnr_without_physics", "physics_gain", "interval")
    result = {
        "task": options.task,
        "sha256": SHIPPED[options.task],
        "steps": twin.training["steps"],
        "hours": twin.training["hours"],
        "seed": twin.training["seed"],
        "scope": whole,
        "rows": [{k: row[k] for k in kept} for row in rows if "physics_gain" in row],
    }
    write_text(twin_file(options.task), json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
