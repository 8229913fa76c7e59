"""`--json` of every command: nothing but JSON on stdout, a document or one on each line."""

from __future__ import annotations

import json
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from physgan.cli import COMMANDS, main
from tests.restore.small import small_weights
from tests.training.tiny import draw_pictures, write_recipe

SHORT = "--training.schedule.constant 1 --training.schedule.decay 1"

# Command -> its arguments on the ground below, and keys of what it prints. One after the other:
# the pairs that `degrade` makes are measured on.
CASES: dict[str, tuple[str, set[str]]] = {
    "degrade": ("clear --physics tiny.yaml --output pairs", {"pairs", "failed", "manifest"}),
    "check-physics": ("pairs", {"pairs", "verdict", "stored", "best", "failed"}),
    "evaluate": (
        "--weights w.safetensors --degraded pairs/degraded --clean pairs/clean --output measured",
        {"n", "psnr", "ssim", "input_psnr", "protocol", "failed"},
    ),
    "restore": (
        "pairs/degraded --weights w.safetensors --output out",
        {"source", "target", "status", "seconds"},
    ),
    "pack": ("clear --output shards --size 32", {"shards", "crops", "failed"}),
    "export": (
        "--weights w.safetensors --output w.onnx", {"graph", "bytes", "compared"},
    ),
    "parts": ("drawn_rain noise", {"name", "example"}),
    "tasks": ("", {"task", "licence", "measured"}),
    "train": (
        f"tiny.yaml --data.train clear --output run --device cpu {SHORT}",
        {"weights", "steps", "psnr"},
    ),
}  # fmt: skip
SPEAKS_FOR_ITSELF = {"app"}  # the address that it prints is all that there is to read


def strictly(line: str) -> Any:
    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(line, parse_constant=refuse)


def test_every_command_has_it() -> None:
    having = {
        name
        for name, (module, _) in COMMANDS.items()
        if "json" in {field.name for field in fields(import_module(module).Arguments)}
    }
    assert having == CASES.keys() == COMMANDS.keys() - SPEAKS_FOR_ITSELF


def test_stdout_is_json_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="'export' needs physgan[onnx]")
    monkeypatch.chdir(tmp_path)
    draw_pictures(Path("clear"), 4)
    write_recipe(tmp_path)
    small_weights(Path("w.safetensors"))
    for command, (arguments, keys) in CASES.items():
        assert main([command, *arguments.split(), "--json"]) == 0, capfd.readouterr().err
        records = [strictly(line) for line in capfd.readouterr().out.splitlines()]
        assert records, command
        assert all(keys <= record.keys() for record in records), (command, records)
        many = {"restore": 4, "parts": 2, "tasks": len(records)}
        assert len(records) == many.get(command, 1)


@pytest.mark.parametrize("command", [name for name in CASES if name not in ("tasks", "parts")])
def test_a_fault_leaves_stdout_empty(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of the whole request; that of one picture is a line."""
    monkeypatch.chdir(tmp_path)  # where nothing is
    status = main([command, *CASES[command][0].split(), "--json"])
    out, err = capfd.readouterr()
    assert status in (1, 2)
    assert out == ""
    assert err.startswith("physgan: ")
