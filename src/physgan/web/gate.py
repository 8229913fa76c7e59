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

_OPEN = "/gradio_api/heartbeat/"
_ASKED = ("/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
_ASKED_BELOW = (
    "/assets/",
    "/static/",
    "/svelte/",
    "/pwa_icon",
    "/gradio_api/file=",
    _OPEN,
    "/gradio_api/info",
    "/gradio_api/queue/data",
    "/gradio_api/startup-events",
    "/gradio_api/upload_progress",
)
"""What a browser that shows the page asks for."""
_UPLOAD = "/gradio_api/upload"
_TOLD = (
    "/gradio_api/queue/join",
    "/gradio_api/run/predict",
    "/gradio_api/cancel",
    "/gradio_api/reset",
)
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
        examples: the folder of those pictures that the page offers.
        most: bytes of uploads that one client may have here.
    """

    def __init__(self, app: ASGIApp, *, uploads: Path, examples: Path, most: int) -> None:
        self._app, self._most = app, most
        self._uploads, self._examples = uploads.resolve(), examples.resolve()
        self._stored: dict[str, list[Path]] = {}
        self._coming = 0
        """uploads that are under way"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asks = scope["method"] in ("GET", "HEAD")
        if not (_asked(scope["path"]) if asks else _told(scope["path"])):
            await JSONResponse({"detail": "There is nothing here."}, 404)(scope, receive, send)
            return
        if asks:
            await self._app(scope, receive, send)
            if scope["path"].startswith(_OPEN):  # which ends when the page is closed
                self._sweep()
            return
        if scope["path"].rstrip("/") == _UPLOAD:
            await self._upload(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more and len(body) <= _LONGEST:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self._sweep()
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

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets an upload pass, and notes whose it is."""
        client = (scope.get("client") or ("",))[0]
        here = {each: [p for p in paths if p.exists()] for each, paths in self._stored.items()}
        self._stored = {each: paths for each, paths in here.items() if paths}
        if sum(path.stat().st_size for path in self._stored.get(client, [])) > self._most:
            told = "You have too many pictures here: close the pages that you need no longer."
            await JSONResponse({"detail": told}, 507)(scope, receive, send)
            return
        answer = bytearray()

        async def noted(message: Message) -> None:
            answer.extend(message.get("body", b""))
            await send(message)

        self._coming += 1
        try:
            await self._app(scope, receive, noted)
            paths = json.loads(answer)
            if isinstance(paths, list):
                self._stored.setdefault(client, []).extend(map(Path, paths))
        except ValueError:  # a fault, told as text
            pass
        finally:
            self._coming -= 1
            self._sweep()

    def _sweep(self) -> None:
        """Deletes what gradio leaves of uploads that did not come whole, and beside each other."""
        if not self._coming and self._uploads.is_dir():
            for path in self._uploads.iterdir():
                if path.is_file():
                    path.unlink(missing_ok=True)

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
                if "path" in part:
                    path = self._resolved(part["path"])
                    if path is None:
                        return 403, "Only pictures that were uploaded can be restored."
                    if not path.is_file():
                        return 404, "That upload is not here any more: choose the picture again."
                waiting += part.values()
            elif isinstance(part, list):
                waiting += part
        return None

    def _resolved(self, path: object) -> Path | None:
        """The path that is meant, if it lies where uploads and examples do."""
        # Resolved: a link or `..` must not lead out. An address resolves to a path elsewhere.
        try:
            meant = Path(path).resolve() if isinstance(path, str) else None
        except (OSError, ValueError, RuntimeError):  # no path: zeros in it, too long, a loop
            return None
        allowed = (self._uploads, self._examples)
        return meant if meant and any(map(meant.is_relative_to, allowed)) else None


def _asked(path: str) -> bool:
    return path in ("", "/", *_ASKED) or path.startswith(_ASKED_BELOW)


def _told(path: str) -> bool:
    return path.rstrip("/") in (_UPLOAD, *_TOLD)
