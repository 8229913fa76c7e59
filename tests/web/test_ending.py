"""How `physgan app` ends where somebody has its page open."""

import signal
import subprocess
import sys

import httpx
import pytest


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_silence_while_a_page_is_open(told: signal.Signals) -> None:
    command = [sys.executable, "-m", "physgan", "app", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            # What a page holds open as long as it is shown.
            with httpx.stream("GET", f"{address}/gradio_api/heartbeat/a", timeout=60) as open_page:
                assert open_page.status_code == 200
                process.send_signal(told)
                said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    # Where the API is described, and what an interrupted command says.
    assert [line for line in said.splitlines() if not line.startswith("physgan: ")] == []
    # A shell that starts it behind `&` has it ignore SIGINT once the server has heard of it.
    assert process.returncode in ((0, 130) if told is signal.SIGINT else (0,))
