"""Images continued beyond their border, such that exporters can follow."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(y: Tensor, reach: int) -> Tensor:
    """Images with `reach` pixels more on each side, mirrored there as far as they reach.

    Args:
        y: N×C×h×w; beyond what its mirror holds, its last pixel is repeated.
        reach: pixels, which may be more than h and w.
    """
    for dim in (2, 3):
        last = y.shape[dim] - 1
        at = torch.arange(-reach, last + 1 + reach, device=y.device).abs()
        y = y.index_select(dim, torch.where(at > last, 2 * last - at, at).clamp(0, last))
    return y
