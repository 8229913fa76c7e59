"""What README and docs/data.md show works: the physics trains as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Generator

from physgan.cli import main
from physgan.data.pictures import Scenes
from physgan.data.theta import load_theta
from physgan.recipes.build import OPERATORS, SAMPLERS, build_degradation, build_pictures
from physgan.recipes.load import load_recipe
from physgan.recipes.schema import Component
from physgan.recipes.trial import try_physics
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import read_info
from tests.training.tiny import draw_pictures, write_picture

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBERS = README.split("## Numbers")[1].split("\n## ")[0]
WEIGHTS = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def block(language: str, holding: str, page: str = README) -> str:
    """The block of code of a language that holds a text."""
    found = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
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


def test_kernels_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kernels = torch.rand(2, 5, 3, generator=Generator().manual_seed(0)).numpy()
    (tmp_path / "KERNELS" / "further").mkdir(parents=True)
    np.save("KERNELS/several.npy", kernels)
    write_picture(Path("KERNELS/further/one.png"), torch.ones(1, 3, 3))
    fields = yaml.safe_load(block("yaml", "name: measured", DATA))["physics"]["stages"]["blur"]
    (override,) = re.findall(r"(--physics\.stages\.blur\.sampler) '(\{name: measured.*\})'", DATA)
    assert yaml.safe_load(override[1]) == fields["sampler"]
    recipe = load_recipe("deblur-natural", override)
    assert recipe.physics.stages["blur"].operator.name == fields["operator"]
    x = torch.rand(64, 3, 8, 8)
    theta = build_degradation(recipe.physics).sample(x, generator=Generator().manual_seed(0))
    drawn = theta["blur"]["kernel"]
    assert len(drawn.unique(dim=0)) == 3
    torch.testing.assert_close(drawn.sum(dim=(-2, -1)), torch.ones(64))


def test_depth_from_files(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Brighter is nearer, in training as for pairs."""
    draw_pictures(ground / "RGB", 2, size=64)
    near_below = torch.linspace(0.1, 1, 64)[None, :, None].expand(1, 64, 64)
    for folder, count in (("DISPARITY", 2), ("MAPS", 5)):
        (ground / folder).mkdir()
        for i in range(count):
            write_picture(ground / folder / f"{i:03d}.png", near_below)
    fields = yaml.safe_load(block("yaml", "depth_files", DATA))["data"]["pictures"]
    pictures = build_pictures(Component(**fields), channels=3)
    assert isinstance(pictures, Scenes)
    assert len(pictures) == 2
    depths = [pictures.depth(0, (64, 64))]
    (command,) = re.findall(r"^physgan (degrade .* --depth-kind .*)$", DATA, re.MULTILINE)
    assert main(command.split()) == 0, capsys.readouterr().err
    theta = load_theta(ground / "pairs" / "theta" / "000.safetensors")
    depths.append(theta["haze"]["depth"][0])
    for depth in depths:
        assert float(depth[:, :4].min()) > 0.5
        assert float(depth[:, -4:].max()) < 0.15


def test_operators_and_samplers_that_stand_together_belong_together() -> None:
    table = README.split("| operator | samplers |\n|---|---|\n")[1].split("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", row) for row in table.splitlines()]
    assert {row[0] for row in rows} == OPERATORS.keys()
    assert sorted(name for row in rows for name in row[1:]) == sorted(SAMPLERS)
    x = torch.rand(1, 3, 32, 32)
    for first, *names in rows:
        operator = OPERATORS[first]()
        for name in set(names) - {"measured"}:  # test_kernels_from_files
            theta = SAMPLERS[name]().sample(x, generator=Generator().manual_seed(0))
            assert theta.keys() == operator.parts.keys()
            assert operator(x, theta).isfinite().all()


def test_every_recipe_that_is_named_is_shipped() -> None:
    section = README.split("## Recipes")[1].split("`physgan parts`")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    assert len(rows) >= 7
    for name in re.findall(r"`([^`]+)`", " ".join(rows)):
        assert load_recipe(name).name


def rows_of(task: str) -> list[dict[str, Any]]:
    """What was measured of what ships, but on crops that training held out."""
    measured: list[Any] = list(read_info(shipped_file(task)).measured)
    return [row for row in measured if row["set"] != "held-out crops"]


@pytest.mark.parametrize("task", sorted(SHIPPED))
def test_the_numbers_are_those_of_the_weights_that_ship(task: str) -> None:
    results = WEIGHTS.split("## Results")[1].split("\n## ")[0]
    for row in rows_of(task):
        if "input_psnr" in row:
            for name in ("input_psnr", "psnr"):
                assert f"{row[name]:.2f} dB" in results
        else:  # of clear pictures there is one number
            assert f"{row['psnr']:.1f} dB" in NUMBERS
        if "text_error" in row:
            drawn = "drawn pages" in row["set"]  # of which the README has one strength alone
            for name in ("input_text_error", "text_error"):
                for page in [results] if drawn else [results, NUMBERS]:
                    assert f"{row[name]:.0%}".replace("%", " %") in page


def test_the_table_has_every_task_as_it_ships() -> None:
    found = re.findall(r"^\| `([\w-]+)` \|.*?([\d.]+) dB \| ([\d.]+) dB \|", NUMBERS, re.MULTILINE)
    assert {task for task, *_ in found} == SHIPPED.keys()
    for task, *numbers in found:
        rows = [row for row in rows_of(task) if "input_psnr" in row]
        assert numbers in [[f"{row[name]:.2f}" for name in ("input_psnr", "psnr")] for row in rows]
