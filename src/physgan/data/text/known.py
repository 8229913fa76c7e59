"""Pages of which every word is known, to measure reading by: running text in one column."""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from physgan.data.text import words
from physgan.data.text.fonts import draw_family, font

# Letters and marks that readers trained on English know; others would count as their errors.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?()[]-%")


def render_known_page(side: int, rng: Random) -> tuple[Tensor, str]:
    """Draws a page of English, black on white and upright, in one of the packed typefaces.

    Args:
        side: of the page, in pixels; at least 160, so that a line holds a few words.
        rng: decides everything.

    Returns:
        uint8, 3×side×side, and the text on it, a line of it for each of the page's.
    """
    scale = 2  # drawn larger and reduced, which smooths as most renderers of documents do
    family = draw_family(rng)
    size = rng.uniform(11.0, 18.0) * scale
    face = font(family.regular, size)
    leading = size * rng.uniform(1.2, 1.45)
    margin = size * 0.8
    canvas = Image.new("L", (side * scale, side * scale), 255)
    draw = ImageDraw.Draw(canvas)
    lines: list[str] = []
    waiting: list[str] = []
    y = margin + size
    while y < side * scale - margin:
        line = ""
        while True:
            if not waiting:
                waiting = [word for word in words.sentence("en", rng) if _PLAIN.issuperset(word)]
                continue
            longer = f"{line} {waiting[0]}".strip()
            if line and face.getlength(longer) > side * scale - 2 * margin:
                break
            line = longer
            waiting.pop(0)
        draw.text((margin, y), line, 0, font=face, anchor="ls")
        lines.append(line)
        y += leading
    grey = torch.from_numpy(np.array(canvas.reduce(scale)))
    return grey.expand(3, side, side).contiguous(), "\n".join(lines)
