"""`physgan pack`: clear pictures in, shards of uint8 crops out."""

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
    """Pack folders of clear pictures into shards of crops for training.

    Shards are read without any image library and travel well. Training cuts its own smaller crops
    from them: pack somewhat larger than `data.crop`.
    """

    pictures: Annotated[Path, tyro.conf.Positional]
    """Folder of clear pictures, searched all the way down."""
    output: Path
    """Folder of the shards; it must hold none yet."""
    size: int = 192
    """Side of a crop in pixels; smaller pictures are enlarged to it."""
    per_picture: int = 4
    """Crops from each picture, at random places."""
    channels: int = 3
    """1 for grey, 3 for colour."""
    seed: int = 0
    """Decides the places."""
    shard_megabytes: int = 256
    """Greatest size of one shard."""
    json: bool = False
    """Print the outcome as one line of JSON."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.data.crops import packed_crops
    from physgan.data.pictures import FolderPictures
    from physgan.data.shards import SHARD_SUFFIX, write_shards
    from physgan.errors import ImageError

    for name in ("size", "per_picture", "channels", "shard_megabytes"):
        if getattr(arguments, name) < 1:
            flag = f"--{name.replace('_', '-')}"
            print(f"physgan: {flag}: expected at least 1.", file=sys.stderr)
            return 2
    folder = arguments.output
    if folder.exists() and (not folder.is_dir() or any(folder.glob(f"*{SHARD_SUFFIX}"))):
        raise ImageError(
            f"output '{folder}'",
            expected="a folder without shards",
            got="shards" if folder.is_dir() else "a file",
            remedy="Name another folder, or remove the shards first.",
        )
    pictures = FolderPictures(arguments.pictures, channels=arguments.channels)
    failed: list[str] = []

    def on_error(error: ImageError) -> None:
        failed.append(str(error))
        print(f"physgan: {error}", file=sys.stderr)

    folder.mkdir(parents=True, exist_ok=True)
    crops = packed_crops(
        pictures,
        size=arguments.size,
        per_picture=arguments.per_picture,
        seed=arguments.seed,
        on_error=on_error,
    )
    written = list(
        write_shards(
            crops, folder, seed=arguments.seed, shard_bytes=arguments.shard_megabytes * 2**20
        )
    )
    total = sum(count for _, count in written)
    if arguments.json:
        names = [str(path) for path, _ in written]
        print(json.dumps({"shards": names, "crops": total, "failed": len(failed)}))
    else:
        print(f"{folder}: {total} crops in {len(written)} shards")
    return 1 if failed else 0
