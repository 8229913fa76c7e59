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
        at = at % torch.sym_max(2 * last, 1)
        y = y.index_select(dim, torch.where(at > last, 2 * last - at, at))
    return y
