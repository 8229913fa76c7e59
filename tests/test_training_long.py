"""Real training through the real command, too long for every run: `make test-long`.

It takes the photographs of a data folder (`PHYSGAN_DATA`, by default `../shared/data` beside the
checkout) where that is there, and scikit-image's sample pictures otherwise.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import skimage.data

from physgan.recipes.load import load_recipe, shipped_recipes
from tests.data.files import DATA

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
SAMPLES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg")
TERMS = ("physics", "content", "second_content", "adversarial_clear", "adversarial_observation")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    if (DATA / "natural_train").is_dir():
        return DATA / "natural_train"
    folder = tmp_path / "samples"
    folder.mkdir()
    for name in SAMPLES:
        shutil.copy(Path(skimage.data.__file__).parent / name, folder)
    return folder


def train(recipe: str, run: Path, *overrides: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "physgan", "train", recipe, "--output", str(run), *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count())}
    subprocess.run(command, env=environment, check=True, timeout=3600)
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


SHIPPED = shipped_recipes()


@pytest.mark.parametrize("recipe", [name for name in SHIPPED if "/" in name])
def test_recipes_of_the_paper_run_fifty_steps(
    photographs: Path, tmp_path: Path, recipe: str
) -> None:
    records = train(
        recipe,
        tmp_path / "run",
        f"--data.train={photographs}",
        "--data.hold_out=2",
        "--training.schedule={unit: steps, constant: 50, decay: 0}",
        "--training.log_every=1",
    )
    steps = [r for r in records if r["kind"] == "train"]
    assert [r["step"] for r in steps] == list(range(1, 51))
    for record in steps:
        assert record["skipped"] == 0
        assert all(math.isfinite(record[name]) for name in TERMS)
    early = sum(r["content"] for r in steps[:10])
    assert sum(r["content"] for r in steps[-10:]) < early


@pytest.mark.parametrize("recipe", [name for name in SHIPPED if "/" not in name])
def test_default_recipes_improve_pairs_they_have_not_seen(
    photographs: Path, tmp_path: Path, recipe: str
) -> None:
    options = ["--training.schedule={constant: 75, decay: 75}", "--training.validate_every=50"]
    if load_recipe(recipe).data.pictures is None:
        folder = photographs
        if recipe == "deblur-face" and (DATA / "face_train").is_dir():
            folder = DATA / "face_train"
        held_out = "24" if folder.is_relative_to(DATA) else "2"
        options += [f"--data.train={folder}", f"--data.hold_out={held_out}"]
    records = train(recipe, tmp_path / "run", *options)
    last = [r for r in records if r["kind"] == "validation"][-1]
    print(recipe, last)
    # 150 steps are minutes where the recipes ask for hours.
    assert last["psnr"] > last["input_psnr"] + 0.1
