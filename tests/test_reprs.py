"""What a notebook prints of recipes, weights and results reads well: what matters, in few lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from physgan.errors import ImageError
from physgan.evaluation.physics import Finding, Report
from physgan.recipes.load import load_recipe, shipped_recipes
from physgan.restore.files import Outcome
from physgan.training.loop import Outcome as Trained
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import read_info


def test_a_recipe_is_a_line_for_each_part_and_says_what_it_decides() -> None:
    lines = repr(load_recipe("deblur-text")).splitlines()
    assert lines[0] == "Recipe(deblur-text"
    assert lines[-1] == ")"
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == [
        "description", "data", "physics", "generator", "discriminator", "objective", "optimiser",
        "training",
    ]  # fmt: skip
    text = "\n".join(lines)
    assert "blur = blur(boundary='replicate') of defocus_motion(radius=[0, 6]" in text
    assert "sensor = noise(sigma=[0, 0.05], power=2), clip, round(bits=8)" in text
    assert "discriminator: patchgan(width=32)" in text
    assert "gamma" not in text  # as ever
    changed = load_recipe("deblur-text", ["--objective.lambda=7", "--seed=3"])
    assert "lambda 7.0" in repr(changed)
    assert "  seed: 3\n" in repr(changed)
    assert str(changed) == repr(changed)


@pytest.mark.parametrize("name", shipped_recipes())
def test_no_recipe_is_a_wall(name: str) -> None:
    assert len(repr(load_recipe(name))) < 1200


@pytest.mark.parametrize("task", sorted(SHIPPED))
def test_weights(task: str) -> None:
    info = read_info(shipped_file(task))
    text = repr(info)
    assert text.startswith(f"WeightsInfo({task}: {info.description}\n")
    assert f"\n  licence: {info.terms}\n" in text
    assert text.count("\n  measured: ") == len(info.numbers()) == len(info.measured)
    assert len(text) < 2000
    assert ("experimental" in text) == bool(info.experimental)


def test_outcomes_of_restoring() -> None:
    a, b = Path("a.png"), Path("out/a.png")
    assert repr(Outcome(a, b, "restored", 1.23)) == (
        "Outcome(a.png -> out/a.png: restored in 1.2 s)"
    )
    assert repr(Outcome(a, b, "skipped")) == "Outcome(a.png -> out/a.png: skipped)"
    error = ImageError("picture", expected="one", got="none")
    assert repr(Outcome(a, b, "failed", 0.3, error)) == (
        "Outcome(a.png -> out/a.png: failed: picture: expected one, got none.)"
    )


def test_an_outcome_of_training() -> None:
    numbers = {"psnr": 20.361, "ssim": 0.8894, "input_psnr": 16.94, "input_ssim": 0.684, "n": 4}
    assert repr(Trained(15100, 7563.2, numbers, "bf16 on cpu")) == (
        "Outcome(15100 steps in 2:06:03, bf16 on cpu: PSNR 16.94 -> 20.36 dB, SSIM 0.684 -> 0.889)"
    )
    assert repr(Trained(1, 0.2, {})) == "Outcome(1 steps in 0:00:00: nothing measured)"


def test_a_report_on_physics() -> None:
    stored = Finding((), ((0, 0),), 0.02, 0.03)
    best = Finding(("kernels turned",), ((1, 0),), 0.01, 0.02)
    report = Report(stored, best, (best,), 0.1, 4.0, 1.02, (), (), (), {}, 1)
    assert repr(report) == (
        "Report(1 pairs: explains otherwise; residual 0.02000 as stored, 0.01000 at best, "
        "χ²/N 1.020; best: kernels turned; y shifted by +1 down, +0 right)"
    )
