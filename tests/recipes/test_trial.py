"""Physics and recipes of other people: what is found out before training, and how it is told."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from torch import Generator, Tensor

from physgan.cli import main
from physgan.errors import RecipeError, TrainingError
from physgan.physics.compose import Degradation, Stage
from physgan.physics.haze import DepthHaze, HazyScenes
from physgan.recipes.build import build_degradation
from physgan.recipes.experiment import train_recipe
from physgan.recipes.load import load_recipe
from physgan.recipes.trial import try_physics
from tests.training.tiny import RECIPE, draw_pictures, finish, records, start, write_recipe

PHYSICS = """
import torch

class Gain:
    scale = 1

    def __call__(self, x, theta):
        return x * theta["gain"][:, None, None, None]

class Gains:
    def sample(self, x, *, generator):
        return {"gain": torch.rand(len(x), generator=generator, device=x.device)}
"""
STAGE = "--physics.stages={a: {operator: 'own.py:Gain', sampler: 'own.py:Gains'}}"


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    draw_pictures(tmp_path / "pictures", 5)
    write_recipe(tmp_path)
    (tmp_path / "own.py").write_text(PHYSICS, encoding="utf-8")
    text = RECIPE.replace("operator: blur", "operator: 'own.py:Gain'")
    text = text.replace("{name: disc, arguments: {radius: [0, 2]}}", "'own.py:Gains'")
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def tried(ground: Path, *changes: tuple[str, str]) -> None:
    text = PHYSICS
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (ground / "own.py").write_text(text, encoding="utf-8")
    degradation = build_degradation(load_recipe(ground / "own.yaml").physics)
    try_physics(degradation, crop=16, channels=3, differentiable=True)


def test_files_beside_the_recipe_are_found_from_anywhere(ground: Path) -> None:
    tried(ground)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('theta["gain"]', 'theta["gian"]'),
            r"'blur' .* KeyError: 'gian' \(own.py, line 8\)",
        ),
        (("return x *", "return 0 * x / 0 *"), "finite numbers"),
        (("return x *", "return x[..., 1:] *"), r"\(2, 3, 16, 16\) .* got \(2, 3, 16, 15\)"),
        (("generator=generator, ", ""), r"same draw for the same seed.* another 'gain'"),
        (
            ("self, x, *, generator", "self, x"),
            r"sampler of the stage 'blur': expected sample\(x, \*, generator\).* \(own.py",
        ),
        (("device=x.device)}", "device=x.device).tolist()}"), "a row for each of 2 images, got "),
        (("rand(len(x)", "rand(1"), r"a row for each of 2 images, got shape \(1,\) \(own.py\)"),
        (('return {"gain": ', 'return list({"gain": 1}), {"gain": '), "a dictionary of tensors"),
        (("return x *", "return x.mul_(0.5) *"), "x left as it is, got one changed in place"),
        (("return x *", "theta['gain'].mul_(2); return x *"), "'gain' of theta left as it is"),
        (("return x *", "return torch.rand_like(x) *"), "the same result for the same x and theta"),
        (("return x *", "return x.mean(0, keepdim=True) *"), "the same alone and among others"),
        (("return x *", "return x.detach() *"), "a gradient that reaches x"),
        (("scale = 1", "scale = 1; parts = {'gain': 'mapp'}; margin = len"), "number, map, kernel"),
        (
            ("return x *", "return x.exp().mul_(0.5) * x.detach() *"),
            "modified by an inplace operation|a gradient that reaches x",
        ),
        (
            (
                'return {"gain": ',
                "self.n = getattr(self, 'n', 0) + 1; return {f'gain{self.n}': ",
            ),
            "the same parameters at every draw, got gain1, gain2 now and then",
        ),
        (
            ("scale = 1", "scale = 1; parts = {'gain': 'number'}; margin = lambda s, t: 'a'"),
            "a whole number of pixels, at least 0, got 'a'",
        ),
    ],
)
def test_what_would_fail_in_training_is_told_before(
    ground: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        tried(ground, change)


def test_a_module_that_hides_its_gradient_is_told(ground: Path) -> None:
    # What it gives has a gradient, of a parameter of its own alone.
    module = "class Gain(torch.nn.Module):\n    w = torch.ones(1, requires_grad=True)\n"
    changes = (("class Gain:\n", module), ("return x *", "return self.w * x.detach() *"))
    with pytest.raises(RecipeError, match="a gradient that reaches x"):
        tried(ground, *changes, ("__call__", "forward"))


def test_what_is_told_of_parts_need_not_be_all(ground: Path) -> None:
    tried(ground, ("scale = 1", "scale = 1; parts = {}; margin = lambda self, theta: 0"))


def test_a_physics_of_differences_is_one(ground: Path) -> None:
    # The gradient of its sum is 0.
    tried(ground, ("return x *", "return (x - x.roll(1, -1)) *"))


def test_a_physics_without_gradient_degrades(ground: Path) -> None:
    (ground / "own.py").write_text(PHYSICS.replace("return x *", "return x.detach() *"), "utf-8")
    try_physics(build_degradation(load_recipe(ground / "own.yaml").physics), crop=16, channels=3)


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ("assert (theta['gain'] < 0).all(), 'light'", "expected possible parameters, got light"),
        ("theta['gian']", r"expected a parameter 'gian', got parameters gain"),
        ("thera", "a check that can look at them, got NameError"),
    ],
)
def test_a_check_of_ones_own(ground: Path, check: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        tried(
            ground,
            ("    scale = 1\n", f"    scale = 1\n    def check(self, theta):\n        {check}\n"),
        )


def test_what_is_lacking_is_named(ground: Path) -> None:
    with pytest.raises(RecipeError, match="Gain, without 'scale'"):
        tried(ground, ("    scale = 1\n", ""))


def test_a_run_does_not_go_on_with_another_physics(ground: Path) -> None:
    def sitting(steps: int) -> None:
        recipe = load_recipe(
            ground / "own.yaml",
            [
                f"--data.train={ground / 'pictures'}",
                f"--training.schedule={{constant: {steps}, decay: 0}}",
            ],
        )
        train_recipe(recipe, ground / "run", resume=True, device="cpu")

    sitting(2)
    sitting(3)
    (ground / "own.py").write_text(
        PHYSICS.replace("x * theta", "0.9 * x * theta"), encoding="utf-8"
    )
    with pytest.raises(TrainingError, match="foreign code of the run"):
        sitting(4)


def test_the_recipe_in_a_runs_folder_works_from_anywhere(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ground)
    recipe = load_recipe(
        "own.yaml", ["--data.train=pictures", "--training.schedule={constant: 2, decay: 0}"]
    )
    train_recipe(recipe, Path("run"), device="cpu")
    monkeypatch.chdir("/")
    kept = load_recipe(ground / "run" / "recipe.yaml", ["--training.schedule.constant=3"])
    assert kept.data.train == ground / "pictures"
    train_recipe(kept, ground / "run", resume=True, device="cpu")
    assert records(ground / "run")[-1]["step"] == 3


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "expected --output FOLDER"),
        (["--ouput", "x"], "Did you mean '--output'?"),
        (["--output", "x", "--resum"], "Did you mean '--resume'?"),
        (["--output", "x", "--batch", "2"], "Did you mean 'training.batch'?"),
    ],
)
def test_slips_in_options_name_what_was_meant(
    ground: Path, capsys: pytest.CaptureFixture[str], options: list[str], part: str
) -> None:
    data = ["--data.train", str(ground / "pictures")]
    assert main(["train", str(ground / "tiny.yaml"), *data, *options]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert part in err


def test_help_shows_the_recipes_own_values(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "deblur-natural", "--help"])
    out = capsys.readouterr().out
    assert "--optimiser.lr [0.0015]" in out
    assert "least_squares, log" in out


def test_a_run_says_what_it_begins_with(ground: Path) -> None:
    command: list[str | Path] = ["train", ground / "tiny.yaml", "--output", ground / "run"]
    command.append("--resume")
    data: list[str | Path] = [
        "--data.train",
        ground / "pictures",
        "--training.schedule={constant: 1, decay: 0}",
    ]
    status, _, err = finish(start(*command, *data))
    assert status == 0
    assert "no checkpoint" in err
    assert "3 pictures or crops to train on, 2 pairs to check on, 1 steps" in err


def test_sigterm_leaves_a_checkpoint(ground: Path) -> None:
    command: list[str | Path] = ["train", ground / "tiny.yaml", "--output", ground / "run"]
    data: list[str | Path] = [
        "--data.train",
        ground / "pictures",
        "--training.schedule={constant: 100000, decay: 0}",
    ]
    process = start(*command, *data, "--training.checkpoint.every=100000", "--training.log_every=1")
    log = ground / "run" / "log.jsonl"
    for _ in range(600):
        if log.exists() and log.stat().st_size:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    status, _, err = finish(process)
    assert status == 130
    assert "go on with --resume" in err
    assert (ground / "run" / "checkpoint.json").is_file()


class Sparse:
    """Draws haze, and beside a known depth something else."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return HazyScenes().sample(x, generator=generator)

    def sample_rest(
        self, x: Tensor, *, known: Collection[str], generator: Generator
    ) -> dict[str, Tensor]:
        rest = HazyScenes().sample_rest(x, known=known, generator=generator)
        if self.fault == "forgets":
            del rest["airlight"]
        if self.fault == "differs":
            rest["airlight"] = rest["airlight"] / 2
        return rest


@pytest.mark.parametrize("fault", ["", "forgets", "differs"])
def test_what_is_drawn_beside_what_is_known(fault: str) -> None:
    chain = Degradation({"haze": Stage(DepthHaze(), Sparse(fault))})
    try_physics(chain, crop=32, channels=3, differentiable=True)
    if not fault:
        try_physics(chain, crop=32, channels=3, known=("depth",), differentiable=True)
        return
    with pytest.raises(RecipeError, match="another 'airlight', or none"):
        try_physics(chain, crop=32, channels=3, known=("depth",), differentiable=True)
