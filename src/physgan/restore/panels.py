"""Pictures for people to look at: tensors and lines of text as images, side by side."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from PIL import Image, ImageDraw
from torch import Tensor

from physgan.data.text.fonts import font
from physgan.metrics.quantise import to_levels

GAP = 8
WHITE = (255, 255, 255)
_BLACK = (0, 0, 0)
# Latin, Greek and Cyrillic; then signs of mathematics and much else.
_FONTS = ("LiberationSans-Regular", "STIXGeneral-Regular", "LiberationMono-Regular")
_NO_LETTER = "\ufffe"  # never a character, so what a font shows for it is what it lacks
_INSTEAD = "□"


def to_image(x: Tensor) -> Image.Image:
    """An image C×H×W in [0, 1] in 8 bits: grey of 1 channel, else its first three.

    Of two channels the second stands for the third, too.
    """
    levels = to_levels(x).cpu()
    if len(levels) == 1:
        return Image.fromarray(levels[0].numpy()).convert("RGB")
    channels = [min(channel, len(levels) - 1) for channel in range(3)]
    return Image.fromarray(levels[channels].permute(1, 2, 0).contiguous().numpy())


def beside(images: Sequence[Image.Image]) -> Image.Image:
    """Images of one height side by side, white between them."""
    width = sum(image.width for image in images) + GAP * (len(images) - 1)
    whole = Image.new("RGB", (width, images[0].height), WHITE)
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + GAP
    return whole


def below(images: Sequence[Image.Image]) -> Image.Image:
    """Images one below the other, white between and beside them."""
    height = sum(image.height for image in images) + GAP * (len(images) - 1)
    whole = Image.new("RGB", (max(image.width for image in images), height), WHITE)
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height + GAP
    return whole


def line_of_text(text: str, *, size: int = 14, width: int | None = None) -> Image.Image:
    """A line of text, black on white, in the packed fonts.

    Args:
        text: characters that none of the fonts holds become □.
        size: of the letters in pixels.
        width: of the image; what is longer loses letters in its middle. None: as wide as it is.
    """
    # Some systems keep é in names as e and an accent.
    printable = "".join(letter if letter.isprintable() else _INSTEAD for letter in text)
    letters = unicodedata.normalize("NFC", printable)
    if width is not None and _width(letters, size) > width:
        low, high = 0, len(letters)
        while low < high:  # the most letters that fit
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high) if _width(_shortened(letters, middle), size) <= width
                else (low, middle - 1)
            )  # fmt: skip
        letters = _shortened(letters, low)
    image = Image.new("RGB", (width or max(1, _width(letters, size)), size * 3 // 2), WHITE)
    draw, left = ImageDraw.Draw(image), 0.0
    for name, run in _runs(letters):
        draw.text((left, size * 5 // 4), run, fill=_BLACK, font=font(name, size), anchor="ls")
        left += font(name, size).getlength(run)
    return image


def _shortened(letters: str, kept: int) -> str:
    """The first and the last letters; ends of names tell more than their middles."""
    first = kept - kept // 2
    return f"{letters[:first]}…{letters[len(letters) - kept // 2 :]}"


def _width(letters: str, size: int) -> int:
    return int(sum(font(name, size).getlength(run) for name, run in _runs(letters))) + 1


def _runs(letters: str) -> list[tuple[str, str]]:
    """Letters that follow each other in one font, with its name."""
    placed = [_placed(letter) for letter in letters]
    return [
        (name, "".join(letter for _, letter in run))
        for name, run in groupby(placed, key=lambda each: each[0])
    ]


@lru_cache(maxsize=4096)
def _placed(letter: str) -> tuple[str, str]:
    """The font that holds a letter, and the letter, or what stands for it."""
    for wanted in (letter, _INSTEAD):
        for name in _FONTS:
            if _holds(name, wanted):
                return name, wanted
    return _FONTS[0], "?"


def _holds(name: str, letter: str) -> bool:
    face = font(name, 24)
    there, lacking = (face.getmask(each) for each in (letter, _NO_LETTER))
    return letter.isspace() or (there.size, bytes(there)) != (lacking.size, bytes(lacking))
