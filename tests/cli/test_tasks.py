"""`physgan tasks`: what ships, and the card of one."""

from __future__ import annotations

import json

import pytest

from physgan.cli import main
from physgan.weights.card import card_of
from physgan.weights.catalogue import SHIPPED, shipped_file


def test_every_task_is_listed_with_licence_and_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tasks"]) == 0
    out = capsys.readouterr().out
    for task in SHIPPED:
        assert task in out
    assert out.count(" MB, licence: ") == len(SHIPPED)
    assert " dB" in out


def test_json_is_a_line_for_each_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["task"] for r in records] == sorted(SHIPPED)
    for record in records:
        assert record["licence"]
        assert record["description"]
        assert record["training"]["steps"] > 0
        assert all("psnr" in row for row in record["measured"])


def test_one_task_is_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "deblur-text"]) == 0
    card = capsys.readouterr().out
    assert card == card_of(shipped_file("deblur-text"), title="deblur-text")
