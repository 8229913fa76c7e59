"""What ships reaches its floors or says that it does not, and what is unknown counts as missed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.checks import CLEAN, FLOORS, NOTHING_WRONG, check_sets, clean_files, shortfalls
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import read_info
from tests.training.tiny import write_picture

GOOD: dict[str, Any] = {
    "input_psnr": 10.0, "psnr": 50.0, "checkerboard": 1.0, "checkerboard_of_clean": 2.0,
}  # fmt: skip
CLEAR: dict[str, Any] = {
    "set": NOTHING_WRONG, "protocol": "rgb", "psnr": 40.0, "colour_moves_by": 0.5,
}  # fmt: skip


def rows(task: str, **changed: float) -> list[dict[str, Any]]:
    found = [{"set": name, "protocol": how, **GOOD, **changed} for name, how, *_ in FLOORS[task]]
    return found + ([CLEAR] if task in CLEAN else [])


@pytest.mark.parametrize("task", sorted(FLOORS))
def test_floors(task: str) -> None:
    assert not shortfalls(task, rows(task))
    for changed in ({"psnr": 9.0}, {"psnr": float("nan")}, {"checkerboard": 2.1}):
        assert len(shortfalls(task, rows(task, **changed))) == len(FLOORS[task])
    # As many as there are to be measured.
    assert len(shortfalls(task, [])) == len(FLOORS[task]) + (task in CLEAN)


@pytest.mark.parametrize(("after", "short"), [(2.0, 0), (2.1, 2), (float("nan"), 2)])
def test_a_checkerboard_of_the_clear_pictures_own_is_none(after: float, short: int) -> None:
    found = rows("derain", checkerboard=2.5, checkerboard_of_restored=after)
    assert len(shortfalls("derain", found)) == short


@pytest.mark.parametrize(
    "changed", [{"psnr": 31.9}, {"psnr": float("nan")}, {"colour_moves_by": 2.0}]
)
def test_clear_pictures_count(changed: dict[str, float]) -> None:
    (told,) = shortfalls("derain", [*rows("derain")[:-1], {**CLEAR, **changed}])
    assert NOTHING_WRONG in told


@pytest.mark.parametrize("error", [0.23, float("nan")])
def test_half_of_what_was_misread_has_to_be_read(error: float) -> None:
    read = {"input_text_error": 0.44, "text_error": 0.22}
    assert not shortfalls("deblur-text", rows("deblur-text", **read))
    (told,) = shortfalls("deblur-text", rows("deblur-text", **(read | {"text_error": error})))
    assert "misread" in told


@pytest.mark.parametrize("task", sorted(SHIPPED))
def test_what_ships_and_falls_short_is_marked(task: str) -> None:
    info = read_info(shipped_file(task))
    assert isinstance(info.measured, list)
    short = shortfalls(task, [row for row in info.measured if isinstance(row, dict)])
    assert json.dumps(info.training.get("experimental", "")) == json.dumps("; ".join(short))


def test_floors_are_of_sets_that_there_are() -> None:
    for task, floors in FLOORS.items():
        sets = check_sets(task, Path("data"))
        for beginning, how, *_ in floors:
            assert [s for s in sets if s.name.startswith(beginning) and how in s.protocols]


def test_a_picture_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    for level in "LH":
        folder = tmp_path / f"rain100{level}_pairs" / "clean"
        folder.mkdir(parents=True)
        write_picture(folder / "1.png", torch.zeros(3, 8, 8))
        write_picture(folder / f"{level}.png", torch.full((3, 8, 8), 0.5 if level == "L" else 1.0))
    found = clean_files("derain", tmp_path)
    assert [path.name for path in found] == ["1.png", "L.png", "H.png"]
