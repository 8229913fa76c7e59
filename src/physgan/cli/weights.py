"""What `--task` and `--weights` mean, for the commands that take them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physgan.errors import UsageError


def chosen_weights(task: str | None, weights: str | None) -> Path:
    """The weights file that the two options name between them.

    `--weights` takes what `Restorer.from_pretrained` takes, and a path that is there for a path.

    Raises:
        UsageError: both or neither are given, there is no such task, or a repository is named and
            huggingface_hub is not installed.
        WeightsError: there is no such file, the shipped one was changed, or the hub gives none.
    """
    from physgan.errors import UsageError
    from physgan.weights.catalogue import SHIPPED, shipped_file
    from physgan.weights.find import find_weights

    if task is not None and weights is None:
        if task not in SHIPPED:
            raise _unknown("--task", task, SHIPPED)
        return shipped_file(task)
    if weights is not None and task is None:
        if not Path(weights).exists() and weights not in SHIPPED and "/" not in weights:
            from physgan.recipes.load import shipped_recipes

            if weights in shipped_recipes():
                raise _unknown("--weights", weights, SHIPPED)
        return find_weights(Path(weights) if Path(weights).exists() else weights)
    raise UsageError(
        "restorer",
        expected="--task NAME or --weights FILE",
        got="none" if task is None else "both",
        remedy="'physgan tasks' lists the tasks." if task is None else "",
    )


def _unknown(option: str, task: str, shipped: Collection[str]) -> UsageError:
    """What to say of a task without shipped weights; one that has a recipe can be trained."""
    from physgan.errors import UsageError, nearest
    from physgan.recipes.load import shipped_recipes

    expected = f"one whose weights ship, {', '.join(sorted(shipped))}"
    if task not in shipped_recipes():
        return UsageError(option, expected=expected, got=repr(task), remedy=nearest(task, shipped))
    return UsageError(
        option,
        expected=expected,
        got=f"'{task}', a recipe for which no weights ship yet",
        remedy=f"Train it: physgan train {task} --data.train PICTURES --output RUN. "
        "Then, or with a file from elsewhere: --weights RUN.",
    )
