"""`physgan parts`: what a recipe can name, with every argument."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro


@dataclass
class Arguments:
    """List what a recipe can name, or tell what a name stands for and what arguments it takes.

    Names of code of one's own are told too, as a recipe has them: underwater.py:Dives.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Operators, samplers, sensor stages, sets of pictures, networks."""
    all: bool = False
    """Tell of every one, as docs/parts.md does."""
    json: bool = False
    """Print one line of JSON for each."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.errors import UsageError
    from physgan.recipes.parts import listing, markdown, page, part, parts

    if arguments.all and arguments.names:
        raise UsageError("parts to tell of", expected="names or --all", got="both")
    told = [part(name) for name in arguments.names] or parts()
    if arguments.json:
        for one in told:
            print(json.dumps(asdict(one) | {"example": one.example}, ensure_ascii=False))
    elif arguments.names:
        print("\n".join(map(markdown, told)), end="")
    else:
        print(page() if arguments.all else listing(), end="")
    return 0
