"""`physgan app` as people start it, and as they start it wrongly."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from physgan.cli import main
from physgan.errors import install
from tests.web.serving import app, picture


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "physgan", "app", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_what_it_leaves_when_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with app() as (address, process):
        assert address.startswith("http://127.0.0.1:")
        files = {"picture": ("a.png", picture(20, 20))}
        form = {"task": "derain"}
        answer = httpx.post(f"{address}/api/restore", files=files, data=form, timeout=60)
        assert answer.status_code == 200
        page = httpx.get(address)
        assert page.status_code == 200
        assert "What is wrong with them?" in page.text
        (folder,) = tmp_path.glob("physgan-*")
        (folder / "mine").write_text("private")
        for path in ("/etc/passwd", f"{folder}/mine", "../../etc/passwd"):
            assert httpx.get(f"{address}/gradio_api/file={path}").status_code in (403, 404)
        os.kill(process, signal.SIGTERM)
    assert list(tmp_path.glob("physgan-*")) == []


STUCK = """
import sys, threading
from physgan.cli import main
from physgan.web import desk
def stuck(*_, **__):
    print("stuck", flush=True)
    threading.Event().wait()
desk.restore_file = stuck
sys.exit(main(["app", "--port", "0", "--device", "cpu"]))
"""


def test_it_ends_though_what_is_under_way_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with (
        subprocess.Popen(
            [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True
        ) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        files = {"picture": ("a.png", picture(20, 20))}
        form = {"task": "derain"}
        pool.submit(httpx.post, f"{address}/api/restore", files=files, data=form, timeout=60)
        assert server.stdout.readline() == "stuck\n"
        server.terminate()
        assert server.wait(30) == 0
    assert list(tmp_path.glob("physgan-*")) == []


def test_an_address_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ended = run("--port", str(other.getsockname()[1]))
    assert ended.returncode == 2
    assert "--port 0 takes a free one" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--megabytes", "0"),
        ("--megapixels", "nan"),
        ("--at-once", "0"),
        ("--waiting", "-1"),
        ("--seconds", "-5"),
        ("--port", "99999"),
        ("--host", "no.such.host.example"),
    ],
)
def test_options_that_cannot_be_meant(option: str, value: str) -> None:
    ended = run(option, value)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "expected" in ended.stderr


def test_without_what_the_page_needs() -> None:
    script = (
        "import sys; sys.modules['gradio'] = None; sys.modules['fastapi'] = None\n"
        "from physgan.cli import main; sys.exit(main(['app']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert install("web") in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_name_that_it_is_given_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[tuple[str, ...]] = []
    monkeypatch.setattr("physgan.web.server.serve", lambda desk, **how: names.append(how["names"]))
    assert main(["app", "--allowed-host", "a.example", "--allowed-host", "b.example"]) == 0
    assert main(["app"]) == 0
    assert names == [("a.example", "b.example"), ()]


def test_a_host_that_is_not_known() -> None:
    answer = run("--host", "no.such.host.invalid")
    assert answer.returncode == 2
    assert "Unknown error" not in answer.stderr
    assert "--host 127.0.0.1 is itself" in answer.stderr
