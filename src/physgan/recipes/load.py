"""Recipes from files: finding, reading, overriding by dotted names, checking, writing.

Every fault is a RecipeError that names the file, the field and, for an unknown one, the nearest
that exists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from physgan.errors import RecipeError, nearest
from physgan.recipes.schema import Physics, Recipe

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice and reads 2e-4 as the number it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' stands here twice", key_node.start_mark
                )
            seen.append(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with physgan, such as `paper/deblur-natural`."""
    root = Path(str(resources.files("physgan.recipes")))
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.yaml"))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe and checks all of it.

    Args:
        source: a YAML file, or the name of a shipped recipe.
        overrides: `--dotted.name value` or `--dotted.name=value`, as on the command line. The
            value of a field of text or of a path is taken as it stands, but for null where it
            may be left out; any other is YAML;
            `--flag` alone is true.

    Raises:
        RecipeError: no such recipe, not YAML, or a field that is unknown, missing or wrong.
    """
    path = find_recipe(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe '{source}'", expected="YAML in UTF-8", got=str(error)) from None
    return parse_recipe(text, overrides, origin=str(source), folder=path.parent)


def find_recipe(source: str | Path) -> Path:
    """The file of a recipe that is given by path or by shipped name.

    Raises:
        RecipeError: there is neither.
    """
    path = Path(source)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if str(source) in shipped:
        return Path(str(resources.files("physgan.recipes"))) / f"{source}.yaml"
    beside = [str(file) for file in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    close = nearest(str(source), [*shipped, *beside])
    raise RecipeError(
        f"recipe '{source}'",
        expected="a YAML file or the name of a shipped recipe",
        got="neither",
        remedy=close if close.startswith("Did") else nearest(str(source), shipped),
    )


def parse_recipe(
    text: str,
    overrides: Sequence[str] = (),
    *,
    origin: str = "recipe",
    folder: Path | None = None,
) -> Recipe:
    """Checks the text of a recipe; see `load_recipe`.

    Files of foreign code that lie in `folder`, beside the recipe, are taken from there.
    """
    try:
        raw = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise RecipeError(f"recipe '{origin}'", expected="YAML", got=f"{problem}{place}") from None
    if not isinstance(raw, dict):
        raise RecipeError(
            f"recipe '{origin}'", expected="fields with values", got=type(raw).__name__
        )
    if folder is not None:
        raw = placed(raw, folder)
    for name, value in _pairs(overrides):
        _set(raw, name.split("."), value)
    return validated(Recipe, raw, origin=f"recipe '{origin}'")


def physics_from(source: str) -> tuple[Physics, int]:
    """Physics and channels of a recipe, by file or shipped name, or of the manifest of pairs.

    Raises:
        RecipeError: as `load_recipe`; or the manifest names foreign code, which no data runs.
        ImageError: a file ending in .jsonl is no manifest.
    """
    if Path(source).suffix != ".jsonl":
        recipe = load_recipe(source)
        return recipe.physics, recipe.data.channels
    from physgan.data.manifest import read_manifest  # loads torch, which help does without

    head, _ = read_manifest(Path(source))
    return physics_of(head.model_dump(), origin=f"manifest '{source}'"), head.channels


def physics_of(header: object, *, origin: str = "the recipe in the weights") -> Physics:
    """The physics that weights or pairs carry, if it names nothing but physgan's own.

    Raises:
        RecipeError: there is none, it is of another version, or it names foreign code, which data
            alone never runs.
    """
    remedy = "Name a recipe with that physics: --physics RECIPE."
    raw = header.get("physics") if isinstance(header, Mapping) else None
    if not isinstance(raw, Mapping):
        raise RecipeError(origin, expected="its physics", got="none", remedy=remedy)
    physics = validated(Physics, raw, origin=origin)
    parts = [part for stage in physics.stages.values() for part in (stage.operator, stage.sampler)]
    if foreign := [part.name for part in (*parts, *physics.sensor) if ":" in part.name]:
        raise RecipeError(
            origin,
            expected="parts that physgan knows",
            got=f"foreign code, '{foreign[0]}'",
            remedy=remedy,
        )
    return physics


def published(recipe: Recipe) -> dict[str, Any]:
    """A recipe for strangers: where somebody keeps pictures, code or weights is not in it."""
    raw: dict[str, Any] = recipe.model_dump(mode="json", by_alias=True)
    raw["data"]["train"], raw["data"]["pairs"] = None, None
    if raw["training"]["start"] is not None:
        raw["training"]["start"] = Path(raw["training"]["start"]).name
    return {key: raw[key] if key in _PROSE else _placeless(raw[key]) for key in raw}


_PROSE = ("name", "description")


def _placeless(value: Any) -> Any:
    """Paths cut to their last part, however deep they are: of files, and of code in files."""
    if isinstance(value, Mapping):
        return {k: v if k == "licence" else _placeless(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_placeless(item) for item in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def placed(raw: Any, folder: Path) -> Any:
    """A recipe as plain data, with files of foreign code sought from `folder` where they are there.

    `underwater.py:Underwater` becomes `/home/me/underwater.py:Underwater`; all else stays.
    """
    if isinstance(raw, Mapping):
        return {key: placed(value, folder) for key, value in raw.items()}
    if isinstance(raw, list):
        return [placed(value, folder) for value in raw]
    return _whole_name(raw, folder) if isinstance(raw, str) else raw


def _whole_name(name: str, folder: Path) -> str:
    place, colon, attribute = name.rpartition(":")
    if colon and place.endswith(".py") and (folder / place).is_file():
        return f"{(folder / place).absolute()}:{attribute}"
    return name


def validated(model: type[Model], raw: Mapping[str, Any], *, origin: str) -> Model:
    """`raw` as the model; the first fault becomes a RecipeError with the nearest known name."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        # A name that is misspelt is told before the one that is missing for it.
        faults = error.errors(include_url=False)
        first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _fields_at(model, first["loc"][:-1])
            raise RecipeError(
                f"field '{where}' of {origin}",
                expected="a field that exists",
                got=repr(first["loc"][-1]),
                remedy=_nearest_field(model, str(first["loc"][-1]), known),
            ) from None
        missing = first["type"] == "missing"
        got = "nothing" if missing else repr(first["input"])
        message = "a value" if missing else first["msg"]
        for opening in ("Input should be ", "Value error, "):
            message = message.removeprefix(opening)
        raise RecipeError(
            f"field '{where}' of {origin}",
            expected=message[0].lower() + message[1:],
            got=got if len(got) < 100 else got[:97] + "...",
        ) from None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML that `parse_recipe` reads back to an equal one."""
    raw = recipe.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)


def field_lines(recipe: Recipe | None = None) -> list[str]:
    """One line for every field, dotted, with its value in a recipe or its default, for help."""
    return _describe(Recipe, "", recipe)


def _nearest_field(model: type[BaseModel], name: str, known: Sequence[str]) -> str:
    """A remedy for an unknown field: the nearest here, or one of that name further in."""
    remedy = nearest(name, known) if known else ""
    if remedy.startswith("Did you mean"):
        return remedy
    dotted = [line.split()[0].removeprefix("--") for line in _describe(model, "", None)]
    inside = [whole for whole in dotted if whole.endswith(f".{name}")]
    return f"Did you mean '{inside[0]}'?" if inside else remedy


def _describe(model: type[BaseModel], prefix: str, values: Any) -> list[str]:
    lines = []
    for name, info in model.model_fields.items():
        dotted = f"{prefix}{info.alias or name}"
        nested = _model_in(info.annotation)
        value = getattr(values, name, None)
        if nested is not None and nested.__name__ != "Component":
            of_stages = str(info.annotation).startswith("dict")
            stage, inner = (".NAME", None) if of_stages else ("", value)
            lines += _describe(nested, f"{dotted}{stage}.", inner)
            continue
        if values is None:
            value = None if info.is_required() else info.get_default(call_default_factory=True)
        shown = "" if value is None else f" [{value}]"
        choices = [c for c in get_args(info.annotation) if isinstance(c, str)]
        among = f" One of {', '.join(choices)}." if choices else ""
        lines.append(f"--{dotted}{shown}  {info.description or ''}{among}")
    return lines


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `Model | None` or `dict[str, Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Known names at a place in a recipe."""
    for part in location:
        info = next(
            (f for n, f in model.model_fields.items() if part in (n, f.alias)),
            None,
        )
        if info is None:
            continue  # a key of a dictionary or an index of a list: the model stays
        nested = _model_in(info.annotation)
        if nested is None:
            return []
        model = nested
    return [info.alias or name for name, info in model.model_fields.items()]


def _pairs(overrides: Sequence[str]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    words = list(overrides)
    while words:
        word = words.pop(0)
        if not word.startswith("--") or word == "--":
            raise RecipeError(
                "override of a recipe", expected="--dotted.name value", got=repr(word)
            )
        name, equals, text = word[2:].partition("=")
        if not equals and words and not words[0].startswith("--"):
            text = words.pop(0)  # it may begin with one dash, as a negative number does
            equals = "="
        kinds = _kinds(name)
        if equals and kinds & {str, Path}:
            # Text is taken as it stands, but where there may be none, null is none.
            pairs.append((name, None if text == "null" and NoneType in kinds else text))
            continue
        text = text if equals else "true"
        try:
            pairs.append((name, yaml.load(text, _Loader)))
        except (yaml.YAMLError, ValueError):
            raise RecipeError(
                f"override '{name}' of a recipe", expected="a YAML value", got=repr(text)
            ) from None
    return pairs


def _kinds(dotted: str) -> set[Any]:
    """What a field of the recipe may hold; text and paths no YAML may reinterpret."""
    annotation: Any = Recipe
    for part in dotted.split("."):
        model = _model_in(annotation)
        fields = model.model_fields.items() if model is not None else ()
        info = next((f for name, f in fields if part in (name, f.alias)), None)
        if info is None:
            return set()
        annotation = info.annotation
    return {annotation, *get_args(annotation)}


def _set(raw: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for depth, part in enumerate(path[:-1]):
        inside = raw.get(part)
        if isinstance(inside, str) and path[depth + 1] == "arguments":
            inside = {"name": inside}  # `operator: haze` and then an argument of it
        if inside is None:
            inside = {}
        if not isinstance(inside, dict):
            raise RecipeError(
                f"override '{'.'.join(path)}' of a recipe",
                expected=f"fields below '{part}'",
                got=repr(inside),
                remedy="Give the whole value as YAML instead.",
            )
        raw[part] = inside
        raw = inside
    raw[path[-1]] = value
