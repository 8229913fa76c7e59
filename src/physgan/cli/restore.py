"""`physgan restore`: pictures in, restored pictures out."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from physgan.cli.starting import starting
from physgan.cli.threads import wait_asleep
from physgan.cli.weights import chosen_weights

if TYPE_CHECKING:
    from physgan.errors import PhysganError
    from physgan.restore.files import Outcome
    from physgan.restore.plan import Job
    from physgan.restore.progress import Progress
    from physgan.restore.sheet import Sheet, Written


@dataclass
class Arguments:
    """Restore pictures: files, and folders of them."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Picture files and folders."""
    output: Path
    """Folder of the results; names, endings and paths within folders are kept."""
    task: str | None = None
    """What to do: deblur-text, deblur-face, deblur-natural, dehaze, derain or sr4; physgan tasks
    tells more of these weights."""
    weights: str | None = None
    """A weights file, the folder of a run, an exported graph, or org/name of the Hugging Face hub,
    in place of a task."""
    recursive: bool = False
    """Also look into folders within folders."""
    skip_existing: bool = False
    """Leave pictures alone whose result is there."""
    overwrite: bool = False
    """Replace results that are there."""
    sheet: Path | None = None
    """Also write a contact sheet, a picture file: each picture before and after, with its name."""
    dry_run: bool = False
    """Tell what would be restored to where, by the names of the files, and end."""
    strength: float = 1.0
    """From 0, the picture as it is, to 1, as the network restores it."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    tile: str = "auto"
    """Side of the tiles of large pictures, at least the margin that each needs; the result does not
    depend on it."""
    json: bool = False
    """Print one line of JSON for each file."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    wait_asleep()
    with starting():
        from physgan.errors import UsageError
        from physgan.images.picture import KINDS

    if not arguments.paths:
        raise UsageError("pictures to restore", expected="files or folders", got="none")
    if not 0 <= arguments.strength <= 1:
        raise UsageError("--strength", expected="0 to 1", got=f"{arguments.strength:g}")
    if arguments.tile != "auto" and not (arguments.tile.isdecimal() and int(arguments.tile) > 0):
        raise UsageError("--tile", expected="auto or a number of pixels", got=arguments.tile)
    if arguments.output.exists() and not arguments.output.is_dir():
        raise UsageError(f"output '{arguments.output}'", expected="a folder", got="a file")
    if arguments.output.suffix.lower() in KINDS and not arguments.output.exists():
        raise UsageError(
            f"output '{arguments.output}'",
            expected="a folder",
            got="the name of a picture",
            remedy="Results keep the names of their pictures: --output FOLDER.",
        )
    if arguments.skip_existing and arguments.overwrite:
        raise UsageError(
            "results that are there", expected="--skip-existing or --overwrite", got="both"
        )
    return _restore(arguments, chosen_weights(arguments.task, arguments.weights))


def _restore(arguments: Arguments, source: Path) -> int:
    with starting():
        from physgan.restore.files import target_fault
        from physgan.restore.plan import plan

    jobs, faults, stray, unentered, linked = plan(
        arguments.paths, arguments.output, recursive=arguments.recursive
    )
    say = _Teller(len(jobs), arguments.json)
    for path in stray:
        say.left_out(path, "no picture that physgan takes")
    for path in linked:
        say.left_out(path, "a link to a folder; name the folder itself")
    for fault in faults:
        say.fault(fault.source, fault.error)
    if unentered:
        say.unentered(unentered)
    if arguments.overwrite:
        say.replaced(sum(job.replaces_its_source for job in jobs))
    sheet = None
    if arguments.sheet is not None:
        from physgan.restore.sheet import Sheet

        sheet = Sheet(arguments.sheet, jobs, others=len(faults), overwrite=arguments.overwrite)
    if arguments.dry_run:
        for job in jobs:
            there, error = target_fault(job, overwrite=arguments.overwrite)
            if there and arguments.skip_existing:
                say.would(job, "skipped")
            elif error is not None:
                say.would(job, "failed", error)
            else:
                say.would(job, "planned")
        return say.ended()
    if jobs:
        sheet = _restore_jobs(arguments, source, jobs, say, sheet)
    for fault in faults:
        sheet = _shown(sheet, say, fault.source.name, fault.source, None)
    _shown(sheet, say)
    return say.ended()


def _restore_jobs(
    arguments: Arguments, source: Path, jobs: list[Job], say: _Teller, sheet: Sheet | None
) -> Sheet | None:
    """Restores pictures; gives back their contact sheet, as far as it can be written."""
    with starting():
        from physgan.restore.files import restore_files
        from physgan.restore.restorer import Restorer
        from physgan.restore.tiles import margin_of

        restorer = Restorer.from_pretrained(source, device=arguments.device)
    own = arguments.weights is not None and Path(arguments.weights).exists()
    if not own and restorer.info is not None:
        name = arguments.task or arguments.weights
        licence = f"weights '{name}', licence: {restorer.info.terms}"
        print(f"physgan: {licence}", file=sys.stderr)
    tile = None
    if arguments.tile != "auto":  # smaller ones would take many times the work for hardly less room
        tile = max(int(arguments.tile), margin_of(restorer.fn))
    with _bar() as bar:
        outcomes = restore_files(
            restorer.fn,
            jobs,
            strength=arguments.strength,
            tile=tile,
            skip_existing=arguments.skip_existing,
            overwrite=arguments.overwrite,
            progress=bar,
        )
        for outcome in outcomes:
            say.outcome(outcome)
            after = None if outcome.status == "failed" else outcome.target
            name = str(outcome.target.relative_to(arguments.output))
            sheet = _shown(sheet, say, name, outcome.source, after)
    return sheet


def _shown(
    sheet: Sheet | None,
    say: _Teller,
    name: str = "",
    before: Path = Path(),
    after: Path | None = None,
) -> Sheet | None:
    """Adds a picture to a sheet, or ends it; gives it back, unless it cannot be written."""
    from physgan.errors import ImageError

    if sheet is None:
        return None
    try:
        written = sheet.add(name, before, after) if name else sheet.end()
    except ImageError as error:  # the results matter more
        say.fault(sheet.page, error)
        return None
    if written is not None:
        say.sheet(written)
    return sheet


class _Teller:
    """Tells what becomes of each file: lines of JSON on stdout if asked for, words on stderr."""

    def __init__(self, jobs: int, as_json: bool) -> None:
        self._jobs, self._json = jobs, as_json
        self._number = 0
        self._count = dict.fromkeys(("restored", "planned", "skipped", "failed", "left out"), 0)

    def left_out(self, path: Path, why: str) -> None:
        self._count["left out"] += 1
        self._record(source=str(path), status="left out")
        self._say(f"{path}: left out, {why}")

    def unentered(self, folders: int) -> None:
        """Folders are no files: there is no line of JSON for them, and nothing is counted."""
        what = "1 folder within was" if folders == 1 else f"{folders} folders within were"
        self._say(f"{what} not entered: --recursive")

    def replaced(self, pictures: int) -> None:
        """Of these nobody has the originals afterwards."""
        if pictures:
            what = "1 picture is" if pictures == 1 else f"{pictures} pictures are"
            self._say(f"physgan: {what} replaced by what is restored; keep copies of the originals")

    def fault(self, source: Path, error: PhysganError) -> None:
        self._count["failed"] += 1
        self._record(source=str(source), status="failed", error=str(error))
        self._say(f"physgan: {error}")

    def would(self, job: Job, status: str, error: PhysganError | None = None) -> None:
        """What a run would do with a job, as far as file names tell."""
        self._count[status] += 1
        told = {} if error is None else {"error": str(error)}
        self._record(source=str(job.source), target=str(job.target), status=status, **told)
        if error is not None:
            self._say(f"physgan: {error}")
        elif not self._json:
            line = f"{job.source} -> {job.target}" + (": skipped" if status == "skipped" else "")
            print(_without_commands(line))

    def outcome(self, outcome: Outcome) -> None:
        self._number += 1
        place = f"[{self._number}/{self._jobs}]"
        self._count[outcome.status] += 1
        told = {} if outcome.error is None else {"error": str(outcome.error)}
        self._record(
            source=str(outcome.source),
            target=str(outcome.target),
            status=outcome.status,
            seconds=round(outcome.seconds, 3),
            **told,
        )
        if outcome.error is not None:
            self._say(f"physgan: {place} {outcome.error}")
        elif not self._json:
            took = f" in {outcome.seconds:.1f} s" if outcome.seconds else ""
            self._say(f"{place} {outcome.target}: {outcome.status}{took}")

    def sheet(self, written: Written) -> None:
        page, pictures, failed = written
        self._record(target=str(page), status="sheet", pictures=pictures)
        both = pictures - failed
        told = f"{both} picture{'s' if both != 1 else ''} before and after"
        self._say(f"{page}: {told}" + (f", {failed} that failed" if failed else ""))

    def ended(self) -> int:
        """Sums up; returns the exit status. A file that is no picture is nobody's fault."""
        if sum(self._count.values()) > 1:
            parts = [f"{number} {what}" for what, number in self._count.items() if number]
            self._say(", ".join(parts))
        return 1 if self._count["failed"] else 0

    def _record(self, **record: Any) -> None:
        if self._json:
            print(json.dumps(record), flush=True)

    def _say(self, line: str) -> None:
        print(_without_commands(line), file=sys.stderr, flush=True)


def _without_commands(line: str) -> str:
    """Control characters, such as names of files may hold, by their codes: terminals obey them."""
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) == "Cc" else letter
        for letter in line
    )


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
