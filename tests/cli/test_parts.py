"""`physgan parts`: the tables, one part, all of them, and docs/parts.md, which it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from physgan.cli import main
from physgan.recipes.parts import listing, markdown, part, parts
from tests.training.tiny import start

PAGE = Path(__file__).parents[2] / "docs" / "parts.md"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["parts", *arguments]) == 0
    return capsys.readouterr().out


def test_without_names_it_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys) == listing()


def test_names_are_told_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (markdown(part(name)) for name in ("noise", "disc"))
    assert told(capsys, "noise", "disc") == f"{one}\n{other}"


def test_the_page_of_the_docs_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    page = told(capsys, "--all")
    assert page == PAGE.read_text(encoding="utf-8"), "physgan parts --all > docs/parts.md"
    for one in parts():
        assert f"\n### {one.name}\n" in page


def test_json_is_a_line_for_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    records = [json.loads(line) for line in told(capsys, "--json").splitlines()]
    assert [record["name"] for record in records] == [one.name for one in parts()]
    (record,) = [json.loads(line) for line in told(capsys, "drawn_rain", "--json").splitlines()]
    assert record in records
    assert record["example"] == part("drawn_rain").example
    assert record["arguments"][0] == {
        "name": "coverage",
        "type": "two numbers",
        "description": part("drawn_rain").arguments[0].description,
        "default": [0.02, 0.97],
        "required": False,
        "given": "",
    }


def test_as_a_process() -> None:
    process = start("parts", "drawn_rain", "no_part")
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert "expected one of bicubic, blur" in err
    process = start("parts", "drawn_rain")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "{name: drawn_rain, arguments: {coverage: [0.02, 0.97], length: [20, 140]," in out


def test_names_and_all_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parts", "noise", "--all"]) == 2
    assert "expected names or --all, got both" in capsys.readouterr().err
