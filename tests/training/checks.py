"""Checks of the training step and loop against the written-out reference, callable by any test.

They raise AssertionError where the two differ; `test_faults.py` plants faults and demands that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim import Adam

from physgan.data.crops import Crops
from physgan.data.synthesis import Batch
from physgan.objective.objective import Objective, Weights
from physgan.physics.blur import Blur, MotionKernels
from physgan.physics.compose import Degradation, Stage
from physgan.physics.haze import DepthHaze, HazyScenes
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from physgan.training.loop import Outcome, Plan, fit
from physgan.training.pool import ImagePool
from physgan.training.step import Opponent, Player, adversarial_step
from physgan.types import Sensor
from tests.training import reference
from tests.training.players import drawn, gradients, parameters
from tests.training.reference import Array

SIZE, BATCH, LR, BETAS = 10, 2, 1e-3, (0.5, 0.999)


def degradation(physics: str, *, sensor: bool) -> Degradation:
    stage = {
        "blur": Stage(Blur(), MotionKernels((5.0, 5.0))),
        "haze": Stage(DepthHaze(), HazyScenes()),
    }[physics]
    stages: list[Sensor] = [Noise((0.02, 0.1)), Clip(), Round(8)] if sensor else []
    return Degradation({physics: stage}, SensorChain(stages))


def degrade(x: Array, theta: Mapping[str, Array]) -> Array:
    if "kernel" in theta:
        return reference.blur(x, theta["kernel"])
    transmission = np.exp(-theta["beta"][:, None, None, None] * theta["depth"])
    return reference.haze(x, transmission, theta["airlight"])


def _pool_choices(generator: Generator, capacity: int) -> dict[str, Any]:
    return {
        "decide": lambda: float(torch.rand((), generator=generator)),
        "choose": lambda: int(torch.randint(capacity, (), generator=generator)),
    }


def check_steps(physics: str, *, matched: bool, steps: int = 3, capacity: int = 3) -> None:
    """Terms, gradients and weights over a few steps, float64, to 1e-9."""
    players = {name: network.double() for name, network in drawn(seed=5).items()}
    chain = degradation(physics, sensor=True)
    objective = Objective(Weights(), matched=matched)
    choices = Generator().manual_seed(1)
    optimisers = {n: Adam(p.parameters(), lr=LR, betas=BETAS) for n, p in players.items()}
    player = Player(players["generator"], optimisers["generator"])
    opponents = {
        name: Opponent(players[name], optimisers[name], ImagePool(capacity, generator=choices))
        for name in ("clear", "observation")
    }
    twin = Generator().manual_seed(1)
    ours = reference.Reference(
        generator=parameters(players["generator"]),
        clear=parameters(players["clear"]),
        observation=parameters(players["observation"]),
        weights=vars(objective.weights),
        degrade=degrade,
        pools={
            name: reference.Pool(capacity, **_pool_choices(twin, capacity)) for name in opponents
        },
        lr=LR,
        betas=BETAS,
    )
    draws, sensor = Generator().manual_seed(2), Generator().manual_seed(3)
    for _ in range(steps):
        x = torch.rand(BATCH, 3, SIZE, SIZE, generator=draws, dtype=torch.float64)
        theta = {
            stage: {name: t.double() for name, t in part.items()}
            for stage, part in chain.sample(x, generator=draws).items()
        }
        physical = {name: t.numpy() for name, t in theta[physics].items()}
        sigma = theta["sensor"]["sigma"].numpy()
        noise = torch.randn(x.shape, generator=draws, dtype=torch.float64).numpy()
        y = reference.sense(degrade(x.numpy(), physical), sigma, noise).real
        peek = Generator()
        peek.set_state(sensor.get_state())
        again = torch.randn(x.shape, generator=peek, dtype=torch.float64).numpy()

        numbers = adversarial_step(
            Batch(x, torch.from_numpy(y), theta),
            player,
            opponents,
            degradation=chain,
            objective=objective,
            generator=sensor,
        )
        expected, slopes = ours.step(
            x.numpy(), y, physical, noise=again if matched else None, sigma=sigma
        )
        for name, value in expected.items():
            _close(f"term {name}", float(numbers[name]), value)
        for name, network in players.items():
            for key, slope in gradients(network).items():
                _close(f"gradient of {name}.{key}", slope, slopes[name][key])
            for key, weight in parameters(network).items():
                _close(f"{name}.{key} after the step", weight, getattr(ours, name)[key])


def check_discriminators_rest() -> None:
    """A discriminator's weights get gradients from its own move alone, once a step."""
    players = drawn(seed=5)
    counts = {"clear": 0, "observation": 0}

    def count(name: str, weight: Tensor) -> None:
        def hook(_: Tensor) -> None:
            counts[name] += 1

        weight.register_hook(hook)

    for name in counts:
        count(name, next(players[name].parameters()))
    optimisers = {n: Adam(p.parameters(), lr=LR) for n, p in players.items()}
    choices = Generator().manual_seed(1)
    chain = degradation("blur", sensor=True)
    draws = Generator().manual_seed(2)
    x = torch.rand(BATCH, 3, SIZE, SIZE, generator=draws)
    adversarial_step(
        Batch(x, x, chain.sample(x, generator=draws)),
        Player(players["generator"], optimisers["generator"]),
        {n: Opponent(players[n], optimisers[n], ImagePool(3, generator=choices)) for n in counts},
        degradation=chain,
        objective=Objective(),
        generator=draws,
    )
    assert counts == {"clear": 1, "observation": 1}


class _Fixed:
    """A sampler whose draws are known: one motion kernel for all."""

    kernel = MotionKernels((5.0, 5.0)).sample(
        torch.zeros(1, 3, 1, 1), generator=Generator().manual_seed(9)
    )["kernel"]

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return {"kernel": self.kernel.expand(x.shape[0], -1, -1)}


def check_run(steps: int = 4, constant: int = 1) -> None:
    """The loop's averaged weights after a short run, with its schedule and average, to 1e-4.

    The loop computes in float32. What is compared is the movement of the average, relative to the
    largest, so that a missing part of it shows.
    """
    players = drawn(seed=5)
    before = parameters(players["generator"])
    chain = Degradation({"blur": Stage(Blur(), _Fixed())})
    clear = torch.randint(
        0,
        256,
        (steps, BATCH, 3, SIZE, SIZE),
        generator=Generator().manual_seed(4),
        dtype=torch.uint8,
    )
    plan = Plan(
        seed=7, constant=constant, decay=steps - constant, lr=1e-2, betas=BETAS, ema=0.9, pool=50
    )
    ours = reference.Reference(
        generator=parameters(players["generator"]),
        clear=parameters(players["clear"]),
        observation=parameters(players["observation"]),
        weights=vars(Weights()),
        degrade=degrade,
        pools={n: reference.Pool(50, lambda: 1.0, lambda: 0) for n in ("clear", "observation")},
        lr=plan.lr,
        betas=BETAS,
    )
    kernel = _Fixed.kernel.double().numpy().repeat(BATCH, axis=0)
    average = before
    for step in range(steps):
        x = clear[step].double().numpy() / 255
        # Constant, then a straight line that reaches zero at the first step not taken.
        factor = 1.0 if step < constant else (steps - step) / (steps - constant)
        ours.step(
            x,
            degrade(x, {"kernel": kernel}),
            {"kernel": kernel},
            noise=None,
            sigma=None,
            factor=factor,
        )
        keep = min(0.9, (1 + step) / (10 + step))
        average = {n: keep * average[n] + (1 - keep) * ours.generator[n] for n in average}

    saved: dict[str, reference.Parameters] = {}

    def save(network: nn.Module, outcome: Outcome) -> None:
        saved["weights"] = parameters(network)

    with tempfile.TemporaryDirectory() as folder:
        fit(
            players,
            stream=lambda step: Crops(clear[step], {}),
            pairs=(),
            degradation=chain,
            objective=Objective(),
            plan=plan,
            folder=Path(folder),
            save_weights=save,
            watchers=lambda start: (),
            device="cpu",
        )
    span = max(np.abs(average[n] - before[n]).max() for n in average)
    for name, value in saved["weights"].items():
        worst = np.abs(value - average[name]).max() / span
        assert worst < 1e-3, f"average of {name} differs by {worst:.2g} of the movement"


def _close(what: str, got: Any, expected: Any) -> None:
    assert np.allclose(got, expected, rtol=1e-8, atol=1e-10), (
        f"{what}: {np.abs(np.asarray(got) - expected).max():.3g} apart"
    )
