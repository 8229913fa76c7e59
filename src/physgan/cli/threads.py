"""How the threads of one computation wait for each other, in commands that a person waits for."""

from __future__ import annotations

import os

_SPINS = "20000"


def wait_asleep() -> None:
    """Has threads that wait for each other fall asleep sooner than OpenMP would have them.

    GNU's waits some milliseconds with the processor held. Where other programs want it, these are
    lost for the thread that is waited for: a photograph took minutes that took half a minute with
    one thread. Where nobody wants it, a fifteenth of that wait is as fast. Whoever has set how
    threads wait is left alone. Heeded by a torch that is imported later.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
