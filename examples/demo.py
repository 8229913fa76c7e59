"""Blurred pages made readable with the shipped weights: what physgan does, in a minute.

    make demo

Pages that no training saw are drawn, then blurred and made noisy by a known physics, and kept as
files; `physgan restore` makes what it can of them. Printed are PSNR and, where tesseract is
installed, how much of the text it reads wrongly, before and after. Everything stays in `demo/`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

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

TASK = "deblur-text"
SIDE, GAP = 256, 12
TITLES = ("observed", "restored", "original")
# Blur as a share of the strongest that training met; seeds of page and blur. The last is harder
# than the weights of today can mend, and says so.
PAGES = {"note": (0.3, "demo/4", 4), "letter": (0.3, "demo/3", 3), "smear": (0.35, "demo/6", 6)}


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
    spec = json.dumps({"name": "defocus_motion", "arguments": sampler})
    recipe = load_recipe(TASK, [f"--physics.stages.blur.sampler={spec}"])
    page, text = render_known_page(SIDE, Random(page_seed))
    generator = Generator().manual_seed(blur_seed)
    batch = synthesise(page[None], build_degradation(recipe.physics), generator=generator)
    save(folder / "clear" / f"{name}.png", batch.x[0])
    save(folder / "observed" / f"{name}.png", batch.y[0])
    return text


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


def sheet(rows: Sequence[Sequence[Tensor]]) -> Image.Image:
    """Pictures 3×H×W in [0, 1] beside each other under their titles, row by row."""
    step = SIDE + GAP
    whole = Image.new("RGB", (len(TITLES) * step + GAP, len(rows) * step + 4 * GAP), "white")
    draw = ImageDraw.Draw(whole)
    for column, title in enumerate(TITLES):
        at = GAP + column * step + SIDE // 2, 2 * GAP
        draw.text(at, title, fill="black", font=font("LiberationSans-Bold", 18), anchor="mm")
        for row, pictures in enumerate(rows):
            pixels = to_levels(pictures[column]).permute(1, 2, 0).numpy()
            whole.paste(Image.fromarray(pixels), (GAP + column * step, 4 * GAP + row * step))
    return whole


def main() -> int:
    folder = Path("demo")
    texts = {name: draw(name, folder) for name in PAGES}

    command = ["restore", str(folder / "observed"), "--task", TASK]
    command += ["--output", str(folder / "restored"), "--overwrite"]
    print("physgan", *command, flush=True)
    if status := physgan(command):
        return status

    print(f"{'page':8} {'PSNR before':>12} {'after':>9}   text read wrongly")
    rows = []
    for name, text in texts.items():
        y, x_hat, x = (load(folder / p / f"{name}.png") for p in ("observed", "restored", "clear"))
        before, after = (scores(image, x, protocol("rgb"))["psnr"] for image in (y, x_hat))
        wrong = reading(folder, name, text)
        print(f"{name:8} {before:9.2f} dB {after:6.2f} dB   {wrong}", flush=True)
        rows.append((y[0], x_hat[0], x[0]))
    sheet(rows).save(folder / "comparison.png")
    print(f"{folder / 'comparison.png'}: {', '.join(TITLES)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
