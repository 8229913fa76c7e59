"""How fast a training step is, against the release's way of taking it, in one run.

    python -m benchmarks train [--recipe paper/deblur-natural] [--rounds 7] [--output FILE.json]

Both sides are a process of their own, with the same networks, objective, pools and drawn crops, and
take turns: some steps of the one, some of the other, `--rounds` times. Ours is the whole loop of
`physgan train` without files. Told are seconds for a step, their ratio in each round, the first
hundred steps from a cold start where `--first` asks for them, time, arithmetic and most memory of
each stage (arithmetic as direct convolutions would need it, whatever way was taken), and the
machine's own rate of multiplying matrices. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Generator
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import reference
from benchmarks.machine import describe, forget_peak, matrix_rates, peak, synchronise
from benchmarks.reference import Reference
from benchmarks.turns import ratios, told
from physgan.data.crops import Crops
from physgan.networks import convolution
from physgan.recipes.build import build_degradation, build_objective
from physgan.recipes.experiment import plan_of, players_of
from physgan.recipes.load import load_recipe
from physgan.recipes.schema import Recipe
from physgan.training import loop
from physgan.training import step as training_step
from physgan.training.loop import fit

STAGES = (
    "synthesis",
    "restore",
    "degrade again",
    "restore again",
    "objective",
    "backward",
    "optimiser",
    "discriminators",
)

LABELLED = (loop, training_step, reference)
"""Where stages are labelled."""


class _Enough(Exception):
    """Nobody asks for more steps."""


@dataclass
class Spent:
    """What the runs of one stage took."""

    seconds: float = 0.0
    flop: float = 0.0
    memory_gb: float = 0.0
    """the most at any moment: of the GPU, or resident"""


class Stages:
    """Looks at each stage of a step, in the place of the labels that the step puts on them."""

    def __init__(self, device: torch.device, *, arithmetic: bool) -> None:
        self.device = device
        self.spent = {name: Spent() for name in STAGES}
        self.flops = FlopCounterMode(display=False) if arithmetic else None
        self.patches = ExitStack()

    def begin(self) -> None:
        for place in LABELLED:
            self.patches.enter_context(patch.object(place, "record_function", self.stage))
        if self.flops is not None:
            # Of direct convolution on both sides, so that shares of a rate mean the same.
            direct = patch.object(convolution, "_may_choose", lambda x, weight: False)
            self.patches.enter_context(direct)
            self.patches.enter_context(self.flops)

    def end(self) -> dict[str, dict[str, float]]:
        """Takes its hands off the step again, and tells."""
        self.patches.close()
        return {name: vars(spent) for name, spent in self.spent.items()}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        spent = self.spent[name]
        before = self.flops.get_total_flops() if self.flops is not None else 0
        synchronise(self.device)
        forget_peak(self.device)
        began = time.perf_counter()
        try:
            yield
        finally:
            synchronise(self.device)
            spent.seconds += time.perf_counter() - began
            spent.memory_gb = max(spent.memory_gb, peak(self.device))
            if self.flops is not None:
                spent.flop += self.flops.get_total_flops() - before


class Answering:
    """Answers what the other process asks for: steps timed, or looked at stage by stage.

    Args:
        connection: to who asks.
        device: that is waited for before a clock is read.
    """

    def __init__(self, connection: Connection, device: torch.device) -> None:
        self.connection, self.device = connection, device
        self.left = 0
        self.stages: Stages | None = None

    def begin(self) -> None:
        """Waits for the next question."""
        what, self.left = self.connection.recv()
        if what == "end":
            raise _Enough
        if what != "steps":
            self.stages = Stages(self.device, arithmetic=what == "arithmetic")
            self.stages.begin()
        synchronise(self.device)
        self.began = time.perf_counter()

    def stepped(self, step: int) -> None:
        """After each step: answers when all that were asked for are done."""
        self.left -= 1
        if self.left:
            return
        synchronise(self.device)
        answer: dict[str, Any] = {"seconds": time.perf_counter() - self.began}
        if self.stages is not None:
            answer["stages"] = self.stages.end()
            self.stages = None
        self.connection.send(answer)
        self.begin()

    # A watcher of a run is told of more than steps.
    def told(self, record: object) -> None: ...

    def shown(self, step: int, pictures: object) -> None: ...

    def close(self) -> None: ...


def ours(connection: Connection, recipe: Recipe, device: str) -> None:
    """The loop of `physgan train`, a step at a time."""
    answering = Answering(connection, torch.device(device))

    def watchers(start: int) -> list[Any]:
        answering.begin()
        return [answering]

    degradation, objective = build_degradation(recipe.physics), build_objective(recipe.objective)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(
                players_of(recipe, degradation, objective),
                stream=drawn_crops(recipe),
                pairs=(),
                degradation=degradation,
                objective=objective,
                plan=plan_of(recipe, 1),
                folder=Path(folder),
                save_weights=lambda network, outcome: None,
                watchers=watchers,
                device=device,
            )
        except _Enough:
            return


def theirs(connection: Connection, recipe: Recipe, device: str) -> None:
    """The release's step."""
    answering = Answering(connection, torch.device(device))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    plain = reference_of(recipe, device)
    crops = drawn_crops(recipe)
    try:
        answering.begin()
        for step in range(10**9):
            plain.step(crops(step).x.to(device))
            answering.stepped(step)
    except _Enough:
        return


def reference_of(recipe: Recipe, device: str) -> Reference:
    """The reference with the networks and numbers of a recipe."""
    degradation, objective = build_degradation(recipe.physics), build_objective(recipe.objective)
    weights = objective.weights
    return Reference(
        {name: n.to(device) for name, n in players_of(recipe, degradation, objective).items()},
        degradation,
        weights=(
            weights.physics,
            weights.content,
            weights.second_content,
            weights.adversarial_clear,
            weights.adversarial_observation,
        ),
        lr=recipe.optimiser.lr,
        betas=recipe.optimiser.betas,
        clip=recipe.optimiser.clip,
        pool=recipe.objective.pool,
        seed=recipe.seed,
    )


def drawn_crops(recipe: Recipe) -> Callable[[int], Crops]:
    """Crops of noise: no files, so that the disk is not measured."""
    shape = (recipe.training.batch, recipe.data.channels, recipe.data.crop, recipe.data.crop)

    def crops(step: int) -> Crops:
        generator = Generator().manual_seed(step)
        x = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return Crops(x, {})

    return crops


class Side:
    """A process that takes steps when asked to."""

    def __init__(
        self,
        target: Callable[[Connection, Recipe, str], None],
        recipe: Recipe,
        device: str,
        threads: int,
    ) -> None:
        context = mp.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=_run, args=(target, other, recipe, device, threads), daemon=True
        )
        self.began = time.perf_counter()
        self.process.start()
        other.close()

    def ask(self, what: str, steps: int) -> dict[str, Any]:
        self.connection.send((what, steps))
        answer: dict[str, Any] = self.connection.recv()
        return answer

    def end(self) -> None:
        self.connection.send(("end", 0))
        self.process.join()


def _run(
    target: Callable[[Connection, Recipe, str], None],
    connection: Connection,
    recipe: Recipe,
    device: str,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    target(connection, recipe, device)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipe", default="paper/deblur-natural", help="with a blur alone")
    parser.add_argument("--set", nargs="*", default=[], metavar="--FIELD=VALUE", help="overrides")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side")
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    parser.add_argument("--first", type=int, default=0, help="also time so many from a cold start")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--compile", action="store_true", help="compile the networks")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = parsed(argv)
    recipe = load_recipe(
        options.recipe,
        [
            "--optimiser.method=adam",  # the reference's; what a step computes besides is compared
            *(f"--{field.removeprefix('--')}" for field in options.set),
            f"--training.precision={options.precision}",
            f"--training.compile={str(options.compile).lower()}",
            "--training.schedule={unit: steps, constant: 1000000, decay: 0}",
            "--training.log_every=1000000",
            "--training.checkpoint.every=1000000",
        ],
    )
    game = recipe.objective
    if game.adversarial_observation and game.matched:
        print("The reference knows no matched re-degradation: --set objective.matched=false")
        return 2
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "recipe": options.recipe,
        "crop": recipe.data.crop,
        "batch": recipe.training.batch,
        "precision": options.precision,
        "compile": options.compile,
        "machine": describe(device),
        "matrix_tflops": matrix_rates(device),
    }
    sides = {
        "ours": Side(ours, recipe, options.device, options.threads),
        "reference": Side(theirs, recipe, options.device, options.threads),
    }
    if options.first:
        result["first"] = {"steps": options.first} | {
            name: side.ask("steps", options.first)["seconds"] for name, side in sides.items()
        }
    for side in sides.values():
        side.ask("steps", 2)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            answer = side.ask("steps", options.steps)
            seconds[name].append(answer["seconds"] / options.steps)
    result["seconds_per_step"] = seconds
    result["ratio"] = ratios(seconds["ours"], seconds["reference"])
    for name, side in sides.items():
        looked, counted = side.ask("stages", 3)["stages"], {}
        if not options.compile:  # a compiled graph hides what it computes
            counted = side.ask("arithmetic", 1)["stages"]
        result[name] = {
            "memory_gb": max(stage["memory_gb"] for stage in looked.values()),
            "stages": {
                stage: {
                    "seconds": took["seconds"] / 3,
                    "memory_gb": took["memory_gb"],
                    **({"tflop": counted[stage]["flop"] / 1e12} if counted else {}),
                }
                for stage, took in looked.items()
            },
        }
        if counted:
            whole = sum(stage["flop"] for stage in counted.values())
            result[name]["tflop_per_step"] = whole / 1e12
    for side in sides.values():
        side.end()
    show(result)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def show(result: dict[str, Any]) -> None:
    """The results on screen."""
    print(f"{result['recipe']}, batch {result['batch']}, {result['crop']}×{result['crop']}")
    rates = result["matrix_tflops"]
    listed = ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items())
    print(f"{result['machine']['processor']}: matrix products at {listed} TFLOP/s")
    for name in ("ours", "reference"):
        median = statistics.median(result["seconds_per_step"][name])
        line = f"{name:10} {median:8.3f} s a step, {result[name]['memory_gb']:.1f} GB"
        if flop := result[name].get("tflop_per_step"):
            best = max(rates.values())
            line += f", {flop / median:.3f} TFLOP/s, {flop / median / best:.0%} of the best rate"
        print(line)
    print(f"ratio      {told(result['ratio'])}")
    if first := result.get("first"):
        print(
            f"the first {first['steps']} steps: {first['ours']:.1f} s, "
            f"reference {first['reference']:.1f} s"
        )
    head = "".join(f"{what:>11}" for what in ("s", "TFLOP/s", "GB") * 2)
    print(f"{'':18}{'ours':>33}{'reference':>33}\n{'stage':18}{head}")
    for stage in STAGES:
        cells = ""
        for name in ("ours", "reference"):
            took = result[name]["stages"][stage]
            rate = took.get("tflop", 0.0) / took["seconds"] if took["seconds"] else 0.0
            cells += f"{took['seconds']:11.4f}{rate:11.3f}{took['memory_gb']:11.2f}"
        print(f"{stage:18}{cells}")
