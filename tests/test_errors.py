import pickle
import re
import tomllib
from pathlib import Path

import pytest

from physgan.errors import (
    ImageError,
    PhysganError,
    RecipeError,
    ShapeError,
    ThetaError,
    TrainingError,
    WeightsError,
    install,
    nearest,
)

KINDS = [ShapeError, ThetaError, RecipeError, ImageError, WeightsError, TrainingError]


@pytest.mark.parametrize("kind", [PhysganError, *KINDS])
@pytest.mark.parametrize("remedy", ["Turn it.", ""])
def test_parts_and_pickling(kind: type[PhysganError], remedy: str) -> None:
    error = kind("a kernel", expected="odd sides", got="4×4", remedy=remedy)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert type(one) is kind
        assert (one.what, one.expected, one.got, one.remedy) == (
            "a kernel",
            "odd sides",
            "4×4",
            remedy,
        )
        text = "a kernel: expected odd sides, got 4×4." + (f" {remedy}" if remedy else "")
        assert str(one) == text
        assert one.args == (text,)


@pytest.mark.parametrize("kind", KINDS)
def test_one_except_catches_all(kind: type[PhysganError]) -> None:
    assert issubclass(kind, PhysganError)
    assert issubclass(kind, RuntimeError if kind is TrainingError else ValueError)


@pytest.mark.parametrize(
    ("name", "known", "clause"),
    [
        ("gama", ["gamma", "mu"], "Did you mean 'gamma'?"),
        ("zzz", ["mu", "gamma"], "Known: gamma, mu."),
        ("Lambda", ["lambda"], "Did you mean 'lambda'?"),
        ("gamma", ["gamma_1", "gamma_2x"], "Did you mean 'gamma_1'?"),
    ],
)
def test_nearest(name: str, known: list[str], clause: str) -> None:
    assert nearest(name, known) == clause
    assert nearest(name, iter(known)) == clause


def test_the_remedy_for_what_is_missing_names_an_extra_that_exists() -> None:
    root = Path(__file__).parents[1]
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    code = "".join(p.read_text(encoding="utf-8") for p in root.glob("src/physgan/**/*.py"))
    named = set(re.findall(r'install\("(\w+)"\)', code))
    assert {"web", "hub", "onnx", "train"} <= named <= extras.keys()
    assert install("web").endswith("pip install -c constraints.txt -e '.[web]'")
