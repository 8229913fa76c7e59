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


def _left_to_the_group() -> int:
    """What a container may still take, where one sets a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        taken = int((folder / "memory.current").read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        # Files that were read count as taken, and are given up when somebody wants the room.
        cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return max(0, limit - taken + cached)
    except (OSError, ValueError):
        return 1 << 62
