"""`physgan train`: a recipe in, a folder with weights, card, log and checkpoint out."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import Tensor

    from physgan.training.logs import Watcher

TAKES_OVERRIDES = True
ENDS_BY_ITSELF = True  # with a checkpoint


@dataclass
class Arguments:
    """Train a restorer from a recipe."""

    recipe: Annotated[str, tyro.conf.Positional]
    """A YAML file, or the name of a shipped recipe."""
    output: Path | None = None
    """Folder of the run: weights.safetensors, card.md, log.jsonl, checkpoint and recipe."""
    resume: bool = False
    """Go on from the checkpoint in the folder, exactly where it was written."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    tensorboard: bool = False
    """Also log to TensorBoard, with pictures, below the run's folder."""
    json: bool = False
    """Print the outcome as one line of JSON."""


def describe(argv: Sequence[str]) -> str:
    """What `--help` says: the shipped recipes, and every field with its value in the recipe."""
    from physgan.errors import RecipeError
    from physgan.recipes.load import field_lines, load_recipe, shipped_recipes

    try:
        recipe = load_recipe(argv[0]) if argv else None
    except RecipeError:
        recipe = None
    of = f"as in '{recipe.name}'" if recipe is not None else "the defaults; a recipe has its own"

    return "\n".join(
        [
            "Train a restorer from a recipe.",
            "",
            f"Shipped recipes: {', '.join(shipped_recipes())}.",
            "",
            "Any field of the recipe can be overridden after the options, by its dotted name,",
            f"such as --data.train PICTURES --training.batch 4. In brackets: {of}.",
            "",
            *field_lines(recipe),
        ]
    )


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.errors import UsageError
    from physgan.recipes.load import load_recipe

    _check_options(overrides)
    recipe = load_recipe(arguments.recipe, overrides)
    if arguments.output is None:
        raise UsageError("run folder", expected="--output FOLDER", got="nothing")
    folder = arguments.output
    _speak()

    from physgan.recipes.experiment import WEIGHTS, train_recipe
    from physgan.training.logs import TensorBoard
    from physgan.training.state import MANIFEST

    def watchers(start: int, steps: int) -> list[Watcher]:
        chosen: list[Watcher] = [_Screen(start, steps)]
        if arguments.tensorboard:
            chosen.append(TensorBoard(folder / "tensorboard", from_step=start))
        return chosen

    try:
        outcome = train_recipe(
            recipe, folder, watchers=watchers, resume=arguments.resume, device=arguments.device
        )
    except KeyboardInterrupt:
        kept = (folder / MANIFEST).is_file()
        what = "go on with --resume" if kept else "there is no checkpoint yet"
        print(f"physgan: interrupted; {what}.", file=sys.stderr)
        return 130
    result = {"weights": str(folder / WEIGHTS), "steps": outcome.step, **outcome.measured}
    if arguments.json:
        print(json.dumps(result))
    else:
        gain = outcome.measured.get("psnr", 0.0) - outcome.measured.get("input_psnr", 0.0)
        print(
            f"{result['weights']}: {outcome.step} steps"
            + (
                f", {outcome.measured['psnr']:.2f} dB, {gain:+.2f} dB over its input"
                if outcome.measured
                else ""
            )
        )
    return 0


def _check_options(overrides: Sequence[str]) -> None:
    """Names the option that an override without a dot is a slip of."""
    from physgan.errors import UsageError
    from physgan.recipes.schema import Recipe

    options = [field.name for field in fields(Arguments)]
    for word in overrides:
        name = word.removeprefix("--").partition("=")[0]
        if not word.startswith("--") or "." in name or name in Recipe.model_fields:
            continue
        if close := get_close_matches(name, options, n=1):
            raise UsageError(
                f"option '--{name}'",
                expected="one that exists",
                got="none of that name",
                remedy=f"Did you mean '--{close[0]}'?",
            )


def _speak() -> None:
    """Lets what the package tells and warns of appear on stderr, a line each."""
    log = logging.getLogger("physgan")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, _Lines) for handler in log.handlers):
        log.addHandler(_Lines())


class _Lines(logging.Handler):
    """Writes to the stderr of the moment, which tests and notebooks exchange."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"physgan: {record.getMessage()}", file=sys.stderr)


class _Screen:
    """Progress on stderr: a bar with rate and time left on a terminal, lines elsewhere."""

    def __init__(self, start: int, steps: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._steps = steps
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:.2f} steps/s"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self._console,
            )
            self._progress.start()
            self._task = self._progress.add_task(
                "", total=steps, completed=start, rate=0.0, note=""
            )

    def stepped(self, step: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=step)

    def told(self, record: Mapping[str, float | int | str]) -> None:
        step = int(record["step"])
        if record["kind"] == "validation":
            line = f"{record['psnr']:.2f} dB, input {record['input_psnr']:.2f} dB"
        else:
            rate = float(record["steps_per_second"])
            note = f"total {record['total']:.3f}" if "total" in record else "all steps skipped"
            if self._progress is not None:
                self._progress.update(self._task, rate=rate, note=note)
                return
            left = timedelta(seconds=round((self._steps - step) / max(rate, 1e-6)))
            line = f"{note}, {rate:.2f} steps/s, {left} left"
        # sys.stderr at the time of printing: while a bar is shown, it is the bar's own.
        print(f"step {step}/{self._steps}: {line}", file=sys.stderr)

    def shown(self, step: int, pictures: Sequence[tuple[str, Tensor]]) -> None:
        pass

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
