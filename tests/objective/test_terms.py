"""Equations 8 to 12 against numbers worked out by hand and against torch's own losses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError
from physgan.objective import terms

Term = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize("term", [terms.physics, terms.content, terms.second_content])
def test_l1_terms_are_means_over_all_elements(term: Term) -> None:
    a = torch.tensor([[[[0.0, 0.5], [1.0, 0.25]]]])
    b = torch.tensor([[[[0.5, 0.5], [0.0, 0.0]]]])
    assert float(term(a, b)) == pytest.approx((0.5 + 0.0 + 1.0 + 0.25) / 4)
    # The mean does not grow with batch, channels or size.
    assert float(term(a.repeat(3, 2, 4, 5), b.repeat(3, 2, 4, 5))) == pytest.approx(0.4375)


@pytest.mark.parametrize("term", [terms.physics, terms.content, terms.second_content])
def test_l1_terms_refuse_to_broadcast(term: Term) -> None:
    with pytest.raises(ShapeError, match=r"one shape, \(2, 3, 4, 4\)"):
        term(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4))


def test_least_squares_game_by_hand() -> None:
    real, fake = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.0])
    assert float(terms.generator_adversarial(fake)) == pytest.approx((1 + 0) / 2)
    expected = 0.5 * ((0 + 0.25) / 2 + (0 + 1) / 2)
    assert float(terms.discriminator_adversarial(real, fake)) == pytest.approx(expected)


def test_logarithmic_game_is_binary_cross_entropy() -> None:
    draws = Generator().manual_seed(0)
    real = torch.randn(2, 1, 5, 5, generator=draws)
    fake = torch.randn(2, 1, 5, 5, generator=draws)
    entropy = F.binary_cross_entropy_with_logits
    expected = 0.5 * (entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake)))
    assert torch.allclose(terms.discriminator_adversarial_log(real, fake), expected)
    assert torch.allclose(
        terms.generator_adversarial_log(fake), entropy(fake, torch.ones_like(fake))
    )


@pytest.mark.parametrize("game", terms.ADVERSARIAL)
def test_each_side_of_a_game_wins_at_its_target(game: str) -> None:
    play = terms.ADVERSARIAL[game]
    high, low = torch.full((4,), 1.0), torch.full((4,), 0.0)
    high, low = (high, low) if game == "least_squares" else (high * 30, low - 30)
    assert float(play.generator(high)) == pytest.approx(0, abs=1e-6)
    assert float(play.discriminator(high, low)) == pytest.approx(0, abs=1e-6)
    assert float(play.generator(low)) > 0.5
    # About the undecided logit the loss treats real and fake alike.
    for distance in (-2.0, -0.3, 0.3, 2.0):
        above = torch.full((4,), play.boundary + distance)
        below = torch.full((4,), play.boundary - distance)
        middle = torch.full((4,), play.boundary)
        assert float(play.discriminator(above, middle)) == pytest.approx(
            float(play.discriminator(middle, below))
        )


def test_total_weighs_what_is_there() -> None:
    named = {"physics": torch.tensor(2.0), "content": torch.tensor(0.5)}
    weights = {"physics": 10.0, "content": 50.0, "second_content": 7.0}
    assert float(terms.total(named, weights)) == pytest.approx(45.0)
    with pytest.raises(ValueError, match="without terms"):
        terms.total({}, weights)


def test_log_game_saturates_nowhere() -> None:
    logits = torch.tensor([-80.0, 80.0], requires_grad=True)
    terms.generator_adversarial_log(logits).backward()
    assert logits.grad is not None
    assert math.isclose(float(logits.grad[0]), -0.5, rel_tol=1e-6)
