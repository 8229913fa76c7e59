"""A run of seconds: drawn pictures, a recipe of tiny networks, and the command as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyvips
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

RECIPE = """
name: tiny
seed: 11
data: {crop: 32, hold_out: 2, augment: dihedral}
physics:
  stages:
    blur:
      operator: blur
      sampler: {name: disc, arguments: {radius: [0, 2]}}
  sensor: [{name: noise, arguments: {sigma: [0, 0.05]}}, clip, round]
generator: {name: unet, arguments: {widths: [4, 8], blocks: [1, 1]}}
discriminator: {name: patchgan, arguments: {width: 2}}
objective: {pool: 6}
training:
  batch: 2
  schedule: {constant: 6, decay: 6}
  precision: fp32
  log_every: 5
  validate_every: 6
  checkpoint: {every: 4}
"""

# What differs between two runs of the same numbers.
CLOCKS = ("seconds", "steps_per_second")


def draw_pictures(folder: Path, count: int, *, channels: int = 3, size: int = 40) -> Path:
    """Smooth random pictures of slightly different sizes, as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = Generator().manual_seed(count + channels)
    for i in range(count):
        coarse = torch.rand(1, channels, 6, 6, generator=generator)
        picture = F.interpolate(coarse, (size + i, size + 2 * i), mode="bicubic")[0]
        write_picture(folder / f"{i:03d}.png", picture)
    return folder


def write_picture(path: Path, picture: Tensor) -> None:
    """C×H×W in [0, 1] as a file of 8 bits."""
    c, h, w = picture.shape
    pixels = picture.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous()
    image = pyvips.Image.new_from_memory(pixels.numpy().tobytes(), w, h, c, "uchar")
    image.copy(interpretation="srgb" if c == 3 else "b-w").write_to_file(str(path))


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    """The tiny recipe as a file."""
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def start(
    *arguments: str | Path, script: Path | None = None, **options: Any
) -> subprocess.Popen[str]:
    """`physgan ...` as a process of its own, or a script that stands for it."""
    program = [str(script)] if script else ["-m", "physgan"]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a process that ends by itself."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def records(run: Path) -> list[dict[str, Any]]:
    """The log of a run, without what the clock decides."""
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(s).items() if k not in CLOCKS} for s in lines]
