"""`physgan degrade`: clear pictures in, pairs with their parameters out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


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
    """Folder of the pairs: clean, degraded, theta, manifest.jsonl. It must hold none yet."""
    seed: int | None = None
    """Decides what is drawn; 0, or that of the manifest, where it is left out."""
    json: bool = False
    """Print the outcome as one line of JSON."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.data.maker import MANIFEST, make_pairs, read_manifest, write_manifest
    from physgan.errors import UsageError
    from physgan.images.read import list_images
    from physgan.recipes.build import build_degradation
    from physgan.recipes.load import recipe_or_manifest

    if arguments.seed is not None and not 0 <= arguments.seed < 2**32:
        raise UsageError("--seed", expected="0 to 2^32 - 1", got=str(arguments.seed))
    output = arguments.output
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(
            f"output '{output}'",
            expected="a new folder or an empty one",
            got="one that holds something" if output.is_dir() else "a file",
        )
    before: dict[str, str] = {}
    seed = arguments.seed or 0
    if Path(arguments.physics).suffix == ".jsonl":
        head, records = read_manifest(Path(arguments.physics))
        if arguments.seed is None:
            seed = int(head["seed"])
        before = {record["name"]: record["degraded_sha256"] for record in records}
    recipe = recipe_or_manifest(arguments.physics)
    place = arguments.pictures
    paths = [place] if place.is_file() else list_images(place)
    made, failed = [], 0
    degradation = build_degradation(recipe.physics)
    for outcome in make_pairs(paths, degradation, output, seed=seed, channels=recipe.data.channels):
        if outcome.error is not None:
            failed += 1
            print(f"physgan: {outcome.error}", file=sys.stderr, flush=True)
        elif outcome.record is not None:
            made.append(outcome.record)
            progress = f"[{len(made) + failed}/{len(paths)}] {outcome.record['name']}"
            print(progress, file=sys.stderr, flush=True)
    raw = recipe.model_dump(mode="json", by_alias=True)
    # Where somebody keeps pictures is nobody else's business.
    raw["data"]["train"], raw["data"]["pairs"] = None, None
    write_manifest(output, raw, seed, made)
    other = [r["name"] for r in made if before.get(r["name"], "") != r["degraded_sha256"]]
    result = {"pairs": len(made), "failed": failed, "manifest": str(output / MANIFEST)}
    if before:
        result["differing"] = len(other)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{output}: {len(made)} pairs")
    if before and arguments.seed is None and other:
        print(
            f"physgan: {len(other)} pairs are not those of the manifest, such as '{other[0]}': "
            "other pictures, or another version of physgan or torch.",
            file=sys.stderr,
        )
        return 1
    return 1 if failed else 0
