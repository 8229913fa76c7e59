"""Where the names of a recipe become objects. All tables of names that a recipe knows are here."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import torch
from pydantic import BeforeValidator, ConfigDict, Field, create_model
from torch import nn

from physgan.data.hazed import hazed_pairs
from physgan.data.kernels import measured_kernels
from physgan.data.pictures import Pictures
from physgan.data.scenes import NYU, depth_files, make3d
from physgan.data.sets import celeba, coco, hradis_clear
from physgan.data.text.pictures import TextPages
from physgan.errors import PhysganError, RecipeError, nearest
from physgan.networks import DISCRIMINATORS, GENERATORS
from physgan.objective.objective import Objective, Weights
from physgan.physics.blur import (
    Blur,
    DefocusMotionKernels,
    DiscKernels,
    GaussianKernels,
    MotionKernels,
)
from physgan.physics.blur_field import BlurField, MovingObjects, ShakeField
from physgan.physics.compose import Degradation, Stage
from physgan.physics.downsample import Bicubic
from physgan.physics.draw import Nothing
from physgan.physics.haze import DepthHaze, Haze, HazyScenes
from physgan.physics.jpeg import Jpeg
from physgan.physics.rain import DrawnRain, Rain
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from physgan.physics.shake import ShakeKernels
from physgan.recipes.load import validated
from physgan.recipes.schema import Component, ObjectiveSpec, Physics, Recipe
from physgan.types import Operator, Sampler, Sensor

OPERATORS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "bicubic": Bicubic,
        "blur": Blur,
        "blur_field": BlurField,
        "haze": Haze,
        "depth_haze": DepthHaze,
        "rain": Rain,
    }
)
"""Operators by name."""

SAMPLERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "disc": DiscKernels,
        "motion": MotionKernels,
        "defocus_motion": DefocusMotionKernels,
        "gaussian": GaussianKernels,
        "shake": ShakeKernels,
        "measured": measured_kernels,
        "shake_field": ShakeField,
        "moving_objects": MovingObjects,
        "hazy_scenes": HazyScenes,
        "nothing": Nothing,
        "drawn_rain": DrawnRain,
    }
)
"""Samplers by name."""

PICTURES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "text_pages": TextPages,
        "celeba": celeba,
        "coco": coco,
        "depth_files": depth_files,
        "hazed_pairs": hazed_pairs,
        "hradis": hradis_clear,
        "make3d": make3d,
        "nyu": NYU,
    }
)
"""Sets of clear pictures, drawn or published, by name."""

SENSOR_STAGES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"noise": Noise, "clip": Clip, "round": Round, "jpeg": Jpeg}
)
"""Stages of a sensor by name."""


def build_degradation(spec: Physics, *, samplers: bool = True) -> Degradation:
    """Operators, samplers and sensor of a recipe.

    Args:
        spec: the physics.
        samplers: False where theta is known and nothing is drawn: samplers are not built then, and
            the files that they name need not be there.

    Raises:
        RecipeError: an unknown name or argument, or foreign code that cannot be imported.
    """

    def sampler(part: Component) -> Sampler:
        if not samplers:
            return Nothing()
        return _like(Sampler, build(part, SAMPLERS, kind="sampler"), part)  # type: ignore[no-any-return]

    stages = {
        name: Stage(
            _like(Operator, build(stage.operator, OPERATORS, kind="operator"), stage.operator),
            sampler(stage.sampler),
        )
        for name, stage in spec.stages.items()
    }
    sensor = [
        _like(Sensor, build(stage, SENSOR_STAGES, kind="stage of a sensor"), stage)
        for stage in spec.sensor
    ]
    return Degradation(stages, SensorChain(sensor))


def build_pictures(spec: Component, *, channels: int) -> Pictures:
    """The set of clear pictures that a recipe names, of `channels` where the set can choose.

    Raises:
        RecipeError: an unknown name or argument, foreign code that cannot be imported, or a set
            that does not lie where the recipe says.
    """
    kind = "set of pictures"
    takes = inspect.signature(resolve(spec.name, PICTURES, kind=kind)).parameters
    given = {"channels": channels} if "channels" in takes else {}
    whole = spec.model_copy(update={"arguments": given | spec.arguments})
    return build(whole, PICTURES, kind=kind)  # type: ignore[no-any-return]


def picture_paths(spec: Component | None) -> dict[str, str]:
    """The arguments of a recipe's set of pictures that name files or folders.

    Raises:
        RecipeError: the set is unknown, or foreign code that cannot be imported.
    """
    return {} if spec is None else _paths(spec, PICTURES, kind="set of pictures")


def physics_paths(spec: Physics) -> list[Path]:
    """The files and folders that a physics names, such as those of measured kernels.

    Raises:
        RecipeError: an unknown name, or foreign code that cannot be imported.
    """
    parts = [
        *((stage.operator, OPERATORS, "operator") for stage in spec.stages.values()),
        *((stage.sampler, SAMPLERS, "sampler") for stage in spec.stages.values()),
        *((stage, SENSOR_STAGES, "stage of a sensor") for stage in spec.sensor),
    ]
    return [
        Path(path)
        for part, table, kind in parts
        for path in _paths(part, table, kind=kind).values()
    ]


def physics_files(spec: Physics) -> str:
    """A text that changes with the files that a physics names; empty where it names none.

    Of a folder all files count, by their names in it, but for hidden ones. Where they lie does not.

    Raises:
        RecipeError: as `physics_paths`; or a file cannot be read.
    """
    lines = []
    for number, place in enumerate(physics_paths(spec)):
        within = place.rglob("*") if place.is_dir() else [place]
        for path in within:
            name = path.relative_to(place)
            if not path.is_file() or any(part.startswith(".") for part in name.parts):
                continue
            try:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise RecipeError(
                    f"file '{path}' of the physics", expected="one that can be read", got=str(error)
                ) from None
            lines.append((number, unicodedata.normalize("NFC", name.as_posix()), content))
    return hashlib.sha256(repr(sorted(lines)).encode()).hexdigest() if lines else ""


def _paths(
    spec: Component, table: Mapping[str, Callable[..., Any]], *, kind: str
) -> dict[str, str]:
    """The arguments of a component that name files or folders."""
    hints = _hints(resolve(spec.name, table, kind=kind))
    return {
        name: str(value)
        for name, value in spec.arguments.items()
        if value is not None and Path in (hints.get(name), *get_args(hints.get(name)))
    }


def build_objective(spec: ObjectiveSpec) -> Objective:
    """The objective of a recipe."""
    return Objective(
        Weights(
            physics=spec.gamma,
            content=spec.lambda_,
            second_content=spec.mu,
            adversarial_clear=spec.adversarial_clear,
            adversarial_observation=spec.adversarial_observation,
        ),
        game=spec.game,
        matched=spec.matched,
    )


def build_generator(spec: Component, *, channels: int, scale: int, seed: int) -> nn.Module:
    """The restorer of a recipe for pictures of `channels` and a physics of `scale`.

    Raises:
        RecipeError: as `build`; or the network does not say what `RestoreFn` asks for, or says
            other channels or another scale than data and physics have.
    """
    network = _seeded(spec, GENERATORS, "generator", seed, {"channels": channels, "scale": scale})
    for name in ("channels", "scale", "multiple_of", "receptive_field", "global_statistics"):
        if not hasattr(network, name):
            raise RecipeError(
                f"generator '{spec.name}'",
                expected="the attributes of physgan.types.RestoreFn",
                got=f"none called '{name}'",
            )
    for name, wanted in (("channels", channels), ("scale", scale)):
        if getattr(network, name) != wanted:
            raise RecipeError(
                f"{name} of the generator '{spec.name}'",
                expected=f"{wanted}, as data and physics of the recipe have",
                got=str(getattr(network, name)),
            )
    return network


def build_discriminator(spec: Component, *, channels: int, seed: int) -> nn.Module:
    """One discriminator of a recipe.

    Raises:
        RecipeError: as `build`.
    """
    return _seeded(spec, DISCRIMINATORS, "discriminator", seed, {"channels": channels})


def build(spec: Component, table: Mapping[str, Callable[..., Any]], *, kind: str) -> Any:
    """The object that a component names, made with the component's arguments.

    Raises:
        RecipeError: the name is unknown, cannot be imported, or does not take these arguments.
    """
    factory = resolve(spec.name, table, kind=kind)
    origin = f"{kind} '{spec.name}'"
    return _made(factory, checked_arguments(factory, spec.arguments, origin=origin), origin)


def resolve(name: str, table: Mapping[str, Callable[..., Any]], *, kind: str) -> Callable[..., Any]:
    """What a name stands for: an entry of the table, or foreign code by import path.

    Raises:
        RecipeError: neither.
    """
    if name in table:
        return table[name]
    place, colon, attribute = name.rpartition(":")
    if not colon:
        raise RecipeError(
            f"{kind} of a recipe",
            expected=f"one of {', '.join(table)}, or module:attribute",
            got=repr(name),
            remedy=nearest(name, table),
        )
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
        found = _attribute(module, attribute, Path(place).name)
    except Exception as error:  # whatever foreign code does wrong on being imported
        raise RecipeError(
            f"{kind} '{name}'",
            expected="code that can be imported",
            got=f"{type(error).__name__}: {error}{place_of(error)}",
            remedy=_where_to_look(error),
        ) from error
    if not callable(found):
        raise RecipeError(
            f"{kind} '{name}'",
            expected="a class or a function that makes one",
            got=type(found).__name__,
        )
    return found  # type: ignore[no-any-return]


def _attribute(module: Any, name: str, file: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    known = nearest(name, own).removesuffix(".") if own else ""
    raise AttributeError(f"no '{name}' in {file}. {known}".strip())


def _where_to_look(error: Exception) -> str:
    """What to do about code that cannot be found; about code that is wrong, nothing more."""
    if isinstance(error, ImportError) and not place_of(error):
        return (
            "Files are sought beside the recipe, then from the current folder; modules on the "
            "import path."
        )
    return ""


def checked_arguments(
    factory: Callable[..., Any], arguments: Mapping[str, Any], *, origin: str
) -> dict[str, Any]:
    """Arguments checked and converted by the factory's own signature and annotations.

    Raises:
        RecipeError: an argument that it does not take, lacks, or of a wrong type.
    """
    signature = inspect.signature(factory)
    hints = _hints(factory)
    fields: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return dict(arguments)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        hint = _pair(hints.get(name, Any))
        takes_flags = any(kind in (bool, Any) for kind in (hint, *get_args(hint)))
        if isinstance(arguments.get(name), bool) and not takes_flags:
            raise RecipeError(
                f"field '{name}' of {origin}",
                expected="a value and not a flag",
                got=str(arguments[name]),
            )
        # Any name is fine for an argument, not every one for a field of a model.
        aliases[name] = f"argument_{len(aliases)}"
        fields[aliases[name]] = (hint, Field(default, alias=name))
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
    model = create_model("Arguments", __config__=config, **fields)
    checked = validated(model, dict(arguments), origin=origin)
    return {name: getattr(checked, aliases[name]) for name in arguments}


def _pair(hint: Any) -> Any:
    """The annotation; a pair of numbers takes a single one for both, as a range of one value."""
    if get_origin(hint) is not tuple or get_args(hint) not in ((float, float), (int, int)):
        return hint

    def both(value: Any) -> Any:
        return (value, value) if isinstance(value, int | float) else value

    return Annotated[hint, BeforeValidator(both)]


def _like(protocol: type, made: Any, spec: Component) -> Any:
    """`made`, if it has what the protocol asks for."""
    if not isinstance(made, protocol):
        raise RecipeError(
            f"'{spec.name}' of a recipe",
            expected=f"what makes a physgan.types.{protocol.__name__}",
            got=f"{type(made).__name__}, without {_lacking(protocol, made)}",
        )
    return made


def _lacking(protocol: type, made: Any) -> str:
    """The members of a protocol that an object does not have."""
    members = {*vars(protocol), *protocol.__annotations__}
    wanted = sorted(n for n in members if not n.startswith("_") or n == "__call__")
    return ", ".join(f"'{name}'" for name in wanted if not hasattr(made, name))


def _made(factory: Callable[..., Any], arguments: Mapping[str, Any], origin: str) -> Any:
    """Calls a factory; what it refuses is a fault of the recipe."""
    try:
        return factory(**arguments)
    except PhysganError as error:
        raise RecipeError(
            f"{origin}, {error.what}",
            expected=error.expected,
            got=error.got,
            remedy=error.remedy,
        ) from None


def foreign_code(recipe: Recipe | Physics) -> str:
    """A text that changes when files of foreign code that a recipe names do; else empty."""
    names: set[str] = set()

    def collect(raw: Any) -> None:
        if isinstance(raw, Mapping):
            if isinstance(raw.get("name"), str):
                names.add(raw["name"].rpartition(":")[0])
            for value in raw.values():
                collect(value)
        elif isinstance(raw, list):
            for value in raw:
                collect(value)

    collect(recipe.model_dump(mode="json"))
    files = sorted((Path(n).name, Path(n)) for n in names if n.endswith(".py"))
    contents = [path.read_bytes() for _, path in files if path.is_file()]
    return hashlib.sha256(b"\0".join(contents)).hexdigest() if contents else ""


def place_of(error: Exception) -> str:
    """File and line where foreign code went wrong, outside Python's import machinery and ours."""
    frames = traceback.extract_tb(error.__traceback__)
    package = f"{Path(__file__).parents[1]}{os.sep}"
    outside = [
        f
        for f in frames
        if f.filename != importlib.__file__ and not f.filename.startswith(("<", package))
    ]
    own = [f for f in outside if "site-packages" not in f.filename]
    outside = own or outside
    return f" ({Path(outside[-1].filename).name}, line {outside[-1].lineno})" if outside else ""


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    target = getattr(factory, "func", factory)  # of a functools.partial
    target = target.__init__ if inspect.isclass(target) else target
    try:
        return get_type_hints(target)
    except (NameError, TypeError):
        return {}  # foreign code without usable annotations: names are still checked


def _seeded(
    spec: Component,
    table: Mapping[str, Callable[..., Any]],
    kind: str,
    seed: int,
    given: Mapping[str, Any],
) -> nn.Module:
    """Builds a network whose random start depends on the seed alone."""
    factory = resolve(spec.name, table, kind=kind)
    takes = inspect.signature(factory).parameters
    # What data and physics decide is handed to every network that takes it.
    arguments = {k: v for k, v in given.items() if k in takes} | spec.arguments
    checked = checked_arguments(factory, arguments, origin=f"{kind} '{spec.name}'")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the GPUs' too
        network = _made(factory, checked, f"{kind} '{spec.name}'")
    if not isinstance(network, nn.Module):
        raise RecipeError(
            f"{kind} '{spec.name}'", expected="a torch.nn.Module", got=type(network).__name__
        )
    return network


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise ImportError(f"no file '{path}'")
    # A file that was edited is another module, or a notebook would train the physics of before.
    edition = (path.resolve(), path.stat().st_mtime_ns, path.stat().st_size)
    name = f"physgan_foreign_{abs(hash(edition))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"'{path}' is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _load_module(name: str) -> Any:
    # A console script does not have the current folder on its path, where a user's code usually is.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return importlib.import_module(name)
