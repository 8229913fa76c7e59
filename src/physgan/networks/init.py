"""How networks begin: as CycleGAN and the paper do, or as what changes nothing."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Generator, nn

Network = TypeVar("Network", bound=nn.Module)


def init_normal(
    module: Network, *, generator: Generator | None = None, std: float = 0.02
) -> Network:
    """Draws the weights of all convolutions of `module` from N(0, std²) and sets biases to 0.

    Build the network, then call this with a seeded generator: the same seed gives the same
    network, on any device, as long as the generator stays on one kind of device.

    Args:
        module: changed in place.
        generator: the source of all randomness; None takes torch's global one.
        std: standard deviation of the weights.

    Returns:
        `module`.
    """
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                weight = layer.weight
                # Drawn where the generator lives, so that a CPU seed serves a network on a GPU.
                device = weight.device if generator is None else generator.device
                draw = torch.empty(weight.shape, dtype=torch.float32, device=device)
                weight.copy_(draw.normal_(0.0, std, generator=generator))
                if layer.bias is not None:
                    layer.bias.zero_()
    return module


def zeroed(layer: nn.Conv2d) -> None:
    """Sets a convolution to 0, so that what it adds to a picture begins as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
