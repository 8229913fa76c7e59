"""Restorers of known behaviour, and a small network as a weights file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from physgan.networks import BlindDeconvolution, UNet
from physgan.weights.file import WeightsInfo, save_weights


class Inverts:
    """1 - y, enlarged by repetition: every pixel for itself."""

    multiple_of = 4
    receptive_field: int | None = 1
    global_statistics = False

    def __init__(self, channels: int = 3, scale: int = 1) -> None:
        self.channels, self.scale = channels, scale
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, y: Tensor) -> Tensor:
        self.sizes.append(tuple(y.shape))
        larger = y.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)
        return 1 - larger


def small_weights(path: Path, *, channels: int = 3, scale: int = 1) -> Path:
    """A network of two levels that changes its input plainly, saved."""
    arguments = {"channels": channels, "scale": scale, "widths": [4, 6], "blocks": [1, 1]}
    return _saved(path, UNet, "unet", arguments)


def small_weights_that_deblur(path: Path) -> Path:
    """The same, of what takes a kernel of the whole first."""
    arguments = {"widths": [4, 6], "blocks": [1, 1], "side": 9, "edges": True}
    return _saved(path, BlindDeconvolution, "blind_deconvolution", arguments)


def _saved(
    path: Path, network_of: Callable[..., Any], architecture: str, arguments: dict[str, Any]
) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = network_of(**arguments)
        torch.nn.init.normal_(network.head.weight, std=0.2)
    channels, scale = network.channels, network.scale
    info = WeightsInfo(
        architecture=architecture,
        arguments=arguments,
        channels=channels,
        scale=scale,
        recipe={"name": "small"},
        commit="none",
        data="nothing",
        licence="CC0-1.0",
        measured={},
    )
    save_weights(path, network.state_dict(), info)
    return path
