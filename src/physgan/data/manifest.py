"""The manifest of pairs on disk: what they were made with, and a line for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from physgan.data.depth import Kind, Placed
from physgan.errors import ImageError
from physgan.files import write_text

MANIFEST = "manifest.jsonl"


class DepthReading(BaseModel):
    """How depth maps are read; see `physgan.data.depth.read_depth`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Kind
    placed: Placed
    variable: str | None = None
    invalid: float | None = None


class Head(BaseModel):
    """The first line: all that decides what the pairs are, and no place of anything.

    Args:
        recipe: name of the recipe.
        physics: its physics as plain data; of foreign code, the names of the files alone.
        channels: of the pictures.
        seed: decides what was drawn.
        depth: how depth that was measured was read; none where it was drawn.
        code: changes with the files of foreign code; empty where there is none.
        files: changes with the files that the physics names, such as those of measured kernels;
            empty where it names none.
        physgan: version of the package.
        torch: version of torch.
        cpu: what the processor can do, on which the last bits of sums depend.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    physics: dict[str, Any]
    channels: int
    seed: int
    depth: DepthReading | None = None
    code: str
    files: str = ""
    physgan: str
    torch: str
    cpu: str

    @property
    def decides(self) -> dict[str, object]:
        """What two manifests must share for their pairs to be one set, in people's words."""
        return {
            "physics": self.physics,
            "channels": self.channels,
            "seed": self.seed,
            "reading of depth": self.depth,
            "foreign code": self.code,
            "files that the physics names": self.files,
        }

    @property
    def versions(self) -> dict[str, str]:
        """On what the last bits of pairs depend besides."""
        return {"physgan": self.physgan, "torch": self.torch, "cpu": self.cpu}


class Record(BaseModel):
    """The line of a pair: name, name of the file it came from, sizes, SHA-256 of the pixels.

    `measured_sha256` holds the same of the maps that were measured with the picture, such as depth,
    as they were used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    size: tuple[int, int]
    observed_size: tuple[int, int]
    clean_sha256: str
    degraded_sha256: str
    measured_sha256: dict[str, str] = Field(default_factory=dict)


def write_manifest(folder: Path, head: Head, records: Iterable[Record]) -> None:
    """Writes the whole manifest, in the order of the names, or leaves the one that is there.

    The folder is made where it is missing.

    Raises:
        ImageError: it cannot be written.
    """
    ordered = sorted(records, key=lambda record: record.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / MANIFEST, "".join(_line(item) for item in (head, *ordered)))
    except OSError as error:
        raise _unwritten(folder, error) from None


def append_record(folder: Path, record: Record) -> None:
    """Adds the line of a pair, so that a run that is killed can go on after it.

    It must end with a whole line: what a run was killed in is left out by `write_manifest`.

    Raises:
        ImageError: it cannot be written.
    """
    try:
        with (folder / MANIFEST).open("a", encoding="utf-8") as file:
            file.write(_line(record))
    except OSError as error:
        raise _unwritten(folder, error) from None


def read_manifest(path: Path) -> tuple[Head, dict[str, Record]]:
    """The first line of a manifest, and the lines of its pairs by name.

    A last line that was cut short is left out. Of two lines of one pair the later counts.

    Raises:
        ImageError: there is no such file, or it is no manifest.
    """
    try:
        # As bytes: a line may be cut within a letter, and names may hold what else ends lines.
        *lines, _ = path.read_bytes().split(b"\n")
        whole = [json.loads(line) for line in lines]
        head = Head.model_validate(whole[0] if whole else None)
        records = [Record.model_validate(line) for line in whole[1:]]
    except (OSError, ValueError) as error:
        got = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ImageError(
            f"manifest '{path}'", expected="one that `physgan degrade` wrote", got=got
        ) from None
    return head, {record.name: record for record in records}


def differences(before: Mapping[str, Record], after: Mapping[str, Record]) -> list[str]:
    """How the pairs of one manifest differ from those of another, a clause for each kind."""
    both = before.keys() & after.keys()
    kinds = {
        "missing": before.keys() - after.keys(),
        "new": after.keys() - before.keys(),
        "of other clear pictures": {
            name for name in both if before[name].clean_sha256 != after[name].clean_sha256
        },
    }
    kinds["of the same picture, degraded otherwise"] = {
        name
        for name in both - kinds["of other clear pictures"]
        if before[name].degraded_sha256 != after[name].degraded_sha256
    }
    return [
        f"{len(names)} {kind}, such as '{min(names)}'" for kind, names in kinds.items() if names
    ]


def _line(item: BaseModel) -> str:
    told = item.model_dump()
    try:
        line = json.dumps(told, ensure_ascii=False)
        line.encode()
    except UnicodeEncodeError:  # a name that is no text
        line = json.dumps(told)
    return line + "\n"


def _unwritten(folder: Path, error: OSError) -> ImageError:
    return ImageError(
        f"manifest in '{folder}'", expected="a folder that can be written", got=str(error)
    )
