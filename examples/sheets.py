"""Sheets of what a physics does: a picture that is free to use, clear, then from mild to severe.

    python examples/sheets.py [NAME ...]

writes docs/pictures/sheet-NAME.jpg for each name, all of them without one. A new sheet is an entry
of `SHEETS`: a picture that comes with scikit-image, a part of it, and degradations in their order.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyvips
import skimage.data
import torch
from torch import Generator, Tensor

from physgan.data.synthesis import synthesise
from physgan.images.read import read_8bit
from physgan.physics.blur import Blur, DefocusMotionKernels
from physgan.physics.compose import Degradation, Stage
from physgan.physics.haze import DepthHaze, HazyScenes
from physgan.physics.rain import DrawnRain, Rain
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from physgan.types import Sensor

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
SIDE = 300
ACROSS = 3
GAP = 6


class Sheet(NamedTuple):
    """A picture, the top and left of the part that is shown, and what is done to it."""

    picture: str
    top: int
    left: int
    degradations: Sequence[Degradation]
    seed: int = 0


def exactly(value: float) -> tuple[float, float]:
    """The range of one value."""
    return value, value


def camera(*before: Sensor) -> SensorChain:
    return SensorChain([*before, Clip(), Round()])


def rain(
    coverage: float, brightness: float, length: float, angle: float, veil: float
) -> Degradation:
    """Streaks of a coverage, then the veil of an optical thickness."""
    streaks = DrawnRain(
        exactly(coverage),
        length=exactly(length),
        width=exactly(2),
        brightness=exactly(brightness),
        angle=exactly(angle),
        spread=exactly(1.5),
        depth=exactly(3),
        defocus=exactly(1.5),
    )
    mist = HazyScenes(exactly(veil), airlight=exactly(0.75), tint=0.02)
    return Degradation({"rain": Stage(Rain(), streaks), "veil": Stage(DepthHaze(), mist)}, camera())


def haze(beta: float) -> Degradation:
    return Degradation(
        {"haze": Stage(DepthHaze(), HazyScenes(exactly(beta), exactly(0.85)))}, camera()
    )


def blur(radius: float, size: float, sigma: float) -> Degradation:
    kernels = DefocusMotionKernels(exactly(radius), exactly(size))
    return Degradation({"blur": Stage(Blur(), kernels)}, camera(Noise(exactly(sigma))))


SHEETS = {
    "rain": Sheet(
        "rocket.jpg",
        100,
        200,
        [
            rain(0.04, 0.12, 40, 8, 0.0),
            rain(0.15, 0.15, 50, -12, 0.05),
            rain(0.35, 0.15, 70, 15, 0.2),
            rain(0.65, 0.14, 80, -8, 0.4),
            rain(0.9, 0.15, 90, 20, 0.6),
        ],
    ),
    "haze": Sheet("rocket.jpg", 100, 200, [haze(beta) for beta in (0.3, 0.6, 1.0, 1.6, 2.5)]),
    "blur": Sheet(
        "chelsea.png",
        0,
        100,
        [
            blur(0.8, 3, 0.01),
            blur(1.2, 7, 0.02),
            blur(2.0, 11, 0.03),
            blur(3.0, 16, 0.05),
            blur(4.0, 21, 0.1),
        ],
    ),
}


def drawn(sheet: Sheet) -> Tensor:
    """The sheet, 3×H×W in [0, 1]: the clear picture and each degradation of it, row after row."""
    whole = read_8bit(Path(skimage.data.__file__).parent / sheet.picture)[None] / 255
    rows = slice(sheet.top, sheet.top + SIDE)
    x = whole[:, :, rows, sheet.left : sheet.left + SIDE]
    # The same seed for all: where as many numbers are drawn, strength alone differs.
    panels = [x] + [
        synthesise(x, degradation, generator=Generator().manual_seed(sheet.seed)).y
        for degradation in sheet.degradations
    ]
    panels += [torch.ones_like(x)] * (-len(panels) % ACROSS)
    lines = []
    for start in range(0, len(panels), ACROSS):
        line = panels[start : start + ACROSS]
        gap = torch.ones(1, x.shape[1], x.shape[2], GAP)
        spaced = [part for panel in line for part in (panel, gap)][:-1]
        lines += [torch.cat(spaced, dim=-1)]
        lines += [torch.ones(1, x.shape[1], GAP, lines[0].shape[-1])]
    return torch.cat(lines[:-1], dim=-2)[0]


def main(names: Sequence[str]) -> int:
    if unknown := sorted(set(names) - SHEETS.keys()):
        print(f"No sheet {', '.join(unknown)}; there are {', '.join(SHEETS)}.", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name in names or SHEETS:
        sheet = drawn(SHEETS[name])
        pixels = sheet.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
        path = FOLDER / f"sheet-{name}.jpg"
        pyvips.Image.new_from_array(pixels.numpy()).jpegsave(str(path), Q=86, keep="none")
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
