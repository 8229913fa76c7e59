"""The exponential moving average of a generator's weights, which is what a run ships."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


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
    def update(self, module: nn.Module, updates: int | Tensor, moved: Tensor) -> None:
        """Moves the average towards `module`, without waiting for the device.

        Args:
            module: the network that is trained.
            updates: how many updates came before this one, a number of Python or on its device.
            moved: whether the network has moved; else the average does not either.
        """
        u = torch.as_tensor(updates, dtype=torch.float32, device=moved.device)
        share = (9 / (10 + u)).clamp(min=1 - self.decay)  # 1 less what is kept, without rounding
        average: list[Tensor] = list(self.module.parameters())
        trained: list[Tensor] = list(module.parameters())
        way = list(torch._foreach_sub(trained, average))
        torch._foreach_mul_(way, share * moved)
        torch._foreach_add_(average, way)
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)
