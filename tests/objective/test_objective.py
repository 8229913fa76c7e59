"""The objective as a whole: which terms it has, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from physgan.errors import RecipeError
from physgan.objective.objective import Objective, Weights

X = torch.full((1, 3, 4, 4), 0.5)


def score(image: Tensor) -> Tensor:
    return image.mean(dim=1, keepdim=True)


def test_defaults_are_the_papers() -> None:
    assert vars(Weights()) == {
        "physics": 10.0,
        "content": 50.0,
        "second_content": 10.0,
        "adversarial_clear": 1.0,
        "adversarial_observation": 1.0,
    }
    assert Objective().game == "least_squares"


def test_total_is_equation_12() -> None:
    objective = Objective()
    named = objective.generator_terms(
        x=X,
        y=X + 0.1,
        x_hat=X + 0.2,
        y_hat=X + 0.4,
        y_hat_seen=X + 0.45,
        x_hat2=X - 0.1,
        d_clear=score,
        d_observation=score,
    )
    expected = {
        "physics": 0.3,
        "content": 0.2,
        "second_content": 0.1,
        "adversarial_clear": 0.3**2,
        "adversarial_observation": 0.05**2,
    }
    assert {name: float(term) for name, term in named.items()} == pytest.approx(expected, rel=1e-4)
    whole = 10 * 0.3 + 50 * 0.2 + 10 * 0.1 + 0.09 + 0.0025
    assert float(objective.total(named)) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", vars(Weights()))
def test_a_term_of_weight_zero_is_absent(name: str) -> None:
    objective = Objective(replace(Weights(), **{name: 0.0}))
    named = objective.generator_terms(
        x=X, y=X, x_hat=X, y_hat=X, y_hat_seen=X, x_hat2=X, d_clear=score, d_observation=score
    )
    assert named.keys() == vars(Weights()).keys() - {name}


def test_needs_follow_weights() -> None:
    base = Objective(Weights(physics=0, second_content=0, adversarial_observation=0))
    assert not base.needs_y_hat
    assert not base.needs_x_hat2
    assert Objective(Weights(physics=0, second_content=0)).needs_y_hat
    assert not Objective(Weights(second_content=0)).needs_x_hat2


def test_a_weighed_term_without_its_input_is_refused() -> None:
    with pytest.raises(ValueError, match="weight above 0"):
        Objective().generator_terms(
            x=X, y=X, x_hat=X, y_hat=None, y_hat_seen=None, x_hat2=None,
            d_clear=None, d_observation=None,
        )  # fmt: skip


def test_refusals() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'least_squares'"):
        Objective(game="least_square")
    with pytest.raises(RecipeError, match="none below 0"):
        Objective(Weights(content=-1))
    with pytest.raises(RecipeError, match="at least one above"):
        Objective(Weights(0, 0, 0, 0, 0))
