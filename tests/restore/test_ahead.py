"""Work done ahead: in order, no further than there is room, with faults in their place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from physgan.restore.ahead import ahead


def test_results_come_in_order_from_one_other_thread() -> None:
    threads = set()

    def squared(i: int) -> int:
        threads.add(threading.current_thread())
        return i * i

    with ahead(squared, range(50), weight=lambda result: 1, room=3) as results:
        assert list(results) == [i * i for i in range(50)]
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert not threads.pop().is_alive()


@pytest.mark.parametrize(("weight", "begun"), [(1, 5), (2, 3), (100, 2)])
def test_no_further_than_there_is_room(weight: int, begun: int) -> None:
    seen: list[int] = []
    with ahead(seen.append, range(10), weight=lambda result: weight, room=4) as results:
        next(results)
        deadline = time.monotonic() + 10
        while len(seen) < begun and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(seen) == begun  # one is taken, the others wait
    assert len(seen) <= begun + 1


def test_a_fault_comes_in_its_place_and_ends_the_thread() -> None:
    def work(i: int) -> int:
        if i == 2:
            raise KeyError("two")
        return i

    with ahead(work, range(4), weight=lambda _: 1, room=9) as results:
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(KeyError):
            next(results)


def test_nothing_to_do() -> None:
    with ahead(str, (), weight=len, room=1) as results:
        assert list(results) == []


def test_a_fault_of_the_items_comes_last() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    with ahead(str, items(), weight=len, room=10) as results:
        assert next(results) == "1"
        with pytest.raises(KeyError, match="no more"):
            next(results)
        assert list(results) == []
