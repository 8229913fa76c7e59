"""What `--task` and `--weights` mean, for the commands that take them."""

from __future__ import annotations

from pathlib import Path


def chosen_weights(task: str | None, weights: str | None) -> Path:
    """The weights file that the two options name between them.

    `--weights` takes what `Restorer.from_pretrained` takes, and a path that is there for a path.

    Raises:
        UsageError: both or neither are given, there is no such task, or a repository is named and
            huggingface_hub is not installed.
        WeightsError: there is no such file, the shipped one was changed, or the hub gives none.
    """
    from physgan.errors import UsageError, nearest
    from physgan.weights.catalogue import SHIPPED, find_weights, shipped_file

    if task is not None and weights is None:
        if task not in SHIPPED:
            raise UsageError(
                "--task",
                expected=f"one of {', '.join(sorted(SHIPPED))}",
                got=repr(task),
                remedy=nearest(task, SHIPPED),
            )
        return shipped_file(task)
    if weights is not None and task is None:
        return find_weights(Path(weights) if Path(weights).exists() else weights)
    raise UsageError(
        "restorer",
        expected="--task NAME or --weights FILE",
        got="none" if task is None else "both",
        remedy="'physgan tasks' lists the tasks." if task is None else "",
    )
