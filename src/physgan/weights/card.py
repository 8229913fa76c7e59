"""The model card: the header of a weights file as a page that people read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from safetensors import safe_open

from physgan.weights.file import JSON, WeightsInfo, read_info


def card(info: WeightsInfo, *, title: str, parameters: int, size: int) -> str:
    """A model card in Markdown, made of nothing but the header and the two sizes.

    Args:
        info: the header.
        title: heading of the card, such as the name of the task.
        parameters: learnt numbers of the network.
        size: of the weights file, in bytes.

    Returns:
        The text, ending in a line break.
    """
    facts: dict[str, JSON] = {
        "Architecture": info.architecture,
        "Arguments": info.arguments,
        "Channels": info.channels,
        "Scale": info.scale,
        "Parameters": f"{parameters:,}",
        "File": f"{size / 1e6:.1f} MB",
        **_effort(info),
        "Trained on": info.data,
        "Licence of the weights": info.licence,
        "Commit": info.commit,
    }
    recipe = json.dumps(info.recipe, indent=2, ensure_ascii=False)
    parts = [
        f"# {title}",
        _table(["", ""], [[name, _cell(value)] for name, value in facts.items()]),
        "## Measured",
        _measured(info.measured),
        *_history(info.training),
        "## Recipe",
        f"```json\n{recipe}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def card_of(path: Path, *, title: str) -> str:
    """The card of a weights file.

    Raises:
        WeightsError: the file is broken or not ours.
    """
    info = read_info(path)
    with safe_open(path, framework="pt", device="cpu") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    parameters = sum(math.prod(shape) for shape in shapes)
    return card(info, title=title, parameters=parameters, size=path.stat().st_size)


def _effort(info: WeightsInfo) -> dict[str, JSON]:
    """What is told of the training, as far as the header states it: what it misses comes first."""
    told = {
        name.capitalize(): info.training[name]
        for name in ("experimental", "steps", "hours", "seed", "machine")
        if name in info.training
    }
    runs = [info.training, *_earlier(info.training)]
    if len(runs) > 1:
        told["With the runs that it began from"] = f"{len(runs)} runs, {_sum(runs)}"
    return told


def _sum(runs: Sequence[Mapping[str, JSON]]) -> str:
    """Steps and hours of several runs, as far as all of them tell."""
    parts = []
    for name in ("steps", "hours"):
        numbers = [run.get(name) for run in runs]
        if all(isinstance(number, int | float) for number in numbers):
            total = sum(number for number in numbers if isinstance(number, int | float))
            parts.append(f"{total:,} {name}" if name == "steps" else f"{total:.1f} {name}")
    return ", ".join(parts)


def _earlier(training: Mapping[str, JSON]) -> Iterator[Mapping[str, JSON]]:
    """The runs behind the weights that a training began from, the last first."""
    before = training.get("began_from")
    while isinstance(before, Mapping):
        yield before
        before = before.get("began_from")


def _history(training: Mapping[str, JSON]) -> list[str]:
    """The learning curve, and what came before: a section for each, where there are any."""
    parts: list[str] = []
    curve = training.get("curve")
    if isinstance(curve, Sequence) and curve:
        parts += ["## Learning curve", _measured(curve)]
    rows: list[JSON] = [
        {name: run[name] for name in _EARLIER if name in run} for run in _earlier(training)
    ]
    if rows:
        parts += ["## Began from the weights of earlier runs, the last first", _measured(rows)]
    return parts


_EARLIER = ("name", "filled", "steps", "hours", "seed", "commit", "sha256")


def _measured(measured: Sequence[JSON] | Mapping[str, JSON]) -> str:
    if not measured:
        return "Nothing yet."
    if isinstance(measured, Mapping):
        return _table(["", ""], [[name, _cell(value)] for name, value in measured.items()])
    rows = [row if isinstance(row, Mapping) else {"": row} for row in measured]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return _table(columns, [[_cell(row.get(name, "")) for name in columns] for row in rows])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[_escape(name) for name in columns], ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: JSON) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _escape(text: str) -> str:
    """Text that can neither end a cell nor a row."""
    return " ".join(text.replace("|", "\\|").split())
