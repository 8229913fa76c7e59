"""Images continued beyond their border, such that exporters can follow."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(y: Tensor, reach: int) -> Tensor:
    """Images with `reach` pixels more on each side, mirrored there without their last pixel.

    Args:
        y: N×C×h×w.
        reach: pixels, which may be more than h and w: the mirror is mirrored again.
    """
    for dim in (2, 3):
        last = y.shape[dim] - 1
        at = torch.arange(-reach, last + 1 + reach, device=y.device).abs()
        # A tensor, since exporters translate no remainder by a size.
        period = torch.full((1,), 2 * last, dtype=at.dtype, device=at.device).clamp(min=1)
        at = at % period
        y = y.index_select(dim, torch.where(at > last, 2 * last - at, at))
    return y
