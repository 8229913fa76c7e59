"""The exponential moving average of a generator's weights, which is what a run ships."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA:
    """A copy of a network whose weights follow the trained ones slowly.

    Args:
        module: the network that is trained.
        decay: share of the average that one update keeps. The first updates keep less,
            `(1 + t) / (10 + t)`, so that the random start is forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, updates: int) -> None:
        """Moves the average towards `module`; `updates` counts the updates before this one."""
        keep = min(self.decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(
            list(self.module.parameters()), list(module.parameters()), weight=1 - keep
        )
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)
