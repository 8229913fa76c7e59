"""Servers for the tests: the API in a thread of the test, and `physgan app` as a process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image

from physgan.web.desk import Desk, Limits
from physgan.web.server import build_app, configured


@contextmanager
def api_server(folder: Path, limits: Limits | None = None) -> Iterator[tuple[str, Desk]]:
    """The API alone, on a free port."""
    desk = Desk(limits, device="cpu")
    app = build_app(desk, folder, page=False, hosts=["127.0.0.1"])
    try:
        with serving(configured(app, port=0, log_level="error", timeout_graceful_shutdown=1)) as at:
            yield at, desk
    finally:
        desk.close()


@contextmanager
def serving(config: uvicorn.Config) -> Iterator[str]:
    """A server in a thread of the test, and its address."""
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def app(*arguments: str) -> Iterator[tuple[str, int]]:
    """`physgan app` as people start it: its address and the number of its process."""
    with app_process(*arguments, stderr=None) as (address, process):
        yield address, process.pid


@contextmanager
def app_process(
    *arguments: str, stderr: int | None = subprocess.PIPE, **options: Any
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`physgan app`, and what it says on stderr; ended, if it has not ended by then."""
    command = [sys.executable, "-m", "physgan", "app", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True, **options
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()
            process.wait(30)


def picture(height: int, width: int, *, seed: int = 0, kind: str = "PNG") -> bytes:
    """A picture file of smooth colours with some grain."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, width)[None, :, None] + random.normal(0, 12, (height, width, 3))
    content = BytesIO()
    Image.fromarray(ramp.clip(0, 255).astype("uint8")).save(content, kind)
    return content.getvalue()


async def silent() -> dict[str, Any]:
    """What an ASGI application receives from a client that sends nothing more."""
    return {"type": "http.disconnect"}


async def unheard(message: Any) -> None:
    """Where what an ASGI application sends goes when nobody listens."""
