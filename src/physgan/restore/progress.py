"""How restoring tells of its progress: a function that is given the share that is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[float], object]
"""Told now and then what share of the work is done, from 0 to 1."""


def untold(share: float) -> None:
    """Progress that nobody asked for."""


def part_of(progress: Progress, done: float, upto: float) -> Progress:
    """The progress of a part of some work, which takes it from one share to another."""
    return lambda share: progress(done + share * (upto - done))


def rising(progress: Progress) -> Progress:
    """Progress that is never told less than it was told before."""
    highest = 0.0

    def told(share: float) -> None:
        nonlocal highest
        highest = max(highest, share)
        progress(highest)

    return told
