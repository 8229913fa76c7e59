"""The weights that come with physgan: which there are, and that they are what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from physgan.errors import WeightsError, nearest

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
