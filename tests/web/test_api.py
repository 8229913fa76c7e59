"""The HTTP API over real connections: right answers, right refusals, and a server that lives on."""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from physgan.restore.restorer import Restorer
from physgan.web import desk
from physgan.web.api import safe_name, safe_suffix
from physgan.web.desk import Limits, counted
from physgan.web.guard import HEADERS
from physgan.weights.catalogue import SHIPPED
from tests.web.serving import api_server, app, picture


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with api_server(tmp_path_factory.mktemp("api")) as (address, _):
        yield address


def post(address: str, name: str, content: bytes, **form: Any) -> httpx.Response:
    files = {"picture": (name, content, "application/octet-stream")}
    return httpx.post(f"{address}/api/restore", files=files, data=form, timeout=120)


def test_a_picture_comes_back_under_its_name_with_its_metadata(
    address: str, tmp_path: Path
) -> None:
    content = BytesIO()
    image = Image.open(BytesIO(picture(30, 40)))
    image.putalpha(Image.fromarray(np.full((30, 40), 77, "uint8")))
    image.save(content, "PNG", dpi=(300, 300))
    answer = post(address, "Ärger 1.png", content.getvalue(), task="derain")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store"
    assert "filename*=utf-8''%C3%84rger%201.png" in answer.headers["content-disposition"]
    with Image.open(BytesIO(answer.content)) as opened:
        assert opened.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert set(np.asarray(opened)[..., 3].ravel()) == {77}
    (tmp_path / "a.png").write_bytes(content.getvalue())
    restorer = Restorer.from_pretrained("derain", device="cpu")
    restorer.restore_file(tmp_path / "a.png", tmp_path / "b.png")
    assert answer.content == (tmp_path / "b.png").read_bytes()


def test_strength_nothing_gives_the_picture_back(address: str) -> None:
    given = picture(20, 30)
    answer = post(address, "a.png", given, task="derain", strength="0")
    with Image.open(BytesIO(answer.content)) as back, Image.open(BytesIO(given)) as sent:
        assert np.array_equal(np.asarray(back), np.asarray(sent))


def test_tasks_health_and_readiness(address: str) -> None:
    tasks = httpx.get(f"{address}/api/tasks").json()
    assert sorted(task["task"] for task in tasks) == sorted(SHIPPED)
    assert all(task["licence"] and task["description"] for task in tasks)
    assert httpx.get(f"{address}/api/health").json()["status"] == "ok"
    assert httpx.get(f"{address}/api/ready").json() == {"status": "ready", "held": 0}


def test_the_description_and_its_scripts_come_from_here(address: str) -> None:
    described = httpx.get(f"{address}/api/openapi.json").json()
    assert {"/api/restore", "/api/tasks", "/api/health", "/api/ready"} == set(described["paths"])
    routes = [route for methods in described["paths"].values() for route in methods.values()]
    assert all(route["tags"] for route in routes)
    page = httpx.get(f"{address}/api/docs").text
    assert "http://" not in page.replace(address, "")
    assert "https://" not in page
    for script in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/api/scripts/{script}" in page
        assert httpx.get(f"{address}/api/scripts/{script}").status_code == 200


@pytest.mark.parametrize("path", ["/api/health", "/api/docs", "/api/nothing", "/api/restore"])
def test_every_answer_says_what_a_browser_may_do(address: str, path: str) -> None:
    answer = httpx.get(address + path)
    assert all(answer.headers[name] == value for name, value in HEADERS.items())


SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
REFUSED: dict[str, tuple[str, bytes, dict[str, Any], int, str]] = {
    "text": ("a.png", b"no picture", {"task": "derain"}, 415, "not a picture"),
    "empty": ("a.png", b"", {"task": "derain"}, 422, "empty"),
    "raw": ("a.cr2", picture(9, 9), {"task": "derain"}, 415, "raw file"),
    "document": ("a.pdf", b"%PDF-1.4", {"task": "derain"}, 415, "document"),
    "drawing": ("a", SVG, {"task": "derain"}, 415, "svgload"),
    "cut short": ("a.png", picture(90, 90)[:3000], {"task": "derain"}, 422, "cannot read whole"),
    "task": ("a.png", picture(9, 9), {"task": "../../etc/passwd"}, 422, "task"),
    "no task": ("a.png", picture(9, 9), {}, 422, "task: expected in the form, got nothing."),
    "strength": ("a.png", picture(9, 9), {"task": "derain", "strength": "nan"}, 422, "got 'nan'."),
    "misspelt": (
        "a.png",
        picture(9, 9),
        {"task": "derain", "strenngth": "0.5"},
        422,
        "'strength'?",
    ),
    "twice": ("a.png", picture(9, 9), {"task": ["derain", "sr4"]}, 422, "'task' of the form"),
    "number": ("a.png", picture(9, 9), {"task": "derain", "strength": "x"}, 422, "got 'x'."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_told_in_a_sentence(address: str, case: str) -> None:
    name, content, form, status, told = REFUSED[case]
    answer = post(address, name, content, **form)
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert told in detail
    assert detail.endswith((".", "?"))
    assert "/tmp" not in detail


def test_a_form_without_a_picture(address: str) -> None:
    answer = httpx.post(f"{address}/api/restore", data={"task": "derain"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "picture: expected in the form, got nothing."
    answer = httpx.post(f"{address}/api/restore", content=b"rubbish", timeout=20)
    assert answer.status_code == 422
    answer = httpx.post(
        f"{address}/api/restore", files={"strength": b"a file"}, data={"task": "derain"}
    )
    assert answer.status_code == 422
    assert "strength: expected a number from 0 to 1, got " in answer.json()["detail"]
    # As `curl -F picture=in.jpg` sends it.
    name = {"picture": (None, "in.jpg"), "task": (None, "derain")}
    answer = httpx.post(f"{address}/api/restore", files=name)
    assert answer.status_code == 422
    told = "picture: expected a file, got text; curl wants -F picture=@in.jpg, with an @."
    assert answer.json()["detail"] == told


def test_two_pictures_in_a_request(address: str) -> None:
    two = [("picture", (name, picture(9, 9))) for name in ("a.png", "b.png")]
    answer = httpx.post(f"{address}/api/restore", files=two, data={"task": "derain"})
    assert answer.status_code == 413
    told = "The form: expected one picture, got more. Send a request for each."
    assert answer.json()["detail"] == told


def test_one_of_a_unit_is_one() -> None:
    assert [counted(n, "megabyte") for n in (1, 1.0, 0.5, 200)] == [
        "1 megabyte",
        "1 megabyte",
        "0.5 megabytes",
        "200 megabytes",
    ]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("C:\\Users\\me\\a.png", "a.png"),
        ("a\0b\r\n.png", "ab.png"),
        ("..", "picture"),
        ("", "picture"),
        ("x" * 300 + ".png", "x" * 116 + ".png"),
        ("日本.png", "日本.png"),
    ],
)
def test_names_of_uploads(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.PNG", ".png"), ("a.cr2", ".cr2"), ("a.sh", ""), ("a", "")]
)
def test_endings_of_uploads(name: str, suffix: str) -> None:
    assert safe_suffix(name) == suffix


def test_too_many_bytes_are_refused_before_they_come(tmp_path: Path) -> None:
    with api_server(tmp_path, Limits(megabytes=0.1)) as (address, desk):
        host, port = address.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.putrequest("POST", "/api/restore")
        connection.putheader("Content-Length", "100000000")
        connection.putheader("Content-Type", "multipart/form-data; boundary=b")
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert "0.1 megabytes" in json.loads(answer.read())["detail"]
        connection.close()
        # Whoever does not say how much comes is stopped when it is too much.
        head = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'

        def body() -> Iterator[bytes]:
            yield head
            for _ in range(40):
                yield bytes(10_000)

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer2 = httpx.post(f"{address}/api/restore", content=body(), headers=headers, timeout=20)
        assert answer2.status_code == 413
        assert desk.held == 0
        assert httpx.get(f"{address}/api/health").status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_is_too_slow(tmp_path: Path) -> None:
    with api_server(tmp_path, Limits(seconds=0.5)) as (address, _):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(
                b"POST /api/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
            assert b" 408 " in connection.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("begun", [False, True])
def test_restoring_that_takes_too_long_is_given_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    gate = threading.Event()
    if begun:
        monkeypatch.setattr(desk, "restore_file", lambda *_, **__: gate.wait())
    with api_server(tmp_path, Limits(seconds=1, at_once=1)) as (address, restoring):
        if not begun:
            restoring._pool.submit(gate.wait)
        answer = post(address, "a.png", picture(50, 50), task="derain")
        assert answer.status_code == 504
        assert answer.json()["detail"] == "Restoring took more than 1 second."
        assert restoring.held == begun
        gate.set()
        restoring.close()
    assert list(tmp_path.iterdir()) == []


def test_who_goes_away_is_not_waited_for(tmp_path: Path) -> None:
    with api_server(tmp_path, Limits(at_once=1)) as (address, desk):
        gate = threading.Event()
        desk._pool.submit(gate.wait)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{address}/api/restore",
                files={"picture": ("a.png", picture(50, 50))},
                data={"task": "derain"},
                timeout=1,
            )
        assert desk.held == 1
        time.sleep(0.6)
        gate.set()
        ends = time.monotonic() + 20
        while desk.held and time.monotonic() < ends:
            time.sleep(0.05)
        assert desk.held == 0
    assert list(tmp_path.iterdir()) == []


def test_a_full_desk_says_when_to_come_back(tmp_path: Path) -> None:
    with api_server(tmp_path, Limits(waiting=0, at_once=1)) as (address, desk):
        gate = threading.Event()
        desk._pool.submit(gate.wait)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(post, address, "a.png", picture(20, 20), task="derain")
            while not desk.full:
                time.sleep(0.01)
            second = post(address, "b.png", picture(20, 20), task="derain")
            assert httpx.get(f"{address}/api/ready").status_code == 503
            gate.set()
            assert first.result().status_code == 200
        assert second.status_code == 503
        assert second.json()["detail"].endswith("Come back in a minute.")
        assert second.headers["retry-after"] == "60"


def test_a_full_disk(tmp_path: Path) -> None:
    with api_server(tmp_path, Limits(megabytes=1e12)) as (address, _):
        answer = post(address, "a.png", picture(8, 8), task="derain")
    assert answer.status_code == 507
    assert answer.json() == {"detail": "The server's disk is full."}


def test_pages_of_other_sites_and_other_names_of_the_host(address: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = httpx.post(f"{address}/api/restore", headers=headers)
    assert answer.status_code == 403
    answer = httpx.get(f"{address}/api/tasks", headers={"Host": "evil.example"})
    assert answer.status_code == 400


def resident(process: int, what: str) -> int:
    """Bytes that a process has, VmRSS, or had at most, VmHWM, in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(what))) * 1024


def test_fifty_clients_good_and_hostile() -> None:
    good = {"derain": picture(64, 80), "deblur-text": picture(48, 48), "sr4": picture(24, 30)}
    bomb = BytesIO()
    Image.fromarray(np.zeros((20000, 20000), "uint8")).save(bomb, "PNG", compress_level=9)
    hostile = [REFUSED[case] for case in ("text", "cut short", "raw", "drawing", "strength")]

    def client(address: str, number: int) -> tuple[str, httpx.Response]:
        draw = random.Random(number)
        if number % 2:
            task = draw.choice(sorted(good))
            return task, post(address, f"{number}.png", good[task], task=task)
        if number % 10 == 0:
            return "bad", post(address, "bomb.png", bomb.getvalue(), task="derain")
        name, content, form, _, _ = draw.choice(hostile)
        return "bad", post(address, name, content, **form)

    with app() as (served, process):
        expected = {task: post(served, "a.png", given, task=task) for task, given in good.items()}
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(partial(client, served), range(50)))
        for task, answer in answers:
            if task == "bad":
                assert answer.status_code in (413, 415, 422)
                assert answer.json()["detail"].endswith(".")
            else:
                assert answer.status_code == 200, answer.text
                assert answer.content == expected[task].content
        assert httpx.get(f"{served}/api/ready").json() == {"status": "ready", "held": 0}
        assert resident(process, "VmHWM") < 2_000_000_000
