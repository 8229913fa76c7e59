"""What README shows works: its physics trains as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator

from physgan.cli import main
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe
from physgan.recipes.trial import try_physics
from physgan.weights.catalogue import shipped_file
from physgan.weights.file import read_info
from tests.training.tiny import draw_pictures

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(language: str, holding: str) -> str:
    """The block of code of a language that holds a text."""
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (text,) = [block for block in found if holding in block]
    return str(text)


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "underwater.py").write_text(block("python", "class Underwater"), encoding="utf-8")
    (tmp_path / "underwater.yaml").write_text(block("yaml", "name: underwater"), encoding="utf-8")
    draw_pictures(tmp_path / "PHOTOGRAPHS", 5, size=64)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readmes_physics_trains(ground: Path) -> None:
    (command,) = re.findall(r"physgan (train underwater\.yaml .*)", README)
    options = ["--data.hold_out=1", "--data.crop=64", "--training.batch=1", "--device=cpu"]
    length = ["--training.schedule={constant: 2, decay: 0}"]
    assert main([*command.split(), *options, *length]) == 0
    assert (ground / "runs" / "underwater" / "weights.safetensors").is_file()


def test_the_readmes_physics_draws_where_the_picture_is(ground: Path) -> None:
    """On a GPU as on the CPU; `meta` stands for any other device."""
    degradation = build_degradation(load_recipe("underwater.yaml").physics)
    x = torch.rand(2, 3, 8, 8)
    theta = degradation.sample(x, generator=Generator().manual_seed(0))["water"]
    assert {t.device for t in theta.values()} == {x.device}
    y = degradation.operator.operators["water"](x, theta)
    assert float(y.min()) >= 0
    assert float(y.max()) <= 1.3
    text = block("python", "class Underwater")
    assert text.count("device=x.device") == len(re.findall(r"torch\.(rand|linspace)\(", text))
    for channels in (1, 5):
        try_physics(degradation, crop=16, channels=channels)


def test_every_recipe_that_is_named_is_shipped() -> None:
    section = README.split("## Recipes")[1].split("##")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    assert len(rows) >= 7
    for name in re.findall(r"`([^`]+)`", " ".join(rows)):
        assert load_recipe(name).name


def test_the_numbers_are_those_of_the_weights_that_ship() -> None:
    measured = read_info(shipped_file("deblur-text")).measured
    rows: list[Any] = [row for row in measured if isinstance(row, dict)]
    section = README.split("## Numbers")[1].split("##")[0]
    for row in rows:
        if row["set"] != "held-out crops":
            for name in ("input_psnr", "psnr"):
                assert f"{row[name]:.2f} dB" in section
        if "text_error" in row:
            for name in ("input_text_error", "text_error"):
                assert f"{row[name]:.0%}".replace("%", " %") in section
