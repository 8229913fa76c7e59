"""How threads wait in commands that people wait for."""

import os
import subprocess
import sys

import pytest

from physgan.cli.threads import wait_asleep


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)


def waits() -> tuple[str | None, str | None]:
    return os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT")


def test_threads_spin_shortly() -> None:
    wait_asleep()
    policy, spins = waits()
    assert policy is None
    assert spins is not None
    assert 0 < int(spins) < 300_000  # what GNU's does of itself


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_somebody_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "7")
    before = waits()
    wait_asleep()
    assert waits() == before


@pytest.mark.parametrize("command", ["app", "evaluate", "restore"])
def test_torch_is_not_there_before(command: str) -> None:
    """It reads how to wait when it is loaded."""
    module = f"physgan.cli.{command}"
    code = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
