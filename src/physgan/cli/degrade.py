"""`physgan degrade`: clear pictures in, pairs with their parameters out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from torch import Tensor

    from physgan.data.manifest import DepthReading, Head, Record
    from physgan.data.pictures import Size
    from physgan.physics.compose import Degradation
    from physgan.recipes.schema import Physics


@dataclass
class Arguments:
    """Degrade clear pictures by a physics: pairs to check on, with the parameters that made them.

    The manifest that is left makes the same pairs again: --physics DIR/manifest.jsonl.
    """

    pictures: Annotated[Path, tyro.conf.Positional]
    """Folder of clear pictures, searched all the way down, or one picture."""
    physics: str
    """Recipe whose physics degrades them, or the manifest of pairs to make again."""
    output: Path
    """Folder of the pairs: clean, degraded, theta, manifest.jsonl. One that holds pairs of the same
    physics and seed is gone on with: pairs of the same pictures stay, unless physgan, torch or the
    processor were others."""
    seed: int | None = None
    """Decides what is drawn; 0, or that of the manifest, where it is left out."""
    depth: Path | None = None
    """Folder of depth maps, one of the same name for each picture: haze takes them, and draws no
    depth. Pictures of 8 or 16 bits, .npy, .mat."""
    depth_kind: Literal["depth", "disparity"] | None = None
    """What the maps hold; depth, or what the manifest says, where it is left out."""
    depth_placed: Literal["scaled", "centred"] | None = None
    """How a map of another size lies on its picture; scaled, or what the manifest says, where it is
    left out."""
    depth_variable: str | None = None
    """Name of the map in .mat files; the only one of two dimensions, or what the manifest says,
    where it is left out."""
    depth_invalid: float | None = None
    """A number in the maps that stands for what was not measured, besides 0; none, or what the
    manifest says, where it is left out."""
    json: bool = False
    """Print the outcome as one line of JSON."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.data.maker import check_stems, make_pairs, stand
    from physgan.data.manifest import (
        MANIFEST,
        append_record,
        differences,
        read_manifest,
        write_manifest,
    )
    from physgan.errors import UsageError
    from physgan.images.read import list_images
    from physgan.recipes.build import build_degradation
    from physgan.recipes.trial import try_physics

    if arguments.seed is not None and not 0 <= arguments.seed < 2**32:
        raise UsageError("--seed", expected="0 to 2^32 - 1", got=str(arguments.seed))
    head, physics, before = _wanted(arguments)
    place = arguments.pictures
    paths = [place] if place.is_file() else list_images(place)
    check_stems(paths)
    done = _done(arguments.output, head, {path.stem for path in paths})
    degradation = build_degradation(physics)
    maps = _maps(arguments.depth, head, degradation)
    try_physics(
        degradation,
        crop=64 * degradation.operator.scale,
        channels=head.channels,
        known=() if head.depth is None else ("depth",),
    )
    if head.depth is not None:
        far = "greater is farther; for what a stereo camera gives: --depth-kind disparity"
        meaning = far if head.depth.kind == "depth" else "greater is nearer"
        print(f"maps read as {head.depth.kind}: {meaning}", file=sys.stderr)
    # Before the first line is added: the last of a run that was killed may be cut short.
    write_manifest(arguments.output, head, done.values())
    made, failed = dict(done), 0
    outcomes = make_pairs(
        paths,
        degradation,
        arguments.output,
        seed=head.seed,
        channels=head.channels,
        measured=maps,
        done=done,
    )
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.error is not None:
            failed += 1
            # A pair that stands does so without its source.
            before_it = made.get(outcome.source.stem)
            if before_it and not stand(arguments.output, before_it, channels=head.channels):
                del made[outcome.source.stem]
            print(f"physgan: {outcome.error}", file=sys.stderr, flush=True)
        elif outcome.record is not None:
            name = outcome.record.name
            if outcome.record != made.get(name):
                append_record(arguments.output, outcome.record)
                made[name] = outcome.record
            print(f"[{number}/{len(paths)}] {name}", file=sys.stderr, flush=True)
    write_manifest(arguments.output, head, made.values())
    unlike = differences(before, made) if before else []
    result = {
        "pairs": len(made),
        "failed": failed,
        "manifest": str(arguments.output / MANIFEST),
        "differences": unlike,
    }
    print(json.dumps(result) if arguments.json else f"{arguments.output}: {len(made)} pairs")
    if unlike:
        told, _ = read_manifest(Path(arguments.physics))
        why = "; ".join([*unlike, *_otherwise(told, head)])
        print(f"physgan: not the pairs of the manifest: {why}.", file=sys.stderr)
    return 1 if failed or unlike else 0


def _wanted(arguments: Arguments) -> tuple[Head, Physics, dict[str, Record]]:
    """What shall be made, by which physics, and the records of the manifest that it comes from."""
    import torch

    from physgan import __version__
    from physgan.data.manifest import Head, read_manifest
    from physgan.recipes.build import foreign_code, physics_files
    from physgan.recipes.load import load_recipe, physics_from, published

    physics, channels = physics_from(arguments.physics)
    here = {
        "physgan": __version__,
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    if Path(arguments.physics).suffix == ".jsonl":
        head, records = read_manifest(Path(arguments.physics))
        before = head.depth
        files = _files(physics, head, arguments.physics)
        depth = _read_as(arguments, head.depth)
        head = head.model_copy(update={"depth": depth, "files": files})
        if head.depth != before:
            records = {}
        if arguments.seed in (None, head.seed):
            return head.model_copy(update=here), physics, records
        return head.model_copy(update=here | {"seed": arguments.seed}), physics, {}
    recipe = load_recipe(arguments.physics)
    head = Head(
        recipe=recipe.name,
        physics=published(recipe)["physics"],
        channels=channels,
        seed=arguments.seed or 0,
        depth=_read_as(arguments, None),
        code=foreign_code(recipe.physics),
        files=physics_files(physics),
        **here,
    )
    return head, physics, {}


def _files(physics: Physics, told: Head, source: str) -> str:
    """What tells the files that the physics of a manifest names, if they are those of then."""
    from physgan.errors import RecipeError
    from physgan.recipes.build import physics_files, physics_paths

    missing = [str(path) for path in physics_paths(physics) if not path.exists()]
    files = "" if missing else physics_files(physics)
    # A manifest of before these were told does not say what they were.
    if missing or told.files not in ("", files):
        name = missing[0] if missing else str(physics_paths(physics)[0])
        raise RecipeError(
            f"files that the physics of '{source}' names",
            expected=f"'{name}' in the folder where this is run, as it was",
            got="nothing of that name" if missing else "other contents",
            remedy=f"A manifest keeps no places: run this where '{name}' lies, or name the recipe.",
        )
    return files


def _read_as(arguments: Arguments, before: DepthReading | None) -> DepthReading | None:
    """How depth is read: as told, else as before."""
    from physgan.data.manifest import DepthReading
    from physgan.errors import UsageError

    told = {
        "kind": arguments.depth_kind,
        "placed": arguments.depth_placed,
        "variable": arguments.depth_variable,
        "invalid": arguments.depth_invalid,
    }
    told = {name: value for name, value in told.items() if value is not None}
    if arguments.depth is None:
        options = [f"--depth-{name}" for name in told]
        if options or before is not None:
            raise UsageError(
                (options or ["depth of the manifest"])[0],
                expected="--depth FOLDER, with the maps to read",
                got="no such folder",
            )
        return None
    if arguments.depth_invalid is not None and not math.isfinite(arguments.depth_invalid):
        raise UsageError(
            "--depth-invalid",
            expected="a finite number; others are never taken for measured",
            got=str(arguments.depth_invalid),
        )
    kept = before or DepthReading(kind="depth", placed="scaled")
    return DepthReading.model_validate(kept.model_dump() | told)


def _maps(
    folder: Path | None, head: Head, degradation: Degradation
) -> Callable[[Path, Size], Mapping[str, Tensor]]:
    """What reads the maps that were measured with a picture."""
    from physgan.data.scenes import depth_beside
    from physgan.errors import UsageError

    if folder is None or head.depth is None:
        return lambda path, size: {}
    if not degradation.stages_with("depth"):
        raise UsageError(
            "--depth",
            expected="a physics with depth, such as that of dehaze",
            got=f"stages {', '.join(degradation.samplers)}, of which none takes it",
        )
    read = depth_beside(folder, **head.depth.model_dump())
    return lambda path, size: {"depth": read(path, size)}


def _done(output: Path, head: Head, stems: Collection[str]) -> dict[str, Record]:
    """The pairs that an earlier run has left in the folder, and that may stay there.

    Those of `stems` are made anew where their pictures have changed; of others the files must
    stand. Where versions are others, all are made anew: a manifest tells one version.
    """
    from physgan.data.maker import stand
    from physgan.data.manifest import MANIFEST, read_manifest
    from physgan.errors import UsageError

    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return {}
    if not (output / MANIFEST).is_file():
        raise UsageError(
            f"output '{output}'",
            expected="a new folder, an empty one, or one of pairs to go on with",
            got="one that holds something else" if output.is_dir() else "a file",
        )
    there, records = read_manifest(output / MANIFEST)
    # A manifest of before files were told does not say what they were.
    decided = there.model_copy(update={"files": there.files or head.files}).decides
    if unlike := [what for what in head.decides if decided[what] != head.decides[what]]:
        raise UsageError(
            f"output '{output}'",
            expected="pairs of the same physics, channels and seed, to go on with",
            got=f"pairs of other {', '.join(unlike)}",
            remedy="Name another folder.",
        )
    others = [name for name in records if name not in stems]
    if there.versions != head.versions:
        versions = "; ".join(_otherwise(there, head))
        if others:
            raise UsageError(
                f"output '{output}'",
                expected=f"the pictures of all its pairs, to make them anew ({versions})",
                got=f"{len(others)} pairs without, such as '{others[0]}'",
                remedy="Name another folder.",
            )
        if records:
            print(f"physgan: all pairs are made anew: {versions}.", file=sys.stderr, flush=True)
        return {}
    fallen = {n for n in others if not stand(output, records[n], channels=head.channels)}
    return {name: record for name, record in records.items() if name not in fallen}


def _otherwise(then: Head, now: Head) -> list[str]:
    """Which versions of two manifests differ, a clause for each."""
    return [
        f"{name} {version} then, {now.versions[name]} now"
        for name, version in then.versions.items()
        if version != now.versions[name]
    ]
