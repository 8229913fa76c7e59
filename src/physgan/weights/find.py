"""The weights file that is meant: by the name of what ships, a file, a folder, or the hub."""

from __future__ import annotations

from pathlib import Path

from physgan.errors import WeightsError
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.hub import fetch, is_repository


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
