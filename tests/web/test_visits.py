"""What one opened page asks for, without a browser: who cancels is heeded, whenever that is."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio
import pytest
from gradio.state_holder import StateHolder

from physgan.restore.file import restore_file
from physgan.web import page
from physgan.web.desk import Desk, Limits
from tests.web.serving import picture


@pytest.fixture
def busy() -> Iterator[tuple[Desk, threading.Event]]:
    """A desk whose one worker is held until the event is set."""
    desk, gate = Desk(Limits(waiting=0, at_once=1), device="cpu"), threading.Event()
    desk._pool.submit(gate.wait)
    yield desk, gate
    gate.set()
    desk.close()


@pytest.mark.parametrize("looks", [0, 2])
@pytest.mark.parametrize("full", [False, True])
def test_cancel_is_heeded_before_anything_is_restored(
    tmp_path: Path, busy: tuple[Desk, threading.Event], looks: int, *, full: bool
) -> None:
    desk, gate = busy
    uploads = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for upload in uploads:
        upload.write_bytes(picture(20, 20))
    if full:
        desk.submit(uploads[0], tmp_path, task="derain", name="other.png")
    visit = page._Visit(tmp_path)
    folder, faults, told = visit.begin(), dict[int, str](), list[str]()

    async def pressed() -> None:
        if not looks:
            visit.cancel()
        files = map(str, uploads)
        async for text in page._restored(desk, visit, folder, files, "derain", 1.0, faults):
            told.append(text)
            if len(told) == looks:
                visit.cancel()

    asyncio.run(asyncio.wait_for(pressed(), 20))
    assert not gate.is_set()
    assert visit.done == []
    assert faults == {n: f"{'abc'[n]}.png: cancelled, not restored." for n in range(3)}
    assert "Cancelling" in told[-1]
    assert "Cancelled. Nothing restored." in page._ended([], ["a"], cancelled=True)
    visit.empty()
    assert not folder.exists()


def test_one_fault_costs_no_other_picture_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(Limits(megapixels=0.001, at_once=1), device="cpu")
    uploads = [tmp_path / name for name in ("a.png", "b.png", "c.png", "large.png")]
    for upload in uploads:
        upload.write_bytes(picture(20, 20) if upload.stem != "large" else picture(90, 90))
    restored = 0

    def failing(*given: Any, **more: Any) -> None:
        nonlocal restored
        restored += 1
        if restored == 2:
            raise MemoryError("nothing left")
        restore_file(*given, **more)

    monkeypatch.setattr("physgan.web.desk.restore_file", failing)
    visit = page._Visit(tmp_path)
    folder, faults = visit.begin(), dict[int, str]()

    async def asked() -> None:
        files = map(str, uploads)
        async for _ in page._restored(desk, visit, folder, files, "derain", 1.0, faults):
            pass

    asyncio.run(asyncio.wait_for(asked(), 60))
    desk.close()
    assert [done.name for done in visit.done] == ["a.png", "c.png"]
    assert faults.keys() == {1, 3}
    assert faults[1].startswith("b.png: something went wrong")
    assert "megapixels" in faults[3]
    assert len(list(folder.iterdir())) == 2  # of what was refused and what failed nothing is left


def test_uploads_go_with_the_last_page_that_has_them(tmp_path: Path) -> None:
    one, other = (gradio.Request(session_hash=name) for name in "xy")
    uploads = tmp_path / "page"
    own, both = uploads / "1" / "a.png", uploads / "2" / "b.png"
    for path in (own, both):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    example = tmp_path / "example.png"
    example.write_bytes(b"")
    visits = page._Visits(tmp_path, uploads)
    visits.uploaded([str(own), str(both), str(example)], one)
    visits.uploaded([str(both)], other)
    visits.left(one)
    assert (own.parent.exists(), both.exists(), example.exists()) == (False, True, True)
    visits.left(other)
    assert not both.parent.exists()


def test_pages_are_remembered_up_to_a_number(
    tmp_path: Path, busy: tuple[Desk, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "VISITS", 3)
    visits = page._Visits(tmp_path, tmp_path / "page")
    upload = tmp_path / "page" / "1" / "a.png"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(picture(20, 20))
    asks = {name: gradio.Request(session_hash=name) for name in "abcdef"}
    at = {name: visits.of(asks[name]) for name in "abc"}
    ticket = busy[0].submit(upload, tmp_path, task="derain", name="a.png")
    at["a"].tickets.append(ticket)
    visits.uploaded([str(upload)], asks["b"])
    visits.of(asks["d"])  # "c" was seen last before "b"
    assert upload.exists()
    assert list(visits._visits) == ["a", "b", "d"]
    at["d"] = visits.of(asks["d"])
    at["d"].restoring += 1
    visits.of(asks["e"])
    assert not upload.exists()
    assert list(visits._visits) == ["a", "d", "e"]
    ticket.cancel()
    visits.of(asks["f"])
    assert list(visits._visits) == ["d", "e", "f"]


def test_gradio_remembers_few_pages(tmp_path: Path) -> None:
    untyped: Any = StateHolder
    desk, holder = Desk(device="cpu"), untyped()

    async def built() -> None:  # gradio makes a loop, and leaves it, where none runs
        holder.set_blocks(page._page(desk, page._Visits(tmp_path, tmp_path), []))

    asyncio.run(built())
    desk.close()
    assert holder.capacity == page._SESSIONS


def test_a_page_has_one_visit_whichever_threads_ask(tmp_path: Path) -> None:
    visits = page._Visits(tmp_path, tmp_path / "page")
    faults: list[BaseException] = []
    begin = threading.Barrier(8)

    def ask(number: int) -> None:
        try:
            for turn in range(300):
                request = gradio.Request(session_hash=str(turn))
                begin.wait(20)
                found[turn].append(visits.of(request))
                path = tmp_path / "page" / f"{turn}-{number}" / "a.png"
                visits.uploaded([str(path)], request)
                visits.left(gradio.Request(session_hash=str(turn - 5)))
        except BaseException as error:
            faults.append(error)
            begin.abort()

    found: list[list[page._Visit]] = [[] for _ in range(300)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert faults == []
    assert [len(set(map(id, each))) for each in found] == [1] * 300
    assert [len(each[0].uploads) for each in found] == [8] * 300
    assert list(visits._visits) == [str(turn) for turn in range(295, 300)]


def test_before_the_first_tile_the_bar_tells_no_share() -> None:
    told = page._progress(0, 1, 0.0, waits=False, stopped=False)
    assert "<progress" in told
    assert "value=" not in told  # browsers move such a bar, and no share is invented
    assert 'value="0.250"' in page._progress(0, 1, 0.25, waits=False, stopped=False)


def test_what_is_told_of_a_task_is_for_people() -> None:
    desk = Desk(device="cpu")
    for name, info in desk.tasks.items():
        told = page._about(name, info).partition("<details>")[0]
        assert "experimental:" not in told
        assert page.ABOUT[name].split(":")[0] in told
        rows: Any = info.measured
        assert f"{rows[1]['input_psnr']:.1f}" in page._about(name, info)
    desk.close()
    assert "trust no digit and no name" in page.ABOUT["deblur-text"]
    assert "Do not run it over an album or over scans" in page.ABOUT["dehaze"]
