"""A recipe carried out from Python: what it leaves, and what it refuses before it trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from physgan import load_recipe, load_weights, train_recipe
from physgan.errors import RecipeError
from physgan.recipes.experiment import CARD, LOG, RECIPE, WEIGHTS
from tests.training.tiny import draw_pictures, records, write_recipe


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    draw_pictures(tmp_path / "pictures", 5)
    write_recipe(tmp_path)
    return tmp_path


def carry_out(ground: Path, *overrides: str) -> Path:
    recipe = load_recipe(ground / "tiny.yaml", [f"--data.train={ground / 'pictures'}", *overrides])
    train_recipe(recipe, ground / "run", device="cpu")
    return ground / "run"


def test_a_run_from_python_leaves_everything(ground: Path) -> None:
    run = carry_out(ground, "--training.schedule={constant: 3, decay: 0}")
    assert {RECIPE, LOG, WEIGHTS, CARD} <= {path.name for path in run.iterdir()}
    assert [r["step"] for r in records(run) if r["kind"] == "train"] == [3]
    restorer, info = load_weights(run / WEIGHTS)
    assert restorer.channels == 3
    assert isinstance(info.recipe, dict)
    assert info.recipe["name"] == "tiny"
    # The header goes to strangers, whom our folders do not concern.
    assert str(ground) not in str(info)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--data.crop=34", "multiple of 4"),
        ("--data.crop=16", "crops that all networks take"),
    ],
)
def test_crops_that_do_not_fit_are_refused_before_training(
    ground: Path, override: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        carry_out(ground, override)
    assert not (ground / "run" / RECIPE).exists()


def test_a_generator_of_another_size_is_refused(ground: Path) -> None:
    (ground / "shrinking.py").write_text(
        "from torch import nn\n"
        "class Shrinking(nn.Conv2d):\n"
        "    channels, scale, multiple_of = 3, 1, 1\n"
        "    receptive_field, global_statistics = 3, False\n"
        "    def __init__(self):\n"
        "        super().__init__(3, 3, 3)\n",
        encoding="utf-8",
    )
    with pytest.raises(RecipeError, match=r"\(1, 3, 32, 32\) from .* got \(1, 3, 30, 30\)"):
        carry_out(ground, f"--generator='{ground / 'shrinking.py'}:Shrinking'")
