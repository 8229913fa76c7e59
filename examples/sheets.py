"""Sheets of what a physics does: a picture that is free to use, clear, then from mild to severe.

    python examples/sheets.py [--docs] [NAME ...]

writes sheets/sheet-NAME.jpg for each name, all of them without one; with --docs those of the
documentation, which the README shows. A new sheet is an entry
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
from torch.nn import functional as F

from physgan.data.synthesis import synthesise
from physgan.images.read import read_8bit
from physgan.physics.blur import Blur, DefocusMotionKernels
from physgan.physics.blur_field import BlurField, MovingObjects, ShakeField
from physgan.physics.compose import Degradation, Stage
from physgan.physics.downsample import Bicubic
from physgan.physics.draw import Nothing
from physgan.physics.haze import DepthHaze, HazyScenes
from physgan.physics.jpeg import Jpeg
from physgan.physics.rain import DrawnRain, Rain
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from physgan.physics.shake import ShakeKernels
from physgan.types import Sensor

DOCS = Path(__file__).parent.parent / "docs" / "pictures"
SIDE = 300
ACROSS = 3
GAP = 6
MOST = 150_000  # bytes of a file


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
    coverage: float, length: float, width: float, brightness: float, angle: float, veil: float
) -> Degradation:
    """Streaks of a coverage, then the veil of an optical thickness."""
    streaks = DrawnRain(
        exactly(coverage),
        length=exactly(length),
        width=exactly(width),
        brightness=exactly(brightness),
        angle=exactly(angle),
        spread=exactly(1.5),
        depth=exactly(3),
        defocus=exactly(1.5),
    )
    mist = HazyScenes(exactly(veil), airlight=exactly(0.45), tint=0.02)
    return Degradation({"rain": Stage(Rain(), streaks), "veil": Stage(DepthHaze(), mist)}, camera())


def haze(beta: float) -> Degradation:
    scenes = HazyScenes(exactly(beta), airlight=exactly(0.85), tint=0)
    return Degradation({"haze": Stage(DepthHaze(), scenes)}, camera())


def blur(radius: float, size: float, sigma: float) -> Degradation:
    kernels = DefocusMotionKernels(exactly(radius), exactly(size))
    return Degradation({"blur": Stage(Blur(), kernels)}, camera(Noise(exactly(sigma))))


def shake(size: float) -> Degradation:
    """A camera that shifts over a window of a side."""
    kernels = ShakeKernels(exactly(size), exposure=exactly(0.5))
    return Degradation({"blur": Stage(Blur(), kernels)}, camera(Noise(exactly(0.01))))


def turn(size: float, angle: float) -> Degradation:
    """A camera that also turns, to either side by an angle."""
    field = ShakeField(exactly(size), exactly(angle), exposure=exactly(0.5), grid=(9, 9))
    return Degradation({"blur": Stage(BlurField(), field)}, camera(Noise(exactly(0.01))))


def moving(size: float) -> Degradation:
    """One thing that moves before a camera at rest."""
    things = MovingObjects((1, 1), exactly(size), camera=exactly(1), radius=exactly(0.28))
    return Degradation({"blur": Stage(BlurField(), things)}, camera(Noise(exactly(0.01))))


def sampled(scale: int, *before: Sensor) -> Degradation:
    """Fewer pixels, and what the camera does; at scale 1 the camera alone."""
    return Degradation({"sampling": Stage(Bicubic(scale), Nothing())}, camera(*before))


SHEETS = {
    "rain": Sheet(
        "rocket.jpg",
        100,
        200,
        [
            rain(0.06, 18, 1.2, 0.08, 6, 0.05),
            rain(0.2, 28, 1.4, 0.09, 8, 0.15),
            rain(0.4, 40, 1.6, 0.1, 10, 0.3),
            rain(0.65, 55, 1.8, 0.11, 12, 0.5),
            rain(0.9, 75, 2.0, 0.12, 15, 0.8),
        ],
    ),
    # With this seed the drawn depth is much as the scene's: man, meadow, town and sky.
    "haze": Sheet(
        "camera.png", 60, 150, [haze(beta) for beta in (0.3, 0.7, 1.3, 2.2, 3.5)], seed=1441
    ),
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
    "shake": Sheet("coffee.png", 40, 190, [shake(size) for size in (4, 7, 12, 18, 27)], seed=6),
    "blur-field": Sheet(
        "chelsea.png",
        0,
        100,
        [turn(size, angle) for size, angle in ((2, 0.5), (3, 1), (4, 1.5), (5, 2.5), (6, 4))],
        seed=3,
    ),
    # With this seed the thing that moves is the head.
    "moving-objects": Sheet(
        "astronaut.png", 0, 80, [moving(size) for size in (4, 7, 11, 16, 23)], seed=97
    ),
    "downsample": Sheet("astronaut.png", 200, 100, [sampled(s) for s in (2, 3, 4, 6, 10)]),
    "jpeg": Sheet("astronaut.png", 0, 80, [sampled(1, Jpeg((q, q))) for q in (80, 40, 20, 12, 8)]),
    "noise": Sheet(
        "coffee.png",
        40,
        190,
        [sampled(1, Noise(exactly(sigma))) for sigma in (0.01, 0.03, 0.06, 0.1, 0.2)],
    ),
}


def panels(sheet: Sheet) -> list[Tensor]:
    """The clear picture and each degradation of it, 1×C×H×W in [0, 1]."""
    whole = read_8bit(Path(skimage.data.__file__).parent / sheet.picture)[None] / 255
    rows = slice(sheet.top, sheet.top + SIDE)
    x = whole[:, :, rows, sheet.left : sheet.left + SIDE]
    shown = [x]
    for degradation in sheet.degradations:
        # The same seed for all: where as many numbers are drawn, strength alone differs.
        y = synthesise(x, degradation, generator=Generator().manual_seed(sheet.seed)).y
        # Where there are fewer pixels, each is shown as large as the place that it stands for.
        shown += [F.interpolate(y, size=x.shape[-2:], mode="nearest")]
    return shown


def drawn(shown: Sequence[Tensor]) -> Tensor:
    """Panels 1×C×H×W of one size side by side, row after row: C×H×W in [0, 1]."""
    x = shown[0]
    shown = [*shown, *[torch.ones_like(x)] * (-len(shown) % ACROSS)]
    lines = []
    for start in range(0, len(shown), ACROSS):
        line = shown[start : start + ACROSS]
        gap = torch.ones(1, x.shape[1], x.shape[2], GAP)
        spaced = [part for panel in line for part in (panel, gap)][:-1]
        lines += [torch.cat(spaced, dim=-1)]
        lines += [torch.ones(1, x.shape[1], GAP, lines[0].shape[-1])]
    return torch.cat(lines[:-1], dim=-2)[0]


def packed(image: pyvips.Image) -> bytes:
    """The image as JPEG, as good as `MOST` bytes allow: noise takes much room."""
    for quality in range(92, 0, -4):
        file: bytes = image.jpegsave_buffer(Q=quality, keep="none")
        if len(file) <= MOST:
            break
    return file


def main(arguments: Sequence[str]) -> int:
    names = [each for each in arguments if each != "--docs"]
    folder = DOCS if "--docs" in arguments else Path("sheets")
    if unknown := sorted(set(names) - SHEETS.keys()):
        print(f"No sheet {', '.join(unknown)}; there are {', '.join(SHEETS)}.", file=sys.stderr)
        return 2
    folder.mkdir(exist_ok=True)
    for name in names or SHEETS:
        sheet = drawn(panels(SHEETS[name]))
        pixels = sheet.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
        path = folder / f"sheet-{name}.jpg"
        path.write_bytes(packed(pyvips.Image.new_from_array(pixels.numpy())))
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
