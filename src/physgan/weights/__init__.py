"""Weights files, their cards, and the importer for checkpoints of CycleGAN and of the release."""

from __future__ import annotations

from physgan.weights.card import card
from physgan.weights.cyclegan import ImportedGenerator, import_generator
from physgan.weights.file import WeightsInfo, load_weights, read_info, save_weights

__all__ = [
    "ImportedGenerator",
    "WeightsInfo",
    "card",
    "import_generator",
    "load_weights",
    "read_info",
    "save_weights",
]
