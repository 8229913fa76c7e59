"""What ships: small, whole, described, trained by a recipe that is there, and of use."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Generator

from benchmarks import real
from benchmarks.cards import twin_of, twin_section
from benchmarks.twins import require_twins
from physgan.data.synthesis import synthesise
from physgan.data.text.known import render_known_page
from physgan.errors import UsageError, WeightsError
from physgan.metrics.protocol import protocol, scores
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe, physics_of
from physgan.recipes.schema import Recipe
from physgan.restore.restorer import Restorer
from physgan.weights import catalogue
from physgan.weights.card import card_of
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import JSON, WeightsInfo, read_info
from physgan.weights.find import find_weights
from tests.restore.small import small_weights

ROOT = Path(__file__).parents[2]
TASKS = ("deblur-face", "deblur-natural", "deblur-text", "dehaze", "derain", "sr4")


def test_these_tasks_ship() -> None:
    assert sorted(SHIPPED) == sorted(TASKS)


def test_the_files_are_small() -> None:
    sizes = [shipped_file(task).stat().st_size for task in TASKS]
    assert max(sizes) <= 8_000_000
    assert sum(sizes) <= 40_000_000


@pytest.mark.parametrize("task", TASKS)
def test_the_header_says_how_they_came_about(task: str) -> None:
    info = read_info(shipped_file(task))
    assert {"steps", "hours", "seed", "machine", "curve"} <= info.training.keys()
    assert info.licence != "unknown"
    assert isinstance(info.recipe, dict)
    recipe = Recipe.model_validate(info.recipe)
    assert recipe.name == task
    # What differs from the recipe of today is how long the run was, where it began, and that a run
    # that began from others may have a lower rate.
    shipped = load_recipe(task)
    for part in ("physics", "generator", "objective"):
        assert getattr(recipe, part) == getattr(shipped, part), part
    rate = shipped.optimiser.lr
    assert recipe.optimiser.model_copy(update={"lr": rate}) == shipped.optimiser
    assert recipe.optimiser.lr == rate or (
        recipe.optimiser.lr < rate and info.training.get("began_from")
    )
    own = {"train", "pictures", "licence"}
    assert recipe.data.model_dump(exclude=own) == shipped.data.model_dump(exclude=own)
    assert not str(recipe.data.train or "").startswith("/")


@pytest.mark.parametrize("task", TASKS)
def test_the_card_is_that_of_the_file(task: str) -> None:
    cards = ROOT / "docs" / "cards"
    card = (cards / f"{task}.md").read_text(encoding="utf-8")
    of_the_header = card_of(shipped_file(task), title=task)
    assert card.startswith(of_the_header)
    rest, _, failures = card.removeprefix(of_the_header).partition("\n## Where it fails\n")
    twin, _, seen = rest.partition("\n## On real photographs\n")
    told = twin_of(task)
    assert twin == ("" if told is None else "\n" + twin_section(told))
    assert seen.strip().split("\n")[0] == real.seen(task)
    pictures = re.findall(r"\]\((.+\.jpg)\)", seen), re.findall(r"\]\((.+\.jpg)\)", failures)
    assert [len(each) for each in pictures] == [task in real.SHOWN, 1]
    assert all((cards / picture).is_file() for each in pictures for picture in each)


def test_text_is_restored_and_clear_text_not_spoilt() -> None:
    restorer = Restorer.from_pretrained("deblur-text", device="cpu")
    assert restorer.info is not None
    degradation = build_degradation(physics_of(restorer.info.recipe))
    page, _ = render_known_page(160, Random("catalogue"))
    x = page[None].expand(4, -1, -1, -1)
    batch = synthesise(x, degradation, generator=Generator().manual_seed(3))
    how = protocol("rgb")
    x_hat = restorer(batch.y)
    gains = [
        scores(x_hat[i : i + 1], batch.x[i : i + 1], how)["psnr"]
        - scores(batch.y[i : i + 1], batch.x[i : i + 1], how)["psnr"]
        for i in range(4)
    ]
    assert sum(gains) / 4 > 1.5
    clear = batch.x[:1]
    assert scores(restorer(clear), clear, how)["psnr"] > 25


def test_a_shipped_name_is_not_taken_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deblur-text").mkdir()
    small_weights(Path("deblur-text/weights.safetensors"))
    assert find_weights("deblur-text") == shipped_file("deblur-text")
    assert find_weights(Path("deblur-text")) == Path("deblur-text/weights.safetensors")


def test_weights_that_were_changed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match="got none"):
        shipped_file("deblur-text")
    small_weights(tmp_path / "deblur-text.safetensors")
    with pytest.raises(WeightsError, match="got another"):
        shipped_file("deblur-text")
    with pytest.raises(WeightsError, match="Did you mean 'deblur-text'"):
        shipped_file("deblur-texts")


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    Restorer.from_pretrained("deblur-text", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def of_one_run() -> WeightsInfo:
    """A header that ships, as if all of the training had been its last run."""
    shipped = read_info(shipped_file("sr4"))
    training = {name: told for name, told in shipped.training.items() if name != "began_from"}
    return dataclasses.replace(shipped, training=training)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({}, None),
        ({"gamma": 10.0}, "gamma of the twin: expected 0"),
        ({"seed": 7}, "seed of the twin"),
        ({"steps": 7}, "steps of the twin"),
        ({"lambda": 7}, "objective of the twin"),
        ({"crop": 64}, "data of the twin"),
        ({"batch": 1}, "training of the twin"),
    ],
)
def test_twins_differ_in_their_physics_alone(changed: dict[str, Any], part: str | None) -> None:
    shipped = of_one_run()
    assert isinstance(shipped.recipe, dict)
    recipe: dict[str, Any] = {**shipped.recipe}
    places = {"objective": ("lambda", "gamma"), "data": ("crop",), "training": ("batch",)}
    recipe["objective"] = recipe["objective"] | {"gamma": 0.0}
    for place, names in places.items():
        recipe[place] = recipe[place] | {name: changed[name] for name in names if name in changed}
    run = {name: changed[name] for name in ("seed", "steps") if name in changed}
    twin = dataclasses.replace(
        shipped,
        recipe=recipe,
        training=dict(shipped.training) | run,
    )
    if part is None:
        assert require_twins(shipped, twin) == (1, True)
        return
    with pytest.raises(UsageError, match=part):
        require_twins(shipped, twin)


def test_twins_of_several_runs() -> None:
    shipped = of_one_run()
    assert isinstance(shipped.recipe, dict)
    recipe: dict[str, Any] = shipped.recipe
    without = recipe | {"objective": recipe["objective"] | {"gamma": 0.0}}

    def run(recipe: JSON, sha256: str, began_from: JSON = None) -> dict[str, JSON]:
        facts = dict(shipped.training) | {"recipe": recipe, "sha256": sha256}
        return facts | ({"began_from": began_from} if began_from else {})

    def last(recipe: JSON, began_from: JSON) -> WeightsInfo:
        training = dict(shipped.training) | {"began_from": began_from}
        return dataclasses.replace(shipped, recipe=recipe, training=training)

    start = run(recipe, "a")
    both = last(recipe, run(recipe, "b", start))
    assert require_twins(both, last(without, run(recipe, "b", start))) == (1, False)
    assert require_twins(both, last(without, run(without, "c", start))) == (2, False)
    assert require_twins(both, last(without, run(without, "c", run(without, "d")))) == (3, True)
    with pytest.raises(UsageError, match="what the twin began from"):
        require_twins(both, last(without, run(without, "c")))
    with pytest.raises(UsageError, match="gamma of the twin"):
        require_twins(both, last(without, run(recipe, "c", start)))
