"""The weights that come with physgan: which there are, and that they are what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from physgan.errors import WeightsError, nearest
from physgan.weights.hub import fetch, is_repository

_FOLDER = Path(str(resources.files("physgan.weights"))) / "shipped"


def _read_sums() -> dict[str, str]:
    lines = (_FOLDER / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    pairs = [line.split() for line in lines if line.strip()]
    return {name.removesuffix(".safetensors"): digest for digest, name in pairs}


SHIPPED: Mapping[str, str] = MappingProxyType(_read_sums())
"""Name of a task -> SHA-256 of its file `NAME.safetensors` in `weights/shipped`."""


def shipped_file(name: str) -> Path:
    """The weights file of a shipped task.

    Raises:
        WeightsError: there is no such task, or its file is missing or was changed.
    """
    if name not in SHIPPED:
        raise WeightsError(
            "name of shipped weights",
            expected="that of a task" if SHIPPED else "none, since none ship yet",
            got=repr(name),
            remedy=f"{nearest(name, SHIPPED)} For a recipe without weights, train first, and name "
            "the folder of the run."
            if SHIPPED
            else "Name a weights file instead.",
        )
    path = _FOLDER / f"{name}.safetensors"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHIPPED[name]:
        raise WeightsError(
            f"shipped weights '{name}'",
            expected=f"the file of this release at '{path}'",
            got="another" if path.is_file() else "none",
            remedy="Install physgan again.",
        )
    return path


def find_weights(source: str | Path) -> Path:
    """The weights file behind a shipped name, a file, a folder that holds one, or `org/name`.

    The first of these that there is; of the hub, see `physgan.weights.hub`. A `Path` is never
    taken for a name.

    Raises:
        WeightsError: none of them.
        UsageError: `org/name`, and huggingface_hub is not installed.
    """
    if str(source) in SHIPPED and not isinstance(source, Path):
        return shipped_file(str(source))
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        # As a run leaves them, and as repositories of the hub hold them.
        for name in ("weights.safetensors", "model.safetensors"):
            if (path / name).is_file():
                return path / name
        raise WeightsError(
            f"folder '{path}'",
            expected="weights.safetensors or model.safetensors in it",
            got="none",
            remedy="A run's folder has it once the first checkpoint is written.",
        )
    if not isinstance(source, Path) and is_repository(source):
        return fetch(source)
    if isinstance(source, Path) or path.suffix or "/" in str(source):
        raise WeightsError(
            f"weights '{source}'", expected="a file or a folder", got="nothing there"
        )
    return shipped_file(str(source))
