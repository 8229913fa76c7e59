"""Logs of a run: what a resumed one keeps, and what TensorBoard reads back."""

import json
import re
from pathlib import Path

import pytest
import torch

from physgan.errors import TrainingError, install
from physgan.training.logs import JsonLines, TensorBoard


def record(step: int, kind: str = "train") -> dict[str, float | int | str]:
    return {"kind": kind, "step": step, "total": step / 3}


def write(path: Path, steps: range, from_step: int = 0) -> None:
    log = JsonLines(path, from_step=from_step)
    for step in steps:
        log.stepped(step)
        log.told(record(step))
    log.close()


def read(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_record_is_a_line_and_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonLines(path)
    for step in range(1, 4):
        log.told(record(step))
        assert read(path) == [record(s) for s in range(1, step + 1)]
    log.close()


def test_resuming_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, range(1, 8))
    write(path, range(6, 9), from_step=5)
    assert read(path) == [record(s) for s in range(1, 9)]


@pytest.mark.parametrize(
    "half",
    [
        '{"kind": "tr',
        '{"kind": "train"}',
        "[1]",
        "5",
        '{"step": "x"}',
        '{"step": null}',
        "\x00\x00",
    ],
)
def test_resuming_drops_half_a_line(tmp_path: Path, half: str) -> None:
    path = tmp_path / "log.jsonl"
    write(path, range(1, 4))
    with path.open("a", encoding="utf-8") as file:
        file.write(half)
    write(path, range(4, 5), from_step=3)
    assert read(path) == [record(s) for s in range(1, 5)]


def test_resuming_survives_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, range(1, 3))
    path.write_bytes(path.read_bytes() + b"\xff\xfe\xc3")
    write(path, range(3, 4), from_step=2)
    assert read(path) == [record(s) for s in range(1, 4)]


def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, range(1, 8))
    write(path, range(1, 3))
    assert read(path) == [record(1), record(2)]


def test_tensorboard_reads_numbers_and_pictures_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import (  # type: ignore[import-untyped]
        event_accumulator,
    )

    # A run that is killed at step 5 after a checkpoint at step 3, and goes on from there.
    first = TensorBoard(tmp_path)
    for step in range(1, 6):
        first.told(record(step))
    first.shown(3, [("pair", torch.rand(3, 8, 24) * 1.5)])
    first.close()
    second = TensorBoard(tmp_path, from_step=3)
    for step in (4, 5):
        second.told({**record(step), "total": 7.0})
    second.told(record(5, "validation"))
    second.close()

    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["train/total", "validation/total"]
    scalars = {e.step: e.value for e in events.Scalars("train/total")}
    assert len(events.Scalars("train/total")) == 5
    assert scalars == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1.0, 4: 7.0, 5: 7.0})
    (picture,) = events.Images("pair")
    assert (picture.step, picture.height, picture.width) == (3, 8, 24)


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match=re.escape(install("tensorboard"))):
        TensorBoard(tmp_path)
