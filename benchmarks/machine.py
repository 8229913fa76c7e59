"""What a benchmark ran on: the machine in words, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from pathlib import Path

import torch

from physgan.networks.ways import has_bf16

_REFERENCES, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def describe(device: torch.device) -> dict[str, object]:
    """Processor, memory and versions, for the file of results."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_units": has_bf16(device),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def matrix_rates(device: torch.device, *, side: int = 4096, repeats: int = 5) -> dict[str, float]:
    """TFLOP/s of products of square matrices: fp32, and bf16 where the device has units for it.

    The best of some repeats: what the machine can, not what it happens to do.
    """
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if dtype == torch.bfloat16 and not has_bf16(device):
            continue
        a = torch.randn(side, side, device=device).to(dtype)
        b = torch.randn(side, side, device=device).to(dtype)
        seconds = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            a @ b
            synchronise(device)
            seconds.append(time.perf_counter() - began)
        rates[name] = 2 * side**3 / min(seconds[1:]) / 1e12
    return rates


def forget_peak(device: torch.device) -> None:
    """From now on `peak` tells of later moments alone."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _REFERENCES.exists():
        _REFERENCES.write_text("5", encoding="ascii")  # Linux: resets the resident peak


def peak(device: torch.device) -> float:
    """The most memory, in GB, since `forget_peak` (where that is not possible, since the start)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def synchronise(device: torch.device) -> None:
    """Waits for all that was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
