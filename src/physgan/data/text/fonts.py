"""The packed typefaces: which there are, what they hold, and how to open them.

Origin, licence and hash of every file stand in NOTICE. Seeded rendering uses these fonts alone, so
that a page is the same on every machine.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from random import Random
from typing import NamedTuple

from PIL import ImageFont


class Family(NamedTuple):
    """One typeface in the styles that it has."""

    name: str
    regular: str
    bold: str
    italic: str
    scripts: frozenset[str]
    weight: float
    """how often body text is set in it, relative to the others"""


MONO = ("LiberationMono-Regular", "cmuntt")
MATHS = "STIXGeneral-Italic"
MATHS_UPRIGHT = "STIXGeneral-Regular"

_ALL = frozenset({"latin", "cyrillic", "greek"})


def _liberation(face: str, weight: float, *, italic: str) -> Family:
    name = f"Liberation{face}"
    return Family(name, f"{name}-Regular", f"{name}-Bold", italic, _ALL, weight)


FAMILIES: tuple[Family, ...] = (
    Family("cmu", "cmunrm", "cmunbx", "cmunti", _ALL, 4.0),
    _liberation("Serif", 5.0, italic="LiberationSerif-Italic"),
    _liberation("Sans", 2.5, italic="LiberationSans-Italic"),
    _liberation("Mono", 0.6, italic="cmuntt"),
    Family("stix", MATHS_UPRIGHT, "STIXGeneral-Bold", MATHS, _ALL, 0.6),
)


def draw_family(rng: Random) -> Family:
    """A typeface for body text."""
    return rng.choices(FAMILIES, [family.weight for family in FAMILIES])[0]


@lru_cache(maxsize=512)
def font(name: str, size: float) -> ImageFont.FreeTypeFont:
    """A packed font at a size in pixels."""
    folder = resources.files("physgan.data.text") / "fonts"
    for suffix in (".ttf", ".otf"):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    raise FileNotFoundError(f"no packed font '{name}'")
