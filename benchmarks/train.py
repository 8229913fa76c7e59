"""How fast a training step is, against the release's way of taking it, in one run.

    python -m benchmarks train [--recipe paper/deblur-natural] [--rounds 7] [--output FILE.json]

Both sides are a process of their own, with the same networks, objective, pools and drawn crops, and
take turns: some steps of the one, some of the other, `--rounds` times. Ours is the whole loop of
`physgan train` without files. Told are seconds for a step, their ratio in each round, the first
hundred steps from a cold start where `--first` asks for them, time of each stage, the most memory,
arithmetic (as direct convolutions would need, whatever way was taken), and the machine's own rate
of multiplying matrices. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Generator
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import describe, matrix_rates, synchronise
from benchmarks.reference import Reference
from physgan.data.crops import Crops
from physgan.networks import convolution
from physgan.recipes.build import build_degradation, build_objective
from physgan.recipes.experiment import plan_of, players_of
from physgan.recipes.load import load_recipe
from physgan.recipes.schema import Recipe
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


class _Enough(Exception):
    """Nobody asks for more steps."""


class Answering:
    """Answers what the other process asks for: steps timed, or looked at stage by stage.

    Args:
        connection: to who asks.
        device: that is waited for before a clock is read.
    """

    def __init__(self, connection: Connection, device: torch.device) -> None:
        self.connection, self.device = connection, device
        self.left = 0
        self.profiler: profile | None = None
        self.flops: FlopCounterMode | None = None

    def begin(self) -> None:
        """Waits for the next question."""
        what, self.left = self.connection.recv()
        if what == "end":
            raise _Enough
        if what == "stages":
            self.profiler = profile(activities=_activities(self.device))
            self.profiler.__enter__()
        if what == "flops":
            # Of direct convolution on both sides, so that shares of a rate mean the same.
            convolution._may_choose = lambda x, weight: False
            self.flops = FlopCounterMode(display=False)
            self.flops.__enter__()
        synchronise(self.device)
        self.began = time.perf_counter()

    def stepped(self, step: int) -> None:
        """After each step: answers when all that were asked for are done."""
        self.left -= 1
        if self.left:
            return
        synchronise(self.device)
        seconds = time.perf_counter() - self.began
        answer: dict[str, Any] = {"seconds": seconds, "memory": _memory(self.device)}
        if self.profiler is not None:
            self.profiler.__exit__(None, None, None)
            answer["stages"] = _stages(self.profiler, self.device)
            self.profiler = None
        if self.flops is not None:
            self.flops.__exit__(None, None, None)
            answer["flops"] = self.flops.get_total_flops()
            self.flops = None
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
    reference = reference_of(recipe, device)
    crops = drawn_crops(recipe)
    try:
        answering.begin()
        for step in range(10**9):
            reference.step(crops(step).x.to(device))
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
        self.process = context.Process(target=_run, args=(target, other, recipe, device, threads))
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


def _activities(device: torch.device) -> list[ProfilerActivity]:
    gpu = [ProfilerActivity.CUDA] if device.type == "cuda" else []
    return [ProfilerActivity.CPU, *gpu]


def _stages(profiler: profile, device: torch.device) -> dict[str, float]:
    """Seconds of each stage, over all steps that were looked at."""
    totals = {event.key: event for event in profiler.key_averages() if event.key in STAGES}
    attribute = "device_time_total" if device.type == "cuda" else "cpu_time_total"
    return {
        name: getattr(totals[name], attribute) / 1e6 if name in totals else 0.0 for name in STAGES
    }


def _memory(device: torch.device) -> float:
    """Most memory so far in GB: of the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


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
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["reference"], strict=True)]
    result["seconds_per_step"] = seconds
    result["ratio"] = {
        "median": statistics.median(ratios),
        "least": min(ratios),
        "greatest": max(ratios),
        "rounds": len(ratios),
    }
    for name, side in sides.items():
        looked = side.ask("stages", 3)
        result[name] = {
            "memory_gb": looked["memory"],
            "stages": {stage: total / 3 for stage, total in looked["stages"].items()},
        }
    if not options.compile:
        for name, side in sides.items():
            result[name]["tflop_per_step"] = side.ask("flops", 1)["flops"] / 1e12
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
    ratio = result["ratio"]
    print(
        f"ratio      {ratio['median']:.2f} (from {ratio['least']:.2f} to {ratio['greatest']:.2f}, "
        f"{ratio['rounds']} rounds)"
    )
    if first := result.get("first"):
        print(
            f"the first {first['steps']} steps: {first['ours']:.1f} s, "
            f"reference {first['reference']:.1f} s"
        )
    print(f"{'seconds of a step':18}" + "".join(f"{name:>11}" for name in ("ours", "reference")))
    for stage in STAGES:
        cells = [result[name]["stages"][stage] for name in ("ours", "reference")]
        print(f"{stage:18}" + "".join(f"{cell:11.4f}" for cell in cells))
