"""When a network may compute its own way, and when only in operations that torch looks through."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad


def seen_through() -> bool:
    """Whether somebody looks through the computation: a compiler, an exporter, a transform.

    `torch.compile`, `torch.export`, `torch.jit.trace`, `torch.func` and forward differentiation
    need operations that they know, not functions with gradients of our own.
    """
    return bool(
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )
