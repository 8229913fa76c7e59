"""The public names of `physgan`: exactly these, and each is there."""

import ast
import inspect
from pathlib import Path

import pytest

import physgan

PUBLIC = [
    "ImageError",
    "PhysganError",
    "RecipeError",
    "Restorer",
    "ShapeError",
    "ThetaError",
    "TrainingError",
    "UsageError",
    "WeightsError",
    "__version__",
    "load_recipe",
    "load_weights",
    "train_recipe",
]


def test_public_names_are_exactly_these() -> None:
    assert sorted(physgan.__all__) == PUBLIC
    assert {*physgan._PUBLIC, "__version__"} == set(PUBLIC)
    # What people see who complete the name; nothing of how it is done.
    shown = [name for name in dir(physgan) if not name.startswith("__")]
    assert shown == [name for name in PUBLIC if name != "__version__"]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(physgan, name)
    assert name in dir(physgan)
    if name != "__version__":
        assert value.__name__ == name
        assert inspect.getdoc(value)
        # The second access is the same object, and no longer comes through __getattr__.
        assert vars(physgan)[name] is value


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(physgan.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: statement.module
        for statement in guarded.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == physgan._PUBLIC


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = physgan.nothing


def test_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert version("physgan") == physgan.__version__
