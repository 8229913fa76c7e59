"""Pages and photographs restored with the shipped weights: what physgan does, in a minute.

    make demo

Pages that no training saw are drawn, and photographs taken that come with scikit-image; a known
physics degrades them, and they are kept as files. `physgan restore` makes what it can of them.
Printed are PSNR and, where tesseract is installed, how much of the text it reads wrongly, before
and after. Everything stays in `demo/`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import skimage.data
from PIL import Image, ImageDraw
from torch import Generator, Tensor

from physgan.cli import main as physgan
from physgan.data.synthesis import synthesise
from physgan.data.text.fonts import font
from physgan.data.text.known import render_known_page
from physgan.errors import UsageError
from physgan.evaluation.reading import read_text, require_tesseract
from physgan.images.read import read_8bit
from physgan.images.write import write_8bit
from physgan.metrics.protocol import protocol, scores
from physgan.metrics.quantise import to_levels
from physgan.metrics.text import character_error_rate
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe
from physgan.restore.page import enlarged
from physgan.weights.catalogue import SHIPPED

TEXT = "deblur-text"
SIDE, GAP, LINE = 256, 12, 22
TITLES = ("observed", "restored", "original")
# Blur as a share of four pixels out of focus and twenty-one of shake; seeds of page and blur.
PAGES = {"note": (0.3, "demo/4", 4), "letter": (0.3, "demo/3", 3), "smear": (0.35, "demo/6", 6)}


class Scene(NamedTuple):
    """A picture, the top and left of the part that is taken, and what is done to it."""

    picture: str
    top: int
    left: int
    sampler: dict[str, Any]
    noise: float = 0.0
    seed: int = 1


# By task; the sampler's ranges are narrowed to one value, so that each shows a middling case.
SHAKE = {"name": "shake", "arguments": {"size": [11, 11], "exposure": [0.5, 0.5]}}
HAZE = {"beta": [1.6, 1.6], "airlight": [0.85, 0.85]}
RAIN = {"coverage": [0.5, 0.5], "brightness": [0.2, 0.2]}
SCENES = {
    "deblur-face": Scene("astronaut.png", 0, 96, SHAKE, noise=0.05),
    "deblur-natural": Scene("coffee.png", 60, 180, SHAKE, noise=0.05),
    "dehaze": Scene("camera.png", 40, 130, {"name": "hazy_scenes", "arguments": HAZE}),
    "derain": Scene("rocket.jpg", 100, 200, {"name": "drawn_rain", "arguments": RAIN}),
    "sr4": Scene("chelsea.png", 20, 100, {"name": "nothing"}),
}


def save(path: Path, image: Tensor) -> None:
    """Writes 3×H×W in [0, 1] as an 8-bit picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_8bit(path, to_levels(image))


def load(path: Path) -> Tensor:
    """1×3×H×W in [0, 1]."""
    return read_8bit(path)[None].float() / 255


def draw(name: str, folder: Path) -> str:
    """Draws one page and degrades it into files; returns its text."""
    strength, page_seed, blur_seed = PAGES[name]
    sampler = {"radius": [3, 4], "size": [15, 21], "strength": [strength, strength]}
    page, text = render_known_page(SIDE, Random(page_seed))
    changed = {"blur.sampler": {"name": "defocus_motion", "arguments": sampler}}
    degrade(page, folder / TEXT, name, changed, blur_seed)
    return text


def photograph(task: str, folder: Path) -> None:
    """Takes the photograph of a task and degrades it into files."""
    scene = SCENES[task]
    whole = read_8bit(Path(skimage.data.__file__).parent / scene.picture)
    part = whole[:, scene.top : scene.top + SIDE, scene.left : scene.left + SIDE]
    (stage,) = load_recipe(task).physics.stages
    degrade(part, folder / task, task, {f"{stage}.sampler": scene.sampler}, scene.seed, scene.noise)


def degrade(
    x: Tensor,
    folder: Path,
    name: str,
    changed: dict[str, Any],
    seed: int,
    sigma: float | None = None,
) -> None:
    """Writes a picture 3×H×W and its observation by the physics of the task that `folder` names.

    The noise is that of the recipe where `sigma` is None.
    """
    overrides = [
        f"--physics.stages.{place}={json.dumps(value)}" for place, value in changed.items()
    ]
    if sigma is not None:
        noise = {"name": "noise", "arguments": {"sigma": [sigma, sigma]}}
        overrides.append(f"--physics.sensor={json.dumps([noise, 'clip', 'round'])}")
    degradation = build_degradation(load_recipe(folder.name, overrides).physics)
    batch = synthesise(x[None], degradation, generator=Generator().manual_seed(seed))
    save(folder / "clear" / f"{name}.png", batch.x[0])
    save(folder / "observed" / f"{name}.png", batch.y[0])


def reading(folder: Path, name: str, text: str) -> str:
    """How much is read wrongly, before and after; or why nobody can tell."""
    try:
        require_tesseract()
    except UsageError as error:
        return f"not measured: no {error.expected}"
    before, after = (
        character_error_rate(read_text(load(folder / place / f"{name}.png")), text)
        for place in ("observed", "restored")
    )
    return f"{before:.0%} -> {after:.0%}"


def sheet(blocks: Sequence[Sequence[tuple[str, Sequence[Tensor]]]]) -> Image.Image:
    """Pictures 1×3×H×W in [0, 1] of one size beside each other under their titles, row by row.

    Each row comes with its name; blocks of rows stand side by side.
    """
    step, wide = SIDE + GAP, len(TITLES) * (SIDE + GAP) + GAP
    high = 4 * GAP + max(len(rows) for rows in blocks) * (step + LINE)
    whole = Image.new("RGB", (len(blocks) * wide, high), "white")
    draw = ImageDraw.Draw(whole)
    for block, rows in enumerate(blocks):
        for column, title in enumerate(TITLES):
            at = block * wide + GAP + column * step
            bold = font("LiberationSans-Bold", 18)
            draw.text((at + SIDE // 2, 2 * GAP), title, fill="black", font=bold, anchor="mm")
            for row, (name, pictures) in enumerate(rows):
                top = 4 * GAP + row * (step + LINE)
                if column == 0:
                    plain = font("LiberationSans-Regular", 15)
                    draw.text((at, top), name, fill="black", font=plain, anchor="lt")
                pixels = to_levels(pictures[column][0]).permute(1, 2, 0).numpy()
                whole.paste(Image.fromarray(pixels), (at, top + LINE))
    return whole


def main() -> int:
    folder = Path("demo")
    texts = {name: draw(name, folder) for name in PAGES}
    tasks = [task for task in SCENES if task in SHIPPED]
    for task in tasks:
        photograph(task, folder)

    for task in (TEXT, *tasks):
        command = ["restore", str(folder / task / "observed"), "--task", task]
        command += ["--output", str(folder / task / "restored"), "--overwrite"]
        print("physgan", *command, flush=True)
        if status := physgan(command):
            return status

    print(f"{'':15} {'PSNR before':>12} {'after':>9}   text read wrongly")
    rows = []
    for task, name in [*((TEXT, name) for name in PAGES), *((task, task) for task in tasks)]:
        place = folder / task
        y, x_hat, x = (load(place / p / f"{name}.png") for p in ("observed", "restored", "clear"))
        y = enlarged(y, x.shape[-1] // y.shape[-1])
        before, after = (scores(image, x, protocol("rgb"))["psnr"] for image in (y, x_hat))
        wrong = reading(place, name, texts[name]) if task == TEXT else ""
        print(f"{name:15} {before:9.2f} dB {after:6.2f} dB   {wrong}".rstrip(), flush=True)
        title = f"{task}   {before:.1f} dB before, {after:.1f} dB after"
        rows.append((title, (y, x_hat, x)))
    half = (len(rows) + 1) // 2
    sheet([rows[:half], rows[half:]]).save(folder / "comparison.png")
    print(f"{folder / 'comparison.png'}: {', '.join(TITLES)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
