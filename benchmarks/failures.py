"""Where shipped weights fail: cases drawn over free pictures, the worst of them to look at.

The physics of a task's recipe degrades windows of photographs that come with scikit-image, or pages
drawn anew; what gains least is shown as it was observed, restored, and as it was. Nobody picks: the
seed is 7. `python -m benchmarks.cards` writes the sheets to docs/pictures.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import skimage.data
import torch
from PIL import Image
from torch import Generator, Tensor

from physgan.data.synthesis import synthesise
from physgan.data.text.known import render_known_page
from physgan.files import replacing
from physgan.images.read import read_8bit
from physgan.metrics.protocol import protocol, scores
from physgan.metrics.quantise import to_levels
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe
from physgan.restore.page import enlarged
from physgan.restore.panels import below, beside, line_of_text, to_image
from physgan.restore.restorer import Restorer

SEED = 7
SIDE = 224
"""of the windows, in pixels"""
SHOWN = 3
INVISIBLE = 40.0
"""dB from which on nobody sees a difference: more counts as that"""
PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
)
FACES = ("astronaut.png",)
FACE = (0, 112)
"""top and left of the window that holds the one face of these photographs"""
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


@dataclass(frozen=True)
class Case:
    """A window of a picture, 1×C×H×W: degraded, restored, as it was; and the gain in dB."""

    picture: str
    y: Tensor
    x_hat: Tensor
    x: Tensor
    gain: float


def cases(restorer: Restorer, task: str, number: int) -> list[Case]:
    """Drawn cases of a task, the worst first."""
    degradation = build_degradation(load_recipe(task).physics)
    how = protocol("rgb")
    found = []
    for index, (name, picture) in enumerate(_pictures(task, number)):
        generator = Generator().manual_seed(SEED + index)
        batch = synthesise(picture[None], degradation, generator=generator)
        y = to_levels(batch.y).float() / 255
        x_hat = restorer(y)
        before = y if restorer.fn.scale == 1 else enlarged(y, restorer.fn.scale)
        after, observed = (
            min(INVISIBLE, scores(image, batch.x, how)["psnr"]) for image in (x_hat, before)
        )
        found.append(Case(name, before, x_hat, batch.x, after - observed))
    return sorted(found, key=lambda case: case.gain)


def of_each(found: Sequence[Case]) -> list[Case]:
    """The first case of each picture."""
    first: dict[str, Case] = {}
    for case in found:
        first.setdefault(case.picture, case)
    return list(first.values())


def sheet(worst: Sequence[Case]) -> Image.Image:
    """Cases row by row: observed, restored, as it was, and the gain."""
    titles = [line_of_text(t, size=14, width=SIDE) for t in ("observed", "restored", "as it was")]
    rows = [beside(titles)]
    for case in worst:
        rows.append(beside([to_image(image[0]) for image in (case.y, case.x_hat, case.x)]))
        rows.append(line_of_text(f"{case.gain:+.1f} dB", size=14))
    return below(rows)


def _pictures(task: str, number: int) -> Iterator[tuple[str, Tensor]]:
    """Clear pictures, 3×SIDE×SIDE of 8 bits, with the names of what they are of."""
    if task == "deblur-text":
        for index in range(number):
            page, _ = render_known_page(SIDE, Random(f"failures/{index}"))
            yield f"page {index}", page.expand(3, -1, -1)
        return
    folder = Path(skimage.data.__file__).parent
    names = FACES if task == "deblur-face" else PHOTOGRAPHS
    whole = {name: read_8bit(folder / name) for name in names}
    place = Generator().manual_seed(SEED)
    for index in range(number):
        name = names[index % len(names)]
        picture = whole[name]
        top, left = FACE
        if task != "deblur-face":
            top, left = (
                int(torch.randint(length - SIDE + 1, (), generator=place))
                for length in picture.shape[1:]
            )
        yield name, picture[:, top : top + SIDE, left : left + SIDE]


def describe(task: str, *, number: int) -> str:
    """Writes the sheet of a task's failures; the section of its card that shows it."""
    found = cases(Restorer.from_pretrained(task), task, number)
    name = f"failures-{task}.jpg"
    with replacing(PICTURES / name) as unnamed:
        sheet(of_each(found)[:SHOWN]).save(unnamed, "JPEG", quality=85)
    gains = [case.gain for case in found]
    pictures = len({case.picture for case in found})
    lost = sum(gain < 0 for gain in gains)
    told = (
        f"Of {len(gains)} cases that its physics draws over {pictures} free "
        f"{'pictures' if pictures > 1 else 'picture'}, the median gains "
        f"{statistics.median(gains):+.1f} dB, {lost} {'loses' if lost == 1 else 'lose'}. The worst "
        f"of each, up to {SHOWN} (`python -m benchmarks.cards --task {task}`):"
    )
    return f"## Where it fails\n\n{told}\n\n![Failures of {task}](../pictures/{name})\n"
