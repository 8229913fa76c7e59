"""`physgan restore`: pictures in, restored pictures out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from physgan.cli.weights import chosen_weights

if TYPE_CHECKING:
    from physgan.restore.files import Outcome
    from physgan.restore.progress import Progress


@dataclass
class Arguments:
    """Restore pictures: files, and folders of them."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Picture files and folders."""
    output: Path
    """Folder of the results; names, endings and paths within folders are kept."""
    task: str | None = None
    """Name of shipped weights."""
    weights: Path | None = None
    """A weights file, or the folder of a run, in place of a task."""
    recursive: bool = False
    """Also look into folders within folders."""
    skip_existing: bool = False
    """Leave pictures alone whose result is there."""
    overwrite: bool = False
    """Replace results that are there."""
    dry_run: bool = False
    """Tell what would be restored to where, and end."""
    strength: float = 1.0
    """From 0, the picture as it is, to 1, as the network restores it."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    tile: str = "auto"
    """Side of the tiles of large pictures; the result does not depend on it."""
    json: bool = False
    """Print one line of JSON for each picture."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.errors import UsageError

    if not arguments.paths:
        raise UsageError("pictures to restore", expected="files or folders", got="none")
    if not 0 <= arguments.strength <= 1:
        raise UsageError("--strength", expected="0 to 1", got=f"{arguments.strength:g}")
    if arguments.tile != "auto" and not (arguments.tile.isdecimal() and int(arguments.tile) > 0):
        raise UsageError("--tile", expected="auto or a number of pixels", got=arguments.tile)
    if arguments.output.exists() and not arguments.output.is_dir():
        raise UsageError(f"output '{arguments.output}'", expected="a folder", got="a file")
    if arguments.skip_existing and arguments.overwrite:
        raise UsageError(
            "results that are there", expected="--skip-existing or --overwrite", got="both"
        )
    return _restore(arguments, chosen_weights(arguments.task, arguments.weights))


def _restore(arguments: Arguments, source: Path) -> int:
    from physgan.restore.files import restore_files
    from physgan.restore.plan import plan

    jobs, faults = plan(arguments.paths, arguments.output, recursive=arguments.recursive)
    for fault in faults:
        _tell_fault(fault, arguments.json)
    if arguments.dry_run:
        for job in jobs:
            print(f"{job.source} -> {job.target}")
        return 1 if faults else 0
    from physgan.restore.restorer import Restorer

    restorer = Restorer.from_pretrained(source, device=arguments.device)
    if arguments.task is not None and restorer.info is not None:
        licence = f"weights '{arguments.task}', licence: {restorer.info.licence}"
        print(f"physgan: {licence}", file=sys.stderr)
    failed = 0
    with _bar() as bar:
        outcomes = restore_files(
            restorer.fn,
            jobs,
            strength=arguments.strength,
            tile=None if arguments.tile == "auto" else int(arguments.tile),
            skip_existing=arguments.skip_existing,
            overwrite=arguments.overwrite,
            progress=bar,
        )
        for number, outcome in enumerate(outcomes, start=1):
            _tell(outcome, f"[{number}/{len(jobs)}]", arguments.json)
            failed += outcome.error is not None
    return 1 if failed or faults else 0


def _tell(outcome: Outcome, place: str, as_json: bool) -> None:
    if as_json:
        record = {
            "source": str(outcome.source),
            "target": str(outcome.target),
            "status": outcome.status,
            "seconds": round(outcome.seconds, 3),
        }
        if outcome.error is not None:
            record["error"] = str(outcome.error)
        print(json.dumps(record), flush=True)
    elif outcome.error is None:
        took = f" in {outcome.seconds:.1f} s" if outcome.seconds else ""
        print(f"{place} {outcome.target}: {outcome.status}{took}", file=sys.stderr, flush=True)
    if outcome.error is not None:
        print(f"physgan: {outcome.error}", file=sys.stderr, flush=True)


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar on stderr where that is a terminal; elsewhere the lines of the outcomes do."""
    from physgan.restore.progress import untold

    if not sys.stderr.isatty():
        yield untold
        return
    from rich import progress
    from rich.console import Console

    columns = (progress.BarColumn(), progress.TaskProgressColumn(), progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("restoring", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _tell_fault(fault: Exception, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"status": "failed", "error": str(fault)}), flush=True)
    print(f"physgan: {fault}", file=sys.stderr, flush=True)
