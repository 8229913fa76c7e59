"""What decides which way a network computes: who looks through it, and what its device can."""

from __future__ import annotations

from collections.abc import Mapping

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


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 in units made for it, and not by a detour.

    Where it does not, bf16 is several times slower than fp32 rather than faster.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Releases of torch before 2.13 may not tell; fp32 is never wrong.
        known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return any(known.get(unit) for unit in ("avx512_bf16", "amx_bf16", "bf16"))
    return False
