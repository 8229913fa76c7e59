"""Pictures for people to look at: tensors and lines of text as images, side by side."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from physgan.data.text.fonts import font
from physgan.metrics.quantise import to_levels

GAP = 8
WHITE = (255, 255, 255)
_BLACK = (0, 0, 0)
# Latin, Greek and Cyrillic; then signs of mathematics and much else.
_FONTS = ("LiberationSans-Regular", "STIXGeneral-Regular", "LiberationMono-Regular")
_NO_LETTER = "\ufffe"  # never a character, so what a font shows for it is what it lacks
# Chinese, Japanese and Korean are not packed: what systems have, by the names that Pillow finds.
_EAST_ASIAN = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "DroidSansFallbackFull.ttf"),
    *("wqy-microhei.ttc", "ipag.ttf", "Arial Unicode.ttf", "AppleSDGothicNeo.ttc"),
    *("YuGothM.ttc", "msgothic.ttc", "msyh.ttc", "malgun.ttf"),
)


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
    r"""A line of text, black on white, in the packed fonts.

    Args:
        text: of characters that neither these fonts nor, of East Asian ones, the system's hold,
            the code stands in their place, as \u5199.
        size: of the letters in pixels.
        width: of the image; what is longer loses letters in its middle. None: as wide as it is.
    """
    # Some systems keep é in names as e and an accent.
    letters = [_shown(letter) for letter in unicodedata.normalize("NFC", text)]
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
        draw.text((left, size * 5 // 4), run, fill=_BLACK, font=_font(name, size), anchor="ls")
        left += _font(name, size).getlength(run)
    return image


def _shortened(letters: Sequence[str], kept: int) -> list[str]:
    """The first and the last letters; ends of names tell more than their middles."""
    first = kept - kept // 2
    return [*letters[:first], "…", *letters[len(letters) - kept // 2 :]]


def _width(letters: Sequence[str], size: int) -> int:
    return int(sum(_font(name, size).getlength(run) for name, run in _runs(letters))) + 1


def _runs(letters: Sequence[str]) -> list[tuple[str, str]]:
    """Letters that follow each other in one font, with its name."""
    placed = [(_font_of(letter), letter) for letter in letters]
    return [
        (name, "".join(letter for _, letter in run))
        for name, run in groupby(placed, key=lambda each: each[0])
    ]


@lru_cache(maxsize=4096)
def _shown(letter: str) -> str:
    """A letter that can be drawn, or its code."""
    if unicodedata.category(letter) == "Zs":
        return " "
    drawn = letter.isprintable() and _holds(_font_of(letter), letter)
    return letter if drawn else letter.encode("unicode_escape").decode("ascii")


@lru_cache(maxsize=4096)
def _font_of(letters: str) -> str:
    """The font that holds a letter; the first for what none does, and for a code."""
    if len(letters) > 1:
        return _FONTS[0]
    found = (name for name in _FONTS if _holds(name, letters))
    east_asian = unicodedata.east_asian_width(letters) in "WF"
    return next(found, (_system_font() if east_asian else None) or _FONTS[0])


@lru_cache(maxsize=1)
def _system_font() -> str | None:
    """The file of a font of the system that holds East Asian letters, where there is one."""
    for name in _EAST_ASIAN:
        try:
            return str(ImageFont.truetype(name).path)
        except OSError:
            continue
    return None


def _font(name: str, size: float) -> ImageFont.FreeTypeFont:
    return font(name, size) if name in _FONTS else _opened(name, size)


@lru_cache(maxsize=8)
def _opened(path: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _holds(name: str, letter: str) -> bool:
    face = _font(name, 24)
    there, lacking = (face.getmask(each) for each in (letter, _NO_LETTER))
    return letter.isspace() or (there.size, bytes(there)) != (lacking.size, bytes(lacking))
