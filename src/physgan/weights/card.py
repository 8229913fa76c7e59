"""The model card: the header of a weights file as a page that people read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from physgan.weights.file import JSON, WeightsInfo


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
        "## Recipe",
        f"```json\n{recipe}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _effort(info: WeightsInfo) -> dict[str, JSON]:
    """Steps, hours and seed of the training, where the recipe or the measurements state them."""
    sources: list[Mapping[str, JSON]] = []
    if isinstance(info.measured, Mapping):
        sources.append(info.measured)
    if isinstance(info.recipe, Mapping):
        training = info.recipe.get("training")
        sources += [training] if isinstance(training, Mapping) else []
        sources.append(info.recipe)
    # Done before planned: a run that was stopped early has made fewer steps than its recipe says.
    return {
        name.capitalize(): next(source[name] for source in sources if name in source)
        for name in ("steps", "hours", "seed")
        if any(name in source for source in sources)
    }


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
    return _escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _escape(text: str) -> str:
    """Text that can neither end a cell nor a row."""
    return " ".join(text.replace("|", "\\|").split())
