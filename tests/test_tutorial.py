"""docs/add-a-physics.md, done from top to bottom as a reader would, only shorter."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from physgan.cli import main
from physgan.data.theta import load_theta
from physgan.images.read import read_8bit
from physgan.physics import follow
from physgan.physics.follow import Box
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe
from tests.training.tiny import draw_pictures

PAGE = (Path(__file__).parents[1] / "docs" / "add-a-physics.md").read_text(encoding="utf-8")

# A page's training takes hours; its commands, files and flow stay as they stand there.
SHORT = {
    "train": [
        "--training.schedule={constant: 60, decay: 40}",
        "--training.ema=0.9",
        "--training.batch=4",
        "--data.crop=32",
        "--data.hold_out=1",
        "--generator={name: unet, arguments: {widths: [16, 24], blocks: [1, 1]}}",
        "--discriminator={name: patchgan, arguments: {width: 2}}",
        "--device=cpu",
    ],
    "evaluate": ["--device=cpu"],
    "restore": ["--device=cpu"],
}


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


def commands() -> list[list[str]]:
    return [shlex.split(line)[1:] for line in PAGE.splitlines() if line.startswith("physgan ")]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "underwater.py").write_text(block("python"), encoding="utf-8")
    (tmp_path / "underwater.yaml").write_text(block("yaml"), encoding="utf-8")
    draw_pictures(tmp_path / "PHOTOGRAPHS", 5, size=48)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_from_top_to_bottom(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    done = []
    for command in commands():
        assert main([*command, *SHORT.get(command[0], [])]) == 0, capsys.readouterr().err
        done.append(command[0])
    torch.set_rng_state(state)
    assert done == ["degrade", "check-physics", "train", "restore", "evaluate"]
    assert "no other convention explains them better" in capsys.readouterr().out
    summary = json.loads((ground / "measured" / "summary.json").read_text(encoding="utf-8"))
    assert summary["n"] == 5
    assert summary["psnr"] > summary["input_psnr"] + 1
    assert summary["clean_chi2"] == pytest.approx(1, abs=0.1)
    # What so short a training restores does not explain the observations.
    assert summary["chi2"] > 2 * summary["clean_chi2"]
    assert len(list((ground / "restored").iterdir())) == 5


def test_its_theta_follows_its_pictures(ground: Path) -> None:
    argv = ["degrade", "PHOTOGRAPHS", "--physics", "underwater.yaml", "--output", "pairs"]
    assert main(argv) == 0
    operator = build_degradation(load_recipe("underwater.yaml").physics).operator
    x = read_8bit(Path("pairs/clean/000.png"))[None].float() / 255
    theta = load_theta(Path("pairs/theta/000.safetensors"))
    box = Box(3, 5, 20, 24)
    cut = operator(x[..., 3:23, 5:29], follow.cropped(operator, theta, box))
    torch.testing.assert_close(cut, operator(x, theta)[..., 3:23, 5:29])
    turned = operator(torch.rot90(x, 1, (-2, -1)), follow.turned(operator, theta, 1))
    torch.testing.assert_close(turned, torch.rot90(operator(x, theta), 1, (-2, -1)))
