"""docs/add-a-physics.md, done from top to bottom as a reader would, only shorter."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import Generator

from physgan.cli import main
from physgan.data.theta import load_theta
from physgan.images.read import read_8bit
from physgan.physics import follow
from physgan.physics.follow import Box
from physgan.physics.sensor import SensorChain
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


def block(language: str, holding: str) -> str:
    """The block of code of a language that holds a text."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (text,) = [block for block in found if holding in block]
    return str(text)


def shortened(command: list[str]) -> list[str]:
    """A command with what makes it short, but for what it says itself."""
    short = SHORT.get(command[0], [])
    return [*command, *(option for option in short if option.split("=")[0] not in command)]


def commands() -> list[list[str]]:
    return [shlex.split(line)[1:] for line in PAGE.splitlines() if line.startswith("physgan ")]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "underwater.py").write_text(block("python", "class Underwater"), encoding="utf-8")
    (tmp_path / "underwater.yaml").write_text(block("yaml", "name: underwater"), encoding="utf-8")
    draw_pictures(tmp_path / "PHOTOGRAPHS", 5, size=48)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_from_top_to_bottom(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    done = []
    for command in commands():
        assert main(shortened(command)) == 0, capsys.readouterr().err
        done.append(command[0])
    torch.set_rng_state(state)
    assert done == ["degrade", "check-physics", "train", "train", "restore", "evaluate"]
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


@pytest.fixture
def counted(ground: Path) -> Path:
    """The recipe with the page's own stage of the sensor."""
    (ground / "shot.py").write_text(block("python", "class Shot"), encoding="utf-8")
    recipe = (ground / "underwater.yaml").read_text(encoding="utf-8")
    kept = r"  sensor:\n(    - .*\n)+"
    assert len(re.findall(kept, recipe)) == 1
    path = ground / "shot.yaml"
    path.write_text(re.sub(kept, block("yaml", "shot.py:Shot"), recipe), encoding="utf-8")
    return path


def test_its_sensor_counts_photons(counted: Path) -> None:
    sensor = build_degradation(load_recipe(counted).physics).sensor
    assert isinstance(sensor, SensorChain)
    shot = sensor.stages[0]
    y = torch.full((2, 1, 200, 200), 0.4, requires_grad=True)
    theta = {"photons": torch.tensor([100.0, 1000.0])}
    shown = shot(y, theta, generator=Generator().manual_seed(0))
    assert shown.equal(shot(y, theta, generator=Generator().manual_seed(0)))
    counts = shown.detach() * theta["photons"][:, None, None, None]
    torch.testing.assert_close(counts, counts.round(), atol=1e-3, rtol=0)
    # Poisson: the variance of a count is its mean.
    for image, mean in zip(counts, (40, 400), strict=True):
        assert float(image.mean()) == pytest.approx(mean, rel=0.01)
        assert float(image.var()) == pytest.approx(mean, rel=0.04)
    (slope,) = torch.autograd.grad(shown.sum(), y)
    assert slope.equal(torch.ones_like(y))
    drawn = shot.sample(torch.zeros(1000, 3, 4, 4), generator=Generator().manual_seed(1))
    photons = drawn["photons"]
    assert 50 <= float(photons.min()) < 55
    assert 1850 < float(photons.max()) <= 2000.01
    assert float(photons.median()) == pytest.approx((50 * 2000) ** 0.5, rel=0.2)


def test_a_physics_with_its_sensor_explains_its_pairs_and_trains(
    counted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["degrade", "PHOTOGRAPHS", "--physics", counted.name, "--seed", "1"]
    assert main([*argv, "--output", "counted"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["check-physics", "counted", "--physics", counted.name, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "explains"
    assert report["chi2"] == pytest.approx(1, abs=0.1)
    trial = next(c for c in commands() if "runs/trial" in c)
    trial = [counted.name if argument == "underwater.yaml" else argument for argument in trial]
    assert main(shortened(trial)) == 0, capsys.readouterr().err
    log = (counted.parent / "runs" / "trial" / "log.jsonl").read_text(encoding="utf-8")
    assert "nan" not in log.lower()
    assert main(["parts", "shot.py:Shot"]) == 0
    assert "- `photons`, two numbers, by default `[50, 2000]`: least" in capsys.readouterr().out
