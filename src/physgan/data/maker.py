"""Pairs made on disk: clear pictures degraded by a physics, with theta and a manifest.

    DIR/clean/NAME.png            the clear picture as it was degraded, 8 bits
    DIR/degraded/NAME.png         the observation, 8 bits
    DIR/theta/NAME.safetensors    the parameters that made the one from the other
    DIR/manifest.jsonl            a line with physics and seed, then a line for each pair

What a picture becomes depends on the seed, its name and its pixels alone: pairs made one by one,
in another order or from a part of the folder are the same, bit for bit, on the same versions of
the package and of torch and on processors that compute alike; the manifest names all three.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from physgan.data.manifest import Record
from physgan.data.pictures import Size
from physgan.data.synthesis import Batch, synthesise
from physgan.data.theta import load_theta, save_theta
from physgan.errors import ImageError, PhysganError, ThetaError
from physgan.images.read import read_8bit
from physgan.images.write import write_8bit
from physgan.metrics.quantise import to_levels
from physgan.physics.compose import Degradation
from physgan.types import Theta

CLEAN, DEGRADED, THETA = "clean", "degraded", "theta"

NOTHING_DONE: Mapping[str, Record] = MappingProxyType({})
"""Of a folder that holds no pairs yet."""


@dataclass(frozen=True)
class Made:
    """What became of one clear picture: a line of the manifest, or a fault."""

    source: Path
    record: Record | None = None
    error: PhysganError | None = None


def make_pairs(
    paths: Sequence[Path],
    degradation: Degradation,
    output: Path,
    *,
    seed: int,
    channels: int = 3,
    measured: Callable[[Path, Size], Mapping[str, Tensor]] = lambda path, size: {},
    done: Mapping[str, Record] = NOTHING_DONE,
) -> Iterator[Made]:
    """Degrades picture files one by one into a folder of pairs.

    Pictures are cut at the bottom and on the right to multiples of the physics' scale.

    Args:
        paths: picture files, each of a stem of its own.
        degradation: physics and sensor.
        output: the folder; `clean`, `degraded` and `theta` are made in it.
        seed: decides what is drawn.
        channels: 1 for grey, 3 for colour.
        measured: given a file and the height and width of its picture as it is cut, the maps *×H×W
            that were measured with it, by the parameter whose draw they replace.
        done: pairs by name that the folder holds, made by the same physics and seed. One stays as
            it is if it is of the same picture and the same maps, and its files `stand`.

    Yields:
        For each picture its record, or its fault; a fault costs no other picture its pair.

    Raises:
        ImageError: two pictures have the same stem, or the folder cannot be made.
    """
    check_stems(paths)
    try:
        for name in (CLEAN, DEGRADED, THETA):
            (output / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"folder of pairs '{output}'", expected="one that can be written", got=str(error)
        ) from None
    for path in paths:
        try:
            picture = _cut(path, read_8bit(path, channels=channels), degradation.operator.scale)
            maps = measured(path, (picture.shape[-2], picture.shape[-1]))
            there = done.get(path.stem)
            if (
                there is None
                or not _is_of(there, path, picture, maps)
                or not stand(output, there, channels=channels)
            ):
                there = _make(path, picture, maps, degradation, output, seed=seed)
            yield Made(path, there)
        except PhysganError as error:
            yield Made(path, error=error)


def stand(output: Path, record: Record, *, channels: int) -> bool:
    """Whether the files of a pair are whole, and the pictures those that its record tells of."""
    try:
        load_theta(output / THETA / f"{record.name}.safetensors")
        for part, digest in ((CLEAN, record.clean_sha256), (DEGRADED, record.degraded_sha256)):
            path = output / part / f"{record.name}.png"
            if _digest(read_8bit(path, channels=channels)) != digest:
                return False
    except (ImageError, ThetaError):
        return False
    return True


def seed_of(seed: int, name: str) -> int:
    """The seed of one picture of a set; the same however the file system spells its name."""
    told = f"{seed}/{unicodedata.normalize('NFC', name)}"
    # Names of files need not be text.
    digest = hashlib.sha256(told.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def check_stems(paths: Sequence[Path]) -> None:
    """Raises ImageError where two pictures differ in nothing but folder or ending."""
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


def _cut(path: Path, picture: Tensor, scale: int) -> Tensor:
    """A picture cut to multiples of the scale."""
    height, width = (side - side % scale for side in picture.shape[-2:])
    if not (height and width):
        raise ImageError(
            f"picture '{path}'",
            expected=f"at least {scale}×{scale} pixels, the physics' scale",
            got="×".join(str(side) for side in picture.shape[-2:]),
        )
    return picture[:, :height, :width].contiguous()


def _is_of(record: Record, path: Path, picture: Tensor, maps: Mapping[str, Tensor]) -> bool:
    """Whether a pair was made of this picture and of these maps."""
    told = (record.source, record.clean_sha256, record.measured_sha256)
    return told == (path.name, _digest(picture), _digests(maps))


def _make(
    path: Path,
    picture: Tensor,
    maps: Mapping[str, Tensor],
    degradation: Degradation,
    output: Path,
    *,
    seed: int,
) -> Record:
    known = {parameter: values[None] for parameter, values in maps.items()}
    name = path.stem
    batch = _degraded(path, picture, known, degradation, seed_of(seed, name))
    observation = to_levels(batch.y[0])
    save_theta(output / THETA / f"{name}.safetensors", batch.theta)
    write_8bit(output / CLEAN / f"{name}.png", picture)
    write_8bit(output / DEGRADED / f"{name}.png", observation)
    return Record(
        name=name,
        source=path.name,
        size=(picture.shape[-2], picture.shape[-1]),
        observed_size=(observation.shape[-2], observation.shape[-1]),
        clean_sha256=_digest(picture),
        degraded_sha256=_digest(observation),
        measured_sha256=_digests(maps),
    )


def _degraded(
    path: Path, picture: Tensor, known: Theta, degradation: Degradation, seed: int
) -> Batch:
    generator = Generator().manual_seed(seed)
    try:
        batch = synthesise(picture[None], degradation, generator=generator, known=known)
        degradation.check(batch.theta)
    except PhysganError as error:
        raise ImageError(
            f"picture '{path}'", expected="one that fits the physics", got=str(error)
        ) from None
    except Exception as error:  # whatever foreign physics does wrong on this picture
        raise ImageError(
            f"picture '{path}'",
            expected="one that the physics takes",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if not bool(torch.isfinite(batch.y).all()):
        raise ImageError(
            f"picture '{path}'", expected="finite numbers from the physics", got="others"
        )
    return batch


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()


def _digests(maps: Mapping[str, Tensor]) -> dict[str, str]:
    return {parameter: _digest(values) for parameter, values in maps.items()}
