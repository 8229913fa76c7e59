"""The server: page and API under one roof, behind one guard.

Nothing that is uploaded leaves the machine. Files live in one temporary folder, which goes with the
server.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from physgan.errors import UsageError
from physgan.images.vips import refuse_rare_kinds
from physgan.web.api import DESCRIPTION, LONGEST_NAME, api
from physgan.web.connection import Connection
from physgan.web.desk import VERSION, Desk
from physgan.web.folder import temporary_folder
from physgan.web.gate import Gate
from physgan.web.guard import MANY, Guard, of_api

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that only this machine reaches."""
_PATIENCE = 3
"""seconds that answers under way have when the server ends, and then what is being restored"""


def build_app(
    desk: Desk, folder: Path, *, page: bool = True, hosts: Collection[str] = ()
) -> ASGIApp:
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
    app.add_exception_handler(404, _nothing_here)
    app.add_exception_handler(405, _another_way)
    shown = _shown(desk, folder) if page else app

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        programs = scope["type"] == "http" and of_api(scope)
        await (app if programs else shown)(scope, receive, send)

    return Guard(both, limits=desk.limits, folder=folder, hosts=hosts)


def _shown(desk: Desk, folder: Path) -> ASGIApp:
    """The page behind its gate."""
    # gradio reads it when imported; else it tells its makers that it runs.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from physgan.web.page import EXAMPLES, mount_page, uploads

    bare = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mounted, handlers = mount_page(bare, desk, folder)
    return Gate(
        mounted,
        uploads=uploads(folder),
        examples=EXAMPLES,
        most=MANY * desk.limits.bytes,
        handlers=handlers,
    )


def configured(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """How the application is served: no connection is held for nothing."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        server_header=False,
        timeout_keep_alive=5,
        forwarded_allow_ips=["127.0.0.1", "::1"],  # a server in front, on this machine
        **options,
    )


def serve(
    desk: Desk,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    names: Collection[str] = (),
    ready: Callable[[str], object] = print,
    left: Callable[[int], object] = lambda number: None,
) -> None:
    """Runs the server in the main thread until it is told to stop (SIGINT, SIGTERM, SIGHUP).

    Args:
        desk: restores; closed at the end, and left where something at it does not end.
        host: address to listen on.
        port: to listen on; 0 takes a free one.
        names: that it may be called by besides those of this machine; where none is given and other
            machines reach it, by any.
        ready: told the address once the server answers.
        left: told how many pictures were left unrestored at the end, if any were.

    Raises:
        UsageError: the address is taken, or not ours.
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
            got=error.strerror or str(error),
            remedy="Name one of this machine: --host 127.0.0.1 is itself."
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            else "Name another: --port 0 takes a free one.",
        ) from None
    port = listening.getsockname()[1]
    hosts = (*LOOPBACK, *names) if names or host in LOOPBACK else ()
    shown = f"[{host}]" if ":" in host else host
    refuse_rare_kinds()
    with ExitStack() as tidied:
        # uvicorn raises a signal again when it has ended, for those before it: files are tidied up.
        for number in (signal.SIGTERM, *_hangups()):
            tidied.callback(signal.signal, number, signal.signal(number, _leave))
        tidied.callback(listening.close)
        folder = tidied.enter_context(temporary_folder())
        # First: what is under way still has its files.
        tidied.callback(lambda: _close(desk, left))
        app = build_app(desk, folder, hosts=hosts)
        config = configured(app, log_level="warning", timeout_graceful_shutdown=_PATIENCE)
        _Server(config, lambda: ready(f"http://{shown}:{port}")).run(sockets=[listening])


def _close(desk: Desk, left: Callable[[int], object]) -> None:
    if number := desk.close(patience=_PATIENCE):
        left(number)


def _hangups() -> list[signal.Signals]:
    """What tells that the terminal has gone, unless somebody has it ignored, as nohup does."""
    number: signal.Signals | None = getattr(signal, "SIGHUP", None)
    return [number] if number and signal.getsignal(number) is not signal.SIG_IGN else []


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


class _Server(uvicorn.Server):
    """uvicorn's, which tells when it answers, and ends without telling of pages that are open."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for number in _hangups():  # as uvicorn does with those that it knows
            signal.signal(number, self.handle_exit)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: Any = None) -> None:
        log = logging.getLogger("uvicorn.error")
        log.addFilter(_is_news)
        try:
            await super().shutdown(sockets)
        finally:
            log.removeFilter(_is_news)
            for number in _hangups():  # raised again, as uvicorn does with those that it knows
                signal.signal(number, _leave)


def _is_news(record: logging.LogRecord) -> bool:
    """Not that answers are still under way where the server ends: every open page has one."""
    return "timeout graceful shutdown exceeded" not in record.getMessage()


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
    found = [_finding(finding) for finding in error.errors()]
    return JSONResponse({"detail": "; ".join(found) + "."}, 422)


def _finding(finding: Mapping[str, Any]) -> str:
    field = finding["loc"][-1]
    if field == "picture" and isinstance(finding.get("input"), str):
        return "picture: expected a file, got text; curl wants -F picture=@in.jpg, with an @"
    if finding["type"] == "missing":
        return f"{field}: expected in the form, got nothing"
    got = str(finding.get("input"))[:LONGEST_NAME]
    if field == "strength":
        return f"strength: expected a number from 0 to 1, got {got!r}"
    return f"{field}: {finding['msg']}, got {got!r}"


async def _nothing_here(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "There is nothing here; /api/docs says what there is."}, 404)


async def _another_way(request: Request, error: Exception) -> JSONResponse:
    allowed = (getattr(error, "headers", None) or {}).get("Allow", "another method")
    told = f"{request.url.path} takes {allowed}, not {request.method}."
    return JSONResponse({"detail": told}, 405, {"Allow": allowed})
