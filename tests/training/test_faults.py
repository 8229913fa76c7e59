"""Faults planted in the code, each of which a check must catch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from torch import Tensor

from physgan.objective import terms
from physgan.objective.objective import Objective
from physgan.physics import blur as blur_file
from physgan.physics.compose import Chain, Degradation
from physgan.training import loop, step
from physgan.training.ema import EMA
from physgan.training.pool import ImagePool
from physgan.training.schedule import learning_rate_factor
from tests.training.checks import check_discriminators_rest, check_run, check_steps

Plant = Callable[[pytest.MonkeyPatch], None]


def _sign_of_a_term(name: str) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        right = getattr(terms, name)
        patch.setattr(terms, name, lambda *images: -right(*images))

    return plant


def _kernel_flipped(patch: pytest.MonkeyPatch) -> None:
    right = blur_file.blur
    patch.setattr(blur_file, "blur", lambda x, k, **kw: right(x, k.flip(-2, -1), **kw))


def _physics_detached(patch: pytest.MonkeyPatch) -> None:
    right = Chain.__call__
    patch.setattr(Chain, "__call__", lambda self, x, theta: right(self, x, theta).detach())


def _discriminators_not_frozen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step, "frozen", lambda *networks: nullcontext())


def _pool_bypassed(patch: pytest.MonkeyPatch) -> None:
    def exchange(self: ImagePool, fake: Tensor, whole: Tensor) -> Tensor:
        return fake.detach().mul(255).round().clamp(0, 255) / 255

    patch.setattr(ImagePool, "exchange", exchange)


def _average_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EMA, "update", lambda self, module, updates, moved: None)


def _average_is_the_last(patch: pytest.MonkeyPatch) -> None:
    def update(self: EMA, module: Any, updates: int, moved: Tensor) -> None:
        self.module.load_state_dict(module.state_dict())

    patch.setattr(EMA, "update", update)


def _schedule_shifted(by: int) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        right = learning_rate_factor
        patch.setattr(
            loop,
            "learning_rate_factor",
            lambda at, *, constant, decay: right(at + by, constant=constant, decay=decay),
        )

    return plant


def _schedule_ends_late(patch: pytest.MonkeyPatch) -> None:
    right = learning_rate_factor
    patch.setattr(
        loop,
        "learning_rate_factor",
        lambda at, *, constant, decay: right(at, constant=constant, decay=decay + 1),
    )


def _sensor_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Degradation, "sense", lambda self, y, theta, *, generator: y)


def _weights_swapped(patch: pytest.MonkeyPatch) -> None:
    right = Objective.total

    def total(self: Objective, named: dict[str, Tensor]) -> Tensor:
        swap = {"content": "second_content", "second_content": "content"}
        return right(self, {swap.get(name, name): term for name, term in named.items()})

    patch.setattr(Objective, "total", total)


def _half_forgotten(patch: pytest.MonkeyPatch) -> None:
    right = terms.ADVERSARIAL["least_squares"]
    whole = right._replace(discriminator=lambda real, fake: 2 * right.discriminator(real, fake))
    patch.setattr(
        "physgan.objective.objective.ADVERSARIAL", {**terms.ADVERSARIAL, "least_squares": whole}
    )


def _steps_blur() -> None:
    check_steps("blur", matched=True)


FAULTS: dict[str, tuple[Plant, Callable[[], None]]] = {
    "sign of Eq. 8": (_sign_of_a_term("physics"), _steps_blur),
    "sign of Eq. 9": (_sign_of_a_term("content"), _steps_blur),
    "sign of Eq. 10": (_sign_of_a_term("second_content"), _steps_blur),
    "kernel flipped": (_kernel_flipped, _steps_blur),
    "D not frozen in G's step": (_discriminators_not_frozen, check_discriminators_rest),
    "physics detached": (_physics_detached, _steps_blur),
    "pool bypassed": (_pool_bypassed, _steps_blur),
    "EMA dropped": (_average_dropped, check_run),
    "EMA not an average": (_average_is_the_last, check_run),
    "schedule one step early": (_schedule_shifted(1), check_run),
    "schedule one step late": (_schedule_shifted(-1), check_run),
    "schedule end off by one": (_schedule_ends_late, check_run),
    "sensor forgotten in matched re-degradation": (_sensor_forgotten, _steps_blur),
    "lambda and mu swapped": (_weights_swapped, _steps_blur),
    "half of D's loss forgotten": (_half_forgotten, _steps_blur),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, check = FAULTS[fault]
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check()
