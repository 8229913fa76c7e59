"""How much of an image fits into memory at a time, and what to do when it did not."""

from __future__ import annotations

import copy
import ctypes
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

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

_looked_at: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()
_looking = Lock()


def pixels_at_once(fn: RestoreFn) -> int:
    """How many pixels of an observation `fn` can restore in one piece, by a wide margin.

    Args:
        fn: the restorer; a network is tried once on a few pixels to see how large its features are.
    """
    return max(1, int(_SHARE * free_bytes(device_of(fn)) / bytes_for_a_pixel(fn)))


def surely_fits(fn: RestoreFn, pixels: int) -> bool:
    """Whether so many pixels would fit even for a large network, without looking at this one."""
    return pixels * _UNKNOWN <= _SHARE * free_bytes(device_of(fn))


def device_of(fn: RestoreFn) -> torch.device:
    """Where a restorer runs, as far as it tells."""
    if isinstance(device := getattr(fn, "device", None), torch.device):
        return device
    if isinstance(fn, nn.Module):
        return next((p.device for p in fn.parameters()), torch.device("cpu"))
    return torch.device("cpu")


def bytes_for_a_pixel(fn: RestoreFn) -> float:
    """Memory that `fn` needs for each pixel of an observation, an estimate from above."""
    network = getattr(fn, "fn", fn)
    if not isinstance(network, nn.Module):
        return _UNKNOWN
    with _looking:
        if network not in _looked_at:
            _looked_at[network] = _bytes_for_a_pixel(network)
        return _looked_at[network]


def _bytes_for_a_pixel(network: nn.Module) -> float:
    # A copy: others may be running the network itself.
    fn: Any = copy.deepcopy(network)
    largest = 0

    def look(module: nn.Module, given: object, features: object) -> None:
        nonlocal largest
        if isinstance(features, Tensor):
            largest = max(largest, features.numel() * features.element_size())

    for module in fn.modules():
        module.register_forward_hook(look)
    like = next(fn.parameters(), torch.zeros(()))
    y = padded(fn, like.new_zeros(1, fn.channels, 32, 32))
    restore_padded(fn, y)
    return _ALIVE * largest / (y.shape[2] * y.shape[3])


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device, taken from nobody."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return min(_available(), _left_to_the_group())


def given_back() -> None:
    """Gives the system back what allocators keep of memory that nobody uses any more.

    Tiles of many sizes, one after the other, leave gaps that glibc holds on to: 0.4 GB of them by
    the end of 12 megapixels. Elsewhere nothing happens.
    """
    if (trim := _trim()) is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """glibc's own, where it is the C library."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim


_WORDS = (
    "can't allocate memory",  # torch's allocator of the CPU
    "could not create a primitive",  # oneDNN, which says no more
    "out of memory",  # CUDA's own calls, MPS
    "ALLOC_FAILED",  # cuBLAS, cuFFT, cuDNN
    "std::bad_alloc",
)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
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


_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 62


def _left_to_the_group() -> int:
    """What a container, or a group of processes around this one, may still take."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return _UNLIMITED
    left = _UNLIMITED
    for _, kinds, inside in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if kinds == "":  # version 2, where a folder has all limits
            root, names = _GROUPS, ("memory.max", "memory.current", "inactive_file ")
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
            root = _GROUPS / "memory"
        else:
            continue
        # Within a container its own group may be named as the host sees it, and stand at the root.
        own = root / inside.lstrip("/")
        for folder in (own, *own.parents):
            if folder == root or root in folder.parents:
                left = min(left, _left_to(folder, *names))
    return left


def _left_to(folder: Path, limit: str, taken: str, cached: str) -> int:
    """The same for one group, where it has a limit."""
    try:
        most, now = (int((folder / name).read_text(encoding="ascii")) for name in (limit, taken))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        # Files that were read count as taken, and are given up when somebody wants the room.
        spare = sum(int(line.split()[1]) for line in lines if line.startswith(cached))
        return max(0, most - now + spare)
    except (OSError, ValueError):
        return _UNLIMITED
