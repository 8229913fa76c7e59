"""The training loop, to be read from top to bottom: step, average, log, check, save."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.profiler import record_function

from physgan.data.crops import Crops, ahead
from physgan.data.pairs import Pair
from physgan.data.synthesis import synthesise
from physgan.errors import TrainingError, UsageError, install
from physgan.networks import channels_last
from physgan.networks.ways import has_bf16
from physgan.objective.objective import Objective
from physgan.physics.compose import Degradation
from physgan.training.ema import EMA
from physgan.training.logs import Watcher
from physgan.training.muon import Muon
from physgan.training.pool import ImagePool
from physgan.training.recompute import recompute
from physgan.training.schedule import learning_rate_factor
from physgan.training.state import TrainState, load_checkpoint, save_checkpoint
from physgan.training.step import (
    CLEAR,
    GENERATOR,
    OBSERVATION,
    Opponent,
    Player,
    adversarial_step,
)
from physgan.training.validate import validate

try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision
except ModuleNotFoundError as error:
    if error.name != "lightning_fabric":
        raise
    raise UsageError(
        "training",
        expected="the package lightning-fabric",
        got="none",
        remedy=install("train"),
    ) from None

_log = logging.getLogger("physgan")


@dataclass(frozen=True)
class Plan:
    """The numbers of a run; the recipe's schema says what each is for."""

    seed: int
    constant: int
    """steps at the full learning rate"""
    decay: int
    """steps on the way to zero"""
    method: str = "adam"
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    clip: float | None = None
    weight_decay: float = 0.0
    ema: float = 0.999
    pool: int = 50
    precision: str = "fp32"
    compile: bool = False
    parts: int = 1
    recompute: bool = False
    workers: int = 1
    log_every: int = 20
    validate_every: int = 500
    checkpoint_every: int = 500
    part_bytes: int | None = None
    compact: bool = False
    patience: int = 20

    @property
    def steps(self) -> int:
        """Length of the run."""
        return self.constant + self.decay


@dataclass(frozen=True, repr=False)
class Outcome:
    """Where a run stands when it ends."""

    step: int
    seconds: float
    measured: Mapping[str, float]
    arithmetic: str = ""
    """precision and device, such as `bf16 on cpu`"""

    def __repr__(self) -> str:
        how = f", {self.arithmetic}" if self.arithmetic else ""
        took = timedelta(seconds=round(self.seconds))
        found = self.measured
        measured = "nothing measured"
        if "psnr" in found:
            measured = (
                f"PSNR {found['input_psnr']:.2f} -> {found['psnr']:.2f} dB, "
                f"SSIM {found['input_ssim']:.3f} -> {found['ssim']:.3f}"
            )
        return f"Outcome({self.step} steps in {took}{how}: {measured})"


def fit(
    networks: Mapping[str, nn.Module],
    *,
    stream: Callable[[int], Crops],
    pairs: Sequence[Pair],
    degradation: Degradation,
    objective: Objective,
    plan: Plan,
    folder: Path,
    save_weights: Callable[[nn.Module, Outcome], None],
    data: Mapping[str, str] | None = None,
    watchers: Callable[[int], Iterable[Watcher]],
    resume: bool = False,
    device: str = "auto",
) -> Outcome:
    """Trains `networks["generator"]` against the discriminators beside it.

    Args:
        networks: `generator`, and `clear` and `observation` where the objective gives them weight.
        stream: clear crops by step.
        data: by name, what identifies the data behind the stream and whatever else may not
            change; a run goes on with the same alone.
        pairs: what progress is measured on; may be empty.
        degradation: physics and sensor.
        objective: terms and weights.
        plan: numbers of the run.
        folder: where checkpoints go; it must exist.
        save_weights: given the averaged generator and the outcome so far, at every checkpoint.
        watchers: given the step at which the run begins, those who are told how it goes.
        resume: goes on from the checkpoint in `folder`, if there is one.
        device: `auto`, `cpu`, `cuda` or what else Fabric knows.

    Returns:
        Steps, time and the last measurement.

    Raises:
        TrainingError: the device is not there, the checkpoint does not fit or cannot be written,
            or steps are skipped without end.
        KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint of the last whole step has been
            written.
    """
    fabric, arithmetic = _fabric(device, plan.precision)
    torch.manual_seed(plan.seed)
    state, player, opponents = _players(fabric, networks, plan)
    state.arithmetic = arithmetic
    state.data = data or {}
    if resume:
        load_checkpoint(folder, state, device=fabric.device)
        if state.step:
            _log.info("going on after step %d of %d", state.step, plan.steps)

    with (
        _interrupted() as interrupted,
        _watching(watchers, state.step) as told,
        closing(ahead(stream, state.step, plan.steps, workers=plan.workers)) as batches,
    ):
        began, before = time.monotonic(), state.seconds
        logged = (state.step, began)
        if state.step >= plan.steps:
            # A kill may have come between the last checkpoint and its weights.
            save_weights(state.ema.module, _outcome(state))
        for crops in batches:
            factor = learning_rate_factor(state.step, constant=plan.constant, decay=plan.decay)
            for optimiser in state.optimisers.values():
                for group in optimiser.param_groups:
                    group["lr"] = plan.lr * factor

            x, known = fabric.to_device(crops)
            with record_function("synthesis"):
                batch = synthesise(
                    x, degradation, generator=state.generators["synthesis"], known=known
                )
            numbers = adversarial_step(
                batch,
                player,
                opponents,
                degradation=degradation,
                objective=objective,
                generator=state.generators["sensor"],
                clip=plan.clip,
                parts=plan.parts,
                backward=fabric.backward,
            )

            _count(state, numbers, opponents)
            state.step += 1
            # The device is asked how it went every now and then only: the answer takes a while.
            last, stop = state.step == plan.steps, interrupted.is_set()
            if state.step % min(plan.log_every, plan.patience) == 0 or last or stop:
                in_a_row = int(state.skipped_in_a_row)
                if in_a_row >= plan.patience:
                    raise _diagnosis(numbers, state, plan)
            state.seconds = before + time.monotonic() - began
            for watcher in told:
                watcher.stepped(state.step)

            if state.step % plan.log_every == 0 or last:
                now = time.monotonic()
                rate = (state.step - logged[0]) / max(now - logged[1], 1e-9)
                logged = (state.step, now)
                record = _means(state) | {"steps_per_second": rate, "lr": plan.lr * factor}
                skips = {"skipped": int(state.skipped), "d_skipped": int(state.d_skipped)}
                _tell(told, "train", state, record | skips)
            if pairs and (state.step % plan.validate_every == 0 or last):
                state.measured, pictures = validate(state.ema.module, pairs, device=fabric.device)  # type: ignore[arg-type]
                _tell(told, "validation", state, state.measured)
                for watcher in told:
                    watcher.shown(state.step, pictures)
            stop = stop or interrupted.is_set()
            if state.step % plan.checkpoint_every == 0 or last or stop:
                state.seconds = before + time.monotonic() - began
                save_checkpoint(folder, state, part_bytes=plan.part_bytes, compact=plan.compact)
                save_weights(state.ema.module, _outcome(state))
            if stop and not last:
                raise KeyboardInterrupt
    return _outcome(state)


@contextmanager
def _interrupted() -> Iterator[Event]:
    """An event that the first SIGINT, SIGTERM or SIGHUP sets: a run stops between two steps.

    The second one ends it at once, as it does everywhere else.
    """
    event = Event()
    # Only Python's own ways are replaced: whoever has set another, or ignores it, means it.
    own: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    if hasattr(signal, "SIGHUP"):  # the terminal has gone
        own[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.getsignal(number) for number in own}
    ours = [number for number in own if before[number] is own[number]]
    if current_thread() is not main_thread():
        ours = []

    def handle(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in ours:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _fabric(device: str, precision: str) -> tuple[Fabric, str]:
    """The engine, and its precision and device in words."""
    # It announces the precision that was asked for on every start.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        found = Fabric(accelerator=device, devices=1).device
        if precision == "auto":
            precision = "bf16" if has_bf16(found) else "fp32"
        name = torch.cuda.get_device_name(found) if found.type == "cuda" else found.type
        arithmetic = f"{precision} on {name}"
        _log.info("training in %s", arithmetic)
        if precision == "bf16":
            return Fabric(accelerator=device, devices=1, plugins=[_Mixed(found)]), arithmetic
        return Fabric(accelerator=device, devices=1, precision="32-true"), arithmetic
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"device '{device}'",
            expected="one that this machine has",
            got=" ".join(str(error).split()).rstrip("."),
            remedy="--device auto takes the best there is.",
        ) from None


class _Mixed(MixedPrecision):
    """bf16 where autocast takes it, but pictures as they are.

    In bf16 they have fewer levels than in a file.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__("bf16-mixed", device.type)

    def convert_input(self, data: Any) -> Any:
        """Lightning's would be in bf16."""
        return data


def _players(
    fabric: Fabric, networks: Mapping[str, nn.Module], plan: Plan
) -> tuple[TrainState, Player, dict[str, Opponent]]:
    """Networks on their device with optimisers, pools, average and generators, all fresh."""
    choices = Generator().manual_seed(plan.seed + 3)
    raw: dict[str, nn.Module] = {}
    optimisers: dict[str, Optimizer] = {}
    wrapped: dict[str, Player] = {}
    pools: dict[str, ImagePool] = {}
    for name, network in networks.items():
        raw[name] = channels_last(network.to(fabric.device)).train()
        optimisers[name] = _optimiser(raw[name], plan, generator=name == GENERATOR)
        module = torch.compile(raw[name]) if plan.compile else raw[name]
        prepared, optimiser = fabric.setup(module, optimisers[name])  # type: ignore[arg-type]
        if name == GENERATOR:
            wrapped[name] = Player(prepared, optimiser)
        else:
            pools[name] = ImagePool(plan.pool, generator=choices)
            wrapped[name] = Opponent(prepared, optimiser, pools[name])
    generators = {
        "synthesis": Generator(fabric.device).manual_seed(plan.seed + 1),
        "sensor": Generator(fabric.device).manual_seed(plan.seed + 2),
        "pool": choices,
    }
    state = TrainState(raw, optimisers, pools, EMA(raw[GENERATOR], plan.ema), generators)
    if plan.recompute:  # after the average has been copied, whose blocks are its own
        recompute(raw[GENERATOR])
    opponents = {name: player for name, player in wrapped.items() if isinstance(player, Opponent)}
    if not opponents.keys() <= {CLEAR, OBSERVATION}:
        raise ValueError(f"opponents are called '{CLEAR}' and '{OBSERVATION}', not {[*opponents]}")
    return state, wrapped[GENERATOR], opponents


def _optimiser(network: nn.Module, plan: Plan, *, generator: bool) -> Optimizer:
    parameters, lr, betas = network.parameters(), plan.lr, plan.betas
    if not generator:
        return Adam(parameters, lr=lr, betas=betas, fused=True)
    if plan.method == "muon":
        return Muon(parameters, lr=lr, betas=betas, weight_decay=plan.weight_decay)
    return AdamW(parameters, lr=lr, betas=betas, weight_decay=plan.weight_decay, fused=True)


def _outcome(state: TrainState) -> Outcome:
    return Outcome(state.step, state.seconds, state.measured, state.arithmetic)


def _count(state: TrainState, numbers: Mapping[str, Tensor], opponents: Iterable[str]) -> None:
    """Takes a step's numbers into the average, the counts and the next line of the log.

    All of it happens on the device, that nothing waits for it.
    """
    skipped = numbers["skipped"].bool()
    state.ema.update(state.networks[GENERATOR], state.step - state.skipped, ~skipped)
    behind = {
        name: numbers[f"d_{name}_skipped"].bool()
        for name in opponents
        if f"d_{name}_skipped" in numbers
    }
    broken = skipped
    for stayed in behind.values():
        broken = broken | stayed
        state.d_skipped = state.d_skipped + stayed
    state.skipped = state.skipped + skipped
    state.skipped_in_a_row = (state.skipped_in_a_row + 1) * broken
    for name, number in numbers.items():
        if name.endswith("skipped"):
            continue
        of = [stayed for d, stayed in behind.items() if name.startswith(f"d_{d}")]
        counts = ~(skipped | of[0] if of else skipped)
        zero = torch.zeros_like(number)
        state.sums[name] = state.sums.get(name, zero) + torch.where(counts, number, zero)
        state.counts[name] = state.counts.get(name, 0) + counts


def _means(state: TrainState) -> dict[str, float]:
    """Means since the last line of the log, which begin anew; none of what was never whole."""
    counts = {name: int(count) for name, count in state.counts.items()}
    means = {
        name: float(total) / counts[name] for name, total in state.sums.items() if counts[name]
    }
    state.sums, state.counts = {}, {}
    return means


def _tell(
    watchers: Sequence[Watcher], kind: str, state: TrainState, numbers: Mapping[str, float]
) -> None:
    record: dict[str, float | int | str] = {"kind": kind, "step": state.step}
    record |= {"seconds": round(state.seconds, 2), **numbers}
    for watcher in watchers:
        watcher.told(record)


@contextmanager
def _watching(
    watchers: Callable[[int], Iterable[Watcher]], start: int
) -> Iterator[Sequence[Watcher]]:
    """Those who watch, each closed at the end, also if the next one cannot be made."""
    with ExitStack() as open_ones:
        told = []
        for watcher in watchers(start):
            open_ones.callback(watcher.close)
            told.append(watcher)
        yield told


def _diagnosis(numbers: Mapping[str, Tensor], state: TrainState, plan: Plan) -> TrainingError:
    named = {name: float(number) for name, number in numbers.items()}
    broken = [name for name, value in named.items() if not math.isfinite(value)]
    # What a discriminator made of a broken generator's images means nothing.
    told = {
        name: value
        for name, value in named.items()
        if not name.endswith("skipped") and not (named["skipped"] and name.startswith("d_"))
    }
    listed = ", ".join(f"{name} {value:.4g}" for name, value in told.items())
    return TrainingError(
        f"training at step {state.step}",
        expected="finite numbers",
        got=f"{int(state.skipped_in_a_row)} skipped steps in a row, {', '.join(broken)} not finite "
        f"(last: {listed}; learning rate {plan.lr:g}, precision {plan.precision})",
        remedy="Lower --optimiser.lr, set --optimiser.clip 1, or try --training.precision fp32, "
        "and --resume: the last checkpoint, if there is one, has finite weights.",
    )
