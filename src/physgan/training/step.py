"""One step of adversarial training under a physics: the generator moves, then each discriminator.

No logging, no files, no device choice: what goes in is a batch and the players, what comes out are
named numbers. Nothing here waits for the device: whether a player may move is decided there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.profiler import record_function

from physgan.data.synthesis import Batch
from physgan.metrics.quantise import from_levels, to_levels
from physgan.objective.objective import Objective
from physgan.physics.compose import Degradation
from physgan.training.pool import ImagePool


@dataclass
class Player:
    """A network with its optimiser.

    A generator whose attribute `guided` is true is given the clear images after the observations,
    and the place of each in its batch, in (0, 1), rising: what it estimates of a physics it then
    learns to use at every quality, since it is known.
    """

    network: nn.Module
    optimiser: Optimizer


@dataclass
class Opponent(Player):
    """A discriminator with the history that it learns from."""

    pool: ImagePool


GENERATOR = "generator"
"""The generator G among the players."""
CLEAR = "clear"
"""The discriminator D_g of clear images among the opponents."""
OBSERVATION = "observation"
"""The discriminator D_h of observations among the opponents."""


def adversarial_step(
    batch: Batch,
    player: Player,
    opponents: Mapping[str, Opponent],
    *,
    degradation: Degradation,
    objective: Objective,
    generator: Generator,
    clip: float | None = None,
    parts: int = 1,
    backward: Callable[[Tensor], object] = Tensor.backward,
) -> dict[str, Tensor]:
    """Trains all players on one batch.

    The generator moves first, against frozen discriminators; then each discriminator moves, on
    its pool's answer to what the generator made before its move.

    Args:
        batch: clear images, observations, and the parameters that join them.
        player: the generator G.
        opponents: the discriminators `clear` and `observation`; one that the objective gives no
            weight may be absent.
        degradation: `H` and its sensor.
        objective: the terms and their weights.
        generator: randomness of the sensor in matched re-degradation, on the device of `batch`.
        clip: greatest norm of the generator's gradient.
        parts: how many parts of the batch pass through the networks one after the other, each
            adding its gradients; the move is that of the whole batch, the memory that of a part.
        backward: computes gradients from a loss; Fabric's where precision needs it.

    Returns:
        Detached numbers by name: the generator's terms, `total`, `gradient_norm`, and `skipped`;
        for each discriminator `d_NAME` (its loss), `d_NAME_real` and `d_NAME_fake` (the share of
        patches it gets right), `d_NAME_gradient_norm` and `d_NAME_skipped`. A player's `skipped`
        is 1 where a number that is not finite stopped its move; its network and optimiser are then
        as they were. Where it was the generator's, no discriminator moves, no pool takes its
        images, and the numbers of the discriminators mean nothing.
    """
    shared = _parts(batch, parts)

    # The generator's move.
    numbers: dict[str, Tensor] = {}
    fakes: list[dict[str, Tensor]] = []
    player.optimiser.zero_grad(set_to_none=True)
    for part, places, share in shared:
        terms, made = _made(part, places, player, opponents, degradation, objective, generator)
        with record_function("objective"):
            total = objective.total(terms)
        with record_function("backward"):
            backward(total * share)
        _add(numbers, terms | {"total": total}, share)
        fakes.append(made)
    norm = nn.utils.clip_grad_norm_(
        player.network.parameters(), clip if clip is not None else torch.inf
    )
    numbers["gradient_norm"] = norm.detach()
    # Nothing that a broken batch made may reach weights, moments or pools.
    whole = torch.isfinite(norm.detach() + numbers["total"])
    numbers["skipped"] = (~whole).float()
    with record_function("optimiser"):
        _move(player.optimiser, whole)

    # Each discriminator's move.
    for name, opponent in opponents.items():
        pairs = [
            (part.x if name == CLEAR else part.y, made[name], share)
            for (part, _, share), made in zip(shared, fakes, strict=True)
            if name in made
        ]
        if pairs:
            with record_function("discriminators"):
                numbers |= _judged(name, opponent, pairs, objective, backward, whole)
    return numbers


class _Part(NamedTuple):
    """Images of a batch, their places in it, and what share of it they are."""

    batch: Batch
    places: list[float]
    share: float


def _parts(batch: Batch, parts: int) -> list[_Part]:
    """A batch in parts of nearly one size."""
    n = batch.x.shape[0]
    places = [(i + 0.5) / n for i in range(n)]
    if parts == 1:
        return [_Part(batch, places, 1.0)]
    theta = {
        stage: {name: values.tensor_split(parts) for name, values in given.items()}
        for stage, given in batch.theta.items()
    }
    made, first = [], 0
    for i, (x, y) in enumerate(
        zip(batch.x.tensor_split(parts), batch.y.tensor_split(parts), strict=True)
    ):
        own = {s: {name: v[i] for name, v in given.items()} for s, given in theta.items()}
        last = first + x.shape[0]
        if x.shape[0]:
            made.append(_Part(Batch(x, y, own), places[first:last], x.shape[0] / n))
        first = last
    return made


def _made(
    part: Batch,
    places: list[float],
    player: Player,
    opponents: Mapping[str, Opponent],
    degradation: Degradation,
    objective: Objective,
    generator: Generator,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The generator's terms, and what it made for each discriminator to judge, detached."""
    x, y, theta = part
    guide = (x, places) if getattr(player.network, "guided", False) else ()
    with record_function("restore"):
        x_hat = player.network(y, *guide)
    with record_function("degrade again"):
        y_hat = y_hat_seen = None
        if objective.needs_y_hat:
            light, y_hat = degradation.expose(x_hat, theta)
            y_hat_seen = y_hat
            if objective.matched and objective.weights.adversarial_observation:
                y_hat_seen = degradation.sense(light, theta, generator=generator)
    with record_function("restore again"):
        x_hat2 = player.network(y_hat, *guide) if objective.needs_x_hat2 else None
    d_clear, d_observation = opponents.get(CLEAR), opponents.get(OBSERVATION)
    with (
        record_function("objective"),
        frozen(*(opponent.network for opponent in opponents.values())),
    ):
        terms = objective.generator_terms(
            x=x,
            y=y,
            x_hat=x_hat,
            y_hat=y_hat,
            y_hat_seen=y_hat_seen,
            x_hat2=x_hat2,
            d_clear=d_clear.network if d_clear else None,
            d_observation=d_observation.network if d_observation else None,
        )
    made = {CLEAR: x_hat.detach()}
    if y_hat_seen is not None:
        made[OBSERVATION] = y_hat_seen.detach()
    return terms, made


def _add(numbers: dict[str, Tensor], more: Mapping[str, Tensor], share: float) -> None:
    """Adds a part's numbers by its share."""
    for name, number in more.items():
        weighed = number.detach() * share
        numbers[name] = numbers[name] + weighed if name in numbers else weighed


def _judged(
    name: str,
    opponent: Opponent,
    pairs: Sequence[tuple[Tensor, Tensor, float]],
    objective: Objective,
    backward: Callable[[Tensor], object],
    whole: Tensor,
) -> dict[str, Tensor]:
    """A discriminator's move; its numbers as `adversarial_step` gives them.

    Args:
        name: `clear` or `observation`.
        opponent: the discriminator.
        pairs: real and generated images of each part, and its share.
        objective: whose game it is.
        backward: computes gradients from a loss.
        whole: whether the batch is worth learning from.
    """
    undecided = objective.adversarial.boundary
    numbers: dict[str, Tensor] = {}
    opponent.optimiser.zero_grad(set_to_none=True)
    for real, fake, share in pairs:
        # Both on the levels of 8-bit pictures, whatever the sensor, so that levels tell nothing.
        history = opponent.pool.exchange(fake, whole)
        seen = torch.cat([from_levels(to_levels(real), real.dtype), history])
        # One pass for both; no layer of a discriminator may mix the images of a batch.
        logits_real, logits_fake = opponent.network(seen).chunk(2)
        loss = objective.adversarial.discriminator(logits_real, logits_fake)
        backward(loss * share)
        told = {
            f"d_{name}": loss,
            f"d_{name}_real": (logits_real.detach() > undecided).float().mean(),
            f"d_{name}_fake": (logits_fake.detach() < undecided).float().mean(),
        }
        _add(numbers, told, share)
    norm = nn.utils.get_total_norm(_gradients(opponent.network))
    moves = whole & torch.isfinite(norm.detach() + numbers[f"d_{name}"])
    _move(opponent.optimiser, moves)
    return numbers | {
        f"d_{name}_gradient_norm": norm.detach(),
        f"d_{name}_skipped": (whole & ~moves).float(),
    }


def _move(optimiser: Optimizer, allowed: Tensor) -> None:
    """A step of an optimiser where a number on the device allows it, or none at all."""
    inner: Optimizer = getattr(optimiser, "optimizer", optimiser)  # which Fabric wraps
    if not getattr(inner, "_step_supports_amp_scaling", False):
        if allowed:
            optimiser.step()
        return
    # The way in which gradient scaling tells fused optimisers to pass over a step.
    inner.grad_scale, inner.found_inf = None, (~allowed).float()  # type: ignore[attr-defined]
    try:
        optimiser.step()
    finally:
        del inner.grad_scale, inner.found_inf  # type: ignore[attr-defined]


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Lets gradients pass through networks without being computed for their weights."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)


def _gradients(network: nn.Module) -> list[Tensor]:
    return [p.grad for p in network.parameters() if p.grad is not None]
