"""Synthesis of training data: a batch of clear images in, observations and their causes out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from physgan.physics.compose import NOTHING_KNOWN, Degradation
from physgan.types import ChainTheta, Theta


class Batch(NamedTuple):
    """What a training step works on."""

    x: Tensor
    """clear images, N×C×H×W in [0, 1]"""
    y: Tensor
    """observations, N×C×h×w in [0, 1]"""
    theta: ChainTheta
    """the parameters that made y from x, nested by stage"""


@torch.no_grad()
def synthesise(
    x: Tensor, degradation: Degradation, *, generator: Generator, known: Theta = NOTHING_KNOWN
) -> Batch:
    """Degrades clear images N×C×H×W with freshly drawn parameters, on their own device.

    A uint8 batch is taken as 8-bit pictures and scaled to [0, 1]; scaling on the device moves a
    quarter of the bytes. The generator is the caller's, on the device of `x`. What was measured
    with the pictures and is `known`, such as their depth, is taken as it is (`Degradation.sample`).
    """
    if x.dtype == torch.uint8:
        x = x.float() / 255
    theta = degradation.sample(x, generator=generator, known=known)
    y = degradation.operator(x, theta)
    return Batch(x, degradation.sense(y, theta, generator=generator), theta)
