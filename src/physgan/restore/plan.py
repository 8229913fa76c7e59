"""What restoring pictures and folders of them means: which file goes where, and what cannot."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from physgan.errors import ImageError
from physgan.images.picture import KINDS
from physgan.images.vips import UNTAKEN, unfit

# libvips as it is packed decodes no HEIC, so it is not promised; where it does, it is taken.
_ENDINGS = ", ".join(sorted(KINDS.keys() - {".heic", ".heif"}))


@dataclass(frozen=True)
class Job:
    """One picture to restore, and the file that it shall become."""

    source: Path
    target: Path

    @property
    def replaces_its_source(self) -> bool:
        """Whether nobody has the original afterwards."""
        return _place(self.target) in (_place(self.source), _real(self.source))


class Fault(NamedTuple):
    """A part of a request that cannot be carried out."""

    source: Path
    error: ImageError


class Plan(NamedTuple):
    """What a request comes to."""

    jobs: list[Job]
    faults: list[Fault]
    stray: list[Path]
    """files in folders that are no pictures, and are left out"""
    unentered: int
    """folders within folders that were not asked for"""
    linked: list[Path]
    """links to folders within folders, which are not followed"""


def plan(paths: Sequence[Path], output: Path, *, recursive: bool = False) -> Plan:
    """What is to be restored, and what of the request cannot be.

    A file goes to `output` under its own name; a folder's pictures keep their path relative to it.

    Args:
        paths: files and folders.
        output: the folder of the results.
        recursive: also takes what lies deeper in folders.

    Returns:
        Jobs in order; faults: paths that are not there, folders without pictures, pictures of kinds
        that are not taken, two that would become one file, and one that would become another that
        is asked for; the files that are no pictures; how many folders were not looked into; and
        which links to folders were not followed.
    """
    jobs: list[Job] = []
    faults: list[Fault] = []
    stray: list[Path] = []
    linked: list[Path] = []
    unentered = 0
    for path in paths:
        try:
            folder = stat.S_ISDIR(path.stat().st_mode)
        except (OSError, ValueError) as error:
            faults.append(Fault(path, _unreachable(path, error)))
            continue
        if not folder:
            jobs.append(Job(path, output / path.name))
            continue
        before = len(faults)
        found, others, links = _pictures_in(path, output, recursive=recursive, unread=faults.append)
        linked += links
        refused = len(faults) > before
        for file in others:
            if file.suffix.lower() in UNTAKEN:
                faults.append(Fault(file, _foreign(file)))
            else:
                stray.append(file)
        if not found and not refused:
            faults.append(Fault(path, _empty(path, output, recursive=recursive)))
        elif not recursive:
            unentered += _folders_in(path, output)
        jobs += [Job(file, output / file.relative_to(path)) for file in found]
    return Plan(_without_clashes(jobs, faults), faults, stray, unentered, linked)


def _pictures_in(
    folder: Path, output: Path, *, recursive: bool, unread: Callable[[Fault], object]
) -> tuple[list[Path], list[Path], list[Path]]:
    """Picture files of a folder, other files, and links to folders that `recursive` would enter.

    Sorted, and without results of earlier runs. Links that lead nowhere count as files, so that
    they are told of; `unread` is given a fault for each folder that may not be looked into.
    """

    def refused(error: OSError) -> None:
        place = Path(error.filename)
        unread(Fault(place, _unreachable(place, error)))

    files: list[Path] = []
    links: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refused):
        # Hidden folders hold what systems put there, previews among it.
        inner = [Path(place, name) for name in folders if recursive and not name.startswith(".")]
        links += [path for path in inner if path.is_symlink()]
        folders[:] = [path.name for path in inner if not path.is_symlink()]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    root, inside = _real(folder), _real(output)
    if inside != root and inside.is_relative_to(root):
        files = [path for path in files if not _real(path).is_relative_to(inside)]
    for paths in (files, links):
        paths.sort(key=lambda path: path.relative_to(folder).as_posix())
    pictures = [path for path in files if path.suffix.lower() in KINDS]
    return pictures, [path for path in files if path.suffix.lower() not in KINDS], links


def _real(path: Path) -> Path:
    """Where links lead; `Path.resolve` raises where they lead in circles."""
    return Path(os.path.realpath(path))


def _place(path: Path) -> Path:
    """Where a file lies; links to files are files of their own, which results take the place of."""
    return _real(path.parent) / path.name


def _folders_in(folder: Path, output: Path) -> int:
    """How many folders `--recursive` would enter next; results of earlier runs do not count."""
    inside = _real(output)
    try:
        return sum(
            each.is_dir() and not each.is_symlink() and not each.name.startswith(".")
            for each in folder.iterdir()
            if _real(each) != inside
        )
    except OSError:  # which is told of as a fault
        return 0


def _unreachable(path: Path, error: OSError | ValueError) -> ImageError:
    number = error.errno if isinstance(error, OSError) else None
    got = {
        errno.ENOENT: "nothing there",
        errno.EACCES: "one that may not be looked at",
    }.get(number or 0, (error.strerror if isinstance(error, OSError) else None) or str(error))
    return ImageError(f"picture '{path}'", expected="a file or a folder", got=got)


def _without_clashes(jobs: Sequence[Job], faults: list[Fault]) -> list[Job]:
    """The first job of each target, if no other picture is there; `faults` is given the others."""
    first: dict[Path, Job] = {}
    sources = {
        place: job for job in reversed(jobs) for place in (_place(job.source), _real(job.source))
    }
    for job in jobs:
        there = sources.get(_place(job.target))
        if job.target in first:
            if _real(job.source) == _real(first[job.target].source):
                continue  # named twice
            fault = ImageError(
                f"pictures '{first[job.target].source}' and '{job.source}'",
                expected="results of different names",
                got=f"'{job.target}' for both",
                remedy="Restore them into two folders; the first one is restored now.",
            )
        elif there is not None and _real(there.source) != _real(job.source):
            fault = ImageError(
                f"picture '{job.source}'",
                expected="a result that takes the place of no other picture to restore",
                got=f"'{job.target}', which is one of them",
                remedy="Choose another folder for the results.",
            )
        else:
            first[job.target] = job
            continue
        faults.append(Fault(job.source, fault))
    return list(first.values())


def _foreign(path: Path) -> ImageError:
    """To leave such a picture out is a fault, since somebody may wait for it."""
    got, remedy = UNTAKEN[path.suffix.lower()]
    return unfit(path, expected=f"one of {_ENDINGS}", got=got, remedy=remedy)


def _empty(path: Path, output: Path, *, recursive: bool) -> ImageError:
    deeper = not recursive and bool(
        _pictures_in(path, output, recursive=True, unread=lambda fault: None)[0]
    )
    return ImageError(
        f"folder '{path}'",
        expected=f"pictures in it, ending in {_ENDINGS}",
        got="none",
        remedy="There are some deeper: --recursive." if deeper else "",
    )
