"""What is told of the parts of a recipe: all of it, as it is, and YAML that builds it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from physgan.errors import RecipeError
from physgan.recipes.build import build, build_discriminator, build_generator
from physgan.recipes.load import parse_recipe
from physgan.recipes.parts import TABLES, Part, Table, listing, markdown, part, parts
from physgan.recipes.schema import Component
from tests.training.tiny import RECIPE

ENTRIES = [(name, table) for table in TABLES for name in table.entries]

each = pytest.mark.parametrize(
    ("name", "table"), [pytest.param(name, table, id=name) for name, table in ENTRIES]
)


@each
def test_every_argument_of_every_entry_is_documented(name: str, table: Table) -> None:
    told = part(name)
    assert told.summary
    takes = inspect.signature(table.entries[name]).parameters
    assert [argument.name for argument in told.arguments] == list(takes)
    text = " ".join(markdown(told).split())
    for argument in told.arguments:
        assert argument.description
        assert f"- `{argument.name}`, {argument.type}, " in text
        assert argument.description in text


@each
def test_the_example_stands_in_a_recipe_and_builds_the_same(name: str, table: Table) -> None:
    told = part(name)
    spec = placed(told)
    assert spec.name == name
    settable = {a.name: a for a in told.arguments if not a.given}
    assert list(spec.arguments) == list(settable)
    if any(argument.required for argument in settable.values()):
        return  # they need files: test_files_are_named_in_capitals and tests/data build them
    made = build(spec, table.entries, kind=table.kind)
    assert alike(made, table.entries[name]())


def placed(told: Part) -> Component:
    """The component that a recipe holds where the example is put into it."""
    place = told.place.replace("NAME", "blur")
    value = f"[{told.example}]" if place == "physics.sensor" else told.example
    found: Any = parse_recipe(RECIPE, [f"--{place}", value])
    for step in place.split("."):
        found = found[step] if isinstance(found, dict) else getattr(found, step)
    component: Component = found[0] if isinstance(found, list) else found
    return component


def alike(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (one, other)]
        return shapes[0] == shapes[1]
    if type(one).__module__.startswith("physgan."):
        mine, others = vars(one), vars(other)
        return mine.keys() == others.keys() and all(alike(mine[k], others[k]) for k in mine)
    return one == other


def test_what_is_not_the_same_is_told_apart() -> None:
    assert not alike(build(Component(name="disc"), TABLES[1].entries, kind=""), object())
    one, other = (
        build(Component(name="disc", arguments={"radius": r}), TABLES[1].entries, kind="")
        for r in ([0, 1], [0, 2])
    )
    assert alike(one, one)
    assert not alike(one, other)
    assert not alike(nn.Linear(2, 3), nn.Linear(3, 2))


def test_files_are_named_in_capitals() -> None:
    assert placed(part("measured")).arguments == {"path": "PATH", "turns": False}
    assert placed(part("depth_files")).arguments == {
        "folder": "FOLDER",
        "maps": "MAPS",
        "kind": "depth",
        "placed": "scaled",
        "invalid": None,
        "variable": None,
    }


@pytest.mark.parametrize("name", ["unet", "resnet9"])
def test_a_generator_has_channels_and_scale_from_elsewhere(name: str) -> None:
    spec = placed(part(name))
    made: Any = build_generator(spec, channels=1, scale=2, seed=0)
    assert (made.channels, made.scale) == (1, 2)


def test_a_discriminator_has_channels_from_elsewhere() -> None:
    made = build_discriminator(placed(part("patchgan")), channels=1, seed=0)
    assert made(torch.zeros(1, 1, 96, 96)).isfinite().all()


def test_the_listing_has_every_entry_with_its_line() -> None:
    lines = [line.split(None, 1) for line in listing().splitlines() if line.startswith("  ")]
    assert [name for name, _ in lines] == [name for name, _ in ENTRIES]
    for name, line in lines:
        assert line == part(name).summary
    assert [told.name for told in parts()] == [name for name, _ in ENTRIES]


def test_no_name_stands_in_two_tables() -> None:
    names = [name for name, _ in ENTRIES]
    assert len(set(names)) == len(names)


def test_parts_are_spoken_of_by_their_names_in_a_recipe() -> None:
    (radius, *_) = part("defocus_motion").arguments
    assert "`disc`" in radius.description


CODE = '''
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from nowhere import Nobody


class Snow:
    """Snow that falls.

    In flakes, all day.
    """

    def __init__(self, size: float, kind: Literal["wet", 1] | None = None, flag: bool = True):
        """Makes it.

        Args:
            size (float): of a flake, in
                pixels: from edge to edge.
            kind: of snow.
        """


class Hail(dict):
    pass


def sleet(amount: "Nobody", grid: tuple[int, int, int] = (1, 2, 3), *more: Any, **others: Any):
    """Sleet.

    Parameters
    ----------
    amount : float
        How much.
    """


def seen(by: Callable[[float], float] = math.sqrt, untold=2):
    """Seen.

    Args:
        nothing that says which
    """
'''


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weather.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("code")
def test_code_of_ones_own_is_told_by_its_import_path() -> None:
    snow = part("weather.py:Snow")
    assert (snow.kind, snow.place) == ("", "")
    assert snow.summary == "Snow that falls."
    assert snow.description == "Snow that falls.\n\nIn flakes, all day."
    size, kind, flag = snow.arguments
    assert size.description == "of a flake, in pixels: from edge to edge."
    assert (size.type, size.required) == ("a number", True)
    assert (kind.type, kind.default) == ("`wet` or `1` or null", None)
    assert (flag.type, flag.description, flag.default) == ("true or false", "", True)
    assert "not documented" in markdown(snow)
    arguments = "arguments: {size: SIZE, kind: null, flag: true}"
    assert snow.example == f"{{name: 'weather.py:Snow', {arguments}}}"


@pytest.mark.usefixtures("code")
def test_annotations_that_cannot_be_read_stand_as_they_are() -> None:
    amount, grid = part("weather.py:sleet").arguments
    assert (amount.type, amount.description) == ("`Nobody`", "How much.")
    assert (grid.type, grid.default) == ("three whole numbers", [1, 2, 3])


@pytest.mark.usefixtures("code")
def test_what_yaml_cannot_hold_is_left_to_python() -> None:
    by, untold = part("weather.py:seen").arguments
    assert (by.given, by.default) == ("Python only", "sqrt")
    assert (untold.type, untold.description) == ("anything", "")
    assert part("weather.py:seen").example == "{name: 'weather.py:seen', arguments: {untold: 2}}"


# A class does not speak with the words of its base; code in C may not tell its arguments.
SAYS = {"weather.py:Hail": "(Without a docstring.)", "math:hypot": "Multidimensional Euclidean"}


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("name", SAYS)
def test_code_without_arguments_that_can_be_known(name: str) -> None:
    told = part(name)
    assert told.arguments == ()
    assert yaml.safe_load(told.example) == name
    assert SAYS[name] in markdown(told)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("drawn_rian", "Did you mean 'drawn_rain'?"),
        ("weather.py:Fog", "no 'Fog' in weather.py"),
        ("climate.py:Fog", "no file 'climate.py'"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, says: str) -> None:
    with pytest.raises(RecipeError, match="part") as caught:
        part(name)
    assert says in str(caught.value)
