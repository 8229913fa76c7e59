"""Watches a restorer learn: a minute or two of training from nothing, then a picture it never saw.

    python examples/learn.py

Photographs that come with scikit-image are degraded by a known physics, blur and noise, and the
default network learns to undo it while its results, degraded again, must give back what was
observed. The portrait of the comparison takes no part in training. Everything stays in `learn/`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import skimage.data
import torch
from torch import Generator, Tensor

from physgan.data.synthesis import synthesise
from physgan.images.read import read_8bit
from physgan.images.write import write_8bit
from physgan.metrics.psnr import psnr
from physgan.metrics.quantise import to_8bit, to_levels
from physgan.recipes.build import build_degradation
from physgan.recipes.experiment import WEIGHTS, train_recipe
from physgan.recipes.load import load_recipe
from physgan.restore.whole import restore_whole
from physgan.weights.file import load_weights

TRAINING = ("chelsea.png", "coffee.png", "rocket.jpg", "brick.png", "grass.png", "gravel.png")
UNSEEN = "astronaut.png"
STEPS = 240


def save(path: Path, image: Tensor) -> None:
    """Writes 1×3×H×W in [0, 1] as an 8-bit picture."""
    write_8bit(path, to_levels(image[0]))


class Told:
    """Prints how training goes, a line now and then."""

    def stepped(self, step: int) -> None:
        pass

    def told(self, record: object) -> None:
        if isinstance(record, dict) and record["kind"] == "train":
            print(
                f"  step {record['step']:3d} of {STEPS}: |x_hat - x| {record['content']:.4f}, "
                f"|H(x_hat) - y| {record['physics']:.4f}",
                flush=True,
            )

    def shown(self, step: int, pictures: object) -> None:
        pass

    def close(self) -> None:
        pass


def main() -> int:
    samples = Path(skimage.data.__file__).parent
    folder = Path("learn")
    if folder.exists():
        print(f"'{folder}' is there already: remove it, or run this elsewhere.", file=sys.stderr)
        return 1
    recipe = load_recipe(
        "deblur-natural",
        [
            f"--data.train={folder / 'pictures'}",
            "--data.hold_out=0",
            "--data.licence=public domain and CC0",
            "--data.crop=96",
            "--physics.stages.blur.sampler.name=defocus_motion",
            "--physics.stages.blur.sampler.arguments={radius: [1, 2], size: [3, 9]}",
            "--physics.sensor=[{name: noise, arguments: {sigma: [0.05, 0.08]}}, clip, round]",
            "--generator={name: unet, arguments: {}}",
            "--optimiser.lr=1.5e-3",
            "--training.batch=8",
            f"--training.schedule={{constant: {STEPS // 2}, decay: {STEPS // 2}}}",
            "--training.ema=0.98",
        ],
    )
    (folder / "pictures").mkdir(parents=True)
    for name in TRAINING:
        shutil.copy(samples / name, folder / "pictures" / name)
    x = read_8bit(samples / UNSEEN)[None]
    x = x[:, :, :256, 96:352]
    batch = synthesise(x, build_degradation(recipe.physics), generator=Generator().manual_seed(1))

    print(f"Training from nothing on {len(TRAINING)} photographs, a minute or two:")
    train_recipe(recipe, folder / "run", watchers=lambda start, steps: [Told()])
    restorer, _ = load_weights(folder / "run" / WEIGHTS)
    x_hat = restore_whole(restorer, batch.y)

    before = float(psnr(to_8bit(batch.y), batch.x, data_range=1.0))
    after = float(psnr(to_8bit(x_hat), batch.x, data_range=1.0))
    save(folder / "comparison.png", torch.cat([batch.y, x_hat, batch.x], dim=-1))
    print(f"A portrait that training never saw: {before:.2f} dB before, {after:.2f} dB after.")
    print(f"{folder / 'comparison.png'}: observed, restored, original.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
