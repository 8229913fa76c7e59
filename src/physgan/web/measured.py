"""What the header of weights says of their measuring, in words for who knows none of its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physgan.weights.file import WeightsInfo

SETS = {
    "face_val (CelebA)": "faces shaken by us (CelebA)",
    "natural_val (Kodak)": "photographs shaken by us (Kodak)",
    "levin09": "pictures shaken by a camera (Levin et al.)",
    "text_pairs (Hradiš et al., half of the test set)": "blurred documents (Hradiš et al.)",
    "drawn pages, blur": "pages that we drew, with a blur of strength",
    "haze_val_pairs (NYU, Make3D)": "hazy scenes (NYU, Make3D)",
    "rain100L": "pictures in light rain (Rain100L)",
    "rain100H": "pictures in heavy rain (Rain100H)",
    "Set14": "small pictures (Set14)",
}
"""How the name of a set begins in a header -> what is in it"""
_HELD_OUT = "held-out crops"
"""of a training, which nobody else can measure on"""


def measured(info: WeightsInfo) -> list[str]:
    """What weights were measured at, a line for each set of pictures: PSNR before and after.

    Crops that training held out are told of where there is nothing else, and of several protocols
    the first.
    """
    rows = [info.measured] if isinstance(info.measured, Mapping) else info.measured
    named: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if isinstance(row, Mapping) and isinstance(row.get("psnr"), int | float):
            named.setdefault(str(row.get("set", "")), row)
    told = {name: row for name, row in named.items() if name != _HELD_OUT} or named
    return [_line(name, row, info.scale) for name, row in told.items()]


def shortcomings(info: WeightsInfo) -> str:
    """In which respects weights fall short of what is asked, as a sentence; empty where in none."""
    told: list[str] = []
    grids: list[str] = []
    for each in filter(None, info.experimental.split("; ")):
        name, _, missed = each.rpartition(": ")
        if missed.startswith("checkerboard"):
            grids.append(_words(name))
            continue
        if missed.startswith("gain "):
            gain, _, asked = missed.removeprefix("gain ").partition(" dB, below ")
            words = f"{gain} dB are gained, where {asked} are asked, on {_words(name)}"
        else:
            words = f"{missed} on {_words(name)}"
        told.append(words)
    if grids:
        told.insert(0, f"a faint grid is left in what it restores of {', '.join(grids)}")
    return f"Experimental, for what it misses: {'; '.join(told)}." if told else ""


def _line(name: str, row: Mapping[str, Any], scale: int) -> str:
    after = f"{row['psnr']:.1f} dB"
    if "worst_psnr" in row:  # nothing was wrong with them, so that there is no PSNR before
        return f"clear pictures, put through as well: {after}, the worst {row['worst_psnr']:.1f} dB"
    count = f"{row['n']:g} " if isinstance(row.get("n"), int | float) else ""
    before = ""
    if isinstance(row.get("input_psnr"), int | float):
        # What is as large as the clear picture before it is restored has been enlarged.
        before = f"{row['input_psnr']:.1f} {'dB (bicubic) ' if scale > 1 else ''}→ "
    numbers = f"{before}{after}".replace(" ", "\N{NO-BREAK SPACE}")
    if str(row.get("protocol", "")).endswith("-shift"):
        numbers += ", by the best shift"
    return f"{count}{_words(name)}: {numbers}" if name else numbers


def _words(name: str) -> str:
    """The name of a set, and how it was made worse, for people."""
    for beginning, words in SETS.items():
        if name.startswith(beginning):
            name = words + name.removeprefix(beginning)
    return name.replace("noise 0%", "no noise")
