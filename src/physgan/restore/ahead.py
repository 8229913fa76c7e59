"""Work done ahead of whoever takes its results, by a thread beside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Condition, Thread
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


@contextmanager
def ahead(
    work: Callable[[S], T], items: Iterable[S], *, weight: Callable[[T], int], room: int
) -> Iterator[Iterator[T]]:
    """What `work` makes of each item, in order, made by a thread beside.

    Args:
        work: called in that thread, one item after the other.
        items: to be worked on.
        weight: of a result.
        room: the next item is begun while the results that wait to be taken weigh less together.

    Yields:
        An iterator over the results. What `work` raises, it raises in its place, and what `items`
        raises after all others. When the context ends, the thread ends with the item at hand.
    """
    changed = Condition()
    waiting: deque[tuple[Future[T], int]] = deque()
    given_up = finished = False

    def run() -> None:
        nonlocal finished
        try:
            work_on()
        except BaseException as error:  # of `items` itself
            future = Future[T]()
            future.set_exception(error)
            with changed:
                waiting.append((future, 0))
        finally:
            with changed:
                finished = True
                changed.notify_all()

    def work_on() -> None:
        for item in items:
            with changed:
                while not given_up and waiting and sum(weighs for _, weighs in waiting) >= room:
                    changed.wait()
                if given_up:
                    return
            future, weighs = Future[T](), 0
            try:
                result = work(item)
                weighs = weight(result)
                future.set_result(result)
            except BaseException as error:  # told to who takes it
                future.set_exception(error)
            with changed:
                waiting.append((future, weighs))
                changed.notify_all()

    def taken() -> Iterator[T]:
        while True:
            with changed:
                while not waiting and not finished:
                    changed.wait()
                if not waiting:
                    return
                future, _ = waiting.popleft()
                changed.notify_all()
            yield future.result()

    thread = Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        with changed:
            given_up = True
            changed.notify_all()
        thread.join()
