"""What our dependencies bring along: no torchvision, and every version pinned."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

# What a CUDA build of torch brings along; torch pins it by itself.
OF_CUDA = ("cuda-", "nvidia-", "triton")


def _asked_for(wanted: Requirement) -> Iterator[Requirement]:
    """What one requirement asks for on this machine, with its extras."""
    for line in distribution(wanted.name).requires or []:
        required = Requirement(line)
        extras = {"", *wanted.extras}
        if required.marker is None or any(
            required.marker.evaluate({"extra": extra}) for extra in extras
        ):
            yield required


def closure(root: str) -> dict[str, bool]:
    """Everything that `root` requires, directly or not: name -> whether it is installed."""
    found: dict[str, bool] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(root)]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        key = (name, frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            waiting.extend(_asked_for(wanted))
            found[name] = True
        except PackageNotFoundError:
            found[name] = False
    return found


@pytest.fixture(scope="module")
def ours() -> dict[str, bool]:
    extras = metadata("physgan").get_all("Provides-Extra") or []
    assert {"train", "data", "tensorboard", "dev", "all"} <= set(extras)
    return closure(f"physgan[{','.join(extras)}]")


def test_the_closure_finds_what_an_extra_asks_for() -> None:
    assert "aiohttp" in closure("fsspec[http]")
    assert "aiohttp" not in closure("fsspec")


def test_everything_that_we_require_is_installed(ours: dict[str, bool]) -> None:
    # Otherwise the walk stops short and the next test proves less than it says.
    assert {"torch", "mpmath", "h5py", "tensorboard", "ruff"} <= set(ours)
    assert [name for name, installed in ours.items() if not installed] == []


def test_none_of_our_dependencies_requires_torchvision(ours: dict[str, bool]) -> None:
    assert "torchvision" not in ours


def test_torchvision_is_not_installed_beside_a_cpu_torch() -> None:
    import torch

    if torch.version.cuda or torch.version.hip:
        pytest.skip("torch is not the CPU build")
    assert find_spec("torchvision") is None


def test_every_dependency_is_pinned(ours: dict[str, bool]) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    pinned = {canonicalize_name(pin.name) for pin in pins}
    free = {name for name in ours if not name.startswith(OF_CUDA)} - {"physgan"}
    # tomli, typing-extensions and the like are asked for by some versions of Python only, so
    # constraints.txt may hold more than one machine needs, never less.
    assert free <= pinned
