"""Generators and discriminators, and the tables in which a recipe or a weights file names them.

A further network is one file here and one line in a table. A recipe may also name foreign code by
import path; a weights file may not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from physgan.networks.base import RestorationNetwork
from physgan.networks.convolution import channels_last
from physgan.networks.deconvolution import BlindDeconvolution
from physgan.networks.haze_inversion import HazeInversion
from physgan.networks.init import init_normal
from physgan.networks.norm import InstanceNorm
from physgan.networks.patchgan import PatchDiscriminator
from physgan.networks.resnet9 import ResNetGenerator
from physgan.networks.unet import UNet

GENERATORS: Mapping[str, Callable[..., RestorationNetwork]] = MappingProxyType(
    {
        "resnet9": ResNetGenerator,
        "unet": UNet,
        "blind_deconvolution": BlindDeconvolution,
        "haze_inversion": HazeInversion,
    }
)
"""Restorers by name. Each takes keyword arguments only and satisfies `physgan.types.RestoreFn`."""

DISCRIMINATORS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "patchgan": PatchDiscriminator,
    }
)
"""Discriminators by name. Each takes N×C×H×W in [0, 1] and returns scores N×1×h×w.

Real and generated images pass in one batch: no layer may mix the images of a batch.
"""

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "BlindDeconvolution",
    "HazeInversion",
    "InstanceNorm",
    "PatchDiscriminator",
    "ResNetGenerator",
    "RestorationNetwork",
    "UNet",
    "channels_last",
    "init_normal",
]
