"""A recipe carried out: everything built, trained, and its weights left with their card."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from physgan.data.crops import CropStream, centre_crop
from physgan.data.pairs import Pair, drawn_pairs, read_pairs
from physgan.data.pictures import Pictures, hold_out, measures, open_pictures
from physgan.errors import ImageError, RecipeError, TrainingError, WeightsError
from physgan.files import replacing, write_text
from physgan.metrics.ssim import WINDOW
from physgan.objective.objective import Objective
from physgan.physics.compose import Degradation
from physgan.recipes.build import (
    build_degradation,
    build_discriminator,
    build_generator,
    build_objective,
    build_pictures,
    foreign_code,
    picture_paths,
)
from physgan.recipes.load import dump_recipe, load_recipe, placed, published
from physgan.recipes.schema import Data, Recipe
from physgan.recipes.trial import try_networks, try_physics
from physgan.training.logs import JsonLines, Watcher
from physgan.training.loop import Outcome, Plan, fit
from physgan.training.state import MANIFEST
from physgan.training.step import CLEAR, GENERATOR, OBSERVATION
from physgan.weights.card import card
from physgan.weights.catalogue import SHIPPED
from physgan.weights.file import BEGUN, JSON, WeightsInfo, load_weights, save_weights
from physgan.weights.find import find_weights

_log = logging.getLogger("physgan")

RECIPE = "recipe.yaml"
WEIGHTS = "weights.safetensors"
CARD = "card.md"
LOG = "log.jsonl"
START = "start.safetensors"

# What may change between two sittings of one run: where things lie, how long it lasts, how it is
# carried out, and what the diagnosis of a run that fails advises.
_FREE = (
    "name",
    "description",
    "training.",
    "optimiser.",
    "data.train",
    "data.pairs.",
    "data.workers",
    "data.licence",
)


Held: TypeAlias = tuple[str, Tensor, Mapping[str, Tensor]]
"""Name and middle of a held-out picture, and of the maps that were measured with it."""


def train_recipe(
    recipe: Recipe,
    folder: Path,
    *,
    watchers: Callable[[int, int], Sequence[Watcher]] = lambda start, steps: (),
    resume: bool = False,
    device: str = "auto",
) -> Outcome:
    """Trains what a recipe describes and leaves recipe, log, checkpoint, weights and card.

    Args:
        recipe: the experiment.
        folder: the run's folder, made where it is missing.
        watchers: given the first step and the number of steps, those who are told besides the
            log, which is always written.
        resume: goes on from the folder's checkpoint, if it holds one.
        device: see `fit`.

    Raises:
        RecipeError: the recipe lacks training pictures or cannot be built.
        ImageError: pictures are missing or cannot be read.
        TrainingError: the folder holds another run, or the run fails.
    """
    recipe = _placed(recipe)
    degradation = build_degradation(recipe.physics)
    train, held = _pictures(recipe, degradation)
    # Pictures that are drawn tell what they allow.
    licence = str(recipe.data.licence or getattr(train.pictures, "licence", "unknown"))
    objective = build_objective(recipe.objective)
    networks = players_of(recipe, degradation, objective)
    fits = {"crop": recipe.data.crop, "channels": recipe.data.channels}
    try_networks(networks, **fits, scale=degradation.operator.scale)
    known = measures(train.pictures) if train.known else ()
    try_physics(degradation, **fits, known=known, differentiable=objective.needs_y_hat)
    pairs = _pairs(recipe.data, held, degradation, recipe.seed)
    plan = plan_of(recipe, train.steps_per_epoch)
    start = _start(recipe, folder, resume=resume)
    began_from = _begin(networks[GENERATOR], start) if start is not None else {}
    _claim(folder, recipe, resume=resume)
    if resume and not (folder / MANIFEST).exists():
        _log.info("no checkpoint in '%s': beginning anew", folder)
    for name in known:
        takers = ", ".join(degradation.stages_with(name))
        _log.info("%s measured with the pictures: %s", name, takers)
    _log.info(
        "%d pictures or crops to train on, %d pairs to check on, %d steps, into '%s'",
        len(train.indices),
        len(pairs),
        plan.steps,
        folder,
    )

    def save(network: nn.Module, outcome: Outcome) -> None:
        info = _info(
            recipe,
            network,
            outcome,
            pictures=len(train.indices),
            licence=licence,
            curve=_curve(folder),
            began_from=began_from,
        )
        save_weights(folder / WEIGHTS, network.state_dict(), info)
        text = card(
            info,
            title=recipe.name,
            parameters=sum(p.numel() for p in network.parameters()),
            size=(folder / WEIGHTS).stat().st_size,
        )
        write_text(folder / CARD, text)

    try:
        if start is not None:
            _keep(start, folder / START)
        with _writing_to(folder):
            return fit(
                networks,
                stream=train,
                pairs=pairs,
                degradation=degradation,
                objective=objective,
                plan=plan,
                folder=folder,
                save_weights=save,
                data={
                    "training pictures": train.pictures.identity(),
                    "foreign code": foreign_code(recipe),
                },
                watchers=lambda start: [
                    JsonLines(folder / LOG, from_step=start),
                    *watchers(start, plan.steps),
                ],
                resume=resume,
                device=device,
            )
    except BaseException:
        if not (folder / MANIFEST).exists():
            # There is nothing to go on with; the folder is free for another attempt.
            (folder / RECIPE).unlink(missing_ok=True)
            (folder / START).unlink(missing_ok=True)
        raise


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """A disk that is full, or not to be written to any more, is no fault of the program."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"run in '{folder}'",
            expected="to write its log, weights and card there",
            got=str(error),
            remedy="Make room, then go on from the last checkpoint: --resume.",
        ) from error


def _placed(recipe: Recipe) -> Recipe:
    """The recipe with whole paths, so that the one in a run's folder works from anywhere."""
    raw = placed(recipe.model_dump(mode="json", by_alias=True), Path.cwd())
    data = raw["data"]
    if data["train"] is not None:
        data["train"] = str(Path(data["train"]).absolute())
    if data["pairs"] is not None:
        data["pairs"] = {k: str(Path(v).absolute()) for k, v in data["pairs"].items()}
    for name, path in picture_paths(recipe.data.pictures).items():
        data["pictures"]["arguments"][name] = str(Path(path).absolute())
    start = raw["training"]["start"]
    if start is not None and start not in SHIPPED and Path(start).exists():
        raw["training"]["start"] = str(Path(start).absolute())
    return Recipe.model_validate(raw)


def _pictures(recipe: Recipe, degradation: Degradation) -> tuple[CropStream, list[Held]]:
    """The stream of crops, and what is held out."""
    data = recipe.data
    if data.train is not None and data.pictures is not None:
        raise RecipeError(
            "training pictures",
            expected="'data.train' or 'data.pictures'",
            got="both",
            remedy="To train on your own: --data.pictures null --data.train FOLDER.",
        )
    if data.train is not None:
        pictures: Pictures = open_pictures(data.train, channels=data.channels)
    elif data.pictures is not None:
        pictures = build_pictures(data.pictures, channels=data.channels)
    else:
        raise RecipeError(
            "field 'data.train'",
            expected="a folder of clear pictures, or shards of them",
            got="nothing",
            remedy="Name it: --data.train FOLDER.",
        )
    known = any(degradation.stages_with(name) for name in measures(pictures))
    indices: Sequence[int] = range(len(pictures))
    held: Sequence[int] = ()
    middles: dict[int, tuple[Tensor, Mapping[str, Tensor]]] = {}

    def readable(index: int) -> bool:
        try:
            middles[index] = centre_crop(pictures, index, data.crop, data.fit, known=known)
        except ImageError as error:
            _log.warning("passed over: %s", error)
        return index in middles

    if data.pairs is None:
        indices, held = hold_out(pictures, data.hold_out, seed=recipe.seed, readable=readable)
    stream = CropStream(
        pictures,
        indices,
        data.crop,
        recipe.training.batch,
        recipe.seed,
        data.fit,
        data.augment,
        known,
    )
    return stream, [(f"{index:06d}", *middles[index]) for index in held]


def _pairs(data: Data, held: list[Held], degradation: Degradation, seed: int) -> list[Pair]:
    if data.pairs is None:
        return drawn_pairs(held, degradation, seed=seed)
    pairs = read_pairs(data.pairs.degraded, data.pairs.clean, channels=data.channels)
    scale = degradation.operator.scale
    for pair in pairs:
        # Found out now, and not at the first validation.
        (h, w), (tall, wide) = pair.y.shape[-2:], pair.x.shape[-2:]
        if (tall, wide) != (scale * h, scale * w):
            raise ImageError(
                f"pair '{pair.name}'",
                expected=f"a clear picture of {scale * h}×{scale * w}, {scale} times its "
                "observation",
                got=f"{tall}×{wide}",
            )
        if min(tall, wide) < WINDOW:
            raise ImageError(
                f"pair '{pair.name}'",
                expected=f"sides of at least {WINDOW} pixels, which SSIM needs",
                got=f"{tall}×{wide}",
            )
    return pairs


def players_of(
    recipe: Recipe, degradation: Degradation, objective: Objective
) -> dict[str, nn.Module]:
    """The networks of a recipe by their parts in the game, drawn by its seed.

    Raises:
        RecipeError: one cannot be built.
    """
    networks: dict[str, nn.Module] = {
        GENERATOR: build_generator(
            recipe.generator,
            channels=recipe.data.channels,
            scale=degradation.operator.scale,
            seed=recipe.seed,
        )
    }
    weights = objective.weights
    for offset, (name, weight) in enumerate(
        [(CLEAR, weights.adversarial_clear), (OBSERVATION, weights.adversarial_observation)],
        start=1,
    ):
        if weight:
            networks[name] = build_discriminator(
                recipe.discriminator, channels=recipe.data.channels, seed=recipe.seed + offset
            )
    return networks


def plan_of(recipe: Recipe, steps_per_epoch: int) -> Plan:
    """The numbers of a recipe's run.

    Raises:
        RecipeError: it has no steps.
    """
    training, schedule = recipe.training, recipe.training.schedule
    unit = steps_per_epoch if schedule.unit == "epochs" else 1
    if schedule.constant + schedule.decay == 0:
        raise RecipeError(
            "training.schedule", expected="at least one step", got="constant 0 and decay 0"
        )
    megabytes = training.checkpoint.part_megabytes
    return Plan(
        seed=recipe.seed,
        constant=schedule.constant * unit,
        decay=schedule.decay * unit,
        method=recipe.optimiser.method,
        lr=recipe.optimiser.lr,
        betas=recipe.optimiser.betas,
        weight_decay=recipe.optimiser.weight_decay,
        clip=recipe.optimiser.clip,
        ema=training.ema,
        pool=recipe.objective.pool,
        precision=training.precision,
        compile=training.compile,
        parts=training.parts,
        recompute=training.recompute,
        workers=recipe.data.workers,
        log_every=training.log_every,
        validate_every=training.validate_every,
        checkpoint_every=training.checkpoint.every,
        part_bytes=megabytes * 10**6 if megabytes else None,
        compact=training.checkpoint.compact,
        patience=training.patience,
    )


def _claim(folder: Path, recipe: Recipe, *, resume: bool) -> None:
    """Makes the folder this run's, or makes sure that it already is."""
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"output '{folder}'", expected="a folder", got="a file")
    stored = folder / RECIPE
    if not resume and (stored.exists() or (folder / MANIFEST).exists()):
        raise TrainingError(
            f"output '{folder}'",
            expected="a folder without a run",
            got="one that holds a run",
            remedy="Go on with it: --resume. Or name another folder.",
        )
    # Without a checkpoint there is nothing yet that another recipe would not fit.
    if stored.exists() and (folder / MANIFEST).exists():
        before, now = (
            load_recipe(stored).model_dump(by_alias=True),
            recipe.model_dump(by_alias=True),
        )
        pictures = [f"data.pictures.arguments.{n}" for n in picture_paths(recipe.data.pictures)]
        free = (*_FREE, *pictures)
        differing = [
            name
            for name in _differences(before, now)
            # The batch decides which crops a step takes, and so where the run stands in its data.
            # Where it began cannot be changed any more, nor what its optimiser remembers.
            if name in ("training.batch", "training.start", "optimiser.method")
            or not name.startswith(free)
        ]
        if differing:
            raise TrainingError(
                f"recipe of the run in '{folder}'",
                expected="the one that it was started with",
                got=f"another {', '.join(differing)}",
                remedy=f"Resume with '{stored}', or start a new run.",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _keep_former(folder, dump_recipe(recipe))
        write_text(stored, dump_recipe(recipe))
    except OSError as error:
        raise TrainingError(
            f"output '{folder}'", expected="a folder that can be written", got=str(error)
        ) from None


def _keep_former(folder: Path, text: str) -> None:
    """Puts aside the recipe of the steps so far, if the run goes on with another."""
    stored, manifest = folder / RECIPE, folder / MANIFEST
    if stored.exists() and manifest.exists() and stored.read_text(encoding="utf-8") != text:
        step = json.loads(manifest.read_text(encoding="utf-8")).get("step", 0)
        stored.replace(folder / f"recipe-until-step-{step}.yaml")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key in [*before, *(key for key in now if key not in before)]:
        a, b = before.get(key), now.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            names += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            names.append(f"{prefix}{key}")
    return names


def _start(recipe: Recipe, folder: Path, *, resume: bool) -> Path | None:
    """The weights that the run begins from; when it goes on, its own copy of them."""
    if recipe.training.start is None:
        return None
    copy = folder / START
    goes_on = resume and (folder / MANIFEST).is_file() and copy.is_file()
    return copy if goes_on else find_weights(recipe.training.start)


def _begin(network: nn.Module, start: Path) -> dict[str, JSON]:
    """Fills the generator with weights; returns what their header says of where they come from.

    Weights may be those of one of its parts, as one look is part of two.
    """
    filled: str | None = None
    try:
        info = load_weights(start, network=network)[1]
    except WeightsError:
        for name, part in network.named_children():
            with suppress(WeightsError):
                info, filled = load_weights(start, network=part)[1], name
                break
        else:
            raise
    came_from: dict[str, JSON] = {
        **info.training,
        "name": info.name,
        "sha256": hashlib.sha256(start.read_bytes()).hexdigest(),
        "commit": info.commit,
        "data": info.data,
        "licence": info.licence,
        "recipe": info.recipe,
    }
    return came_from | ({} if filled is None else {"filled": filled})


def _keep(start: Path, copy: Path) -> None:
    """Copies what the run begins from, so that it can go on where the original has changed."""
    if start == copy:
        return
    try:
        with replacing(copy) as beside:
            shutil.copyfile(start, beside)
    except OSError as error:
        raise TrainingError(
            f"output '{copy.parent}'", expected="a folder that can be written", got=str(error)
        ) from None


def _curve(folder: Path, *, points: int = 40) -> list[JSON]:
    """PSNR by step from the run's log, thinned evenly to at most `points` validations."""
    if not (folder / LOG).exists():
        return []
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if '"validation"' in line]
    kept = records[:: -(-len(records) // points) or 1]
    if records and kept[-1] is not records[-1]:
        kept.append(records[-1])
    return [{"step": r["step"], "psnr": r["psnr"] and round(r["psnr"], 3)} for r in kept]


def _info(
    recipe: Recipe,
    network: nn.Module,
    outcome: Outcome,
    *,
    pictures: int,
    licence: str,
    curve: list[JSON],
    began_from: Mapping[str, JSON],
) -> WeightsInfo:
    raw = published(recipe)
    arguments = dict(recipe.generator.arguments)
    arguments |= {"channels": recipe.data.channels}
    if network.scale != 1:
        arguments |= {"scale": int(network.scale)}  # type: ignore[arg-type]
    measured: dict[str, JSON] = {
        "set": "given pairs" if recipe.data.pairs else "held-out crops",
        "protocol": "rgb, 8 bits",
        **{k: round(v, 4) for k, v in outcome.measured.items() if math.isfinite(v)},
    }
    training: dict[str, JSON] = {
        "steps": outcome.step,
        "hours": round(outcome.seconds / 3600, 3),
        "seed": recipe.seed,
        "machine": f"{platform.machine()}, {platform.system()}, {torch.get_num_threads()} threads",
        "arithmetic": outcome.arithmetic,
        "torch": torch.__version__,
        "curve": curve,
    }
    data = f"{pictures} clear pictures or crops, licence: {licence}"
    if began_from:
        training["began_from"] = began_from
        # What it began from binds what it became.
        licence = joined_licences(licence, str(began_from["licence"]))
    return WeightsInfo(
        architecture=raw["generator"]["name"],
        arguments=arguments,
        channels=recipe.data.channels,
        scale=int(network.scale),  # type: ignore[arg-type]
        recipe=raw,
        commit=_commit(),
        data=data,
        licence=licence,
        measured=measured if outcome.measured else [],
        training=training,
    )


def joined_licences(own: str, began_from: str) -> str:
    """The licence of weights that began from others, each of those behind them told once."""
    rest = dict.fromkeys(each for each in began_from.split(BEGUN) if each != own)
    return BEGUN.join([own, *rest])


@cache
def _commit() -> str:
    """The commit of the checkout that the code runs from, or the version that is installed."""
    here = Path(__file__).parent
    try:
        known = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=here,
            capture_output=True,
            timeout=10,
            check=False,
        )
        if known.returncode == 0:
            described = subprocess.run(
                ["git", "describe", "--always", "--dirty", "--abbrev=12"],
                cwd=here,
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
            if described.returncode == 0:
                return described.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        pass
    return f"physgan {version('physgan')}"
