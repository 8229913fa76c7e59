"""Starting quickly, in commands that a person waits for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def starting() -> Iterator[None]:
    """Imports and loads without looking for garbage.

    Importing torch makes objects by the hundred thousand, of which none is garbage: to go through
    them again and again takes a tenth of the start of `restore`. Later on they are left out, too.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()
            gc.enable()
