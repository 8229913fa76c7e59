"""Equations 8 to 12 of the paper, one pure function each.

The adversarial game is played with least squares, as the paper says. What it leaves open is fixed
as its release has it: L1 is the mean over all elements, targets are 1 and 0, averaged over patches
and images, and each discriminator's loss is half the sum of its two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError


def physics(y_hat: Tensor, y: Tensor) -> Tensor:
    """Eq. 8: mean |H(G(y)) - y|. What is restored must explain what the camera saw."""
    return _mean_absolute("re-generated and observed images", y_hat, y)


def content(x_hat: Tensor, x: Tensor) -> Tensor:
    """Eq. 9: mean |G(y) - x|. What is restored must be the clear image."""
    return _mean_absolute("restored and clear images", x_hat, x)


def second_content(x_hat2: Tensor, x: Tensor) -> Tensor:
    """Eq. 10: mean |G(H(G(y))) - x|. Restoring what was re-generated must lead back to x."""
    return _mean_absolute("re-restored and clear images", x_hat2, x)


def generator_adversarial(logits_fake: Tensor) -> Tensor:
    """Eq. 11 for the generator, least squares: mean (D(fake) - 1)²."""
    return (logits_fake - 1).square().mean()


def discriminator_adversarial(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """Eq. 11 for a discriminator, least squares: ½ [mean (D(real) - 1)² + mean D(fake)²]."""
    return 0.5 * ((logits_real - 1).square().mean() + logits_fake.square().mean())


def generator_adversarial_log(logits_fake: Tensor) -> Tensor:
    """Eq. 11 for the generator with logarithms, not saturating: mean -log D(fake)."""
    return F.softplus(-logits_fake).mean()


def discriminator_adversarial_log(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """Eq. 11 for a discriminator as printed: ½ mean [-log D(real) - log(1 - D(fake))]."""
    return 0.5 * (F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean())


def total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Eq. 12: the weighted sum of the terms that are there."""
    if not terms:
        raise ValueError("an objective without terms has nothing to minimise")
    products = [weights[name] * term for name, term in terms.items()]
    result = products[0]
    for product in products[1:]:
        result = result + product
    return result


class Adversarial(NamedTuple):
    """The two sides of one adversarial game."""

    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]
    boundary: float
    """The logit at which a discriminator is undecided between real and fake."""


ADVERSARIAL: Mapping[str, Adversarial] = {
    "least_squares": Adversarial(generator_adversarial, discriminator_adversarial, 0.5),
    "log": Adversarial(generator_adversarial_log, discriminator_adversarial_log, 0.0),
}


def _mean_absolute(what: str, a: Tensor, b: Tensor) -> Tensor:
    if a.shape != b.shape:  # l1_loss would broadcast them with no more than a warning
        raise ShapeError(what, expected=f"one shape, {tuple(b.shape)}", got=f"{tuple(a.shape)}")
    return F.l1_loss(a, b)
