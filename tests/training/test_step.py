"""The step against an independent float64 computation, and what it does when numbers break."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.optim import Adam

from physgan.data.synthesis import Batch
from physgan.objective.objective import Objective, Weights
from physgan.physics.blur import Blur
from physgan.physics.compose import Degradation, Stage
from physgan.training.pool import ImagePool
from physgan.training.step import Opponent, Player, adversarial_step, frozen
from tests.training.checks import (
    check_discriminators_rest,
    check_run,
    check_steps,
    degradation,
)
from tests.training.players import drawn, parameters


@pytest.mark.parametrize("matched", [True, False])
@pytest.mark.parametrize("physics", ["blur", "haze"])
def test_steps_equal_the_equations(physics: str, matched: bool) -> None:
    check_steps(physics, matched=matched)


def test_run_equals_the_equations() -> None:
    check_run()


def test_discriminators_rest_while_the_generator_moves() -> None:
    check_discriminators_rest()


def _players(seed: int = 0, *, fused: bool = False) -> tuple[Player, dict[str, Opponent]]:
    networks = drawn(seed)
    choices = Generator().manual_seed(0)

    def adam(name: str) -> Adam:
        return Adam(networks[name].parameters(), lr=1e-3, fused=fused)

    player = Player(networks["generator"], adam("generator"))
    return player, {
        name: Opponent(networks[name], adam(name), ImagePool(4, generator=choices))
        for name in ("clear", "observation")
    }


def _batch(chain: Degradation, *, seed: int = 0) -> Batch:
    draws = Generator().manual_seed(seed)
    x = torch.rand(2, 3, 12, 12, generator=draws)
    return Batch(x, x.flip(-1), chain.sample(x, generator=draws))


def _step(player: Player, opponents: dict[str, Opponent], **changes: Any) -> dict[str, Tensor]:
    chain = changes.pop("degradation", None) or degradation("blur", sensor=True)
    batch = changes.pop("batch", None) or _batch(chain)
    objective = changes.pop("objective", Objective())
    return adversarial_step(
        batch,
        player,
        opponents,
        degradation=chain,
        objective=objective,
        generator=Generator().manual_seed(1),
        **changes,
    )


class _Counting(Blur):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __call__(self, x: Tensor, theta: Any) -> Tensor:
        self.calls += 1
        return super().__call__(x, theta)


@pytest.mark.parametrize(
    ("weights", "h_calls", "g_calls"),
    [
        (Weights(), 1, 2),
        (Weights(second_content=0), 1, 1),
        (Weights(physics=0, second_content=0), 1, 1),
        (Weights(physics=0, second_content=0, adversarial_observation=0), 0, 1),
        (Weights(0, 1, 0, 0, 0), 0, 1),
    ],
)
def test_a_term_of_weight_zero_costs_nothing(weights: Weights, h_calls: int, g_calls: int) -> None:
    player, opponents = _players()
    operator = _Counting()
    kernels = degradation("blur", sensor=True).samplers["blur"]
    chain = Degradation({"blur": Stage(operator, kernels)})
    passes = {"generator": 0, "clear": 0, "observation": 0}
    for name, network in [
        ("generator", player.network),
        *((n, o.network) for n, o in opponents.items()),
    ]:
        network.register_forward_hook(
            lambda *_, name=name: passes.__setitem__(name, passes[name] + 1)
        )
    needed = {
        name: opponents[name]
        for name, weight in [
            ("clear", weights.adversarial_clear),
            ("observation", weights.adversarial_observation),
        ]
        if weight
    }
    numbers = _step(player, needed, degradation=chain, objective=Objective(weights))
    assert operator.calls == h_calls
    # Each discriminator looks once for the generator and once, at real and fake, for itself.
    assert passes == {
        "generator": g_calls,
        "clear": 2 if weights.adversarial_clear else 0,
        "observation": 2 if weights.adversarial_observation else 0,
    }
    named = {name for name, weight in vars(weights).items() if weight}
    assert named <= numbers.keys()
    assert not ({*vars(weights)} - named) & numbers.keys()


def test_a_guided_generator_is_shown_the_clear_images() -> None:
    class Guided(nn.Module):
        guided = True

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner
            self.shown: list[Tensor] = []
            self.places: list[float] = []

        def forward(self, y: Tensor, clear: Tensor, places: list[float]) -> Tensor:
            self.shown.append(clear)
            self.places += places
            x_hat: Tensor = self.inner(y)
            return x_hat

    player, opponents = _players()
    plain = _step(player, opponents)
    player, opponents = _players()
    player.network = guided = Guided(player.network)
    batch = _batch(degradation("blur", sensor=True))
    assert _step(player, opponents, batch=batch) == plain
    assert len(guided.shown) == 2  # of what was observed, and of what was degraded again
    assert all(torch.equal(clear, batch.x) for clear in guided.shown)
    n = len(batch.x)
    places = [(i + 0.5) / n for i in range(n)]
    assert guided.places == 2 * places
    guided.places.clear()
    _step(player, opponents, batch=batch, parts=n)
    assert guided.places == [place for place in places for _ in range(2)]


def test_matched_observations_pass_the_sensor_of_their_own_theta() -> None:
    """With matching, D_h sees y_hat with theta's noise; without, y_hat as H made it."""
    seen: dict[bool, Tensor] = {}
    for matched in (True, False):
        player, opponents = _players()
        first: list[Tensor] = []
        opponents["observation"].network.register_forward_pre_hook(
            lambda _, args, first=first: first.append(args[0].detach().clone())
        )
        _step(player, opponents, objective=Objective(matched=matched))
        seen[matched] = first[0]
    residual = seen[True] - seen[False]
    sigma = _batch(degradation("blur", sensor=True)).theta["sensor"]["sigma"]
    spread = residual.flatten(1).std(dim=1)
    assert torch.allclose(spread, sigma, rtol=0.15)
    levels = seen[True] * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert not torch.allclose(seen[False] * 255, (seen[False] * 255).round(), atol=1e-2)


@pytest.mark.parametrize("fused", [False, True])
def test_broken_numbers_change_nothing(fused: bool) -> None:
    player, opponents = _players(fused=fused)
    _step(player, opponents)  # so that there are moments and pools to keep
    networks = {"generator": player.network, **{n: o.network for n, o in opponents.items()}}
    before = {name: parameters(network) for name, network in networks.items()}
    moments = copy.deepcopy(player.optimiser.state_dict()["state"][0])
    pools = {name: o.pool.state()["images"].clone() for name, o in opponents.items()}
    chain = degradation("blur", sensor=True)
    batch = _batch(chain)
    y = batch.y.clone()
    y[0, 0, 0, 0] = torch.nan
    numbers = _step(player, opponents, batch=batch._replace(y=y))
    assert numbers["skipped"] == 1
    for name, network in networks.items():
        for key, value in parameters(network).items():
            assert (value == before[name][key]).all(), f"{name}.{key} moved"
    for name, moment in player.optimiser.state_dict()["state"][0].items():
        assert torch.equal(moment, moments[name]), name
    for name, opponent in opponents.items():
        images, kept = opponent.pool.state()["images"], pools[name]
        assert torch.equal(images[: len(kept)], kept)
        assert len(images) == 2 * len(kept)  # the pool is not full yet: an older image once more
        assert all(torch.equal(image, kept[0]) for image in images[len(kept) :])
    assert _step(player, opponents)["skipped"] == 0


def test_a_discriminator_with_broken_numbers_stays_alone_behind() -> None:
    player, opponents = _players()
    d_clear = opponents["clear"].network
    d_clear.register_forward_hook(
        # Its own move alone: real and fake come together, twice the batch.
        lambda _, args, out: out * torch.nan if args[0].shape[0] == 4 else out
    )
    before = {n: parameters(o.network) for n, o in opponents.items()}
    start = parameters(player.network)
    numbers = _step(player, opponents)
    assert numbers["skipped"] == 0
    assert numbers["d_clear_skipped"] == 1
    assert numbers["d_observation_skipped"] == 0

    def moved(a: dict[str, Any], b: dict[str, Any]) -> bool:
        return any((a[k] != b[k]).any() for k in a)

    assert not moved(before["clear"], parameters(d_clear))
    assert moved(before["observation"], parameters(opponents["observation"].network))
    assert moved(start, parameters(player.network))


def test_clipping_bounds_the_generators_gradient() -> None:
    player, opponents = _players()
    norm = float(_step(player, opponents, clip=1e-3)["gradient_norm"])
    assert norm > 1e-3  # what is reported is the norm before clipping
    gradients = [p.grad for p in player.network.parameters() if p.grad is not None]
    clipped = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(g) for g in gradients])
    )
    assert float(clipped) == pytest.approx(1e-3, rel=1e-3)


def test_accuracy_of_discriminators_counts_patches() -> None:
    class Certain(nn.Module):
        """Calls the first half of a pair real and the second half false, for one image in two."""

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, image: Tensor) -> Tensor:
            logits = torch.tensor([1.0, 1.0, 1.0, 0.0])[: image.shape[0], None, None, None]
            return self.gain * logits.expand(image.shape[0], 1, 2, 2)

    player, opponents = _players()
    network = Certain()
    opponents["clear"] = Opponent(
        network, Adam(network.parameters()), ImagePool(4, generator=Generator().manual_seed(0))
    )
    numbers = _step(player, opponents)
    assert float(numbers["d_clear_real"]) == 1.0
    assert float(numbers["d_clear_fake"]) == 0.5


def test_frozen_networks_thaw_even_after_an_error() -> None:
    network = nn.Conv2d(1, 1, 1)

    def fail() -> None:
        with frozen(network):
            assert not any(p.requires_grad for p in network.parameters())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("parts", [2, 3, 9])
def test_a_batch_in_parts_takes_the_same_step(parts: int) -> None:
    """Weights, moments, numbers and pools after three steps, float64, five images."""
    chain = degradation("blur", sensor=True)
    results = []
    for taken in (1, parts):
        player, opponents = _players()
        everyone = {"generator": player, **opponents}
        for one in everyone.values():
            one.network.double()
        numbers: dict[str, Tensor] = {}
        for seed in range(3):
            draws = Generator().manual_seed(seed)
            x = torch.rand(5, 3, 12, 12, generator=draws, dtype=torch.float64)
            theta = chain.sample(x, generator=draws)
            theta = {s: {n: t.double() for n, t in part.items()} for s, part in theta.items()}
            numbers = adversarial_step(
                Batch(x, x.flip(-1), theta),
                player,
                opponents,
                degradation=chain,
                objective=Objective(matched=False),
                generator=Generator(),
                clip=0.5,
                parts=taken,
            )
        weights = {
            f"{name}.{key}": value
            for name, one in everyone.items()
            for key, value in parameters(one.network).items()
        }
        pools = {name: o.pool.state()["images"] for name, o in opponents.items()}
        results.append((numbers, weights, pools))
    (numbers, weights, pools), (numbers_of_parts, weights_of_parts, pools_of_parts) = results
    torch.testing.assert_close(numbers_of_parts, numbers, check_dtype=False)
    torch.testing.assert_close(pools_of_parts, pools)
    for key, value in weights.items():
        torch.testing.assert_close(weights_of_parts[key], value, rtol=1e-9, atol=1e-12, msg=key)
