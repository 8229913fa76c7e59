"""Muon: kernels move by their orthogonalised momentum, everything else by Adam.

After Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): Nesterov
momentum, of which the nearest matrix with singular values near 1 is taken by five Newton-Schulz
iterations. The scale of a move follows Liu et al., "Muon is Scalable for LLM Training" (2025),
section 2.2: its root mean square is that of a typical move of Adam, so that both share a rate. So
does the decay of weights, without which kernels grow for as long as they move.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adam import adam

_HIDDEN = 16
"""features on both sides of a kernel that counts as hidden; pictures have fewer channels"""
_LIKE_ADAM = 0.2
"""root mean square of Adam's moves at rate 1, by experience"""
_STEPS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalised(momentum: Tensor) -> Tensor:
    """The matrix R×S turned into one with the same singular vectors and values near 1.

    Jordan's quintic iteration, X ← (a + b XXᵀ + c (XXᵀ)²) X, brings singular values from 0.01 of
    the whole norm and above to between 0.7 and 1.2. It is carried out on the small square XXᵀ, all
    factors of which commute, and X multiplied once at the end.
    """
    wide = momentum if momentum.shape[0] <= momentum.shape[1] else momentum.T
    x = wide / (wide.norm() + 1e-7)
    one = torch.eye(x.shape[0], dtype=x.dtype, device=x.device)
    gram = x @ x.T

    def factor() -> Tensor:
        return torch.addmm(_A * one + _B * gram, gram, gram, beta=1, alpha=_C)

    last = whole = factor()
    for _ in range(_STEPS - 1):
        gram = last @ gram @ last
        last = factor()
        whole = last @ whole
    result: Tensor = whole @ x
    return result if momentum.shape[0] <= momentum.shape[1] else result.T


class Muon(Optimizer):
    """Moves a network's hidden kernels by Muon and its other parameters by Adam.

    Args:
        parameters: of one network. Those of two or more dimensions with at least 16 features on
            either side are taken as matrices, their first dimension × everything else.
        lr: of both.
        betas: of Adam.
        momentum: of Muon.
        weight_decay: share of every parameter, times `lr`, that it loses with each move.
    """

    # Tells that `found_inf` is heeded, as torch's fused optimisers do.
    _step_supports_amp_scaling = True

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "momentum": momentum, "weight_decay": weight_decay}
        # `fused` tells torch that the counts of steps belong on the parameters' device.
        super().__init__(parameters, defaults | {"fused": True})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One move of everything that has a gradient.

        Where the attribute `found_inf` holds 1, a number on the device, nothing moves and nothing
        is remembered.
        """
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            for p in moved:
                if _is_hidden(p):
                    self._turn(p, group, found_inf)
            self._adam([p for p in moved if not _is_hidden(p)], group, found_inf)

    def _turn(self, p: Tensor, group: dict[str, Any], found_inf: Tensor | None) -> None:
        state, g = self.state[p], p.grad
        assert g is not None
        if not state:
            state["momentum"] = torch.zeros_like(p)
        held: Tensor = state["momentum"]
        m = group["momentum"] * held + g
        if found_inf is not None:
            m = torch.where(found_inf.bool(), held, m)
        ahead = torch.add(g, m, alpha=group["momentum"])
        # Columns in the order in which they lie, channels last; any order gives the same move.
        columns = ahead.movedim(1, -1)
        matrix = columns.flatten(1)
        move = orthogonalised(matrix).view(columns.shape).movedim(-1, 1)
        scale = group["lr"] * _LIKE_ADAM * max(matrix.shape) ** 0.5
        move = move * scale
        if group["weight_decay"]:
            move = move + p * (group["lr"] * group["weight_decay"])
        if found_inf is not None:
            move = torch.where(found_inf.bool(), 0.0, move)
        held.copy_(m)
        p.sub_(move)

    def _adam(
        self, parameters: list[Tensor], group: dict[str, Any], found_inf: Tensor | None
    ) -> None:
        for p in parameters:
            if not self.state[p]:
                self.state[p]["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
                self.state[p]["exp_avg"] = torch.zeros_like(p)
                self.state[p]["exp_avg_sq"] = torch.zeros_like(p)
        states = [self.state[p] for p in parameters]
        adam(
            parameters,
            [p.grad for p in parameters if p.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            found_inf=found_inf,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
            decoupled_weight_decay=True,
        )


def _is_hidden(p: Tensor) -> bool:
    return p.ndim >= 2 and min(p.shape[:2]) >= _HIDDEN
