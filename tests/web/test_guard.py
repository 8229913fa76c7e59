"""What the guard lets in: so much and no more, before anybody holds it; and its faults."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from physgan.web import guard
from physgan.web.desk import Limits
from physgan.web.guard import HEADERS, Guard
from physgan.web.server import LOOPBACK
from tests.web.serving import api_server, silent, unheard


async def unheard_of(scope: Any, receive: Any, send: Any) -> None:
    """An application that nothing reaches."""
    raise AssertionError


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with api_server(tmp_path_factory.mktemp("guarded")) as (address, _):
        yield address


def part(number: int, size: int, *, file: bool) -> bytes:
    named = b'; filename="a.png"' if file else b""
    head = b'--b\r\nContent-Disposition: form-data; name="x%d"' % number + named
    return head + b"\r\n\r\n" + bytes(size) + b"\r\n"


def taken(path: str, chunks: list[bytes], headers: dict[str, str] = FORM) -> tuple[int, int, str]:
    """Of a body in chunks how many the application got, and what the guard answered."""
    got, status, told = 0, 0, b""

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        nonlocal got
        more = True
        while more:
            more = (await receive()).get("more_body", False)
            got += 1

    left = list(chunks)

    async def receive() -> dict[str, Any]:
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Any) -> None:
        nonlocal status, told
        status = message.get("status", status)
        told += message.get("body", b"")

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": raw}
    asyncio.run(Guard(behind, limits=Limits(), folder=Path("/tmp"))(scope, receive, send))
    return got, status, json.loads(told)["detail"] if told else ""


@pytest.mark.parametrize(
    ("path", "chunks", "passed"),
    [
        ("/api/restore", [part(n, 100_000, file=True) for n in range(9)], 1),
        ("/api/restore", [part(n, 100, file=False) for n in range(900)], 100),
        ("/api", [part(n, 100_000, file=True) for n in range(9)], 1),
        ("/gradio_api/upload", [part(n, 10, file=True) for n in range(900)], 200),
        ("/gradio_api/upload", [part(0, 150_000, file=False), *[bytes(99_000)] * 40], 2),
    ],
)
def test_forms_of_too_many_parts_end_as_they_come(
    path: str, chunks: list[bytes], passed: int
) -> None:
    got, status, told = taken(path, chunks)
    assert got <= passed
    assert status == 413
    assert told.endswith(".")


def test_a_form_as_browsers_send_it_passes() -> None:
    chunks = [part(0, 6, file=False), part(1, 3, file=False), part(2, 10**6, file=True), b"--b--"]
    assert taken("/api/restore", chunks) == (4, 0, "")
    chunks = [part(n, 1000, file=True) for n in range(200)]
    assert taken("/gradio_api/upload", chunks) == (200, 0, "")


def test_what_is_no_form_is_small() -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    got, status, _ = taken("/api/restore", [b"a=b&" * 50_000] * 20, headers)
    assert (got, status) == (5, 413)


def test_a_form_that_is_none(address: str) -> None:
    answer = httpx.post(f"{address}/api/restore", content=b"rubbish", headers=FORM)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("The form cannot be read")


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/api/restore", 405, "/api/restore takes POST, not GET."),
        ("PUT", "/api/restore", 405, "/api/restore takes POST, not PUT."),
        ("POST", "/api/health", 405, "/api/health takes GET, not POST."),
        ("GET", "/api/nothing", 404, "There is nothing here; /api/docs says what there is."),
        ("GET", "/api/scripts/nothing", 404, None),
    ],
)
def test_routes_and_methods_that_there_are_none_of(
    address: str, method: str, path: str, status: int, told: str | None
) -> None:
    answer = httpx.request(method, address + path)
    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert detail == told or (told is None and detail.endswith("."))
    assert status != 405 or answer.headers["allow"] in detail
    assert all(answer.headers[name] == value for name, value in HEADERS.items())


def test_faults_that_are_told_as_text_are_told_as_json() -> None:
    sent: list[Any] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": b"Inte", "more_body": True})
        await send({"type": "http.response.body", "body": b"r"})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(Guard(behind, limits=Limits(), folder=Path("/tmp"))(scope, silent, send))
    start, body = sent
    assert json.loads(body["body"]) == {"detail": "Inter."}
    headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    assert headers["content-length"] == str(len(body["body"]))
    assert headers["content-type"] == "application/json"
    assert headers["x-frame-options"] == "DENY"


def test_places_are_given_back_when_the_upload_has_come(tmp_path: Path) -> None:
    statuses: list[int] = []
    hold, read = asyncio.Event(), asyncio.Event()

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        read.set()
        await hold.wait()

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    guarded = Guard(behind, limits=Limits(waiting=0, at_once=1), folder=tmp_path)

    async def upload(body: bytes) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": body == b"more"}

        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}
        await guarded(scope, receive, send)

    async def several() -> None:
        first = asyncio.create_task(upload(b"whole"))
        await read.wait()
        read.clear()
        second = asyncio.create_task(upload(b"more"))
        await read.wait()
        assert statuses == []
        await upload(b"whole")
        hold.set()
        await asyncio.gather(first, second)

    asyncio.run(several())
    assert statuses[0] == 503


def test_a_body_that_is_too_slow_is_told_so_whoever_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "LEFT", 0.1)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(9)
        raise AssertionError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": []}
    asyncio.run(Guard(behind, limits=Limits(seconds=0.1), folder=tmp_path)(scope, receive, send))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["detail"] == "The upload took more than 0.1 seconds."


@pytest.mark.parametrize("asked", ["HTTP/1.0\r\nConnection: close", "HTTP/1.1"])
@pytest.mark.parametrize(
    ("path", "length", "status"),
    [("/api/restore", 60_000_000, b"413"), ("/api/nothing", 40_000_000, b"404")],
)
def test_who_is_refused_while_sending_is_not_cut_off(
    tmp_path: Path, asked: str, path: str, length: int, status: bytes
) -> None:
    # As a server in front sends: all of it, before it reads.
    head = f"POST {path} {asked}\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
    with api_server(tmp_path, Limits(megabytes=50)) as (address, _):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            kind = f"Content-Type: {FORM['Content-Type']}\r\n\r\n"
            client.sendall((head + kind).encode())
            client.sendall(bytes(length))
            assert client.recv(4096).split(b" ")[1] == status


def test_nobody_believes_who_says_whom_he_asked() -> None:
    seen: list[Any] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(name for name, _ in scope["headers"])

    raw = [(b"host", b"a"), (b"x-forwarded-host", b"evil"), (b"x-gradio-server", b"evil")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": raw}
    asyncio.run(Guard(behind, limits=Limits(), folder=Path("/tmp"))(scope, silent, unheard))
    assert seen == [b"host"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("[::1]", 200),
        ("[::1]:7860", 200),
        ("127.0.0.1", 200),
        ("LocalHost:80", 200),
        ("example.org", 400),
        ("example.org:1", 400),
        ("::1.example.org", 400),
        ("", 400),
    ],
)
def test_by_which_names_it_may_be_called(host: str, status: int) -> None:
    sent: list[Any] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", host.encode())]}
    guarded = Guard(behind, limits=Limits(), folder=Path("/tmp"), hosts=LOOPBACK)
    asyncio.run(guarded(scope, silent, send))
    assert sent[0]["status"] == status


def test_one_address_does_not_shut_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_REQUESTS", 4)
    answers: dict[str, int] = {}

    async def several() -> None:
        hold = asyncio.Event()

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/open":
                await hold.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

        guarded = Guard(behind, limits=Limits(), folder=Path("/tmp"))

        async def ask(who: str, path: str) -> None:
            async def send(message: Any) -> None:
                answers[who] = message.get("status", answers.get(who, 0))

            scope = {"type": "http", "method": "GET", "path": path, "headers": []}
            await guarded(scope | {"client": (who, 1)}, silent, send)

        held = [asyncio.create_task(ask("many", "/open")) for _ in range(3)]
        await asyncio.sleep(0)
        await ask("many", "/")
        assert answers["many"] == 503
        await ask("many", "/api/health")
        assert answers["many"] == 200
        await ask("other", "/")
        assert answers["other"] == 200
        held.append(asyncio.create_task(ask("other", "/open")))
        await asyncio.sleep(0)
        await ask("third", "/")
        assert answers["third"] == 503  # so many are none at all
        hold.set()
        await asyncio.gather(*held)
        await ask("many", "/")
        assert answers["many"] == 200

    asyncio.run(several())


@pytest.mark.parametrize("kind", [b"text/event-stream; charset=utf-8", b"image/png"])
def test_an_answer_that_the_end_cuts_off(kind: bytes) -> None:
    """What pages listen to ends; nobody takes anything else for whole."""
    sent: list[Any] = []

    async def several() -> None:
        begun = asyncio.Event()

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-type", kind)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"some", "more_body": True})
            begun.set()
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        guarded = Guard(behind, limits=Limits(), folder=Path("/tmp"))
        task = asyncio.create_task(guarded(scope, silent, send))
        await begun.wait()
        task.cancel()
        await task

    asyncio.run(several())
    assert bool(sent[-1].get("more_body", False)) == (kind == b"image/png")


def test_a_refusal_that_the_end_cuts_off_is_whole(tmp_path: Path) -> None:
    sent: list[Any] = []

    async def several() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:  # who is refused goes on sending
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"more", "more_body": True}

        raw = [(b"content-length", b"999999999999")]
        scope = {"type": "http", "method": "POST", "path": "/api/restore", "headers": raw}
        guarded = Guard(unheard_of, limits=Limits(), folder=tmp_path)
        task = asyncio.create_task(guarded(scope, receive, send))
        await asyncio.sleep(0.1)
        task.cancel()
        await task

    asyncio.run(several())
    assert sent[0]["status"] == 413
    assert not sent[-1].get("more_body", False)


def test_health_is_told_to_who_asks_and_no_way_round_the_limits(tmp_path: Path) -> None:
    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def several() -> list[int]:
        statuses: list[int] = []

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        guarded = Guard(behind, limits=Limits(waiting=0, at_once=1), folder=tmp_path)
        scope = {"type": "http", "method": "POST", "path": "/api/health", "headers": []}
        held = asyncio.create_task(guarded(scope, silent, send))
        await asyncio.sleep(0)
        await guarded(scope, silent, send)
        held.cancel()
        await held
        return statuses

    assert asyncio.run(several())[0] == 503


def test_one_address_has_not_all_places_of_the_desk(tmp_path: Path) -> None:
    async def several() -> list[int]:
        ended = asyncio.Event()

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            await receive()  # the whole body; then it is restored
            await ended.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def whole() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        guarded = Guard(behind, limits=Limits(waiting=2, at_once=2), folder=tmp_path)
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/api/restore"}
        scope |= {"headers": [], "client": ("a", 1)}
        three = [asyncio.create_task(guarded(dict(scope), whole, send)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await guarded(dict(scope), whole, send)
        last = asyncio.create_task(guarded({**scope, "client": ("b", 1)}, whole, send))
        await asyncio.sleep(0.05)
        ended.set()
        await asyncio.gather(*three, last)
        await guarded(dict(scope), whole, send)
        return statuses

    assert asyncio.run(several()) == [503, 200, 200, 200, 200, 200]


def test_room_is_kept_for_uploads_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", Mock(return_value=Mock(free=2_500_000)))

    async def several() -> list[int]:
        ended = asyncio.Event()

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            await ended.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        limits = Limits(megabytes=1, waiting=8)
        guarded = Guard(behind, limits=limits, folder=tmp_path)
        raw = [(b"content-length", b"900000"), (b"content-type", b"multipart/form-data")]
        scope = {"type": "http", "method": "POST", "path": "/api/restore", "headers": raw}
        first = asyncio.create_task(guarded(dict(scope), silent, send))
        await asyncio.sleep(0.05)
        ended.set()
        await guarded(dict(scope), silent, send)
        await first
        await guarded(dict(scope), silent, send)
        return statuses

    assert asyncio.run(several()) == [507, 200, 200]


def test_neighbours_by_ipv6_are_one() -> None:
    def address(host: str) -> str:
        return guard.address_of({"client": (host, 1)})

    assert address("2001:db8::1") == address("2001:db8::ffff:2") != address("2001:db8:0:1::1")
    assert address("192.0.2.1") != address("192.0.2.2")
    assert guard.address_of({"client": None}) == ""
