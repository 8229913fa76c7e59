"""Ways of doing the same, timed in turns, and the ratios of their times with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one that does not count."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for counts in [False, *[True] * rounds]:
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            if counts:
                seconds[way].append(time.perf_counter() - began)
    return seconds


def ratios(ours: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """How many times as long others take, round by round: median, least and greatest."""
    times = [b / a for a, b in zip(ours, others, strict=True)]
    return {
        "median": statistics.median(times),
        "least": min(times),
        "greatest": max(times),
        "rounds": len(times),
    }


def told(ratio: Mapping[str, float]) -> str:
    """A ratio with its spread, for the screen."""
    return (
        f"{ratio['median']:.2f} (from {ratio['least']:.2f} to {ratio['greatest']:.2f}, "
        f"{ratio['rounds']} rounds)"
    )
