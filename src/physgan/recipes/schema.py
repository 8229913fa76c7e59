"""The typed form of a recipe. Unknown fields are errors; each field says what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
)


class Strict(BaseModel):
    """A part of a recipe: immutable, and closed to fields that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag_for_a_value(cls, value: object, info: ValidationInfo) -> object:
        # `--training.batch` without its number is read as true, and true is not 1 here.
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and wanted not in (bool, Any):
            raise ValueError("a value and not a flag")
        return value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # What says nothing new is left out: a notebook shows what a recipe decides.
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if field.is_required() or value != field.get_default(call_default_factory=True):
                yield field.alias or name, value

    def __str__(self) -> str:
        return repr(self)


class Component(Strict):
    """A thing to build: its name in a table, or an import path, and its arguments.

    `name` alone may stand for the whole: `operator: haze`.
    """

    name: str = Field(
        description="A name that physgan knows, `module:attribute` or `path/to/file.py:attribute`."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments, checked against the thing's signature.",
    )

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({given})" if given else self.name


def _component(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[Component, BeforeValidator(_component)]


class PairFolders(Strict):
    """Two folders of pictures that belong together by stem."""

    degraded: Path = Field(description="Observations.")
    clean: Path = Field(description="The clear pictures behind them.")


class Data(Strict):
    """Which clear pictures are trained on, and how crops are cut from them."""

    train: Path | None = Field(
        None, description="Folder of clear pictures, or shards made by `physgan pack`."
    )
    pictures: Named | None = Field(
        None,
        description="Pictures that are drawn, or a published data set, in place of `train`.",
    )
    channels: PositiveInt = Field(3, description="1 for grey, 3 for colour.")
    crop: PositiveInt = Field(128, description="Side of a training crop in pixels.")
    fit: Literal["crop", "resize"] = Field(
        "crop", description="Cut at a random place, or resize whole pictures to the crop."
    )
    augment: Literal["none", "flip", "dihedral"] = Field(
        "dihedral", description="Nothing, mirroring left to right, or any flip and quarter turn."
    )
    hold_out: NonNegativeInt = Field(
        24, description="Originals kept from training, degraded once, to measure progress on."
    )
    pairs: PairFolders | None = Field(
        None, description="Pairs to measure progress on, in place of held-out originals."
    )
    workers: PositiveInt = Field(1, description="Threads that read pictures ahead.")
    licence: str | None = Field(
        None,
        description="What the training pictures allow; it goes into the weights. Drawn pictures "
        "tell it themselves, others are 'unknown'.",
    )


class StageSpec(Strict):
    """One stage of the physics."""

    operator: Named = Field(description="What happens to the picture.")
    sampler: Named = Field(description="What draws its parameters.")


def _stage_name(name: str) -> str:
    # Names are joined by dots, in overrides and where theta is kept.
    if not name or "." in name or name == "sensor":
        raise ValueError("a name without dots that is not 'sensor'")
    return name


StageName = Annotated[str, AfterValidator(_stage_name)]


class Physics(Strict):
    """The degradation: stages in physical order, then the sensor."""

    stages: dict[StageName, StageSpec] = Field(
        min_length=1, description="By the name under which theta keeps their parameters."
    )
    sensor: list[Named] = Field(
        default_factory=list, description="Noise, clipping, rounding, in order."
    )


class ObjectiveSpec(Strict):
    """Weights of Eq. 12, by the paper's letters; 0 leaves a term out."""

    gamma: float = Field(10.0, ge=0, description="Eq. 8, the physics.")
    lambda_: float = Field(50.0, ge=0, alias="lambda", description="Eq. 9, the clear image.")
    mu: float = Field(10.0, ge=0, description="Eq. 10, restored again.")
    adversarial_clear: float = Field(1.0, ge=0, description="Eq. 11, D_g.")
    adversarial_observation: float = Field(1.0, ge=0, description="Eq. 11, D_h.")
    game: Literal["least_squares", "log"] = Field("least_squares", description="Form of Eq. 11.")
    matched: bool = Field(
        True, description="Re-generated observations pass the sensor before D_h sees them."
    )
    pool: NonNegativeInt = Field(50, description="Generated images each discriminator remembers.")


Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimiser(Strict):
    """What moves the players."""

    method: Literal["adam", "muon"] = Field(
        "adam",
        description="Of the generator: adam, or muon, which turns the moves of kernels into ones "
        "of equal length in all directions; discriminators have adam.",
    )
    lr: float = Field(2e-4, gt=0, description="Learning rate at the start.")
    betas: tuple[Decay, Decay] = Field((0.5, 0.999), description="Adam's two decays.")
    clip: float | None = Field(
        None, gt=0, description="Greatest norm of the generator's gradient; none if empty."
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="Share of the generator's weights, times the learning rate, that each step "
        "takes: without it those that muon moves grow for as long as a run lasts.",
    )


class Schedule(Strict):
    """How long, and how the learning rate falls: constant, then linearly to zero."""

    unit: Literal["steps", "epochs"] = Field("steps", description="What the two numbers count.")
    constant: NonNegativeInt = Field(description="At the full learning rate.")
    decay: NonNegativeInt = Field(description="On the way to zero.")


class CheckpointSpec(Strict):
    """What a run writes so that it can go on."""

    every: PositiveInt = Field(500, description="Steps between two checkpoints.")
    part_megabytes: PositiveInt | None = Field(
        None, description="Write in parts of at most this many million bytes."
    )
    compact: bool = Field(
        False,
        description="Average and moments in half precision: smaller to carry, no longer exact.",
    )


class Training(Strict):
    """The run."""

    batch: PositiveInt = Field(8, description="Crops in one step.")
    schedule: Schedule = Field(description="How long.")
    ema: float = Field(0.999, ge=0, lt=1, description="Decay of the weights' moving average.")
    start: str | None = Field(
        None,
        description="Weights that the generator, or one of its parts, begins from: a shipped name, "
        "a file, or the folder of a run.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Of the networks' forward and backward passes; physics stays in fp32. auto: "
        "bf16 where the device has units for it, fp32 elsewhere.",
    )
    compile: bool = Field(False, description="Compile the networks; pays off on long runs.")
    parts: PositiveInt = Field(
        1,
        description="Parts in which a batch passes through the networks, one after the other: "
        "less memory, the same step but for the noise that a sensor draws.",
    )
    recompute: bool = Field(
        False,
        description="Keep less of the generator's forward pass and compute it again on the way "
        "back: less memory, more time, the same step.",
    )
    log_every: PositiveInt = Field(20, description="Steps between two lines of the log.")
    validate_every: PositiveInt = Field(500, description="Steps between two validations.")
    patience: PositiveInt = Field(
        20,
        description="Steps in a row that may be skipped; some more, and the run stops with a "
        "diagnosis.",
    )
    checkpoint: CheckpointSpec = Field(
        default_factory=CheckpointSpec, description="What is written so that a run can go on."
    )


class Recipe(Strict):
    """An experiment, whole: data, physics, networks, objective, training."""

    name: str = Field(description="What the weights will be called.")
    description: str = Field("", description="One or two sentences for people.")
    seed: int = Field(0, ge=0, lt=2**32, description="Decides everything that is drawn.")
    data: Data = Field(default_factory=Data, description="Pictures and crops.")
    physics: Physics = Field(description="What degrades them.")
    generator: Named = Field(description="The restorer G.")
    discriminator: Named = Field(
        description="Of which D_g and D_h are one each; no layer may mix the images of a batch."
    )
    objective: ObjectiveSpec = Field(
        default_factory=ObjectiveSpec, description="What is minimised."
    )
    optimiser: Optimiser = Field(default_factory=Optimiser, description="How it is minimised.")
    training: Training = Field(description="For how long, and what a run leaves on its way.")

    def __repr__(self) -> str:
        lines = [f"  {name}: {_line(value)}" for name, value in self.__repr_args__()]
        return "\n".join([f"Recipe({self.name}", *lines[1:], ")"])


def _line(value: Any) -> str:
    """A field of a recipe in one line, the name of its class left out."""
    if isinstance(value, Physics):
        stages = [f"{n} = {s.operator} of {s.sampler}" for n, s in value.stages.items()]
        sensor = [f"sensor = {', '.join(map(str, value.sensor))}"] if value.sensor else []
        return "; ".join([*stages, *sensor])
    if isinstance(value, Component | str):
        return str(value)
    if isinstance(value, Strict):
        return ", ".join(f"{name} {_line(inner)}" for name, inner in value.__repr_args__())
    return repr(value)
