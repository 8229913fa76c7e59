"""What a recipe can name, told from signatures and docstrings alone: for people and programs."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from docstring_parser import DocstringStyle, ParseError
from docstring_parser import parse as parse_docstring

from physgan.networks import DISCRIMINATORS, GENERATORS
from physgan.recipes.build import OPERATORS, PICTURES, SAMPLERS, SENSOR_STAGES, resolve


class Table(NamedTuple):
    """One table of names.

    `kind` is what its entries are, `title` heads them, `place` is where in a recipe one stands, and
    `given` holds the arguments that building takes from elsewhere, with where from.
    """

    kind: str
    title: str
    place: str
    entries: Mapping[str, Callable[..., Any]]
    given: Mapping[str, str] = MappingProxyType({})


_CHANNELS: Final = {"channels": "`data.channels`"}

TABLES: Final = (
    Table("operator", "Operators", "physics.stages.NAME.operator", OPERATORS),
    Table("sampler", "Samplers", "physics.stages.NAME.sampler", SAMPLERS),
    Table("sensor stage", "Sensor stages", "physics.sensor", SENSOR_STAGES),
    Table("set of pictures", "Sets of pictures", "data.pictures", PICTURES, _CHANNELS),
    Table(
        "generator",
        "Generators",
        "generator",
        GENERATORS,
        _CHANNELS | {"scale": "the scale of the physics"},
    ),
    Table("discriminator", "Discriminators", "discriminator", DISCRIMINATORS, _CHANNELS),
)
"""All tables that `recipes.build` looks names up in, in the order in which they are told."""


@dataclass(frozen=True)
class Argument:
    """One argument of a part."""

    name: str
    type: str
    """In words."""
    description: str
    """Empty where the docstring does not tell."""
    default: Any = None
    """As YAML would hold it; None too where one must be given."""
    required: bool = False
    given: str = ""
    """Where it comes from if a recipe does not set it itself."""


@dataclass(frozen=True)
class Part:
    """What a name stands for."""

    name: str
    kind: str
    """Empty for foreign code, which may be of any."""
    place: str
    summary: str
    """The first line of the docstring; empty where there is none."""
    description: str
    """All of the docstring before its sections, the summary too."""
    arguments: Sequence[Argument] = field(default_factory=tuple)

    @property
    def example(self) -> str:
        """YAML that names it with every argument that a recipe may set, at its default.

        What must be given stands there in capitals.
        """
        values = {a.name: a.name.upper() if a.required else a.default for a in self._settable}
        return _yaml({"name": self.name, "arguments": values} if values else self.name)

    @property
    def _settable(self) -> list[Argument]:
        return [argument for argument in self.arguments if not argument.given]


def parts() -> list[Part]:
    """Every entry of every table."""
    return [_entry(name, table) for table in TABLES for name in table.entries]


def part(name: str) -> Part:
    """The part of a name in any of the tables, or of an import path.

    Raises:
        RecipeError: neither, or foreign code that cannot be imported.
    """
    for table in TABLES:
        if name in table.entries:
            return _entry(name, table)
    everything = {n: f for table in TABLES for n, f in table.entries.items()}
    return _told(name, resolve(name, everything, kind="part"))


def listing() -> str:
    """The tables, with a line for each of their entries."""
    width = max(len(name) for table in TABLES for name in table.entries)
    blocks = []
    for table in TABLES:
        lines = [f"{table.title} ({table.place}):"]
        lines += [f"  {name:{width}}  {_entry(name, table).summary}" for name in table.entries]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def markdown(told: Part, *, level: int = 1) -> str:
    """A part in Markdown: what it is, how a recipe names it, and each argument."""
    where = f"{told.kind.capitalize()}, `{told.place}`." if told.kind else "Code of your own."
    blocks = [f"{'#' * level} {told.name}", where, told.description or "(Without a docstring.)"]
    blocks.append(f"```yaml\n{told.example}\n```")
    if told.arguments:
        blocks.append("\n".join(map(_item, told.arguments)))
    return "\n\n".join(blocks) + "\n"


def page() -> str:
    """All parts as one page of Markdown, docs/parts.md."""
    blocks = [_HEAD]
    for table in TABLES:
        blocks.append(f"## {table.title}\n")
        blocks += [markdown(_entry(name, table), level=3) for name in table.entries]
    return "\n".join(blocks)


_HEAD: Final = """\
# What a recipe can name

Written by `physgan parts --all`, from signatures and docstrings; `physgan parts NAME` tells of one,
and of code of your own by its import path, `physgan parts underwater.py:Dives`. A name alone stands
for all defaults. The lines of YAML hold every argument that a recipe may set, at its default; what
must be given is in capitals. An argument is overridden by its place and name too, as in
`--physics.stages.blur.sampler.arguments.size '[5, 9]'`.
"""


def _entry(name: str, table: Table) -> Part:
    return _told(name, table.entries[name], table)


def _told(name: str, factory: Callable[..., Any], table: Table | None = None) -> Part:
    described, documented = _documented(factory)
    given = {} if table is None else table.given
    return Part(
        name=name,
        kind="" if table is None else table.kind,
        place="" if table is None else table.place,
        summary=described.partition("\n")[0],
        description=described,
        arguments=tuple(
            _argument(parameter, documented.get(parameter.name, ""), given)
            for parameter in _parameters(factory)
        ),
    )


def _documented(factory: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What a docstring says before its sections, and of each argument."""
    factory = getattr(factory, "func", factory)  # of a functools.partial
    # Not inspect.getdoc: a class without a docstring would be told as its base is.
    texts = [factory.__doc__]
    if inspect.isclass(factory) and "__init__" in vars(factory):
        texts.append(factory.__init__.__doc__)
    described = ""
    arguments: dict[str, str] = {}
    for text in texts:
        try:
            found = parse_docstring(_named(inspect.cleandoc(text or "")), DocstringStyle.AUTO)
        except ParseError:
            continue
        described = described or (found.description or "").strip()
        for parameter in found.params:
            words = " ".join((parameter.description or "").split())
            arguments.setdefault(parameter.arg_name, words)
    return described, arguments


def _named(text: str) -> str:
    """A docstring that speaks of parts by the names that a recipe knows them by."""
    for table in TABLES:
        for name, factory in table.entries.items():
            for path in (factory.__name__, f"{factory.__module__}.{factory.__name__}"):
                text = text.replace(f"`{path}`", f"`{name}`")
    return text


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(factory, eval_str=True)
    except NameError:  # annotations that only a type checker can read
        signature = inspect.signature(factory)
    except ValueError:  # code that is not Python
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p for p in signature.parameters.values() if p.kind not in variable]


def _argument(parameter: inspect.Parameter, description: str, given: Mapping[str, str]) -> Argument:
    required = parameter.default is inspect.Parameter.empty
    default, plain = (None, True) if required else _plain(parameter.default)
    return Argument(
        name=parameter.name,
        type=_words(parameter.annotation),
        description=description,
        default=default,
        required=required,
        given=given.get(parameter.name, "" if plain else "Python only"),
    )


def _plain(value: Any) -> tuple[Any, bool]:
    """A default as YAML holds it, whole numbers without a point, and whether YAML can."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [_plain(item) for item in value]
        return [item for item, _ in items], all(plain for _, plain in items)
    if isinstance(value, float) and value.is_integer():
        return int(value), True
    if isinstance(value, Path):
        return str(value), True
    if value is None or isinstance(value, str | int | float):
        return value, True
    return getattr(value, "__name__", repr(value)), False


def _words(annotation: Any) -> str:
    """A type in the words of somebody who writes YAML."""
    if annotation in _TYPES:
        return _TYPES[annotation]
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _either([f"`{_yaml(value)}`" for value in inside])
    if origin in (Union, UnionType):
        return _either([_words(kind) for kind in inside])
    if origin is tuple and len(set(inside)) == 1 and len(inside) in _COUNTS:
        return f"{_COUNTS[len(inside)]} {_words(inside[0]).removeprefix('a ')}s"
    if origin in (list, Sequence) and inside and inside[0] in (int, float):
        return f"a list of {_words(inside[0]).removeprefix('a ')}s"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return f"`{text}`"


_TYPES: Final[Mapping[Any, str]] = MappingProxyType(
    {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        Path: "a path",
        NoneType: "null",
        Any: "anything",
        inspect.Parameter.empty: "anything",
    }
)
_COUNTS: Final[Mapping[int, str]] = MappingProxyType({2: "two", 3: "three", 4: "four"})


def _either(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _yaml(value: Any) -> str:
    """A value on one line."""
    # A value alone would be followed by a mark of its end.
    text = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=float("inf"))
    return text.strip()[1:-1]


def _item(argument: Argument) -> str:
    if argument.given:
        value = f"from {argument.given}"
    elif argument.required:
        value = "to be given"
    else:
        value = f"by default `{_yaml(argument.default)}`"
    text = (
        f"`{argument.name}`, {argument.type}, {value}: {argument.description or 'not documented'}"
    )
    return textwrap.fill(
        text,
        width=100,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
