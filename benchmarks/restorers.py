"""Candidates for the default restorer, compared by PSNR per training hour.

    python -m benchmarks.restorers --pictures SHARDS --output RUNS [--minutes 8]

Each candidate trains with the whole default recipe for as many steps as this machine does in the
same time when nothing else runs: its rate is measured first, then the steps are counted. A busy
machine therefore changes how long the comparison takes, not who wins. Runs that are complete are
not repeated. docs/networks.md holds the table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from physgan.networks import GENERATORS
from physgan.recipes.build import resolve
from physgan.recipes.experiment import LOG, train_recipe
from physgan.recipes.load import load_recipe

CANDIDATES = {
    "UNet": "unet",
    "GatedUNet": "benchmarks.candidates:GatedUNet",
    "DeepUNet": "benchmarks.candidates:DeepUNet",
    "FlatNet": "benchmarks.candidates:FlatNet",
}


def train(name: str, pictures: Path, folder: Path, steps: int, *, hold_out: int) -> None:
    half = steps // 2
    recipe = load_recipe(
        "deblur-natural",
        [
            f"--data.train={pictures}",
            f"--data.hold_out={hold_out}",
            f'--generator={{name: "{CANDIDATES[name]}"}}',
            f"--training.schedule={{constant: {half}, decay: {steps - half}}}",
            "--training.log_every=10",
            "--training.validate_every=100",
            "--training.checkpoint.every=100000",
        ],
    )
    train_recipe(recipe, folder, resume=True)


def records(folder: Path, kind: str) -> list[dict[str, float]]:
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    options = parser.parse_args()

    rates: dict[str, float] = {}
    for name in CANDIDATES:
        folder = options.output / f"rate-{name}"
        if not records(folder, "train"):
            train(name, options.pictures, folder, 30, hold_out=1)
        rates[name] = max(r["steps_per_second"] for r in records(folder, "train"))

    print("| restorer | parameters | receptive field | steps/s | steps | PSNR | gain |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, path in CANDIDATES.items():
        steps = round(rates[name] * 60 * options.minutes)
        folder = options.output / name
        train(name, options.pictures, folder, steps, hold_out=24)
        last = records(folder, "validation")[-1]
        network = resolve(path, GENERATORS, kind="generator")()
        size = sum(p.numel() for p in network.parameters()) / 1e6
        print(
            f"| {name} | {size:.2f} M | {network.receptive_field} px | {rates[name]:.2f} "
            f"| {steps} | {last['psnr']:.2f} dB | {last['psnr'] - last['input_psnr']:+.2f} dB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
