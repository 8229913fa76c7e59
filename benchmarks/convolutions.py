"""Each convolution of the networks, our way against torch's own, in one run.

    python -m benchmarks convolutions [--rounds 7] [--threads N] [--output FILE.json]

Told are milliseconds of forward and of both gradients, in float32: ours and torch's with channels
last, and torch's with contiguous channels, taking turns; medians and the ratio of torch's better
one to ours in each round. The last line adds the layers up as the networks have them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import describe
from benchmarks.turns import ratios, told
from physgan.networks.convolution import Conv2d, ConvTranspose2d

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    # The default network on 8 crops of 96 pixels.
    "unet, 48 at 48": (Conv2d(48, 48, 3, padding=1), (8, 48, 48, 48), 8),
    "unet, 96 at 24": (Conv2d(96, 96, 3, padding=1), (8, 96, 24, 24), 8),
    "unet, 192 at 12": (Conv2d(192, 192, 3, padding=1), (8, 192, 12, 12), 8),
    "unet, 48 to 96": (Conv2d(48, 96, 2, stride=2), (8, 48, 48, 48), 1),
    "unet, 96 to 192": (Conv2d(96, 192, 2, stride=2), (8, 96, 24, 24), 1),
    "unet, 192 to 384": (Conv2d(192, 384, 1), (8, 192, 12, 12), 1),
    "unet, 96 to 192, 1×1": (Conv2d(96, 192, 1), (8, 96, 24, 24), 1),
    # The paper's generator on a picture of 256 pixels, and its discriminator on two.
    "resnet9, 256 at 64": (Conv2d(256, 256, 3), (1, 256, 66, 66), 18),
    "resnet9, 64 to 128": (Conv2d(64, 128, 3, stride=2, padding=1), (1, 64, 256, 256), 1),
    "resnet9, 128 to 256": (Conv2d(128, 256, 3, stride=2, padding=1), (1, 128, 128, 128), 1),
    "resnet9, 256 to 128": (
        ConvTranspose2d(256, 128, 3, stride=2, padding=1, output_padding=1),
        (1, 256, 64, 64),
        1,
    ),
    "resnet9, 128 to 64": (
        ConvTranspose2d(128, 64, 3, stride=2, padding=1, output_padding=1),
        (1, 128, 128, 128),
        1,
    ),
    "patchgan, 64 to 128": (Conv2d(64, 128, 4, stride=2, padding=1), (2, 64, 128, 128), 1),
    "patchgan, 128 to 256": (Conv2d(128, 256, 4, stride=2, padding=1), (2, 128, 64, 64), 1),
    "patchgan, 256 to 512": (Conv2d(256, 512, 4, padding=1), (2, 256, 32, 32), 1),
}
"""Layer, shape of its input, and how often its network has it."""


def ways(layer: nn.Module, shape: Sequence[int]) -> dict[str, Callable[[], float]]:
    """Seconds of a forward and backward pass, by way."""
    kind = nn.ConvTranspose2d if isinstance(layer, nn.ConvTranspose2d) else nn.Conv2d
    library = kind(
        layer.in_channels,  # type: ignore[arg-type]
        layer.out_channels,  # type: ignore[arg-type]
        layer.kernel_size,  # type: ignore[arg-type]
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        **({"output_padding": layer.output_padding} if kind is nn.ConvTranspose2d else {}),  # type: ignore[arg-type]
    )
    contiguous = torch.contiguous_format
    return {
        name: _timed(module, torch.randn(shape), memory_format)
        for name, module, memory_format in (
            ("ours", layer, torch.channels_last),
            ("torch, channels last", library, torch.channels_last),
            ("torch, contiguous", library, contiguous),
        )
    }


def _timed(module: nn.Module, x: Tensor, layout: torch.memory_format) -> Callable[[], float]:
    x = x.contiguous(memory_format=layout).requires_grad_()
    g = torch.randn_like(module(x)).contiguous(memory_format=layout)

    def once() -> float:
        module.to(memory_format=layout)  # type: ignore[call-overload]
        began = time.perf_counter()
        torch.autograd.grad(module(x), (x, *module.parameters()), g)
        return time.perf_counter() - began

    once()
    return once


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks convolutions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns of each way")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(torch.device("cpu")),
        "layers": {},
    }
    print(f"{'milliseconds':24}{'ours':>9}{'last':>9}{'contig.':>9}   torch's better / ours")
    whole: dict[str, list[float]] = {}
    for name, (layer, shape, often) in LAYERS.items():
        runs = ways(layer, shape)
        seconds: dict[str, list[float]] = {way: [] for way in runs}
        for _ in range(options.rounds):
            for way, once in runs.items():
                seconds[way].append(once())
        result["layers"][name] = {"often": often, "seconds": seconds, **_to_better(seconds)}
        _show(name, seconds)
        network = name.split(",")[0]
        for way, times in seconds.items():
            sums = whole.setdefault(f"{network}: {way}", [0.0] * options.rounds)
            whole[f"{network}: {way}"] = [s + often * t for s, t in zip(sums, times, strict=True)]
    for network in dict.fromkeys(name.split(",")[0] for name in LAYERS):
        seconds = {k.removeprefix(f"{network}: "): v for k, v in whole.items() if network in k}
        result[f"all of {network}"] = _to_better(seconds)
        _show(f"all of {network}", seconds)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _to_better(seconds: dict[str, list[float]]) -> dict[str, float]:
    ours, *others = seconds.values()
    return ratios(ours, [min(times) for times in zip(*others, strict=True)])


def _show(name: str, seconds: dict[str, list[float]]) -> None:
    cells = "".join(f"{statistics.median(times) * 1e3:9.1f}" for times in seconds.values())
    print(f"{name:24}{cells}   {told(_to_better(seconds))}")
