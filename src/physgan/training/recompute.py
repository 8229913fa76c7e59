"""Training in less memory: parts of a network that are computed again on the way back."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(network: nn.Module) -> None:
    """Makes a network keep what passes between its blocks alone, not what happens inside them.

    Blocks are the members of every `nn.Sequential` that have weights, down to those that hold no
    further one; what a block needs for its gradients is computed a second time when they are. The
    numbers are the same. A network without any `nn.Sequential` is taken as one block.

    Args:
        network: to be changed; names and values of its weights stay.
    """
    for block in _blocks(network) or [network]:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _blocks(network: nn.Module) -> list[nn.Module]:
    blocks = []
    for child in network.children():
        inner = _blocks(child)
        if inner:
            blocks += inner
        elif isinstance(network, nn.Sequential) and any(True for _ in child.parameters()):
            blocks.append(child)
    return blocks
