"""The packed typefaces: each accounted for, each holding what is set in it."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from random import Random

import pytest

from physgan.data.text import fonts, words

ROOT = Path(__file__).parents[3]
FOLDER = Path(str(resources.files("physgan.data.text"))) / "fonts"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".ttf", ".otf"))


def test_every_font_stands_in_notice_with_its_hash() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for path in FILES:
        line = next((s for s in notice.splitlines() if path.name in s), "")
        assert hashlib.sha256(path.read_bytes()).hexdigest() in line, path.name


def test_the_licence_of_the_fonts_lies_beside_them() -> None:
    text = (FOLDER / "OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in text
    for start in {path.name[:4] for path in FILES}:
        assert start in text


def test_every_packed_font_is_used() -> None:
    used = {name for family in fonts.FAMILIES for name in family[1:4]}
    used |= {*fonts.MONO, fonts.MATHS, fonts.MATHS_UPRIGHT}
    assert used == {path.stem for path in FILES}


def _holds(name: str, letter: str) -> bool:
    """Whether a font has a glyph of its own for a letter, rather than the one for missing ones."""
    face = fonts.font(name, 40.0)
    return bytes(face.getmask(letter)) != bytes(face.getmask("\uffff"))


@pytest.mark.parametrize("family", fonts.FAMILIES, ids=lambda family: family.name)
def test_families_hold_every_letter_that_is_set_in_them(family: fonts.Family) -> None:
    letters = {letter for language in words.WORDS for word in words.WORDS[language]
               for letter in word + word.upper()
               if words.script_of(language) in family.scripts}  # fmt: skip
    letters |= set("0123456789.,;:?!()[]%−-•–*")
    for name in family[1:4]:
        missing = sorted(letter for letter in letters if not _holds(name, letter))
        assert not missing, f"{name}: {''.join(missing)}"


def test_maths_has_its_letters() -> None:
    for letter in "αβγδελμνπρστφχψωΓΔΘΛΦΨΩ∑∫∏√∂∇=+−·≤≈∈→()|<∞′*":
        assert _holds(fonts.MATHS_UPRIGHT, letter), letter
    for letter in "xyzabcABCαβγδεφψΓΔΘΛΦΨΩ":
        assert _holds(fonts.MATHS, letter), letter


def test_families_come_as_often_as_they_say() -> None:
    rng = Random(0)
    drawn = [fonts.draw_family(rng).name for _ in range(4000)]
    whole = sum(family.weight for family in fonts.FAMILIES)
    for family in fonts.FAMILIES:
        assert drawn.count(family.name) / 4000 == pytest.approx(family.weight / whole, abs=0.03)


def test_a_font_that_is_not_packed() -> None:
    with pytest.raises(FileNotFoundError, match="no packed font 'Arial'"):
        fonts.font("Arial", 12.0)
