"""The sheets of docs/pictures: of every physics, mild to severe, as the script draws them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from torch import Generator

from examples import sheets
from physgan.data.synthesis import synthesise
from physgan.images.read import read_8bit
from physgan.physics.haze import Haze
from physgan.physics.sensor import SensorChain
from physgan.recipes.build import OPERATORS, SENSOR_STAGES

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"


def test_every_operator_and_stage_of_a_sensor_is_on_a_sheet() -> None:
    shown: set[object] = {Haze}  # what DepthHaze does, of a transmission that is known
    for degradation in [d for sheet in sheets.SHEETS.values() for d in sheet.degradations]:
        shown |= {type(operator) for operator in degradation.operator.operators.values()}
        assert isinstance(degradation.sensor, SensorChain)
        shown |= {type(stage) for stage in degradation.sensor.stages}
    assert {*OPERATORS.values(), *SENSOR_STAGES.values()} <= shown


@pytest.mark.parametrize("name", sheets.SHEETS)
def test_each_degradation_of_a_sheet_is_worse_than_the_one_before(name: str) -> None:
    sheet = sheets.SHEETS[name]
    first, *others = sheets.panels(sheet)
    assert len(others) == len(sheet.degradations)
    errors = [float((other - first).square().mean()) for other in others]
    assert errors[0] > 0
    assert errors == sorted(errors)


def test_pixels_of_a_smaller_result_are_shown_as_squares() -> None:
    sheet = sheets.SHEETS["downsample"]
    x, *shown = sheets.panels(sheet)
    for degradation, panel in zip(sheet.degradations, shown, strict=True):
        scale = degradation.operator.scale
        y = synthesise(x, degradation, generator=Generator()).y
        for row in range(scale):
            for column in range(scale):
                assert panel[..., row::scale, column::scale].equal(y)


@pytest.mark.parametrize("name", sheets.SHEETS)
def test_the_sheet_in_the_docs_is_what_the_script_draws(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sheets.main([name]) == 0
    folders = tmp_path / "sheets", PICTURES
    drawn, kept = (read_8bit(f / f"sheet-{name}.jpg").float() for f in folders)
    # Other processors and versions of libraries may round otherwise.
    assert drawn.shape == kept.shape
    assert float((drawn - kept).abs().mean()) < 1
    assert (PICTURES / f"sheet-{name}.jpg").stat().st_size <= sheets.MOST


def test_the_page_shows_every_sheet_and_no_other() -> None:
    page = (ROOT / "docs" / "sheets.md").read_text(encoding="utf-8")
    files = {path.stem.removeprefix("sheet-") for path in PICTURES.glob("sheet-*.jpg")}
    assert set(re.findall(r"\(pictures/sheet-(.*)\.jpg\)", page)) == files == {*sheets.SHEETS}


def test_every_packed_picture_stands_in_notice_with_its_hash() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    entries = re.findall(r"^  (\S+/\S+)\s.*?\b([0-9a-f]{64})\n", notice, re.DOTALL | re.MULTILINE)
    hashes = {ROOT / name: digest for name, digest in entries}
    packed = [*PICTURES.iterdir(), *(ROOT / "src" / "physgan" / "web" / "examples").iterdir()]
    assert hashes == {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in packed}


def test_a_sheet_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert sheets.main(["snow"]) == 2
    assert "No sheet snow" in capsys.readouterr().err
