"""Pairs made on disk: clear pictures degraded by a physics, with theta and a manifest.

    DIR/clean/NAME.png            the clear picture as it was degraded, 8 bits
    DIR/degraded/NAME.png         the observation, 8 bits
    DIR/theta/NAME.safetensors    the parameters that made the one from the other
    DIR/manifest.jsonl            a line with recipe and seed, then a line for each pair

What a picture becomes depends on the seed, its name and its pixels alone: pairs made one by one,
in another order or from a part of the folder are the same, bit for bit, on the same versions of
the package and of torch, which the manifest names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from physgan.data.synthesis import synthesise
from physgan.data.theta import save_theta
from physgan.errors import ImageError, PhysganError
from physgan.files import write_text
from physgan.images.read import read_8bit
from physgan.images.write import write_8bit
from physgan.physics.compose import Degradation

CLEAN, DEGRADED, THETA = "clean", "degraded", "theta"
MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Made:
    """What became of one clear picture: a line of the manifest, or a fault."""

    source: Path
    record: Mapping[str, Any] | None = None
    error: PhysganError | None = None


def make_pairs(
    paths: Sequence[Path],
    degradation: Degradation,
    output: Path,
    *,
    seed: int,
    channels: int = 3,
) -> Iterator[Made]:
    """Degrades picture files one by one into a folder of pairs.

    Pictures are cut at the bottom and on the right to multiples of the physics' scale.

    Args:
        paths: picture files, each of a stem of its own.
        degradation: physics and sensor.
        output: the folder; `clean`, `degraded` and `theta` are made in it.
        seed: decides what is drawn.
        channels: 1 for grey, 3 for colour.

    Yields:
        For each picture its record, `name`, `source`, sizes and the SHA-256 of both pictures'
        pixels, or its fault; a fault costs no other picture its pair.

    Raises:
        ImageError: two pictures have the same stem, or the folder cannot be made.
    """
    _check_stems(paths)
    try:
        for name in (CLEAN, DEGRADED, THETA):
            (output / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"folder of pairs '{output}'", expected="one that can be written", got=str(error)
        ) from None
    for path in paths:
        try:
            yield Made(path, _make(path, degradation, output, seed=seed, channels=channels))
        except PhysganError as error:
            yield Made(path, error=error)


def write_manifest(
    output: Path, recipe: Mapping[str, Any], seed: int, records: Sequence[Mapping[str, Any]]
) -> None:
    """Writes what the pairs were made with, and a line for each pair in the order of the names."""
    head = {
        "recipe": recipe,
        "seed": seed,
        "physgan": version("physgan"),
        "torch": torch.__version__,
        "pairs": len(records),
    }
    lines = [head, *sorted(records, key=lambda record: str(record["name"]))]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_text(output / MANIFEST, text)


def read_manifest(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The first line of a manifest, and the lines of its pairs.

    Raises:
        ImageError: there is no such file, or it is no manifest.
    """
    try:
        head, *records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if not {"recipe", "seed"} <= head.keys() or not all("name" in r for r in records):
            raise ValueError("lines without the fields of a manifest")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ImageError(
            f"manifest '{path}'", expected="one that `physgan degrade` wrote", got=str(error)
        ) from None
    return head, records


def seed_of(seed: int, name: str) -> int:
    """The seed of one picture of a set."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _make(
    path: Path, degradation: Degradation, output: Path, *, seed: int, channels: int
) -> dict[str, Any]:
    picture = read_8bit(path, channels=channels)
    scale = degradation.operator.scale
    height, width = (side - side % scale for side in picture.shape[-2:])
    if not (height and width):
        raise ImageError(
            f"picture '{path}'",
            expected=f"at least {scale}×{scale} pixels, the physics' scale",
            got="×".join(str(side) for side in picture.shape[-2:]),
        )
    picture = picture[:, :height, :width].contiguous()
    name = path.stem
    generator = Generator().manual_seed(seed_of(seed, name))
    batch = synthesise(picture[None], degradation, generator=generator)
    observation = batch.y[0].mul(255).round().clamp(0, 255).to(torch.uint8)
    # Theta first: a pair whose pictures are there is whole.
    save_theta(output / THETA / f"{name}.safetensors", batch.theta)
    write_8bit(output / CLEAN / f"{name}.png", picture)
    write_8bit(output / DEGRADED / f"{name}.png", observation)
    return {
        "name": name,
        "source": path.name,
        "size": [height, width],
        "observed_size": list(observation.shape[-2:]),
        "clean_sha256": _digest(picture),
        "degraded_sha256": _digest(observation),
    }


def _digest(picture: Tensor) -> str:
    return hashlib.sha256(picture.contiguous().numpy().tobytes()).hexdigest()


def _check_stems(paths: Sequence[Path]) -> None:
    first: dict[str, Path] = {}
    for path in paths:
        if path.stem in first:
            raise ImageError(
                "clear pictures",
                expected="names that differ before the ending, by which pairs are matched",
                got=f"'{first[path.stem]}' and '{path}'",
                remedy="Rename one, or degrade them into two folders.",
            )
        first[path.stem] = path
