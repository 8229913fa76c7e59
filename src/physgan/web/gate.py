"""The gate before the page: of gradio's routes those that the page needs, of files the uploads.

gradio serves far more than a page asks for, and when mounted it copies whatever path or address a
request names, the server's own files too. Here a request may name only what was uploaded. What
gradio is told wrong it answers with 500, and writes to the log; here it is answered first.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from physgan.web.guard import FILES, address_of, length_of

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
_NOTHING = "There is nothing here."
_RUN = "/gradio_api/run/predict"
_QUEUED = "/gradio_api/queue/join"
_LONGEST = 4000 * FILES
"""bytes of what it tells at once: of each picture twice, with the longest name 1300 bytes each, and
more where the server's address or folder is long"""
_DEEPEST = 20
"""levels of what it tells; it needs seven"""
_LONGEST_PATH = 4096
"""letters, as Linux allows"""

_Name = Annotated[str, StringConstraints(max_length=64, pattern=r"^[ -~]*$")]
"""that gradio gives a page, or something that it asked for"""


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Asks(_Told):
    """That a handler shall run."""

    fn_index: int
    data: list[Any]
    event_data: Any = None
    trigger_id: int | None = None
    session_hash: _Name | None = None


class _Cancels(_Told):
    """That what was asked for is no longer wanted."""

    session_hash: _Name
    fn_index: int
    event_id: _Name


class _Resets(_Told):
    """That what was asked for begins anew."""

    event_id: _Name


_TOLD: dict[str, type[_Told]] = {
    _RUN: _Asks,
    _QUEUED: _Asks,
    "/gradio_api/cancel": _Cancels,
    "/gradio_api/reset": _Resets,
}
"""What it tells, as JSON."""


@dataclass(frozen=True)
class Handler:
    """What the page may ask for.

    Args:
        queued: whether it waits for its turn, or is answered at once.
        takes: whether it can be given such data, and such an event.
    """

    queued: bool
    takes: Callable[[list[Any], Any], bool]


class Gate:
    """Lets those requests pass that the page makes itself.

    What names a file outside of the uploads is answered 403, routes and handlers that the page does
    not need 404, and what it would not send, or too much of it, 400 and 413.

    Args:
        app: what lies behind.
        uploads: the folder into which the page's uploads go.
        examples: the folder of those pictures that the page offers.
        most: bytes of uploads that one client may have here.
        handlers: what the page may ask for, by gradio's numbers.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        uploads: Path,
        examples: Path,
        most: int,
        handlers: Mapping[int, Handler],
    ) -> None:
        self._app, self._most, self._handlers = app, most, handlers
        self._uploads, self._examples = uploads.resolve(), examples.resolve()
        self._stored: dict[str, set[Path]] = {}
        self._coming = Counter[str]()
        """bytes that uploads under way have announced, by client"""
        self._begun = self._ended = 0
        """uploads; those between are under way"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asks = scope["method"] in ("GET", "HEAD")
        if not (_asked(scope["path"]) if asks else _told(scope["path"])):
            await JSONResponse({"detail": _NOTHING}, 404)(scope, receive, send)
            return
        if asks:
            await self._app(scope, receive, send)
            if scope["path"].startswith(_OPEN):  # which ends when the page is closed
                await self._sweep()
            return
        route = scope["path"].rstrip("/")
        if route == _UPLOAD:
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
        await self._sweep()
        refusal = await self._refusal(route, bytes(body))
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
        client, announced = address_of(scope), length_of(Headers(scope=scope))
        known = set[Path]().union(*self._stored.values())
        sizes = await asyncio.to_thread(_sizes, known)
        here = {each: paths - (known - sizes.keys()) for each, paths in self._stored.items()}
        self._stored = {each: paths for each, paths in here.items() if paths}
        stored = sum(sizes.get(path, 0) for path in self._stored.get(client, ()))
        if stored + self._coming[client] > self._most:
            told = "You have too many pictures here: close the pages that you need no longer."
            await JSONResponse({"detail": told}, 507)(scope, receive, send)
            return
        answer = bytearray()

        async def noted(message: Message) -> None:
            answer.extend(message.get("body", b""))
            await send(message)

        self._begun += 1
        self._coming[client] += announced
        try:
            await self._app(scope, receive, noted)
            paths = json.loads(answer)
            if isinstance(paths, list):
                self._stored.setdefault(client, set()).update(map(Path, paths))
        except ValueError:  # a fault, told as text
            pass
        finally:
            self._ended += 1
            self._coming[client] -= announced
            if not self._coming[client]:
                del self._coming[client]
            await self._sweep()

    async def _sweep(self) -> None:
        """Deletes what gradio leaves of uploads that did not come whole, and beside each other."""
        begun = self._begun
        if begun == self._ended:
            left = await asyncio.to_thread(_files, self._uploads)
            if begun == self._begun:  # or what was seen may be an upload that has begun since
                for path in left:
                    path.unlink(missing_ok=True)

    async def _refusal(self, route: str, body: bytes) -> tuple[int, str] | None:
        if len(body) > _LONGEST:
            return 413, f"The request has more than {_LONGEST / 1e6:g} megabytes."
        try:
            found = json.loads(body.decode())
            # Nor are numbers that are none, and halves of letters, which no answer could repeat.
            json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            return 400, "The request is no JSON."
        named = _named(found)
        if named is None:
            return 400, f"The request has more than {_DEEPEST} levels."
        try:
            told = _TOLD[route].model_validate(found)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            return 400, f"{where}: {first['msg']}." if where else "The request is no JSON object."
        if not isinstance(told, _Asks):
            return None
        handler = self._handlers.get(told.fn_index)
        if handler is None or handler.queued != (route == _QUEUED):
            return 404, _NOTHING
        if len(named) > FILES:
            return 413, f"More than {FILES} pictures are too many at once: choose fewer."
        refusal = await asyncio.to_thread(self._unfit, named)
        if refusal is None and not handler.takes(told.data, told.event_data):
            refusal = 400, "The page asks for this with other data: load it again."
        return refusal

    def _unfit(self, named: Collection[str]) -> tuple[int, str] | None:
        """Why files of these names cannot be restored."""
        for each in named:
            path = self._resolved(each)
            if path is None:
                return 403, "Only pictures that were uploaded can be restored."
            if not path.is_file():
                return 404, "That upload is not here any more: choose the picture again."
        return None

    def _resolved(self, path: str) -> Path | None:
        """The path that is meant, if it lies where uploads and examples do."""
        if len(path) > _LONGEST_PATH:
            return None
        # Resolved: a link or `..` must not lead out. An address resolves to a path elsewhere.
        try:
            meant = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):  # no path: zeros in it, too long, a loop
            return None
        return meant if any(map(meant.is_relative_to, (self._uploads, self._examples))) else None


def _asked(path: str) -> bool:
    return path in ("", "/", *_ASKED) or path.startswith(_ASKED_BELOW)


def _told(path: str) -> bool:
    return path.rstrip("/") in (_UPLOAD, *_TOLD)


def _named(found: Any) -> set[str] | None:
    """The paths that a request names, wherever they stand; nothing where it is too deep.

    What stands for a path and is no text is named too, and leads nowhere.
    """
    named, level = set[str](), [found]
    for _ in range(_DEEPEST):
        named |= {
            part["path"] if isinstance(part["path"], str) else "\0"
            for part in level
            if isinstance(part, dict) and "path" in part
        }
        level = [each for part in level for each in _parts(part)]
    return None if level else named


def _parts(found: Any) -> Iterable[Any]:
    if isinstance(found, dict):
        return found.values()
    return found if isinstance(found, list) else ()


def _sizes(paths: Iterable[Path]) -> dict[Path, int]:
    """Bytes of those files that are still there."""
    sizes = dict[Path, int]()
    for path in paths:
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    return sizes


def _files(folder: Path) -> list[Path]:
    """Files that lie in a folder itself."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as found:
        return [Path(each) for each in found if each.is_file(follow_symlinks=False)]
