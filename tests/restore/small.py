"""Restorers of known behaviour, and a small network as a weights file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from physgan.networks import UNet
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(channels=channels, scale=scale, widths=(4, 6), blocks=(1, 1))
        torch.nn.init.normal_(network.head.weight, std=0.2)
    info = WeightsInfo(
        architecture="unet",
        arguments=arguments,  # type: ignore[arg-type]
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
