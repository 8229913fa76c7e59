"""Pages drawn from a seed: what a restorer of documents learns from.

A page holds what pages of papers, books and slides hold: justified and ragged text in one or two
columns, headings, formulas, tables, listings, plots, pictures, boxes, rules, light on dark. What is
rendered is a window of such a page, which cuts through all of it as a crop of a scan would.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from physgan.data.text import words
from physgan.data.text.fonts import MATHS, MATHS_UPRIGHT, MONO, Family, draw_family, font

Colour: TypeAlias = tuple[int, int, int]


class Style(NamedTuple):
    """How the running text of one page looks; lengths in pixels of the canvas."""

    family: Family
    size: float
    leading: float
    ink: Colour
    paper: Colour
    language: str
    justified: bool
    room: int
    """side of the canvas; what lies outside is laid out, but not drawn"""


class Column(NamedTuple):
    """Where blocks are set; y is where the next one begins."""

    left: float
    width: float


def render_page(side: int, rng: Random) -> Tensor:
    """Draws one window of a page.

    Args:
        side: of the window, in pixels.
        rng: decides everything.

    Returns:
        uint8, 3×side×side.
    """
    # Most renderers of documents smooth without hinting, which drawing larger and reducing gives.
    scale = rng.choices((1, 2, 3), (2, 5, 3))[0]
    room = math.ceil(side * 1.12) * scale  # what turning may bring in from outside
    style = _style(rng, scale, room)
    canvas = Image.new("RGB", (room, room), style.paper)
    draw = ImageDraw.Draw(canvas)
    for column in _columns(rng, room, style):
        y = -rng.uniform(0, 6) * style.leading
        while y < room:
            block = rng.choices(_BLOCKS, _SHARES)[0]
            y = block(canvas, draw, column, y, style, rng)
            y += style.leading * rng.choice((0.0, 0.2, 0.5, 1.0))
    if rng.random() < 0.15:
        _stray_rule(draw, room, style, rng)
    picture = _seen(canvas, side, scale, rng)
    if rng.random() < 0.3:
        picture = _toned(picture, rng)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def _style(rng: Random, scale: int, room: int) -> Style:
    family = draw_family(rng)
    size = scale * min(24.0, max(8.0, rng.lognormvariate(math.log(14.0), 0.28)))
    paper, ink = (255, 255, 255), (0, 0, 0)
    kind = rng.random()
    if kind < 0.08:  # slides and posters, light on dark among them
        paper, ink = _colour(rng, 0, 110), _colour(rng, 190, 255)
    elif kind < 0.16:
        paper, ink = _colour(rng, 200, 255), _colour(rng, 0, 90)
    elif kind < 0.3:
        grey = rng.randint(0, 90)
        ink = (grey, grey, grey)
    return Style(
        family,
        size,
        size * rng.uniform(1.05, 1.5),
        ink,
        paper,
        words.draw_language(rng, family.scripts),
        rng.random() < 0.7,
        room,
    )


def _columns(rng: Random, room: int, style: Style) -> list[Column]:
    if rng.random() < 0.3:  # the gap between two columns, or a margin, is in sight
        width = style.size * rng.uniform(12, 26)
        gap = style.size * rng.uniform(1.2, 3)
        middle = rng.uniform(0, room)
        return [Column(middle - gap / 2 - width, width), Column(middle + gap / 2, width)]
    width = style.size * rng.uniform(22, 48)
    left = rng.uniform(-width * 0.7, room * 0.3)
    return [Column(left, width)]


# ---------------------------------------------------------------- blocks
# Each draws itself from y downwards and returns where it ends.


def _paragraph(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    tokens: list[str] = []
    for _ in range(rng.randint(1, 5)):
        tokens += words.sentence(style.language, rng)
    indent = style.size * rng.choice((0, 0, 1.5, 2))
    return _set(draw, tokens, at, y, style, rng, indent=indent)


def _heading(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    size = style.size * rng.uniform(1.0, 1.9)
    title = [words.word(style.language, rng).capitalize() for _ in range(rng.randint(1, 5))]
    if rng.random() < 0.6:
        title.insert(0, ".".join(str(rng.randint(1, 9)) for _ in range(rng.randint(1, 3))))
    text = " ".join(title)
    if rng.random() < 0.2:
        text = text.upper()
    face = font(style.family.bold if rng.random() < 0.8 else style.family.italic, size)
    left = at.left
    if rng.random() < 0.25:
        left += (at.width - face.getlength(text)) / 2
    y += size * 0.5
    draw.text((left, y), text, style.ink, font=face)
    return y + size * 1.6


def _formula(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    size = style.size * rng.uniform(1.0, 1.25)
    x = at.left + at.width * rng.uniform(0.02, 0.3)
    base = y + size * 1.6
    end = at.left + at.width * rng.uniform(0.5, 0.95)
    x = _expression(draw, x, base, end, size, style.ink, rng, depth=0)
    if rng.random() < 0.5:
        label = f"({rng.randint(1, 60)})"
        face = font(MATHS_UPRIGHT, size)
        draw.text((at.left + at.width - face.getlength(label), base), label, style.ink, face, "ls")
    return base + size * 1.6


def _expression(
    draw: ImageDraw.ImageDraw,
    x: float,
    base: float,
    end: float,
    size: float,
    ink: Colour,
    rng: Random,
    *,
    depth: int,
) -> float:
    """Terms joined by operators along a base line, until `end`; returns where it stops."""
    upright, italic = font(MATHS_UPRIGHT, size), font(MATHS, size)
    while x < end:
        kind = rng.random()
        if kind < 0.12 and depth == 0:
            symbol = rng.choice("∑∫∏√∂∇")
            big = font(MATHS_UPRIGHT, size * 1.5)
            draw.text((x, base + size * 0.25), symbol, ink, big, "ls")
            small = font(MATHS, size * 0.65)
            if symbol in "∑∏∫":
                below, above = rng.choice(("i=1", "k=0", "j", "Ω")), rng.choice(("n", "N", "∞"))
                draw.text((x, base + size * 0.9), below, ink, small, "ls")
                draw.text((x, base - size * 1.1), above, ink, small, "ls")
            x += big.getlength(symbol) + size * 0.15
        elif kind < 0.24 and depth < 2:
            width = size * rng.uniform(1.0, 3.5)
            middle = base - size * 0.28
            inner = size * 0.85
            over = _expression(
                draw, x, middle - inner * 0.3, x + width, inner, ink, rng, depth=depth + 1
            )
            under = _expression(
                draw, x, middle + inner * 0.95, x + width, inner, ink, rng, depth=depth + 1
            )
            stop = max(over, under)
            draw.line((x, middle, stop, middle), ink, max(1, round(size / 16)))
            x = stop + size * 0.2
            continue
        else:
            letter = rng.choice("xyzabcdfghknmpqrstuvwABCDEFGHKLMNPQRSTXYαβγδελμνπρστφχψωΓΔΘΛΦΨΩ")
            face = italic if rng.random() < 0.85 else upright
            if rng.random() < 0.2:
                letter = str(rng.randint(0, 99))
                face = upright
            draw.text((x, base), letter, ink, face, "ls")
            x += face.getlength(letter)
            small = font(MATHS if rng.random() < 0.6 else MATHS_UPRIGHT, size * 0.65)
            advance = 0.0
            if rng.random() < 0.35:
                index = rng.choice(("i", "j", "k", "n", "0", "1", "2", "ij", "t+1", "max"))
                draw.text((x, base + size * 0.22), index, ink, small, "ls")
                advance = small.getlength(index)
            if rng.random() < 0.25:
                power = rng.choice(("2", "3", "n", "T", "−1", "*", "k", "′"))
                draw.text((x, base - size * 0.38), power, ink, small, "ls")
                advance = max(advance, small.getlength(power))
            x += advance
        operator = rng.choice("=+−·,≤≈∈→()| <")
        x += size * 0.18
        draw.text((x, base), operator, ink, upright, "ls")
        x += upright.getlength(operator) + size * 0.18
    return x


def _table(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    size = style.size * rng.uniform(0.8, 1.0)
    face, bold = font(style.family.regular, size), font(style.family.bold, size)
    columns, rows = rng.randint(2, 7), rng.randint(3, 9)
    cell = max(size * rng.uniform(3.5, 6.5), at.width / columns * rng.uniform(0.5, 1))
    height = size * rng.uniform(1.3, 1.9)
    grid = rng.random()
    width = max(1, round(size / rng.uniform(10, 20)))
    y += size * 0.5
    for row in range(rows + 1):
        line_y = y + row * height
        if grid < 0.4 or row in (0, rows) or (row == 1 and grid < 0.9):
            draw.line((at.left, line_y, at.left + columns * cell, line_y), style.ink, width)
        if row == rows:
            break
        if rng.random() < 0.08:
            box = (at.left, line_y, at.left + columns * cell, line_y + height)
            draw.rectangle(box, _between(style.paper, style.ink, rng.uniform(0.08, 0.25)))
        for column in range(columns):
            if row == 0 or (column == 0 and rng.random() < 0.7):
                text, used = words.word(style.language, rng).capitalize(), bold
            else:
                text, used = words.number(rng), face
            draw.text(
                (at.left + column * cell + size * 0.4, line_y + height * 0.75),
                text, style.ink, used, "ls",
            )  # fmt: skip
    if grid < 0.4:
        for column in range(columns + 1):
            x = at.left + column * cell
            draw.line((x, y, x, y + rows * height), style.ink, width)
    return y + rows * height + size


def _listing(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    size = style.size * rng.uniform(0.8, 1.0)
    face = font(rng.choice(MONO), size)
    lines, depth = [], 0
    for _ in range(rng.randint(3, 12)):
        name, other = words.word("en", rng), words.word("en", rng)
        form = rng.choice(
            (
                f"{name} = {other}({rng.randint(0, 99)})",
                f"if ({name} < {rng.randint(0, 9)}) {{",
                f"for {name[:1]} in range({rng.randint(1, 99)}):",
                f"return {name}[{rng.randint(0, 9)}] + {other};",
                f"// {name} {other}",
                "}",
                f'{name}->{other} = "{words.word("en", rng)}";',
                f"while {name} != {other}: {name} += 1",
            )
        )
        lines.append("  " * depth + form)
        depth = max(0, min(3, depth + rng.choice((-1, 0, 0, 1))))
    if rng.random() < 0.4:
        box = (at.left - size, y, at.left + at.width, y + (len(lines) + 0.8) * size * 1.25)
        draw.rectangle(box, _between(style.paper, style.ink, rng.uniform(0.04, 0.15)))
    for line in lines:
        y += size * 1.25
        draw.text((at.left, y), line, style.ink, face, "ls")
    return y + size


def _entries(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    """A list: bullets, references, or contents with leaders."""
    kind = rng.randrange(3)
    face = font(style.family.regular, style.size)
    for item in range(1, rng.randint(2, 7)):
        if kind == 2:
            y += style.leading
            title = " ".join(words.word(style.language, rng) for _ in range(rng.randint(1, 4)))
            page = str(rng.randint(1, 400))
            left, right = at.left + face.getlength(title + " "), at.left + at.width
            right -= face.getlength(page + " ")
            dots = max(0, int((right - left) / face.getlength(" .")))
            draw.text((at.left, y), title, style.ink, face, "ls")
            draw.text((left, y), " ." * dots, style.ink, face, "ls")
            draw.text((at.left + at.width, y), page, style.ink, face, "rs")
            continue
        mark = rng.choice("•–*") if kind == 0 else f"[{item}]"
        indent = style.size * (1.2 if kind == 0 else 2.2)
        draw.text((at.left, y + style.leading), mark, style.ink, face, "ls")
        tokens = words.sentence(style.language, rng)
        y = _set(draw, tokens, Column(at.left + indent, at.width - indent), y, style, rng)
    return y


def _picture(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    width = round(at.width * rng.uniform(0.3, 1.0))
    height = round(min(width * rng.uniform(0.4, 1.2), canvas.height))
    left = round(at.left + (at.width - width) * rng.random())
    picture = Image.fromarray(scene(max(width // 2, 8), max(height // 2, 8), rng))
    canvas.paste(picture.resize((width, height), Image.Resampling.BICUBIC), (left, round(y)))
    if rng.random() < 0.3:
        draw.rectangle((left, y, left + width, y + height), outline=style.ink)
    return _caption(draw, at, y + height, style, rng)


def _plot(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    width, height = at.width * rng.uniform(0.4, 0.9), at.width * rng.uniform(0.25, 0.6)
    left = at.left + (at.width - width) * rng.random()
    top, bottom = y + style.size * 0.5, y + height
    pen = max(1, round(style.size / 14))
    face = font(style.family.regular, style.size * rng.uniform(0.6, 0.9))
    if rng.random() < 0.5:
        draw.rectangle((left, top, left + width, bottom), outline=style.ink, width=pen)
    else:
        draw.line((left, top, left, bottom, left + width, bottom), style.ink, pen)
    for tick in range(rng.randint(3, 7)):
        across, up = left + tick / 6 * width, bottom - tick / 6 * height
        draw.line((left - 4 * pen, up, left, up), style.ink, pen)
        draw.text((left - 5 * pen, up), words.number(rng), style.ink, face, "rm")
        draw.text((across, bottom + style.size), words.number(rng), style.ink, face, "ms")
    for _ in range(rng.randint(1, 4)):
        colour = style.ink if rng.random() < 0.5 else _colour(rng, 0, 200)
        kind = rng.randrange(3)
        phase, turns, rise = rng.uniform(0, 6), rng.uniform(0.5, 12), rng.uniform(-0.5, 0.5)
        points = []
        for step in range(41):
            u = step / 40
            v = 0.5 + 0.3 * math.sin(phase + turns * u) + rise * (u - 0.5)
            v += rng.gauss(0, 0.02)
            points.append((left + u * width, bottom - min(max(v, 0), 1) * (height - style.size)))
        if kind == 0:
            draw.line(points, colour, pen + rng.randint(0, pen))
        elif kind == 1:
            for px, py in points[::2]:
                r = pen * 2
                draw.ellipse((px - r, py - r, px + r, py + r), outline=colour, width=pen)
        else:
            for px, py in points[::4]:
                draw.rectangle((px, py, px + width / 16, bottom), colour, style.ink)
    return _caption(draw, at, bottom + style.size * 1.3, style, rng)


def _box(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    """A filled box with words in it, as slides, forms and diagrams have."""
    height = style.leading * rng.uniform(1.2, 5)
    fill = _colour(rng, 0, 255) if rng.random() < 0.5 else (rng.randint(0, 255),) * 3
    light = sum(fill) > 3 * 128
    ink = (0, 0, 0) if light else (255, 255, 255)
    width = at.width * rng.uniform(0.3, 1)
    draw.rectangle((at.left, y, at.left + width, y + height), fill, style.ink)
    inner = style._replace(ink=ink, justified=False)
    tokens = words.sentence(style.language, rng)[: rng.randint(1, 8)]
    pad = style.size * 0.6
    _set(draw, tokens, Column(at.left + pad, width - 2 * pad), y, inner, rng)
    return y + height + style.size * 0.5


def _rule(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    y += style.size * 0.5
    width = at.width * rng.uniform(0.2, 1)
    pen = max(1, round(style.size / rng.uniform(5, 20)))
    draw.line((at.left, y, at.left + width, y), style.ink, pen)
    return y + style.size * 0.5


def _gap(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random
) -> float:
    return y + style.leading * rng.uniform(0.5, 5)


Block: TypeAlias = Callable[[Image.Image, ImageDraw.ImageDraw, Column, float, Style, Random], float]
_TABLE_OF_BLOCKS: tuple[tuple[Block, float], ...] = (
    (_paragraph, 10.0),
    (_heading, 1.6),
    (_formula, 1.5),
    (_table, 0.7),
    (_listing, 0.5),
    (_entries, 1.0),
    (_picture, 0.6),
    (_plot, 0.5),
    (_box, 0.5),
    (_rule, 0.4),
    (_gap, 0.7),
)
_BLOCKS = [block for block, _ in _TABLE_OF_BLOCKS]
_SHARES = [share for _, share in _TABLE_OF_BLOCKS]


# ---------------------------------------------------------------- parts of blocks


def _set(
    draw: ImageDraw.ImageDraw,
    tokens: list[str],
    at: Column,
    y: float,
    style: Style,
    rng: Random,
    *,
    indent: float = 0.0,
) -> float:
    """Sets words in lines of a column; returns the base line of the last."""
    faces = {
        "regular": font(style.family.regular, style.size),
        "bold": font(style.family.bold, style.size),
        "italic": font(style.family.italic, style.size),
    }
    space = faces["regular"].getlength(" ")
    line: list[tuple[str, str, float]] = []
    width, look = indent, "regular"

    def flush(*, last: bool) -> None:
        nonlocal y, line, width, indent
        y += style.leading
        gap = space
        if style.justified and not last and len(line) > 1:
            gap += (at.width - (width - space)) / (len(line) - 1)
        x = at.left + indent
        for text, face, length in line:
            if -length < x < style.room and 0 < y < style.room + style.size:
                draw.text((x, y), text, style.ink, faces[face], "ls")
            x += length + gap
        line, width, indent = [], 0.0, 0.0

    for token in tokens:
        if rng.random() < 0.03:
            look = rng.choice(("bold", "italic", "italic"))
        elif rng.random() < 0.4:
            look = "regular"
        length = faces[look].getlength(token)
        if line and width + length > at.width:
            flush(last=False)
        line.append((token, look, length))
        width += length + space
    flush(last=True)
    return y


def _caption(draw: ImageDraw.ImageDraw, at: Column, y: float, style: Style, rng: Random) -> float:
    if rng.random() < 0.3:
        return y + style.size
    tokens = [rng.choice(("Fig.", "Figure", "Table")), f"{rng.randint(1, 30)}:"]
    tokens += words.sentence(style.language, rng)
    small = style._replace(size=style.size * 0.85, leading=style.leading * 0.85)
    return _set(draw, tokens, at, y, small, rng) + style.size


def _stray_rule(draw: ImageDraw.ImageDraw, room: int, style: Style, rng: Random) -> None:
    at = rng.uniform(0, room)
    pen = max(1, round(style.size / rng.uniform(6, 20)))
    ends = (at, 0, at, room) if rng.random() < 0.6 else (0, at, room, at + rng.uniform(-40, 40))
    draw.line(ends, style.ink, pen)


def scene(width: int, height: int, rng: Random) -> NDArray[np.uint8]:
    """What stands for a photograph: shaded shapes before a rough background, H×W×3 uint8.

    Roughness falls with frequency as in photographs (amplitude 1/f), and the shapes give it the
    edges that such noise lacks.
    """
    draws = np.random.default_rng(rng.getrandbits(64))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    fall = (fy**2 + fx**2 + (1 / max(width, height)) ** 2) ** (-rng.uniform(0.45, 0.75))
    bands = []
    for _ in range(3):
        waves = draws.normal(size=fall.shape) + 1j * draws.normal(size=fall.shape)
        bands.append(np.fft.irfft2(waves * fall, s=(height, width)))
    shared = bands[0]
    colourful = 0.0 if rng.random() < 0.6 else rng.uniform(0.1, 0.7)
    image = np.stack([shared + colourful * band for band in bands], axis=-1)
    image = (image - image.mean()) / (image.std() + 1e-9)
    ys, xs = np.mgrid[0:height, 0:width]
    for _ in range(rng.randint(0, 9)):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = height * rng.uniform(0.03, 0.4), width * rng.uniform(0.03, 0.4)
        turn = rng.uniform(0, math.pi)
        u = ((xs - cx) * math.cos(turn) + (ys - cy) * math.sin(turn)) / rx
        v = ((ys - cy) * math.cos(turn) - (xs - cx) * math.sin(turn)) / ry
        inside = (u**2 + v**2 < 1) if rng.random() < 0.6 else (np.abs(u) < 1) & (np.abs(v) < 1)
        level = draws.normal(size=3) * 1.5 * colourful + draws.normal() * 1.5
        shade = level + 0.6 * rng.uniform(-1, 1) * u[..., None] + 0.3 * image
        image = np.where(inside[..., None], shade, image)
    contrast, middle = rng.uniform(25, 70), rng.uniform(80, 180)
    pixels: NDArray[np.uint8] = np.clip(middle + contrast * image, 0, 255).astype(np.uint8)
    return pixels


def _seen(canvas: Image.Image, side: int, scale: int, rng: Random) -> Image.Image:
    """The window of the canvas, turned a little and in slight perspective one time in three."""
    inner, room = side * scale, canvas.width
    margin = (room - inner) / 2
    if rng.random() < 0.67:
        left = round(rng.uniform(0, 2 * margin))
        top = round(rng.uniform(0, 2 * margin))
        window = canvas.crop((left, top, left + inner, top + inner))
    else:
        angle = math.radians(rng.gauss(0, 1.2))
        corners = []
        for cx, cy in ((0, 0), (0, 1), (1, 1), (1, 0)):
            x, y = (cx - 0.5) * inner, (cy - 0.5) * inner
            turned = (
                x * math.cos(angle) - y * math.sin(angle),
                x * math.sin(angle) + y * math.cos(angle),
            )
            corners += [
                room / 2 + turned[0] + rng.gauss(0, 0.006) * inner,
                room / 2 + turned[1] + rng.gauss(0, 0.006) * inner,
            ]
        window = canvas.transform(
            (inner, inner),
            Image.Transform.QUAD,
            tuple(corners),
            Image.Resampling.BICUBIC,
            fillcolor=canvas.getpixel((0, 0)),
        )
    return window if scale == 1 else window.reduce(scale)


def _toned(picture: Image.Image, rng: Random) -> Image.Image:
    """Paper that is not white and light that is not even."""
    side = picture.width
    ys, xs = np.mgrid[0:side, 0:side] / side - 0.5
    slope = rng.uniform(0, 0.25)
    turn = rng.uniform(0, 2 * math.pi)
    light = 1 - slope * (0.5 + xs * math.cos(turn) + ys * math.sin(turn))
    tint = np.array([1.0, 1 - rng.uniform(0, 0.04), 1 - rng.uniform(0, 0.12)])
    lift = rng.uniform(0, 40)  # ink that is not black
    pixels = np.asarray(picture, dtype=np.float64)
    pixels = (lift + pixels * (255 - lift) / 255) * light[..., None] * tint * rng.uniform(0.8, 1.0)
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def _colour(rng: Random, low: int, high: int) -> Colour:
    return (rng.randint(low, high), rng.randint(low, high), rng.randint(low, high))


def _between(a: Colour, b: Colour, share: float) -> Colour:
    r, g, b_ = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return (r, g, b_)
