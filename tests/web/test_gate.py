"""What the page's own routes refuse: requests that a browser showing the page would not send."""

import asyncio
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from physgan.cli.app import Arguments
from physgan.web.gate import Gate, Handler
from physgan.web.guard import FILES, MANY
from tests.web.serving import app, picture, silent

SECRET = picture(16, 16, seed=3)
HANDLERS = {
    1: Handler(queued=True, takes=lambda data, event: len(data) <= 2),
    2: Handler(queued=False, takes=lambda data, event: len(data) <= 2),
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with app("--allowed-host", "pictures.example") as (address, _):
        yield address


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "ab").mkdir(parents=True)
    (folder / "ab" / "a.png").write_bytes(SECRET)
    (tmp_path / "secret.png").write_bytes(SECRET)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "a.png").write_bytes(SECRET)
    return folder


def named(path: str, url: str | None = None) -> dict[str, Any]:
    """A file as gradio's requests name one."""
    return {"path": path, "url": url, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}


def restoring(address: str) -> int:
    """The number under which the page asks for pictures to be restored."""
    asked = httpx.get(f"{address}/config").json()["dependencies"]
    return int(next(d["id"] for d in asked if len(d["inputs"]) == 3 and len(d["outputs"]) >= 8))


def join(address: str, *files: dict[str, Any], session: str = "s") -> httpx.Response:
    body = {"data": [list(files), "derain", 1], "fn_index": restoring(address)}
    return httpx.post(f"{address}/gradio_api/queue/join", json={**body, "session_hash": session})


def told(address: str, session: str) -> dict[str, Any]:
    """The last message of what was asked for in a session."""
    last: dict[str, Any] = {}
    parameters = {"session_hash": session}
    with httpx.stream(
        "GET", f"{address}/gradio_api/queue/data", params=parameters, timeout=60
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                last = json.loads(line[5:])
                if last["msg"] == "process_completed":
                    return last
    return last


def test_what_was_uploaded_is_restored(address: str) -> None:
    sent = httpx.post(f"{address}/gradio_api/upload", files={"files": ("a.png", SECRET)})
    assert sent.status_code == 200, sent.text
    assert join(address, *map(named, sent.json()), session="good").status_code == 200
    answer = told(address, "good")
    assert answer["success"], answer
    assert "a.png" in json.dumps(answer)


@pytest.mark.parametrize("ahead", ["", "up/../../../../../../../../.."])
def test_files_of_the_server_are_not_restored(address: str, tmp_path: Path, ahead: str) -> None:
    (tmp_path / "secret.png").write_bytes(SECRET)
    path = str(tmp_path / "secret.png")
    if ahead:
        sent = httpx.post(f"{address}/gradio_api/upload", files={"files": ("a.png", SECRET)})
        path = os.path.dirname(sent.json()[0]) + "/../../../../../../.." + path
        assert Path(path).is_file()
    answer = join(address, named(path))
    assert answer.status_code == 403
    assert answer.json()["detail"] == "Only pictures that were uploaded can be restored."


@pytest.mark.parametrize(
    "path", ["http://127.0.0.1:9/a.png", "https://example.com/a.png", "file:///etc/hostname", ""]
)
def test_addresses_are_not_fetched(address: str, path: str) -> None:
    assert join(address, named(path, url=path)).status_code == 403


def test_nothing_is_restored_past_the_queue(address: str) -> None:
    sent = httpx.post(f"{address}/gradio_api/upload", files={"files": ("a.png", SECRET)})
    body = {"data": [[named(sent.json()[0])], "derain", 1], "fn_index": restoring(address)}
    answer = httpx.post(f"{address}/gradio_api/run/predict", json=body)
    assert answer.status_code == 404


def test_what_is_answered_at_once_names_uploads_alone(address: str, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(SECRET)
    asked = httpx.get(f"{address}/config").json()["dependencies"]
    at_once = [d["id"] for d in asked if not d["queue"] and d["backend_fn"]]
    assert at_once
    for number in at_once:
        body = {"data": [[named(str(tmp_path / "secret.png"))]], "fn_index": number}
        answer = httpx.post(f"{address}/gradio_api/run/predict", json={**body, "session_hash": "s"})
        assert answer.status_code == 403


@pytest.mark.parametrize(
    "route",
    [
        *("/gradio_api/call/restore", "/gradio_api/run/restore", "/gradio_api/run/predict/x"),
        *("/gradio_api/api/predict", "/gradio_api/component_server", "/gradio_api/vibe-edit/"),
        *("/gradio_api/process_recording", "/gradio_api/queue/joined", "/login", "/"),
    ],
)
def test_routes_that_the_page_does_not_need(address: str, route: str) -> None:
    answer = httpx.post(f"{address}{route}", json={"data": []})
    assert (answer.status_code, answer.json()) == (404, {"detail": "There is nothing here."})


@pytest.mark.parametrize(
    "route",
    [
        *("/gradio_api/proxy=http://127.0.0.1:9/", "/gradio_api/dev/reload", "/monitoring"),
        *("/gradio_api/custom_component/a/b/c/d", "/gradio_api/deep_link", "/gradio_api/app_id"),
    ],
)
def test_pages_that_the_page_does_not_need(address: str, route: str) -> None:
    assert httpx.get(f"{address}{route}", timeout=10).status_code == 404


def test_a_server_in_front_as_it_is_documented(address: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "app.md").read_text(encoding="utf-8")
    front = text.partition("```nginx\n")[2].partition("```")[0]
    said = dict(re.findall(r"^ *(?:proxy_set_header )?(\S+) ([^;{]+);", front, re.MULTILINE))
    assert said["proxy_pass"] == f"http://127.0.0.1:{Arguments().port}"
    assert int(said["client_max_body_size"].strip("m")) == MANY * Arguments().megabytes
    assert int(said["proxy_read_timeout"].strip("s")) > Arguments().seconds
    stands_for = {"$http_host": "pictures.example", "$scheme": "https", "$remote_addr": "192.0.2.7"}
    headers = {name: stands_for[value] for name, value in said.items() if value.startswith("$")}
    root = httpx.get(f"{address}/config", headers=headers).json()["root"]
    assert root == "https://pictures.example"
    headers["Origin"] = root
    for more, status in (
        ({}, 200),
        ({"Host": "other.example"}, 400),
        ({"Origin": "https://other.example"}, 403),
    ):
        answer = httpx.post(
            f"{address}/api/restore",
            headers=headers | more,
            files={"picture": ("a.png", SECRET)},
            data={"task": "derain"},
            timeout=60,
        )
        assert answer.status_code == status


def test_files_are_served_only_out_of_the_uploads(address: str) -> None:
    for path in (__file__, "/etc/hostname", "http://127.0.0.1:9/a"):
        assert httpx.get(f"{address}/gradio_api/file={path}").status_code in (403, 404)


@pytest.mark.parametrize(
    ("body", "status"), [(b"no json", 400), (b"[" * 500_000, 400), (b" " * 1_000_001, 413)]
)
def test_what_is_not_told_as_json(address: str, body: bytes, status: int) -> None:
    answer = httpx.post(f"{address}/gradio_api/queue/join", content=body)
    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")


def test_other_origins_post_nothing(address: str) -> None:
    # As browsers tell it: over https and to this machine, and over http to others.
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": address + "0"},
    ):
        answer = httpx.post(f"{address}/gradio_api/upload", headers=headers)
        assert answer.status_code == 403, headers
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": address}, {}):
        files = {"files": ("a.png", SECRET)}
        answer = httpx.post(f"{address}/gradio_api/upload", headers=headers, files=files)
        assert answer.status_code == 200, headers


async def asked(uploads: Path, body: object, route: str = "queue/join") -> int | None:
    """What the gate answers; nothing where it lets the request pass, whole."""
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    passed, statuses = list[bytes](), list[int]()

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        passed.append((await receive())["body"])

    parts = [content[:5], content[5:]]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "POST", "path": f"/gradio_api/{route}", "headers": []}
    examples = uploads.parent / "examples"
    gate = Gate(behind, uploads=uploads, examples=examples, most=10**6, handlers=HANDLERS)
    await gate(scope, receive, send)
    assert passed == ([] if statuses else [content])
    return statuses[0] if statuses else None


def test_paths_are_found_wherever_they_stand(uploads: Path) -> None:
    good, bad = str(uploads / "ab" / "a.png"), str(uploads.parent / "secret.png")
    (uploads / "ab" / "link.png").symlink_to(bad)
    for wanted, path in [
        (None, good),
        (None, str(uploads / "ab" / ".." / "ab" / "a.png")),
        (None, str(uploads.parent / "examples" / "a.png")),
        (404, str(uploads / "ab" / "gone.png")),
        (404, str(uploads / "ab")),
        (403, bad),
        (403, str(uploads / ".." / "secret.png")),
        (403, str(uploads) + "-beside/a.png"),
        (403, str(uploads / "ab" / "link.png")),
        (403, "a\0b"),
        (403, "a" * 5000),
        (403, ["a"]),
        (403, None),
    ]:
        for body in (
            {"fn_index": 1, "data": [[{"path": path}], "derain"]},
            {
                "fn_index": 1,
                "data": [None],
                "event_data": {"value": {"image": {"path": path}}},
            },
            {"fn_index": 1, "data": [[[{"a": {"path": path}}]]]},
        ):
            assert asyncio.run(asked(uploads, body)) == wanted, body


def test_each_named_file_is_looked_at_once_and_apart_from_the_loop(
    uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[str, bool]] = []
    of_before = Path.is_file

    def is_file(path: Path) -> bool:
        looked.append((path.name, threading.current_thread() is threading.main_thread()))
        return of_before(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    many = [named(str(uploads / "ab" / "a.png"))] * 1000
    assert asyncio.run(asked(uploads, {"fn_index": 1, "data": [many]})) is None
    assert looked == [("a.png", False)]


def test_so_many_files_may_be_named_at_once(uploads: Path) -> None:
    """All that one upload may hold, with the longest names that gradio leaves them, and no more."""
    files = []
    for number in range(FILES + 1):
        path = uploads / f"{number:064}" / ("ä" * 98 + ".png")
        path.parent.mkdir()
        path.write_bytes(b"")
        url = f"https://pictures.example/gradio_api/file={path.parent}/{'%C3%A4' * 98}.png"
        files.append({**named(str(path), url), "orig_name": path.name, "size": 10**8})
    for given, wanted in ((files[:FILES], None), (files, 413)):
        body: dict[str, Any] = {"fn_index": 2, "data": [given], "event_data": given}
        assert asyncio.run(asked(uploads, body, "run/predict")) == wanted


@pytest.mark.parametrize(
    "more",
    [
        *({"session_hash": hash} for hash in ("a" * 65, ["a"], 1, "\n", "ä")),
        *({"fn_index": number} for number in (None, "1", True, 1.0, [1], 10**30)),
        *({"trigger_id": number} for number in ("1", [1], 1.5)),
        *({"data": data} for data in (None, {"a": 1}, "ab", [1, 2, 3])),
        *({name: 1} for name in ("batched", "simple_format", "event_id", "oauth_token", "a" * 999)),
        {"event_data": json.loads("[" * 30 + "]" * 30)},
        {"event_data": float("nan")},
        {"event_data": float("inf")},
    ],
)
def test_what_the_page_would_not_send(uploads: Path, more: dict[str, Any]) -> None:
    body: dict[str, Any] = {"fn_index": 2, "data": [], "session_hash": "a" * 64, "trigger_id": 3}
    assert asyncio.run(asked(uploads, body, "run/predict")) is None
    wanted = 404 if more.get("fn_index") == 10**30 else 400
    assert asyncio.run(asked(uploads, body | more, "run/predict")) == wanted


def test_halves_of_letters_and_other_encodings_are_no_json(uploads: Path) -> None:
    bodies = (rb'{"event_id": "\ud800"}', '{"event_id": "a"}'.encode("utf-16"), b"1e999")
    for body in bodies:
        assert asyncio.run(asked(uploads, body, "reset")) == 400


@pytest.mark.parametrize(
    ("route", "body", "status"),
    [
        ("reset", {}, 400),
        ("reset", [], 400),
        ("reset", {"event_id": "a" * 65}, 400),
        ("reset", {"event_id": "a"}, None),
        ("cancel", {"event_id": "a", "fn_index": 1}, 400),
        ("cancel", {"event_id": "a", "fn_index": 1, "session_hash": "a"}, None),
        ("queue/join", {"fn_index": 2, "data": []}, 404),
        ("run/predict", {"fn_index": 1, "data": []}, 404),
        *(("run/predict", {"fn_index": number, "data": []}, 404) for number in (0, 3, -1)),
    ],
)
def test_each_handler_is_asked_on_its_own_way(
    uploads: Path, route: str, body: object, status: int | None
) -> None:
    assert asyncio.run(asked(uploads, body, route)) == status


def test_faults_of_a_request_are_told_and_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    mark = "something-that-was-sent"
    event = {"index": 0, "value": mark}
    file = {"path": "", "meta": {"_type": "gradio.FileData"}}
    values: tuple[Any, ...] = (
        mark,
        [mark],
        {mark: 1},
        -1,
        10**9,
        1.5,
        True,
        None,
        [{"path": mark}],
        [file],
    )
    with app() as (address, _), httpx.Client(base_url=f"{address}/gradio_api") as client:
        config = client.get(f"{address}/config").json()["dependencies"]
        at_once = {d["id"]: d for d in config if not d["queue"] and d["backend_fn"]}
        assert len(at_once) == 6

        def run(number: int, data: list[Any], **more: Any) -> int:
            body = {"data": data, "fn_index": number, "session_hash": "h", **more}
            return client.post("/run/predict", json=body).status_code

        for number, handler in at_once.items():
            count = len(handler["inputs"])
            for data in ([], *([value] * n for value in values for n in {1, count, 9})):
                status = run(number, data)
                assert 400 <= status < 500 or (status == 200 and len(data) == count), data
                assert 400 <= run(number, data, event_data=mark, batched=True) < 500
        (choosing,) = (n for n, d in at_once.items() if d["targets"][0][1] == "select")
        assert run(choosing, [], event_data=event) == 200
        no_event: tuple[Any, ...] = (
            *(None, mark, [], {}, {"index": 0}, event | {"index": mark}, event | {"index": True}),
            *(event | {"index": 10**9}, event | {"index": -1}, event | {"index": [0]}),
        )
        for wrong in no_event:
            assert run(choosing, [], event_data=wrong) == 400
        for given in ([None, mark, 1], [None, "derain", mark], [None, "derain"], [mark, None, 1]):
            body = {"data": given, "fn_index": restoring(address), "session_hash": "h"}
            assert client.post("/queue/join", json=body).status_code == 400
        for route in ("run/predict", "queue/join", "cancel", "reset"):
            for content in (rb'{"event_id": "\ud800"}', b"[" * 900, b'{"event_id": NaN}'):
                assert client.post(f"/{route}", content=content).status_code == 400
    log = capfd.readouterr().err
    assert mark not in log
    assert "Traceback" not in log
    assert len(log.splitlines()) <= 1, log


def test_one_client_may_have_so_much_here_and_no_more(uploads: Path) -> None:
    async def behind(scope: Any, receive: Any, send: Any) -> None:
        (uploads / "tmp1").write_bytes(b"left by gradio")
        new = uploads / f"n{len(list(uploads.iterdir()))}" / "a.png"
        new.parent.mkdir()
        new.write_bytes(bytes(600))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps([str(new)]).encode()})

    gate = Gate(behind, uploads=uploads, examples=uploads, most=1000, handlers={})

    def upload(client: str) -> int:
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": []}
        scope |= {"path": "/gradio_api/upload", "client": (client, 1)}
        asyncio.run(gate(scope, silent, send))
        return statuses[0]

    assert [upload("a") for _ in range(3)] == [200, 200, 507]
    assert upload("b") == 200
    # Of IPv6 a household has half of an address.
    assert [upload(f"2001:db8::{n}") for n in range(3)] == [200, 200, 507]
    for path in uploads.glob("n*"):
        shutil.rmtree(path)  # the page was closed
    assert upload("a") == 200
    assert [path for path in uploads.iterdir() if path.is_file()] == []


def test_uploads_under_way_count_too(uploads: Path) -> None:
    async def several() -> list[int]:
        here = asyncio.Event()

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            await here.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"[]"})

        gate = Gate(behind, uploads=uploads, examples=uploads, most=1000, handlers={})
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope: dict[str, Any] = {"type": "http", "method": "POST", "client": ("a", 1)}
        scope |= {"path": "/gradio_api/upload", "headers": [(b"content-length", b"600")]}
        first = [asyncio.create_task(gate(scope, silent, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await gate(scope, silent, send)
        here.set()
        await asyncio.gather(*first)
        await gate(scope, silent, send)
        return statuses

    assert asyncio.run(several()) == [507, 200, 200, 200]


def test_nothing_is_left_of_a_page_that_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with app("--seconds", "20") as (address, _):
        for name in ("a.png", "b.png"):
            sent = httpx.post(f"{address}/gradio_api/upload", files={"files": (name, SECRET)})
            assert sent.status_code == 200
        (path,) = sent.json()
        gone = str(Path(path).with_name("gone.png"))
        answer = join(address, named(gone))
        assert (answer.status_code, str(tmp_path) in answer.text) == (404, False)
        with httpx.stream("GET", f"{address}/gradio_api/heartbeat/left", timeout=60) as open_page:
            beats = open_page.iter_bytes()
            next(beats)
            assert join(address, named(path), session="left").status_code == 200
            last = told(address, "left")
            assert last["success"], last
            shown = re.findall(r'"path": "([^"]+)"', json.dumps(last))
            assert any(each.endswith("before.jpg") for each in shown)
            for each in shown:
                got = httpx.get(f"{address}/gradio_api/file={each}")
                assert (got.status_code, got.headers["cache-control"]) == (200, "no-store")

        def left() -> list[Path]:
            files = [each for each in tmp_path.rglob("*") if each.is_file()]
            return [each for each in files if not each.name.startswith(".")]  # the server's own

        ends = time.monotonic() + 30
        while len(left()) > 1 and time.monotonic() < ends:
            time.sleep(0.1)
        # What was uploaded and never shown to the page is kept for an hour.
        assert [each.name for each in left()] == ["a.png"]
        answer = httpx.get(f"{address}/config", headers={"X-Forwarded-Host": "evil.example"})
        assert "evil" not in answer.text
        answer = httpx.get(f"{address}/config", headers={"X-Forwarded-Proto": "https"})
        assert answer.json()["root"] == address.replace("http", "https")
        answer = httpx.get(f"{address}/api/restore")
        assert answer.status_code == 405
