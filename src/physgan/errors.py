"""Every exception physgan raises for a cause that its caller can mend.

Each carries four parts, so that the command line, the web page and a notebook can say the same
thing: *what* went wrong, what was *expected*, what was *got*, and the *remedy*.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PhysganError(Exception):
    """A fault with a remedy.

    Args:
        what: the thing that is wrong, as a short clause.
        expected: what would have been right.
        got: what was there instead.
        remedy: what to do about it; may be empty where `expected` says it all.
    """

    def __init__(self, what: str, *, expected: str, got: str, remedy: str = "") -> None:
        self.what = what
        self.expected = expected
        self.got = got
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.what}: expected {self.expected}, got {self.got}."
        return f"{text} {self.remedy}" if self.remedy else text

    def of(self, where: str) -> PhysganError:
        """The same fault, with where it came up in front."""
        told = _rebuild(type(self), f"{where}, {self.what}", self.expected, self.got, self.remedy)
        told.__cause__ = self
        return told

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, which worker processes use.
        return (_rebuild, (type(self), self.what, self.expected, self.got, self.remedy))


def _rebuild(
    cls: type[PhysganError], what: str, expected: str, got: str, remedy: str
) -> PhysganError:
    return cls(what, expected=expected, got=got, remedy=remedy)


class ShapeError(PhysganError, ValueError):
    """A tensor has a shape, size or type that the function cannot take."""


class ThetaError(PhysganError, ValueError):
    """Physical parameters are missing, of a wrong shape, or physically impossible."""


class RecipeError(PhysganError, ValueError):
    """A recipe, or an override of one, does not describe an experiment."""


class ImageError(PhysganError, ValueError):
    """An image file or a folder of images cannot be used."""


class KindError(ImageError):
    """A file is no picture, or a picture of a kind that is not taken."""


class WeightsError(PhysganError, ValueError):
    """A weights file cannot be read, or does not fit the network."""


class UsageError(PhysganError, ValueError):
    """Arguments that do not go together, or cannot be meant."""


class OutOfMemory(PhysganError, MemoryError):
    """An image does not fit into memory, however small the pieces."""


class TrainingError(PhysganError, RuntimeError):
    """A training run cannot start, continue or go on."""


def install(extra: str) -> str:
    """The remedy where the packages of an extra are missing.

    >>> install("web")
    "In a checkout of physgan: pip install -c constraints.txt -e '.[web]'"
    """
    return f"In a checkout of physgan: pip install -c constraints.txt -e '.[{extra}]'"


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest known name, for the remedy of an unknown one.

    >>> nearest("gama", ["gamma", "mu"])
    "Did you mean 'gamma'?"
    >>> nearest("zzz", ["gamma", "mu"])
    'Known: gamma, mu.'
    """
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(sorted(names))}."
