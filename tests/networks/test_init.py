import pytest
import torch
from torch import nn

from physgan.networks import PatchDiscriminator, ResNetGenerator, init_normal


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters() if p.ndim > 1])


def biases(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach() for p in network.parameters() if p.ndim == 1])


@pytest.mark.parametrize("build", [ResNetGenerator, PatchDiscriminator])
def test_a_seed_is_a_network(build: type[nn.Module]) -> None:
    first = init_normal(build(width=4), generator=seeded(7))
    torch.rand(1)  # the global generator has no part in it
    second = init_normal(build(width=4), generator=seeded(7))
    other = init_normal(build(width=4), generator=seeded(8))
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("build", [ResNetGenerator, PatchDiscriminator])
@pytest.mark.parametrize("std", [None, 0.1])
def test_statistics(build: type[nn.Module], std: float | None) -> None:
    network = build(width=16)
    if std is not None:
        init_normal(network, generator=seeded(0), std=std)
    drawn = weights(network)
    wanted = std or 0.02
    assert abs(float(drawn.mean())) < 5 * wanted / drawn.numel() ** 0.5
    assert float(drawn.std()) == pytest.approx(wanted, rel=5 / drawn.numel() ** 0.5)
    # Normal, not uniform with the same deviation.
    assert float((drawn.abs() > 2 * wanted).float().mean()) == pytest.approx(0.0455, abs=0.004)
    assert not biases(network).any()


def test_every_layer_is_drawn_anew() -> None:
    network = ResNetGenerator(width=4, blocks=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(9)
    assert init_normal(network, generator=seeded(0)) is network
    assert max(float(p.detach().abs().max()) for p in network.parameters()) < 1


def test_the_type_of_the_network_does_not_change_the_draw() -> None:
    single = init_normal(PatchDiscriminator(width=4), generator=seeded(1))
    double = init_normal(PatchDiscriminator(width=4).double(), generator=seeded(1))
    assert torch.equal(weights(single).double(), weights(double))
