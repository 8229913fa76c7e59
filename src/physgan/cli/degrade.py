"""`physgan degrade`: clear pictures in, pairs with their parameters out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from torch import Tensor

    from physgan.data.manifest import Head, Record
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
    physics and seed is gone on with."""
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
    json: bool = False
    """Print the outcome as one line of JSON."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.data.maker import check_stems, make_pairs
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
    done = _done(arguments.output, head)
    place = arguments.pictures
    paths = [place] if place.is_file() else list_images(place)
    degradation = build_degradation(physics)
    maps = _maps(arguments.depth, head, degradation)
    try_physics(degradation, crop=64 * degradation.operator.scale, channels=head.channels)
    left = [path for path in paths if path.stem not in done]
    check_stems(paths)
    # Before the first line is added: the last of a run that was killed may be cut short.
    write_manifest(arguments.output, head, done.values())
    made, failed = dict(done), 0
    for outcome in make_pairs(
        left,
        degradation,
        arguments.output,
        seed=head.seed,
        channels=head.channels,
        measured=maps,
    ):
        if outcome.error is not None:
            failed += 1
            print(f"physgan: {outcome.error}", file=sys.stderr, flush=True)
        elif outcome.record is not None:
            append_record(arguments.output, outcome.record)
            made[outcome.record.name] = outcome.record
            progress = f"[{len(made) + failed}/{len(paths)}] {outcome.record.name}"
            print(progress, file=sys.stderr, flush=True)
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
        versions = [
            f"{name} {getattr(told, name)} then, {getattr(head, name)} now"
            for name in ("physgan", "torch", "cpu")
            if getattr(told, name) != getattr(head, name)
        ]
        why = "; ".join([*unlike, *versions])
        print(f"physgan: not the pairs of the manifest: {why}.", file=sys.stderr)
    return 1 if failed or unlike else 0


def _wanted(arguments: Arguments) -> tuple[Head, Physics, dict[str, Record]]:
    """What shall be made, by which physics, and the records of the manifest that it comes from."""
    import torch

    from physgan import __version__
    from physgan.data.manifest import Head, read_manifest
    from physgan.recipes.build import foreign_code
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
        head = head.model_copy(update={"depth": _read_as(arguments, head.depth)})
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
        **here,
    )
    return head, physics, {}


def _read_as(arguments: Arguments, before: dict[str, str] | None) -> dict[str, str] | None:
    """How depth is read: as told, else as before."""
    from physgan.errors import UsageError

    if arguments.depth is None:
        for option, value in (
            ("--depth-kind", arguments.depth_kind),
            ("--depth-placed", arguments.depth_placed),
            ("depth of the manifest", before),
        ):
            if value is not None:
                raise UsageError(
                    option, expected="--depth FOLDER, with the maps to read", got="no such folder"
                )
        return None
    kept = before or {"kind": "depth", "placed": "scaled"}
    return {
        "kind": arguments.depth_kind or kept["kind"],
        "placed": arguments.depth_placed or kept["placed"],
    }


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
    read = depth_beside(folder, **head.depth)  # type: ignore[arg-type]
    return lambda path, size: {"depth": read(path, size)}


def _done(output: Path, head: Head) -> dict[str, Record]:
    """The pairs that an earlier run has left whole in the folder."""
    from physgan.data.maker import CLEAN, DEGRADED, THETA
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
    if there.decides != head.decides:
        raise UsageError(
            f"output '{output}'",
            expected="pairs of the same physics, channels and seed, to go on with",
            got="others",
            remedy="Name another folder.",
        )
    return {
        name: record
        for name, record in records.items()
        if (output / CLEAN / f"{name}.png").is_file()
        and (output / DEGRADED / f"{name}.png").is_file()
        and (output / THETA / f"{name}.safetensors").is_file()
    }
