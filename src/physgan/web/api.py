"""The HTTP API: restore by upload, tasks, health and readiness, and a page that describes it.

Uploads lie in a folder of their own each until the answer is sent, under a name that we chose; the
name that came with them is only told back. Scripts of the describing page come from this server.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from physgan.errors import ImageError, KindError, PhysganError, ShapeError, UsageError, nearest
from physgan.images.picture import KINDS
from physgan.images.vips import UNTAKEN
from physgan.web.desk import SOON, VERSION, Busy, Desk, Ticket, TooLarge, TooSlow, counted

DESCRIPTION = """
Restores degraded pictures: send one, get it back under its name, of its kind, with its bit depth,
transparency, resolution, profile and pages. What is wrong comes back as `{"detail": "..."}`.
"""
LONGEST_NAME = 120
"""Letters of the name of an upload that are told back."""
_FIELDS = ("picture", "task", "strength")
_SEEN = 0.2
"""seconds between two looks at whether whoever asked is still there"""


class Task(BaseModel):
    """Weights that pictures can be restored with."""

    task: str
    description: str
    scale: int
    """how many times as large a picture comes back"""
    licence: str
    experimental: str | None
    """in which respects the weights fall short of what is asked of the task"""


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"]
    version: str
    since: float
    """when the server started, in seconds since 1970"""


class Readiness(BaseModel):
    """Whether the server would take a picture now."""

    status: Literal["ready", "full"]
    held: int
    """pictures that wait or are being restored"""


class Fault(BaseModel):
    """What is wrong, in a sentence."""

    detail: str


def _may(*codes: int) -> dict[int | str, dict[str, Any]]:
    told = {
        408: "The upload took too long.",
        413: "Too many bytes, pixels, pages or files.",
        415: "No picture, or of a kind that is not taken.",
        422: "No such task, another fault in the form, or a damaged picture.",
        503: "Too many pictures wait; `Retry-After` says when to come back.",
        504: "Restoring took too long.",
        507: "The server's disk is full.",
    }
    return {code: {"description": told[code], "model": Fault} for code in codes}


def api(desk: Desk, folder: Path) -> APIRouter:
    """The routes of the API.

    Args:
        desk: restores.
        folder: where each upload gets a folder of its own.
    """
    router, since = APIRouter(prefix="/api"), time.time()

    @router.get("/health", tags=["The server"], summary="Whether the server answers")
    async def health() -> Health:
        return Health(status="ok", version=VERSION, since=since)

    @router.get(
        "/ready",
        tags=["The server"],
        summary="Whether the server would take a picture now",
        responses={503: {"description": "Not now.", "model": Readiness}},
    )
    async def ready(response: Response) -> Readiness:
        response.status_code = 503 if desk.full else 200
        return Readiness(status="full" if desk.full else "ready", held=desk.held)

    @router.get("/tasks", tags=["Pictures"], summary="What can be restored")
    async def tasks() -> list[Task]:
        return [
            Task(
                task=name,
                description=info.description,
                scale=info.scale,
                licence=info.licence,
                experimental=info.experimental or None,
            )
            for name, info in desk.tasks.items()
        ]

    @router.post(
        "/restore",
        tags=["Pictures"],
        summary="Restore a picture",
        response_class=FileResponse,
        dependencies=[Depends(_known_fields)],
        responses={
            200: {
                "description": "The restored picture.",
                "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            },
            **_may(408, 413, 415, 422, 503, 504, 507),
        },
    )
    async def restore(
        request: Request,
        picture: Annotated[UploadFile, File(description="A picture file.")],
        task: Annotated[str, Form(description="A name from /api/tasks.")],
        strength: Annotated[
            float, Form(description="From 0, as it is, to 1, as restored.", ge=0, le=1)
        ] = 1.0,
    ) -> FileResponse:
        return await _restored(desk, request, picture, task, strength, folder)

    return router


async def _known_fields(request: Request) -> None:
    """Refuses what would be left out in silence: misspelt fields, and all but one of several."""
    form = await request.form()
    for name in _FIELDS:
        if (number := len(form.getlist(name))) > 1:
            raise as_http(
                UsageError(f"field '{name}' of the form", expected="one", got=str(number))
            )
    for name in form.keys() - _FIELDS:
        raise as_http(
            UsageError(
                "field of the form",
                expected="the name of one",
                got=repr(name[:LONGEST_NAME]),
                remedy=nearest(name, _FIELDS),
            )
        )


async def _restored(
    desk: Desk, request: Request, picture: UploadFile, task: str, strength: float, folder: Path
) -> FileResponse:
    name = safe_name(picture.filename or "")
    own = Path(tempfile.mkdtemp(dir=folder))
    source = own / f"observed{safe_suffix(name)}"

    def handed_in() -> Ticket:
        with source.open("xb") as file:
            shutil.copyfileobj(picture.file, file, 1 << 20)
        return desk.submit(source, own, task=task, strength=strength, name=name)

    def emptied(*_: object) -> None:
        shutil.rmtree(own, ignore_errors=True)

    ticket = None
    try:
        ticket = await asyncio.to_thread(handed_in)  # others want to be answered meanwhile
        restored = await _waited(ticket, request, desk.limits.seconds)
    except BaseException as error:
        if ticket is None:
            emptied()
        else:  # the thread that restores reads and writes there until it ends
            ticket.cancel()
            ticket.future.add_done_callback(emptied)
        if isinstance(error, PhysganError):
            raise as_http(error) from None
        raise
    return FileResponse(
        restored,
        filename=ticket.name,
        media_type=f"image/{KINDS[restored.suffix]}",
        background=BackgroundTask(emptied),
    )


async def _waited(ticket: Ticket, request: Request, seconds: float) -> Path:
    """The restored file, unless it takes too long or nobody waits any more."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    future = asyncio.wrap_future(ticket.future)
    # Looked at in any case, or asyncio complains that nobody did.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    while not future.done():
        await asyncio.wait([future], timeout=_SEEN)
        if future.done():
            break
        if loop.time() > ends:
            raise HTTPException(504, f"Restoring took more than {counted(seconds, 'second')}.")
        if await request.is_disconnected():
            raise HTTPException(499, "Nobody waits any more.")
    return future.result()


def as_http(error: PhysganError) -> HTTPException:
    """The status that tells who has to do something about a fault, with its sentence."""
    if isinstance(error, Busy):
        return HTTPException(503, str(error), {"Retry-After": str(SOON)})
    if isinstance(error, TooLarge):
        return HTTPException(413, str(error))
    if isinstance(error, TooSlow):
        return HTTPException(504, str(error))
    if isinstance(error, KindError):
        return HTTPException(415, str(error))
    if isinstance(error, ImageError | UsageError | ShapeError):
        return HTTPException(422, str(error))
    return HTTPException(500, str(error))


def safe_name(name: str) -> str:
    """The name of an upload without folders and what is no letter: told back, never opened."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable()).strip(". ")
    return kept[-LONGEST_NAME:] or "picture"


def safe_suffix(name: str) -> str:
    """The ending of a name where it is one that physgan knows, else none."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in KINDS or suffix in UNTAKEN else ""
