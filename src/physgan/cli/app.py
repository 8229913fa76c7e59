"""`physgan app`: the web page and the HTTP API."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields

from tyro.conf import UseAppendAction

from physgan.cli.threads import wait_asleep

ENDS_BY_ITSELF = True


@dataclass
class Arguments:
    """Serve the web page and the HTTP API on this machine; Ctrl-C ends it.

    The page is at the address that it prints, the API at /api, described at /api/docs. Everything
    is computed here and nothing is sent anywhere. Anybody who reaches the address can use it: leave
    the host as it is, or put a server in front that asks who they are.
    """

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for other machines to reach it."""
    port: int = 7860
    """Port to listen on; 0 takes a free one."""
    allowed_host: UseAppendAction[tuple[str, ...]] = ()
    """Name by which a server in front of this one is asked for; once for each name."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    megabytes: float = 200
    """Of one upload, at most."""
    megapixels: float = 200
    """Of one picture, and of what is made of it, at most."""
    waiting: int = 100
    """Pictures that may wait while others are restored."""
    at_once: int = 2
    """Pictures that are restored at the same time."""
    seconds: float = 600
    """In which a picture must have come, and must be restored."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.errors import UsageError, install

    wait_asleep()
    for name, least in (("megabytes", 0), ("megapixels", 0), ("seconds", 0), ("at_once", 0)):
        if not getattr(arguments, name) > least:
            given = f"{getattr(arguments, name):g}"
            raise UsageError(f"--{name.replace('_', '-')}", expected="more than 0", got=given)
    if arguments.waiting < 0:
        raise UsageError("--waiting", expected="0 or more", got=str(arguments.waiting))
    if not 0 <= arguments.port <= 65535:
        raise UsageError("--port", expected="0 to 65535", got=str(arguments.port))
    try:
        from physgan.web.desk import Desk, Limits
        from physgan.web.server import serve
    except ImportError as error:
        raise UsageError(
            "the web page",
            expected="gradio and what goes with it to be installed",
            got=str(error),
            remedy=install("web"),
        ) from None

    limits = Limits(**{each.name: getattr(arguments, each.name) for each in fields(Limits)})
    desk = Desk(limits, device=arguments.device)

    def ready(address: str) -> None:
        print(address, flush=True)
        print(f"physgan: the API is described at {address}/api/docs; Ctrl-C ends.", file=sys.stderr)

    def left(number: int) -> None:
        what = "1 picture is" if number == 1 else f"{number} pictures are"
        with suppress(OSError):  # the terminal may have gone
            print(f"physgan: {what} not restored any more.", file=sys.stderr, flush=True)

    status = 0
    try:
        serve(
            desk,
            host=arguments.host,
            port=arguments.port,
            names=arguments.allowed_host,
            ready=ready,
            left=left,
        )
    except KeyboardInterrupt:
        status = 130
    except SystemExit as told:
        status = told.code if isinstance(told.code, int) else 0
    if desk.held:  # threads that do not end, and that Python would wait for
        os._exit(status)
    if status == 130:
        raise KeyboardInterrupt
    return status
