"""The reference of commands, from the command line's own table, dataclasses and recipe schema.

Two directives: `physgan-commands` writes a section for each command, `physgan-fields` the fields of
a recipe, both as Markdown. Nothing of either is written by hand: neither can fall behind the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective


class Commands(SphinxDirective):
    """A section for each command of `physgan.cli.COMMANDS`."""

    def run(self) -> list[nodes.Node]:
        from physgan.cli import COMMANDS

        lines: list[str] = []
        for command in sorted(COMMANDS):
            lines += _command(command, *COMMANDS[command])
        return self.parse_text_to_nodes(StringList(lines), allow_section_headings=True)


class Fields(SphinxDirective):
    """Every field of a recipe, as `physgan train --help` tells of them."""

    def run(self) -> list[nodes.Node]:
        from physgan.recipes.load import field_lines

        lines = []
        for told in field_lines(None):
            name, _, rest = told.partition("  ")
            lines += [f"`{name}`", f": {rest}", ""]
        return self.parse_text_to_nodes(StringList(lines))


def _command(name: str, module_name: str, summary: str) -> Iterator[str]:
    module = import_module(module_name)
    described = ModuleAnalyzer.for_module(module_name).find_attr_docs()
    hints = get_type_hints(module.Arguments, include_extras=True)
    parts = {field.name: field for field in fields(module.Arguments)}
    positional = [p for p in parts if tyro.conf.Positional in getattr(hints[p], "__metadata__", ())]
    required = [p for p, field in parts.items() if _default(field) is MISSING]

    yield from (f"## {name}", "")
    words = ["physgan", name]
    words += [p.upper() + ("..." if _many(hints[p]) else "") for p in positional]
    words += [f"{_flag(p)} {_value(hints[p])}" for p in required if p not in positional]
    overrides = " [--dotted.overrides ...]" if getattr(module, "TAKES_OVERRIDES", False) else ""
    yield from ("```text", f"{' '.join(words)} [OPTIONS]{overrides}", "```", "")
    text = inspect.cleandoc(module.Arguments.__doc__ or summary)
    yield from (_options(text), "")
    for part, field in parts.items():
        title = part.upper() if part in positional else f"{_flag(part)} {_value(hints[part])}"
        told = _options(" ".join(described["Arguments", part]).strip())
        if isinstance(default := _default(field), str | int | float) and default is not False:
            told += f" By default `{default}`."
        yield from (f"`{title.strip()}`", f": {told}", "")


def _options(text: str) -> str:
    """Options in a text as code: elsewhere two hyphens are a dash."""
    return re.sub(r"(?<![\w`-])--[a-z][\w.-]*\w(?!`)", r"`\g<0>`", text)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _plain(hint: Any) -> Any:
    """A type without its remarks and without None."""
    if hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    if get_origin(hint) in (Union, UnionType):
        (hint,) = [of for of in get_args(hint) if of is not NoneType]
    return hint


def _many(hint: Any) -> bool:
    return get_origin(_plain(hint)) in (tuple, list)


def _value(hint: Any) -> str:
    """What stands after a flag."""
    hint = _plain(hint)
    if hint is bool:
        return ""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) in (tuple, list):
        return f"{_value(get_args(hint)[0])} ..."
    return {Path: "PATH", int: "NUMBER", float: "NUMBER"}.get(hint, "TEXT")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("physgan-commands", Commands)
    app.add_directive("physgan-fields", Fields)
    # What a page says is made of the package, so it is read anew each time.
    app.connect("env-before-read-docs", lambda app, env, names: _again(env, names))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _again(env: Any, names: list[str]) -> None:
    if "commands" in env.found_docs and "commands" not in names:
        names.append("commands")
