"""Blocks computed again on the way back: the same gradients from less that is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from physgan.networks import ResNetGenerator, UNet
from physgan.physics.compose import Degradation, Stage
from physgan.training.recompute import recompute
from tests.training.players import TinyGenerator
from tests.training.test_loop import Breaks, Gain, run

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": UNet,
    "resnet9": lambda: ResNetGenerator(width=8, blocks=4),
    "no sequence": TinyGenerator,
}


def kept_and_learnt(network: nn.Module, y: Tensor) -> tuple[int, list[Tensor]]:
    """Bytes of what the forward pass keeps besides weights and input, and the gradients."""
    given = {t.untyped_storage().data_ptr() for t in (y, *network.parameters())}
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in given:
            kept[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        result = network(y)
    gradients = torch.autograd.grad(result.square().mean(), list(network.parameters()))
    return sum(kept.values()), list(gradients)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_gradients_from_less(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for p in network.parameters():
        nn.init.normal_(p, std=0.05)
    y = torch.rand(2, 3, 64, 64)
    names = list(network.state_dict())
    much, expected = kept_and_learnt(network, y)
    recompute(network)
    little, result = kept_and_learnt(network, y)
    assert list(network.state_dict()) == names
    assert little < 0.7 * much
    torch.testing.assert_close(result, expected)


def test_a_run_is_the_same(tmp_path: Path) -> None:
    chain = Degradation({"a": Stage(Gain(), Breaks(lambda n: False))})
    averages = []
    for name, again in (("a", False), ("b", True)):
        (tmp_path / name).mkdir()
        network, _ = run(tmp_path / name, chain, recompute=again)
        averages.append(network.state_dict())
    torch.testing.assert_close(averages[1], averages[0], rtol=0, atol=0)
