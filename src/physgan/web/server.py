"""The server: page and API under one roof, with limits on what comes in and a policy on what goes.

What a browser loads comes from here alone, which a policy says and a test watches; nothing that is
uploaded leaves the machine. Files live in one temporary folder, which goes with the server.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Collection
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from physgan.errors import UsageError
from physgan.images.vips import refuse_rare_kinds
from physgan.web.api import DESCRIPTION, api
from physgan.web.desk import VERSION, Desk, Limits
from physgan.web.gate import Gate

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that only this machine reaches."""

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # gradio starts with both
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_MANY = 20
"""pictures of the largest size that one upload of the page may hold together"""


def build_app(
    desk: Desk, folder: Path, *, page: bool = True, hosts: Collection[str] = ()
) -> FastAPI:
    """The application.

    Args:
        desk: restores.
        folder: where uploads and results lie until they are sent.
        page: with the page; without it, the API alone.
        hosts: names that requests may call the server by; any where empty.
    """
    app = FastAPI(
        title="physgan",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.include_router(api(desk, folder))
    _describe(app)
    app.add_exception_handler(RequestValidationError, _in_a_sentence)
    if page:
        # gradio reads it when imported; else it tells its makers that it runs.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from physgan.web.page import mount_page, uploads

        app = mount_page(app, desk, folder)
        app.add_middleware(Gate, uploads=uploads(folder))
    app.add_middleware(Guard, limits=desk.limits, folder=folder, hosts=hosts)
    return app


def serve(
    desk: Desk,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    ready: Callable[[str], object] = print,
) -> None:
    """Runs the server in the main thread until it is told to stop (SIGINT, SIGTERM).

    Args:
        desk: restores; closed at the end.
        host: address to listen on.
        port: to listen on; 0 takes a free one.
        ready: told the address once the server answers.

    Raises:
        UsageError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UsageError(
            f"address {host}:{port}",
            expected="one to listen on",
            got=os.strerror(error.errno) if error.errno else str(error),
            remedy="Name another: --port 0 takes a free one.",
        ) from None
    port = listening.getsockname()[1]
    hosts = LOOPBACK if host in LOOPBACK else ()
    shown = f"[{host}]" if ":" in host else host
    refuse_rare_kinds()
    # uvicorn raises a signal again when it has ended, for those before it: files are tidied up.
    before = signal.signal(signal.SIGTERM, _leave)
    with ExitStack() as tidied:
        tidied.callback(signal.signal, signal.SIGTERM, before)
        tidied.callback(listening.close)
        folder = tidied.enter_context(
            tempfile.TemporaryDirectory(prefix="physgan-", ignore_cleanup_errors=True)
        )
        tidied.callback(desk.close)  # first: what is under way still has its files
        config = uvicorn.Config(
            build_app(desk, Path(folder), hosts=hosts),
            log_level="warning",
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=5,
            limit_concurrency=1000,
        )
        _Server(config, lambda: ready(f"http://{shown}:{port}")).run(sockets=[listening])


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


class _Server(uvicorn.Server):
    """uvicorn's, which tells when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


class Guard:
    """Stands before the application: limits what comes in, and dresses what goes out.

    A body that is too large or too slow ends with 413 or 408, at the latest when the bytes that are
    too many come. So many uploads at a time are taken as the desk holds pictures, and none that
    the disk has no room for. Pages of other sites can post nothing, and names of hosts that are not
    ours are answered nothing.
    """

    def __init__(
        self, app: ASGIApp, *, limits: Limits, folder: Path, hosts: Collection[str] = ()
    ) -> None:
        self._app, self._limits, self._folder = app, limits, folder
        self._hosts = frozenset(hosts)
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    given.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, detail, more = refusal
            await JSONResponse({"detail": detail}, status, more)(scope, receive, dressed)
            return
        posted = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        self._uploads += posted
        try:
            limited = self._limited(scope, receive) if posted else receive
            await self._app(scope, limited, dressed)
        finally:
            self._uploads -= posted

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        """Status, sentence and headers of what is answered at once."""
        name = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if self._hosts and name.strip("[]") not in self._hosts:
            return 400, "This server is not called that.", {}
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return None
        if _from_elsewhere(headers):
            return 403, "Pages of other sites may not use this server.", {}
        if _length(headers) > self._largest(scope):
            return 413, self._too_large(scope), {"Connection": "close"}
        if self._uploads >= self._limits.waiting + self._limits.at_once:
            return 503, "Too many uploads at a time. Come back in a minute.", {"Retry-After": "30"}
        # Room for what comes, and for one more of the largest: what is made of it.
        if shutil.disk_usage(self._folder).free < _length(headers) + self._limits.bytes:
            return 507, "The server's disk is full.", {"Connection": "close"}
        return None

    def _largest(self, scope: Scope) -> int:
        return self._limits.bytes * (1 if scope["path"].startswith("/api/") else _MANY)

    def _too_large(self, scope: Scope) -> str:
        return f"The upload has more than {self._largest(scope) / 1e6:g} megabytes."

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """What receives a body, and ends where it is too large or takes too long."""
        loop = asyncio.get_running_loop()
        ends, taken, whole = loop.time() + self._limits.seconds, 0, False

        async def limited() -> Message:
            nonlocal taken, whole
            if whole:  # what follows says only that the client has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - loop.time()))
            except TimeoutError:
                raise HTTPException(
                    408, f"The upload took more than {self._limits.seconds:g} seconds."
                ) from None
            taken += len(message.get("body", b""))
            whole = message["type"] == "http.request" and not message.get("more_body", False)
            if taken > self._largest(scope):
                raise HTTPException(413, self._too_large(scope))
            return message

        return limited


def _from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that another site's page, or another server's, sends this."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Over plain http from another machine browsers tell the origin alone.
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _length(headers: Headers) -> int:
    stated = headers.get("content-length", "0")
    return int(stated) if stated.isdecimal() else 0


def _describe(app: FastAPI) -> None:
    """The page that describes the API, with scripts of our own server."""
    scripts = Path(str(resources.files("fastapi_swagger"))) / "resources"
    app.mount("/api/scripts", StaticFiles(directory=scripts))

    @app.get("/api/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/api/openapi.json",
            title="physgan: HTTP API",
            swagger_js_url="/api/scripts/swagger-ui-bundle.js",
            swagger_css_url="/api/scripts/swagger-ui.css",
            swagger_favicon_url="/api/scripts/favicon-32x32.png",
        )


async def _in_a_sentence(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a form: FastAPI's list of findings, as all other faults are told."""
    assert isinstance(error, RequestValidationError)
    found = [f"{finding['loc'][-1]}: {finding['msg']}" for finding in error.errors()]
    return JSONResponse({"detail": "; ".join(found) + "."}, 422)
