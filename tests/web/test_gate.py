"""What the page's own routes refuse: requests that a browser showing the page would not send."""

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from physgan.cli.app import Arguments
from physgan.web.gate import Gate
from physgan.web.guard import MANY
from tests.web.serving import app, picture, silent

SECRET = picture(16, 16, seed=3)


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
    ("body", "status"), [(b"no json", 400), (b"[" * 900_000, 400), (b" " * 1_000_001, 413)]
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


async def asked(uploads: Path, body: object) -> int | None:
    """What the gate answers; nothing where it lets the request pass, whole."""
    content = json.dumps(body).encode()
    passed, statuses = list[bytes](), list[int]()

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        passed.append((await receive())["body"])

    parts = [content[:5], content[5:]]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": []}
    gate = Gate(behind, uploads=uploads, examples=uploads.parent / "examples", most=10**6)
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
            {"data": [[{"path": path}], "derain"]},
            {"data": [None], "event_data": {"value": {"image": {"path": path}}}},
            [[{"a": {"path": path}}]],
        ):
            assert asyncio.run(asked(uploads, body)) == wanted, body


def test_one_client_may_have_so_much_here_and_no_more(uploads: Path) -> None:
    async def behind(scope: Any, receive: Any, send: Any) -> None:
        (uploads / "tmp1").write_bytes(b"left by gradio")
        new = uploads / f"n{len(list(uploads.iterdir()))}" / "a.png"
        new.parent.mkdir()
        new.write_bytes(bytes(600))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps([str(new)]).encode()})

    gate = Gate(behind, uploads=uploads, examples=uploads, most=1000)

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
    for path in uploads.glob("n*"):
        shutil.rmtree(path)  # the page was closed
    assert upload("a") == 200
    assert [path for path in uploads.iterdir() if path.is_file()] == []


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
            return [each for each in tmp_path.rglob("*") if each.is_file()]

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
