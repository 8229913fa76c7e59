"""The gate before the page: of gradio's routes those that the page needs, of files the uploads.

gradio serves far more than a page asks for, and when mounted it copies whatever path or address a
request names, the server's own files too. Here a request may name only what was uploaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ASKED = ("/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
_ASKED_BELOW = (
    "/assets/",
    "/static/",
    "/svelte/",
    "/pwa_icon",
    "/gradio_api/file=",
    "/gradio_api/heartbeat/",
    "/gradio_api/info",
    "/gradio_api/queue/data",
    "/gradio_api/startup-events",
    "/gradio_api/upload_progress",
)
"""What a browser that shows the page asks for."""
_UPLOAD = "/gradio_api/upload"
_TOLD = ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset")
"""What it tells, as JSON."""
_LONGEST = 1_000_000
"""bytes of what it tells at once"""


class Gate:
    """Lets those requests pass that the page makes itself.

    What names a file outside of the uploads is answered 403, routes that the page does not need
    404, and what is no JSON, or too much of it, 400 and 413.

    Args:
        app: what lies behind.
        uploads: the folder into which the page's uploads go.
    """

    def __init__(self, app: ASGIApp, *, uploads: Path) -> None:
        self._app, self._uploads = app, uploads.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asks = scope["method"] in ("GET", "HEAD")
        if not (_asked(scope["path"]) if asks else _told(scope["path"])):
            await JSONResponse({"detail": "There is nothing here."}, 404)(scope, receive, send)
            return
        if asks or scope["path"].rstrip("/") == _UPLOAD:
            await self._app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more and len(body) <= _LONGEST:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        refusal = self._refusal(bytes(body))
        if refusal is not None:
            status, detail = refusal
            await JSONResponse({"detail": detail}, status)(scope, receive, send)
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, again, send)

    def _refusal(self, body: bytes) -> tuple[int, str] | None:
        if len(body) > _LONGEST:
            return 413, f"The request has more than {_LONGEST / 1e6:g} megabytes."
        try:
            waiting: list[Any] = [json.loads(body)]
        except (ValueError, RecursionError):
            return 400, "The request is no JSON."
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict):
                if "path" in part and not self._uploaded(part["path"]):
                    return 403, "Only pictures that were uploaded can be restored."
                waiting += part.values()
            elif isinstance(part, list):
                waiting += part
        return None

    def _uploaded(self, path: object) -> bool:
        # Resolved: a link or `..` must not lead out. An address resolves to a path elsewhere.
        try:
            return isinstance(path, str) and Path(path).resolve().is_relative_to(self._uploads)
        except (OSError, ValueError, RuntimeError):  # no path: zeros in it, too long, a loop
            return False


def _asked(path: str) -> bool:
    return path in ("", "/", *_ASKED) or path.startswith(_ASKED_BELOW)


def _told(path: str) -> bool:
    return path.rstrip("/") in (_UPLOAD, *_TOLD)
