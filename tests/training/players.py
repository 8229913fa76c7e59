"""Small players with smooth, well-conditioned gradients, and their weights as the reference's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.training.reference import Parameters


class TinyGenerator(nn.Module):
    channels = 3
    scale = 1
    multiple_of = 1
    receptive_field = 5
    global_statistics = False

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, y: Tensor) -> Tensor:
        return (torch.tanh(self.second(torch.tanh(self.first(2 * y - 1)))) + 1) / 2


class TinyDiscriminator(nn.Module):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 4, stride=2, padding=1)
        self.second = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        inner = nn.functional.leaky_relu(self.first(2 * image - 1), 0.2)
        result: Tensor = self.second(inner)
        return result


def drawn(seed: int) -> dict[str, nn.Module]:
    """The three players with weights large enough for every gradient to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {
            "generator": TinyGenerator(),
            "clear": TinyDiscriminator(),
            "observation": TinyDiscriminator(),
        }


def parameters(network: nn.Module) -> Parameters:
    return {n: p.detach().double().numpy().copy() for n, p in network.named_parameters()}


def gradients(network: nn.Module) -> Parameters:
    return {
        n: p.grad.double().numpy().copy()
        for n, p in network.named_parameters()
        if p.grad is not None
    }
