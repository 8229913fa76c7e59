"""Connections as uvicorn has them, given up where the other side is too slow.

Nobody may hold one without asking for something, nor by not taking what was asked for.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from physgan.web.guard import HEADERS

HEAD = 15.0
"""seconds in which the head of a request must have come, whole"""
TAKEN = 60.0
"""seconds in which some of an answer must be taken: what lies in the buffer, 64 KiB at most"""


class Connection(H11Protocol):
    """uvicorn's connection with limits of time; a request that is none is answered in JSON."""

    _late: asyncio.TimerHandle | None = None
    """ends the connection, unless the other side does what it is waited for"""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def send_400_response(self, msg: str) -> None:
        if self._idle:  # else an answer is under way, and this would stand in the midst of it
            body = json.dumps({"detail": msg}).encode()
            headers: dict[str, Any] = {
                **HEADERS,
                "Content-Type": "application/json",
                "Content-Length": len(body),
                "Connection": "close",
            }
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{lines}\r\n".encode() + body)
        self.transport.close()

    @property
    def _idle(self) -> bool:
        # There is none before the first request, whatever its type says.
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    def _look(self) -> None:
        if not (self._idle or self.flow.write_paused):
            self._forget()
        elif self._late is None:
            seconds = TAKEN if self.transport.get_write_buffer_size() else HEAD
            self._late = self.loop.call_later(seconds, self.transport.abort)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
