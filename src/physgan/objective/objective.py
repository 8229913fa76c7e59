"""The whole objective: which terms there are, how much each counts, what each needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from physgan.errors import RecipeError, nearest
from physgan.objective import terms
from physgan.objective.terms import ADVERSARIAL, Adversarial

T = TypeVar("T")


@dataclass(frozen=True)
class Weights:
    """How much each term counts in Eq. 12; the defaults are the paper's. 0 leaves a term out."""

    physics: float = 10.0
    """gamma, of Eq. 8"""
    content: float = 50.0
    """lambda, of Eq. 9"""
    second_content: float = 10.0
    """mu, of Eq. 10"""
    adversarial_clear: float = 1.0
    """of D_g in the generator's part of Eq. 11"""
    adversarial_observation: float = 1.0
    """of D_h in the generator's part of Eq. 11"""


@dataclass(frozen=True)
class Objective:
    """Eq. 12 for given weights.

    A term of weight 0 is not computed, and neither is what it alone needs: with `physics`,
    `second_content` and `adversarial_observation` at 0 neither H nor the second pass through G
    is run, which is the paper's BaseGAN.

    Args:
        weights: of the terms.
        game: `least_squares` (the paper's choice) or `log` (Eq. 11 as printed).
        matched: whether y_hat passes the sensor before D_h sees it. Without it D_h can tell y
            from y_hat by y's noise and rounding, and teaches the generator nothing.
    """

    weights: Weights = field(default_factory=Weights)
    game: str = "least_squares"
    matched: bool = True

    def __post_init__(self) -> None:
        if self.game not in ADVERSARIAL:
            raise RecipeError(
                "adversarial game",
                expected=f"one of {', '.join(ADVERSARIAL)}",
                got=repr(self.game),
                remedy=nearest(self.game, ADVERSARIAL),
            )
        values = vars(self.weights)
        if min(values.values()) < 0 or max(values.values()) == 0:
            raise RecipeError(
                "weights of the objective",
                expected="none below 0 and at least one above",
                got=", ".join(f"{name} {value:g}" for name, value in values.items()),
            )

    @property
    def adversarial(self) -> Adversarial:
        """The two sides of the game."""
        return ADVERSARIAL[self.game]

    @property
    def needs_y_hat(self) -> bool:
        """Whether any term looks at the re-generated observation."""
        w = self.weights
        return w.physics > 0 or w.second_content > 0 or w.adversarial_observation > 0

    @property
    def needs_x_hat2(self) -> bool:
        """Whether any term looks at the re-restored image."""
        return self.weights.second_content > 0

    def generator_terms(
        self,
        *,
        x: Tensor,
        y: Tensor,
        x_hat: Tensor,
        y_hat: Tensor | None,
        y_hat_seen: Tensor | None,
        x_hat2: Tensor | None,
        d_clear: Callable[[Tensor], Tensor] | None,
        d_observation: Callable[[Tensor], Tensor] | None,
    ) -> dict[str, Tensor]:
        """The generator's named terms, those of weight 0 left out.

        Args:
            x: clear images, N×C×H×W.
            y: observations, N×C×h×w.
            x_hat: restored images, as `x`.
            y_hat: H(x_hat), as `y`; None where `needs_y_hat` is false.
            y_hat_seen: what D_h gets to see of y_hat, as `y`.
            x_hat2: G(y_hat), as `x`; None where `needs_x_hat2` is false.
            d_clear: D_g, images to logits.
            d_observation: D_h, images to logits.
        """
        w = self.weights
        result: dict[str, Tensor] = {}
        if w.physics:
            result["physics"] = terms.physics(_given(y_hat), y)
        if w.content:
            result["content"] = terms.content(x_hat, x)
        if w.second_content:
            result["second_content"] = terms.second_content(_given(x_hat2), x)
        if w.adversarial_clear:
            result["adversarial_clear"] = self.adversarial.generator(_given(d_clear)(x_hat))
        if w.adversarial_observation:
            logits = _given(d_observation)(_given(y_hat_seen))
            result["adversarial_observation"] = self.adversarial.generator(logits)
        return result

    def total(self, named: dict[str, Tensor]) -> Tensor:
        """Eq. 12 over the terms that `generator_terms` gave."""
        return terms.total(named, vars(self.weights))


def _given(value: T | None) -> T:
    if value is None:
        raise ValueError("a term with a weight above 0 lacks what it is computed from")
    return value
