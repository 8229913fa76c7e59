"""Connections of clients that ask for nothing, or take nothing: none is held for long."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from physgan.web import connection
from physgan.web.guard import HEADERS
from physgan.web.server import configured
from tests.web.serving import api_server, serving


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(connection, "HEAD", 1.0)
    with api_server(tmp_path) as (address, _):
        yield address


def connected(address: str, *, buffer: int = 1 << 16) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(20)
    client.connect((host, int(port)))
    return client


def ended(client: socket.socket) -> bool:
    """Whether the server hangs up, in time."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET /api/health HTTP/1.1\r\nHost: 127"])
def test_who_asks_for_nothing_is_hung_up_on(address: str, sent: bytes) -> None:
    clients = [connected(address) for _ in range(20)]
    for client in clients:
        client.sendall(sent)
    assert all(map(ended, clients))
    for client in clients:
        client.close()


def test_a_second_head_must_come_whole_too(address: str) -> None:
    with connected(address) as client:
        client.sendall(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /api/health HTTP/1.1\r\n")
        client.settimeout(20)
        while client.recv(4096):
            pass


def test_who_is_slow_with_a_body_is_not_hung_up_on(address: str) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.5)
            yield b"x"

    answer = httpx.post(f"{address}/api/restore", content=body(), timeout=20)
    assert answer.status_code == 422


def test_who_takes_no_answer_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TAKEN", 1.5)
    much = 50_000_000
    sent = asyncio.Event()

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        length = [(b"content-length", b"%d" % much)]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for _ in range(0, much, 1_000_000):
            await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})
        sent.set()

    with serving(configured(behind, port=0, log_level="critical", lifespan="off")) as address:
        with connected(address, buffer=4096) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            ends = time.monotonic() + 20
            while not sent.is_set() and time.monotonic() < ends:
                time.sleep(0.05)
            assert sent.is_set()  # what is sent to who has been hung up on goes nowhere
            came = 0
            with suppress(ConnectionResetError):
                while chunk := client.recv(1 << 20):
                    came += len(chunk)
        assert 0 < came < much


def test_what_is_no_request_is_answered_as_all_else(address: str) -> None:
    with connected(address) as client:
        client.sendall(b"RUBBISH\r\n\r\n")
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert all(f"{name}: {value}".encode() in head for name, value in HEADERS.items())
    assert json.loads(body)["detail"].endswith(".")
