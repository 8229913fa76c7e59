"""The guard before the application: limits on what comes in, a policy on what goes out.

What a browser loads comes from here alone, which the policy says and a test watches.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address, ip_network
from math import ceil
from pathlib import Path

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from physgan.web.desk import SOON, Limits, counted

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
MANY = 20
"""pictures of the largest size that one upload of the page may hold together"""
FILES = 200
"""that one upload of the page may hold, and that it may ask for at once"""
_FIELDS = 10_000
"""bytes of the fields of one form, all of them together; files go to the disk, fields do not"""
_SMALL = 1_000_000
"""bytes of a body that is no form with files"""
_REQUESTS = 1000
"""that are answered at the same time"""
_SHARE = 0.75
"""of these, and of the uploads at a time, that one address may have"""
LEFT = 10.0
"""seconds that who is refused may go on sending, for nothing; then we hang up"""
_UNHEEDED = (b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server")
"""What anybody can say of who was asked; uvicorn has heeded it of a server in front by now."""
_PRIVATE = ("/api/restore", "/gradio_api/file=")
"""What nobody between here and a browser shall keep."""
_SOON = {"Retry-After": str(SOON)}
_HEALTH = "/api/health"
_ENDS = "The server ends. Ask again when it is back."


class Guard:
    """Stands before the application: limits what comes in, and dresses what goes out.

    A body that is too large or too slow ends with 413 or 408, at the latest when the bytes that are
    too many come, and so does a form of too many parts. So many uploads at a time are taken as the
    desk holds pictures, and none that the disk has no room for. Pages of other sites can post
    nothing, and names of hosts that are not ours are answered nothing. Every fault is JSON. Who is
    answered while sending may go on for a while: hung up on, few would read the answer, and no
    server in front would hand it on.
    """

    def __init__(
        self, app: ASGIApp, *, limits: Limits, folder: Path, hosts: Collection[str] = ()
    ) -> None:
        self._app, self._limits, self._folder = app, limits, folder
        self._hosts = frozenset(host.lower() for host in hosts)
        self._uploads, self._requests = Counter[str](), Counter[str]()
        self._coming = 0
        """bytes that uploads under way have announced"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["headers"] = [each for each in scope["headers"] if each[0] not in _UNHEEDED]
        headers = Headers(scope=scope)
        body = _Body(receive, whole=not _posts(scope))
        dressed = _Dressed(send, body, private=scope["path"].startswith(_PRIVATE))
        try:
            await self._answer(scope, headers, body, dressed)
        except asyncio.CancelledError:  # the server ends, and has waited long enough
            body.whole = True  # nothing more is taken
            if not dressed.begun:
                await JSONResponse({"detail": _ENDS}, 503, _SOON)(scope, body, dressed)
            elif dressed.endless:  # as every page holds one
                await dressed({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, headers: Headers, body: _Body, dressed: _Dressed) -> None:
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, detail, more = refusal
            await JSONResponse({"detail": detail}, status, more)(scope, body, dressed)
            return
        if _asks_health(scope):
            await self._app(scope, body, dressed)
            return
        _count(self._requests, scope, 1)
        upload = _Upload(self, scope, body, headers) if _posts(scope) else None
        try:
            await self._app(scope, upload or body, dressed)
        except HTTPException as error:  # of an upload that nobody behind has answered
            if dressed.begun:
                raise
            answer = JSONResponse({"detail": error.detail}, error.status_code)
            await answer(scope, body, dressed)
        except ClientDisconnect:  # while it uploaded: nobody is there to be answered
            pass
        finally:
            _count(self._requests, scope, -1)
            if upload is not None:
                upload.end()

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        """Status, sentence and headers of what is answered at once."""
        if self._hosts and _name(headers.get("host", "")) not in self._hosts:
            return 400, "This server is not called that; --allowed-host gives it a name.", {}
        if _asks_health(scope):
            return None
        if _full(self._requests, scope, _REQUESTS):
            return 503, "Too many ask at a time. Come back in a minute.", _SOON
        if not _posts(scope):
            return None
        if _from_elsewhere(headers):
            return 403, "Pages of other sites may not use this server.", {}
        if length_of(headers) > self.largest(scope, headers):
            return 413, self.too_large(scope, headers), {"Connection": "close"}
        if _full(self._uploads, scope, self._limits.waiting + self._limits.at_once):
            return 503, "Too many uploads at a time. Come back in a minute.", _SOON
        # Room for what comes, others' too, and for one more of the largest: what is made of it.
        needed = self._coming + length_of(headers) + self._limits.bytes
        if shutil.disk_usage(self._folder).free < needed:
            return 507, "The server's disk is full.", {"Connection": "close"}
        return None

    def largest(self, scope: Scope, headers: Headers) -> int:
        """Bytes that a body may have."""
        if not _is_form(headers):
            return _SMALL
        return self._limits.bytes * (1 if of_api(scope) else MANY)

    def too_large(self, scope: Scope, headers: Headers) -> str:
        most = counted(self.largest(scope, headers) / 1e6, "megabyte")
        return f"The upload has more than {most}."

    @property
    def seconds(self) -> float:
        """In which an upload must have come."""
        return self._limits.seconds

    def count(self, scope: Scope, uploads: int, announced: int) -> None:
        """So many more are under way, and so many bytes of them."""
        _count(self._uploads, scope, uploads)
        self._coming += announced


class _Body:
    """What receives a body, and knows whether all of it has come."""

    def __init__(self, receive: Receive, *, whole: bool) -> None:
        self._receive, self.whole = receive, whole

    async def __call__(self) -> Message:
        message = await self._receive()
        self.whole = self.whole or not message.get("more_body", False)
        return message

    async def leave(self) -> None:
        """Takes what still comes of it, and forgets it."""
        with suppress(TimeoutError, asyncio.CancelledError):  # the latter where the server ends
            async with asyncio.timeout(LEFT):
                while not self.whole:
                    await self()


class _Upload:
    """What receives a body, and ends where it is too large, too slow or of too many parts.

    It holds one of the guard's places until the body has come; of the API until it is answered, for
    so long it also holds one at the desk, which would have none left for others.
    """

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, headers: Headers) -> None:
        self._guard, self._scope, self._receive, self._headers = guard, scope, receive, headers
        self._ends = asyncio.get_running_loop().time() + guard.seconds
        self._taken, self._come, self._whole = 0, False, False
        self._parts = _Parts(headers, files=1 if of_api(scope) else FILES)
        guard.count(scope, 1, length_of(headers))

    async def __call__(self) -> Message:
        if self._whole or self._come:  # what follows says only that the client has gone
            return await self._receive()
        left = self._ends - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, left))
        except TimeoutError:
            seconds = counted(self._guard.seconds, "second")
            raise HTTPException(408, f"The upload took more than {seconds}.") from None
        body = message.get("body", b"")
        self._taken += len(body)
        if self._taken > self._guard.largest(self._scope, self._headers):
            raise HTTPException(413, self._guard.too_large(self._scope, self._headers))
        self._parts.take(body)
        self._come = not message.get("more_body", False)
        if self._come and not of_api(self._scope):
            self.end()
        return message

    def end(self) -> None:
        """Gives the place back, once."""
        if not self._whole:
            self._whole = True
            self._guard.count(self._scope, -1, -length_of(self._headers))


class _Parts:
    """Counts the parts of a form as they come, before anybody holds them."""

    def __init__(self, headers: Headers, *, files: int) -> None:
        self._most, self._files, self._held = files, 0, 0
        self._is_file = False
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        boundary = parse_options_header(headers.get("content-type"))[1].get(b"boundary")
        self._parser = (
            MultipartParser(
                boundary,
                {
                    "on_header_field": self._named,
                    "on_header_value": self._valued,
                    "on_header_end": self._headed,
                    "on_headers_finished": self._begun,
                    "on_part_data": self._came,
                },
            )
            if boundary and _is_form(headers)
            else None
        )

    def take(self, body: bytes) -> None:
        """Looks at the next bytes of the form.

        Raises:
            HTTPException: it has too many parts, or is none.
        """
        if self._parser is None or not body:
            return
        try:
            self._parser.write(body)
        except FormParserError as error:
            raise HTTPException(422, f"The form cannot be read: {error}.") from None

    def _named(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _valued(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _headed(self) -> None:
        self._hold(len(self._header) + len(self._value))
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _begun(self) -> None:
        self._is_file = b"filename" in parse_options_header(self._disposition)[1]
        self._disposition = b""
        self._files += self._is_file
        if self._files > self._most:
            told = f"The form has more than {self._most} files: send fewer."
            if self._most == 1:
                told = "The form: expected one picture, got more. Send a request for each."
            raise HTTPException(413, told)

    def _came(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._hold(end - start)

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held > _FIELDS + 1000 * self._most:
            raise HTTPException(
                413, "The form has too much that is no file: give each picture a file name."
            )


class _Dressed:
    """What sends an answer, with our headers; a fault that is told as text is told as JSON."""

    def __init__(self, send: Send, body: _Body, *, private: bool) -> None:
        self._send, self._body, self._private = send, body, private
        self._plain: Message | None = None
        self._text = bytearray()
        self.begun = self.endless = False
        """whether an answer is on its way; whether it goes on as long as somebody listens"""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            given = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                given.setdefault(name, value)
            if self._private:
                given.setdefault("Cache-Control", "no-store")
            told = given.get("content-type", "text/plain")
            self.endless = told.startswith("text/event-stream")
            if message["status"] >= 400 and told.startswith("text/plain"):
                self._plain = message
                return
        elif self._plain is not None:
            self._text += message.get("body", b"")
            if message.get("more_body", False):
                return
            detail = self._text.decode(errors="replace").rstrip(".") or "Nothing more is known"
            body = json.dumps({"detail": f"{detail}."}).encode()
            given = MutableHeaders(scope=self._plain)
            given["Content-Type"], given["Content-Length"] = "application/json", str(len(body))
            await self._send(self._plain)
            message = {"type": "http.response.body", "body": body}
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        self.endless = self.endless and not last
        if last and not self._body.whole:
            await self._send({**message, "more_body": True})
            await self._body.leave()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


def _asks_health(scope: Scope) -> bool:
    """Whether somebody asks if the server is there, which is answered however many ask."""
    return scope["path"] == _HEALTH and not _posts(scope)


def address_of(scope: Scope) -> str:
    """Of who asks, without its port; of IPv6 the half that a household or a machine has."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ip_address(host)
    except ValueError:  # a socket's
        return host
    return host if address.version == 4 else str(ip_network((int(address), 64), strict=False))


def _count(places: Counter[str], scope: Scope, number: int) -> None:
    """So many more are taken by who asks."""
    address = address_of(scope)
    places[address] += number
    if not places[address]:
        del places[address]


def _full(places: Counter[str], scope: Scope, most: int) -> bool:
    """Whether there is no place, or none for who asks."""
    return places.total() >= most or places[address_of(scope)] >= ceil(_SHARE * most)


def _name(host: str) -> str:
    """What a server is called in a `Host`, without its port and brackets."""
    name, colon, port = host.rpartition(":")
    whole = name if colon and not port.endswith("]") else host
    return whole.strip("[]").lower()


def _posts(scope: Scope) -> bool:
    return scope["method"] not in ("GET", "HEAD", "OPTIONS")


def of_api(scope: Scope) -> bool:
    """Whether a request is one to the API, and not to the page."""
    return str(scope["path"]).startswith("/api/") or scope["path"] == "/api"


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def _from_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that another site's page, or another server's, sends this."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Over plain http from another machine browsers tell the origin alone.
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def length_of(headers: Headers) -> int:
    """Bytes that a body announces, 0 where it does not tell."""
    stated = headers.get("content-length", "0")
    return int(stated) if stated.isdecimal() else 0
