"""How `physgan app` ends where somebody has its page open, or waits for a picture."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.web.serving import app_process, picture

ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def hears_hangups() -> None:
    """In the server, though the tests themselves may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server keeps its files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def ended(status: int, told: signal.Signals) -> bool:
    # A shell that starts it behind `&` has it ignore SIGINT once the server has heard of it.
    return status in ((0, 130) if told is signal.SIGINT else (0,))


def strange(said: str) -> list[str]:
    """Lines but where the API is described, and what an interrupted command says."""
    return [line for line in said.splitlines() if not line.startswith("physgan: ")]


@pytest.mark.parametrize("told", ENDS)
def test_it_ends_in_silence_while_a_page_is_open(place: Path, told: signal.Signals) -> None:
    with (
        app_process(preexec_fn=hears_hangups) as (address, process),
        # What a page holds open as long as it is shown.
        httpx.stream("GET", f"{address}/gradio_api/heartbeat/a", timeout=60) as open_page,
    ):
        assert open_page.status_code == 200
        process.send_signal(told)
        said = process.communicate(timeout=60)[1]
    assert strange(said) == []
    assert "not restored" not in said
    assert ended(process.returncode, told)
    assert list(place.glob("physgan-*")) == []


@pytest.mark.parametrize("told", ENDS)
def test_who_waits_for_a_picture_is_told_that_it_ends(place: Path, told: signal.Signals) -> None:
    answers: list[httpx.Response] = []
    with app_process(preexec_fn=hears_hangups) as (address, process):

        def ask() -> None:
            answers.append(
                httpx.post(
                    f"{address}/api/restore",
                    files={"picture": ("a.png", picture(3000, 3000))},
                    data={"task": "deblur-text"},
                    timeout=120,
                )
            )

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: httpx.get(f"{address}/api/ready").json()["held"] == 1)
        process.send_signal(told)
        said = process.communicate(timeout=60)[1]
        asking.join(60)
    (answer,) = answers
    assert answer.status_code == 503
    assert "The server ends." in answer.json()["detail"]
    assert strange(said) == []
    assert "physgan: 1 picture is not restored any more." in said
    assert ended(process.returncode, told)
    assert list(place.glob("physgan-*")) == []


def test_it_outlives_its_terminal_under_nohup() -> None:
    with app_process(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as served:
        address, process = served
        os.kill(process.pid, signal.SIGHUP)
        time.sleep(1)
        assert httpx.get(f"{address}/api/health").status_code == 200


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.05)
