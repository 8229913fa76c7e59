"""What the options of a command are, read off its `Arguments`: for parsing and for completion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Option(NamedTuple):
    """An option, or a positional argument.

    Args:
        name: of the field.
        positional: whether it is given by its place alone.
        many: whether it is a positional argument that takes several words.
        takes_value: whether a word follows it.
        choices: the words that it takes, where they are written down.
        paths: whether it takes files or folders.
    """

    name: str
    positional: bool
    many: bool
    takes_value: bool
    choices: tuple[str, ...]
    paths: bool

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"


def options_of(arguments: type) -> list[Option]:
    """The options of a dataclass, in its order."""
    from tyro.conf import Positional

    (mark,) = get_args(Positional[int])[1:]
    hints = get_type_hints(arguments, include_extras=True)
    found = []
    for field in fields(arguments):
        hint, marks = hints[field.name], ()
        if hasattr(hint, "__metadata__"):
            hint, marks = hint.__origin__, hint.__metadata__
        kinds = _kinds(hint)
        choices = tuple(c for kind in kinds if get_origin(kind) is Literal for c in get_args(kind))
        found.append(
            Option(
                field.name,
                positional=mark in marks,
                many=get_origin(hint) is tuple,
                takes_value=hint is not bool,
                choices=choices,
                paths=Path in kinds,
            )
        )
    return found


def placed_first(arguments: type, argv: Sequence[str]) -> list[str]:
    """The same arguments, those that are given by their place before all others.

    So that they may stand in several groups: `a.png --output OUT b.png`.
    """
    valued = {option.flag for option in options_of(arguments) if option.takes_value}
    options: list[str] = []
    placed: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":  # all behind it are no options, whatever they begin with
            return [*options, word, *placed, *words]
        if not word.startswith("-") or word == "-":
            placed.append(word)
            continue
        options.append(word)
        if word.replace("_", "-") in valued:
            options += [value for value in [next(words, None)] if value is not None]
    return [*placed, *options]


def _kinds(hint: Any) -> list[Any]:
    """The types inside `A | None` and `tuple[A, ...]`."""
    inner = [each for each in get_args(hint) if each not in (NoneType, Ellipsis)]
    return inner if inner and get_origin(hint) is not Literal else [hint]
