"""What is told of the numbers of weights, in words, from the headers of those that ship."""

import dataclasses
from typing import Any

import pytest

from physgan.web.measured import SETS, measured, shortcomings
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import WeightsInfo, read_info


def info(task: str = "derain", **changed: Any) -> WeightsInfo:
    return dataclasses.replace(read_info(shipped_file(task)), **changed)


def said(info: WeightsInfo) -> list[str]:
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in measured(info)]


@pytest.mark.parametrize("task", SHIPPED)
def test_every_set_of_what_ships_has_words(task: str) -> None:
    lines = said(info(task))
    assert len(lines) >= 1
    assert not any("_" in line or "levin09" in line or "held-out" in line for line in lines)
    rows: Any = info(task).measured
    others = ("held-out crops", "their clear pictures")
    for row in rows:
        assert row["set"].startswith((*others, *SETS)), row["set"]
    first = next(row for row in rows if row["set"] != "held-out crops")
    before, after = first["input_psnr"], first["psnr"]
    assert f"{before:.1f}" in lines[0]
    assert lines[0].endswith(f"→ {after:.1f} dB")


def test_of_protocols_the_first_and_of_runs_what_they_have() -> None:
    rows = [{"set": "a", "protocol": how, "n": 2, "psnr": 2, "input_psnr": 1} for how in "xy"]
    assert said(info(measured=rows)) == ["2 a: 1.0 → 2.0 dB"]
    held = {"set": "held-out crops", "psnr": 2.0, "input_psnr": 1.0}
    assert said(info(measured=held)) == ["held-out crops: 1.0 → 2.0 dB"]
    assert said(info(measured=[held, *rows])) == ["2 a: 1.0 → 2.0 dB"]
    assert said(info(measured={"psnr": 2.0})) == ["2.0 dB"]
    shifted = {"set": "a", "protocol": "rgb-shift", "psnr": 2.0, "input_psnr": 1.0}
    assert said(info(measured=shifted)) == ["a: 1.0 → 2.0 dB, by the best shift"]
    assert said(info(measured=["rubbish", {"set": "a"}])) == []


def test_what_falls_short_is_a_sentence() -> None:
    assert shortcomings(info()) == ""
    grid = "natural_val (Kodak), noise 0%: checkerboard of 2.49"
    gain = "natural_val (Kodak), noise 10%: gain 4.58 dB, below 5"
    other = "levin09: 40.0% misread, above 30.0%"
    second = "levin09: checkerboard of 3.1"
    told = shortcomings(info(training={"experimental": "; ".join([grid, gain, second, other])}))
    assert told == (
        "Experimental, for what it misses: a faint grid is left in what it restores of photographs "
        "shaken by us (Kodak), no noise, pictures shaken by a camera (Levin et al.); "
        "4.58 dB are gained, where 5 are asked, on photographs shaken by us (Kodak), noise 10%; "
        "40.0% misread, above 30.0% on pictures shaken by a camera (Levin et al.)."
    )
