"""How data sets lie on disk: finding their parts, matching them, and saying what is missing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from physgan.errors import ImageError
from physgan.images.read import SUFFIXES


def subfolder(title: str, folder: Path, *choices: str) -> Path:
    """The first of some folders that is there.

    Raises:
        ImageError: none is; the message says what lies there instead.
    """
    for choice in choices:
        if (folder / choice).is_dir():
            return folder / choice
    raise absent(title, folder, " or ".join(f"{choice}/" for choice in choices))


def absent(title: str, folder: Path, expected: str) -> ImageError:
    """The error that says what of a set is not in a folder, and what is."""
    if folder.is_dir():
        there = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if p.name[0] != ".")
        got = ", ".join(there[:6]) + (f" and {len(there) - 6} more" if len(there) > 6 else "")
    else:
        got = "a file" if folder.exists() else "nothing of that name"
    return ImageError(
        f"{title} in '{folder}'",
        expected=expected,
        got=got or "an empty folder",
        remedy="Unpack the set's archives there, or name the folder where they are.",
    )


def require_names(title: str, folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of a folder that a list names.

    Raises:
        ImageError: the list is empty, or a file is missing.
    """
    there = {path.name for path in folder.iterdir()}
    missing = [name for name in names if name not in there]
    if missing or not names:
        raise ImageError(
            f"{title} in '{folder}'",
            expected=f"the {len(names)} files of its list" if names else "a list that names files",
            got=f"{len(missing)} missing, such as '{missing[0]}'" if missing else "an empty one",
            remedy="Unpack all of the set's archives there." if missing else "",
        )
    return [folder / name for name in names]


def partners(
    title: str,
    folder: Path,
    parts: Mapping[str, Mapping[str, Path]],
    *,
    remedy: str = "Unpack all of the set's archives there.",
) -> tuple[list[str], list[list[Path]]]:
    """The names that all parts of a set share, sorted, and their files, part by part.

    Args:
        title: of the set, for messages.
        folder: of the set, for messages.
        parts: the files of each part by the name of what they belong to.
        remedy: for what is missing.

    Raises:
        ImageError: a part is empty, or a name is missing in one.
    """
    for part, files in parts.items():
        if not files:
            raise absent(title, folder, f"files {part}")
    every = sorted(set().union(*parts.values()))
    for part, files in parts.items():
        if lonely := [name for name in every if name not in files]:
            raise ImageError(
                f"{title} in '{folder}'",
                expected="all parts of everything",
                got=f"{len(lonely)} without {part}, such as '{lonely[0]}'",
                remedy=remedy,
            )
    return every, [[files[name] for name in every] for files in parts.values()]


def by_name(
    title: str, paths: Iterable[Path], pattern: str, *, root: Path, remedy: str = ""
) -> dict[str, Path]:
    """Files whose stem fits a pattern, by the pattern's only group, however names are spelt (NFC).

    Raises:
        ImageError: two files of one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        # Archives of some systems hold letters and their accents apart.
        stem = unicodedata.normalize("NFC", path.stem)
        if fits := re.fullmatch(pattern, stem, re.IGNORECASE):
            name = fits[1]
            if name in found:
                two = (found[name].relative_to(root), path.relative_to(root))
                raise ImageError(
                    f"{title} in '{root}'",
                    expected="one file of each name and part",
                    got=f"'{two[0]}' and '{two[1]}'",
                    remedy=remedy,
                )
            found[name] = path
    return found


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, and not of those below it; possibly none."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
