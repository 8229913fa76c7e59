"""What holds for every test: one thread per worker, one profile of hypothesis, skips counted."""

import os

# Before anything imports torch: pytest runs one worker per core.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings

# On a loaded machine a deadline fails without a fault; the same examples each time.
settings.register_profile("physgan", deadline=None, derandomize=True)
settings.load_profile("physgan")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"skipped: {len(terminalreporter.stats.get('skipped', []))}")
