"""What the physics is worth: weights that ship against a twin trained without.

    python -m benchmarks.twins TWIN --task TASK --data DATA

TWIN is the task's training over again, with `--objective.gamma 0` and else the same: seeds, steps,
pictures. Where a training took several runs, all of them may be run over again, or the last ones
from what these began from. Both are measured on the check sets (checks.py), picture by picture;
the rows go to benchmarks/results, where cards.py finds them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cards import RESULTS, twin_file
from benchmarks.checks import FLOORS, measure
from physgan.errors import UsageError
from physgan.files import write_text
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import WeightsInfo, read_info
from physgan.weights.find import find_weights


def require_twins(shipped: WeightsInfo, twin: WeightsInfo) -> tuple[int, bool]:
    """How many runs two trainings took that differ in the weight of the physics alone.

    Where files lie, how often a run reports and how it keeps its checkpoints does not matter.

    Returns:
        The number of runs, and whether these are all; before them both are the same weights.

    Raises:
        UsageError: they differ in more than that, or not in that.
    """
    ours, theirs = _runs(shipped), _runs(twin)
    number = 0
    while ours and theirs and ours[0]["sha256"] != theirs[0]["sha256"]:
        _require_alike(_alike(ours.pop(0)), _alike(theirs.pop(0)))
        number += 1
    if len(ours) != len(theirs):
        raise UsageError(
            "what the twin began from",
            expected="what the shipped weights began from, or a twin of it",
            got="other weights",
            remedy=_REMEDY,
        )
    return number, not ours


def _require_alike(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
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


def _runs(info: WeightsInfo) -> list[dict[str, Any]]:
    """The runs of a training, the last one first, each with its recipe."""
    # The last files of both are compared, whatever they are.
    runs: list[dict[str, Any]] = [{**info.training, "recipe": info.recipe, "sha256": object()}]
    while before := runs[-1].get("began_from"):
        runs.append(before)
    return runs


def _alike(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run and its twin have in common, and gamma."""
    if not isinstance(run["recipe"], Mapping):
        raise UsageError("weights to compare", expected="the recipe in their header", got="none")
    recipe: dict[str, Any] = dict(run["recipe"])
    alike = {name: recipe[name] for name in ("physics", "generator", "discriminator")}
    alike["optimiser"] = {"weight_decay": 0.0} | recipe["optimiser"]  # once there was none
    alike["objective"] = dict(recipe["objective"])
    alike["gamma"] = alike["objective"].pop("gamma")
    alike["data"] = {k: recipe["data"][k] for k in ("channels", "crop", "fit", "augment")}
    told = ("batch", "schedule", "ema", "precision")
    alike["training"] = {k: recipe["training"][k] for k in told}
    return alike | {name: run.get(name) for name in ("steps", "seed", "arithmetic")}


def table() -> str:
    """All that twins were measured at, as docs/weights.md has it."""
    lines = ["| weights | trained without physics | set | with | without | difference |"]
    lines += ["|---|---|---|---|---|---|"]
    for path in sorted(RESULTS.glob("twin-*.json")):
        twin = json.loads(path.read_text(encoding="utf-8"))
        earlier = path.stem.removeprefix(f"twin-{twin['task']}").replace("-", " ").strip()
        weights = f"`{twin['task']}`" + (f", {earlier}" if earlier else "")
        for row in twin["rows"]:
            words = [weights, f"{twin['scope']}, {twin['steps']:,} steps"]
            words += [f"{row['set']}, {row['protocol']}, n = {row['n']}"]
            words += [f"{row[name]:.2f} dB" for name in ("psnr", "psnr_without_physics")]
            words += [f"{row['physics_gain']:+.3f} ± {row['interval']:.3f} dB"]
            lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("twin", type=Path)
    parser.add_argument("--task", required=True, choices=sorted(FLOORS))
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    shipped, twin = read_info(shipped_file(options.task)), read_info(find_weights(options.twin))
    runs, whole = require_twins(shipped, twin)
    rows = measure(
        Restorer.from_pretrained(options.task),
        options.task,
        options.data,
        twin=Restorer.from_pretrained(options.twin),
    )
    compared = _runs(twin)[:runs]
    last = "the last run alone" if runs == 1 else f"the last {runs} runs"
    kept = ("set", "protocol", "n", "psnr", "psnr_without_physics", "physics_gain", "interval")
    result = {
        "task": options.task,
        "sha256": SHIPPED[options.task],
        "steps": sum(run["steps"] for run in compared),
        "hours": round(sum(run["hours"] for run in compared), 3),
        "seed": ", ".join(str(run["seed"]) for run in reversed(compared)),
        "scope": "all of the training" if whole else last,
        "rows": [{k: row[k] for k in kept} for row in rows if "physics_gain" in row],
    }
    write_text(twin_file(options.task), json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
