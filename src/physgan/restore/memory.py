"""How much of an image fits into memory at a time, and what to do when it did not."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from physgan.restore.whole import padded, restore_padded
from physgan.types import RestoreFn

_SHARE = 0.25
"""of the free memory that restoring may take: others live on the machine too"""
_ALIVE = 16
"""how many times its largest features a network holds at a time, workspaces included, at most"""
_UNKNOWN = 4096
"""bytes for each pixel that a restorer is taken to need whose features cannot be looked at"""


def pixels_at_once(fn: RestoreFn, device: torch.device) -> int:
    """How many pixels of an observation `fn` can restore in one piece, by a wide margin.

    Args:
        fn: the restorer; a network is tried on a few pixels to see how large its features are.
        device: where it runs.
    """
    return max(1, int(_SHARE * free_bytes(device) / bytes_for_a_pixel(fn)))


def bytes_for_a_pixel(fn: RestoreFn) -> float:
    """Memory that `fn` needs for each pixel of an observation, an estimate from above."""
    network = getattr(fn, "fn", fn)
    if not isinstance(network, nn.Module):
        return _UNKNOWN
    largest = 0

    def look(module: nn.Module, given: object, features: object) -> None:
        nonlocal largest
        if isinstance(features, Tensor):
            largest = max(largest, features.numel() * features.element_size())

    hooks = [module.register_forward_hook(look) for module in network.modules()]
    try:
        y = padded(fn, torch.zeros(1, fn.channels, 64, 64))
        restore_padded(fn, y)
    finally:
        for hook in hooks:
            hook.remove()
    return _ALIVE * largest / (y.shape[2] * y.shape[3])


def free_bytes(device: torch.device) -> int:
    """Memory that can be had on a device without taking it from anybody."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_available(), _left_to_the_group())


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return told or isinstance(error, torch.OutOfMemoryError | MemoryError)


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        return int(found[0]) * 1024
    except (OSError, LookupError, ValueError):
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        whole = pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else 4 << 30
        return whole // 2


def _left_to_the_group() -> int:
    """What a container may still take, where one sets a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        return max(0, limit - int((folder / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):
        return 1 << 62
