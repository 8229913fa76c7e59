"""Real photographs in the cards: what was seen on those that may not be copied, and free ones.

Nobody degraded these, and nobody knows how they would look clear. Of the photographs that come with
scikit-image, some were blurred or small when they were taken; they are shown as they are and
restored. `python -m benchmarks.cards` writes the sheets to docs/pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import skimage.data
from PIL import Image
from torch import Tensor

from benchmarks.failures import PICTURES
from physgan.files import replacing
from physgan.images.read import read_8bit
from physgan.restore.page import enlarged
from physgan.restore.panels import below, beside, line_of_text, to_image
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED

SIDE = 96
"""of the windows, in pixels"""


@dataclass(frozen=True)
class Free:
    """A free photograph, or a square window of it."""

    picture: str
    corner: tuple[int, int] | None = None
    """top and left of the window; None shows all"""

    def read(self) -> Tensor:
        """1×3×H×W in [0, 1]."""
        whole = read_8bit(Path(skimage.data.__file__).parent / self.picture).float()[None] / 255
        if self.corner is None:
            return whole
        top, left = self.corner
        return whole[..., top : top + SIDE, left : left + SIDE]


SHOWN = {
    "deblur-natural": (Free("clock_motion.png"),),
    "deblur-text": (Free("text.png"),),
    "sr4": (Free("rocket.jpg", (150, 272)), Free("chelsea.png", (80, 125))),
}
"""what of these is blurred or small; none is hazy, rainy, or a blurred face"""


class Seen(NamedTuple):
    """What was seen on real photographs."""

    weights: str
    """the first twelve digits of their SHA-256"""
    what: str


SEEN = {
    "deblur-face": Seen(
        "c5e48607de3c",
        "Blurred photographs of faces that nobody degraded were not available: none was looked at.",
    ),
    "deblur-natural": Seen(
        "74474c616034",
        "Of eight blurred photographs from papers of the field (2026-11-30; they may not be copied "
        "here) a fountain, a boat and a cast lid come back clearly sharper, a street at night a "
        "little; one that is shaken by more than kernels may be long (31 px) comes back in "
        "stripes. Three are pages, which stay illegible: `deblur-text` fares no better. The clock, "
        "a free photograph, is shaken by some 30 px, and alone on an empty wall: it comes back "
        "somewhat sharper, with rings around it and grain on the wall.",
    ),
    "deblur-text": Seen(
        "b7aa52289ed9",
        "A note in pencil, a free photograph a little out of focus, comes back sharper, and the "
        "paper smoother than it was. Of three pages from papers of the field, shaken by 20 px and "
        "more (2026-11-30; they may not be copied here), none comes back legible: **letters "
        "are made up**.",
    ),
    "dehaze": Seen(
        "620f9120dbb4",
        "Of nine hazy photographs from papers of the field (2026-11-29; they may not be copied "
        "here) contrast and colour come back in all; skies are deeper than they may have been, a "
        "canyon turns purple, and fog over a field blue.",
    ),
    "derain": Seen(
        "91d46458b340",
        "Of fifteen rainy photographs from papers of the field (2026-11-29; they may not be copied "
        "here) streaks go in nearly all, few of them at night and against the light; of falling "
        "snow the fine part goes, and flakes, splashes and the veil of distant rain stay.",
    ),
    "sr4": Seen(
        "8d7dbb4fca1c",
        "Windows that we picked of free photographs, 96 px to a side, bicubically enlarged and by "
        "these weights: lines and fur look sharper, and what JPEG left on the rocket in part "
        "as creases.",
    ),
}


def sheet(restorer: Restorer, photographs: tuple[Free, ...]) -> Image.Image:
    """Photographs row by row, before and after."""
    scale, rows = restorer.fn.scale, []
    words = ("as it was taken" if scale == 1 else "bicubically enlarged", "restored")
    for photograph in photographs:
        y = photograph.read()
        before = y if scale == 1 else enlarged(y, scale)
        panels = [to_image(image[0]) for image in (before, restorer(y))]
        titles = [line_of_text(word, size=14, width=panels[0].width) for word in words]
        rows += [beside(titles), beside(panels)]
    return below(rows)


def seen(task: str) -> str:
    """What was seen, and by which weights, if not by those that ship."""
    weights, what = SEEN[task]
    ours = SHIPPED[task].startswith(weights)
    return what if ours else f"By earlier weights ({weights}), not those that ship: {what}"


def describe(task: str) -> str:
    """Writes the sheet of a task, where there is one; the section of its card."""
    told = f"## On real photographs\n\n{seen(task)}\n"
    if task not in SHOWN:
        return told
    name = f"real-{task}.jpg"
    with replacing(PICTURES / name) as unnamed:
        sheet(Restorer.from_pretrained(task), SHOWN[task]).save(unnamed, "JPEG", quality=90)
    return f"{told}\n![Real photographs, before and after {task}](../pictures/{name})\n"
