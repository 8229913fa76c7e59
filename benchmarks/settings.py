"""Settings of a recipe, compared by PSNR for the same number of pixels learnt from.

    python -m benchmarks settings RECIPE --megapixels 37 --degraded DIR --clean DIR --output RUNS \\
        --variant "training.batch=4" --variant "data.crop=128 training.batch=4" [--set FIELD=VALUE]

Each variant is a run of its own with its fields set, half of its steps at the full learning rate
and half falling, measured on the same pairs; a pixel costs nearly the same whatever crop and batch
it comes in, and the seconds that a run took stand beside it. Runs that are complete are not
repeated. docs/training.md holds what came out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.restorers import records
from physgan.recipes.experiment import train_recipe
from physgan.recipes.load import load_recipe
from physgan.recipes.schema import Recipe


def variant(recipe: str, fields: Sequence[str], options: argparse.Namespace) -> Recipe:
    """The recipe with a variant's fields, as long as its share of pixels lasts."""
    pairs = f"{{degraded: '{options.degraded}', clean: '{options.clean}'}}"
    overrides = [f"--{field}" for field in (*options.set, *fields)]
    overrides += [f"--data.pairs={pairs}", "--training.checkpoint.every=100000"]
    once = load_recipe(recipe, overrides)
    steps = round(options.megapixels * 1e6 / (once.training.batch * once.data.crop**2))
    return load_recipe(
        recipe,
        [
            *overrides,
            f"--training.schedule={{constant: {steps // 2}, decay: {steps - steps // 2}}}",
            f"--training.validate_every={max(1, steps // 4)}",
        ],
    )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks settings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe")
    parser.add_argument("--variant", action="append", default=[], help="fields set, by spaces")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="FIELD=VALUE", help="in all of them"
    )
    parser.add_argument("--megapixels", type=float, default=37.0, help="learnt from in each run")
    parser.add_argument("--degraded", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(argv)
    print("| variant | steps | seconds | PSNR | gain |\n| --- | --- | --- | --- | --- |")
    for text in ["", *options.variant]:
        recipe = variant(options.recipe, text.split(), options)
        name = "-".join(text.replace("=", "-").split()) or "as it is"
        folder = options.output / name.replace(" ", "-")
        train_recipe(recipe, folder, resume=True)
        last = records(folder, "validation")[-1]
        gain = last["psnr"] - last["input_psnr"]
        print(
            f"| {text or name} | {last['step']} | {last['seconds']:.0f} "
            f"| {last['psnr']:.2f} dB | {gain:+.2f} dB |",
            flush=True,
        )
    return 0
