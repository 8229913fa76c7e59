"""The desk: what it takes, in which order, and what it tells of what it does not take."""

import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from physgan.errors import ImageError, KindError, UsageError
from physgan.images import picture as picture_module
from physgan.images.picture import Page, page_of
from physgan.restore.device import Elsewhere
from physgan.restore.file import restore_file
from physgan.restore.progress import Progress
from physgan.restore.restorer import Restorer
from physgan.web import desk as desk_module
from physgan.web.desk import PAGES, Busy, Cancelled, Desk, Limits, TooLarge, TooSlow, renamed
from tests.web.serving import picture


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "observed.png"
    path.write_bytes(picture(40, 50))
    return path


def test_a_picture_comes_back_as_the_restorer_makes_it(tmp_path: Path, source: Path) -> None:
    desk = Desk(device="cpu")
    ticket = desk.submit(source, tmp_path, task="derain", strength=0.5, name="a b.png")
    restored = ticket.future.result(60)
    desk.close()
    assert (ticket.name, restored.parent, ticket.share) == ("a b.png", tmp_path, 1.0)
    alone = tmp_path / "alone.png"
    Restorer.from_pretrained("derain", device="cpu").restore_file(source, alone, strength=0.5)
    assert restored.read_bytes() == alone.read_bytes()
    assert desk.held == 0


def test_the_content_chooses_the_kind_where_the_name_does_not(tmp_path: Path) -> None:
    source = tmp_path / "observed"
    source.write_bytes(picture(20, 20, kind="WEBP"))
    desk = Desk(device="cpu")
    ticket = desk.submit(source, tmp_path, task="derain", name="photo")
    restored = ticket.future.result(60)
    desk.close()
    assert ticket.name == "photo.webp"
    with Image.open(restored) as opened:
        assert opened.format == "WEBP"


def test_what_came_before_decides_on_no_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "observed.png"
    source.write_bytes(picture(80, 80))  # enough to tell
    monkeypatch.setattr("physgan.restore.device.has_bf16", lambda device: True)
    answers = iter((False, True))
    monkeypatch.setattr("physgan.restore.device.bf16_serves", lambda fn, y: next(answers))
    chosen: list[str] = []

    def noted(fn: Elsewhere, *given: Any, **more: Any) -> None:
        restore_file(fn, *given, **more)
        chosen.append(fn.precision)

    monkeypatch.setattr("physgan.web.desk.restore_file", noted)
    desk = Desk(device="cpu")
    for name in "ab":
        (tmp_path / name).mkdir()
        desk.submit(source, tmp_path / name, task="derain", name="a.png").future.result(60)
    desk.close()
    assert chosen == ["fp32", "bf16"]


def test_no_more_than_it_holds(tmp_path: Path, source: Path) -> None:
    desk = Desk(Limits(waiting=1, at_once=1), device="cpu")
    gate = threading.Event()
    desk._pool.submit(gate.wait)  # the one worker is busy with something else
    tickets = [desk.submit(source, tmp_path / n, task="derain", name="a.png") for n in "ab"]
    assert desk.full
    with pytest.raises(Busy, match="Come back"):
        desk.submit(source, tmp_path / "c", task="derain", name="a.png")
    gate.set()
    for ticket in tickets:
        ticket.future.result(60)
    assert not desk.full
    desk.close()


def test_what_is_cancelled_before_it_began_is_not_restored(tmp_path: Path, source: Path) -> None:
    desk = Desk(Limits(at_once=1), device="cpu")
    gate = threading.Event()
    desk._pool.submit(gate.wait)
    ticket = desk.submit(source, tmp_path, task="derain", name="a.png")
    ticket.cancel()
    gate.set()
    with pytest.raises(Cancelled):
        ticket.future.result(60)
    desk.close()
    assert not ticket.begun
    assert [path.name for path in tmp_path.iterdir()] == ["observed.png"]


def test_what_is_cancelled_underway_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "observed.tif"
    pages = [Image.open(BytesIO(picture(320, 320, seed=n))) for n in range(12)]
    pages[0].save(source, save_all=True, append_images=pages[1:])
    desk = Desk(Limits(at_once=1), device="cpu")
    ticket = desk.submit(source, tmp_path, task="derain", name="a.tif")
    while not ticket.begun:
        assert not ticket.future.done()
    ticket.cancel()
    with pytest.raises(Cancelled):
        ticket.future.result(60)
    desk.close()
    assert ticket.share < 1
    assert [path.name for path in tmp_path.iterdir()] == ["observed.tif"]


def test_what_is_cancelled_while_it_is_read_reads_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "observed.tif"
    pages = [Image.open(BytesIO(picture(20, 20, seed=n))) for n in range(6)]
    pages[0].save(source, save_all=True, append_images=pages[1:])
    handed_in, read = threading.Event(), list[Page]()

    def slowly(*arguments: Any) -> Page:
        assert handed_in.wait(60)
        read.append(page_of(*arguments))
        ticket.cancel()
        return read[-1]

    monkeypatch.setattr(picture_module, "page_of", slowly)
    desk = Desk(Limits(at_once=1), device="cpu")
    ticket = desk.submit(source, tmp_path, task="derain", name="a.tif")
    handed_in.set()
    with pytest.raises(Cancelled):
        ticket.future.result(60)
    desk.close()
    assert len(read) == 1


def test_too_many_pixels_are_refused_by_the_head_of_the_file(tmp_path: Path) -> None:
    source = tmp_path / "observed.png"
    Image.fromarray(np.zeros((3000, 4000), "uint8")).save(source)  # 12 megapixels in 12 kB
    desk = Desk(Limits(megapixels=10), device="cpu")
    with pytest.raises(TooLarge, match=r"got 12\.0\."):
        desk.submit(source, tmp_path, task="derain", name="bomb.png")
    desk.close()
    assert desk.held == 0


def test_frames_count_together(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((100, 100), n, "uint8")) for n in range(0, 200, 10)]
    content = BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    source = tmp_path / "observed.gif"
    source.write_bytes(content.getvalue())
    desk = Desk(Limits(megapixels=0.15), device="cpu")
    with pytest.raises(TooLarge, match=r"got 0\.2\."):
        desk.submit(source, tmp_path, task="derain", name="a.gif")
    desk.close()


def test_pixels_of_the_result_count(tmp_path: Path, source: Path) -> None:
    desk = Desk(Limits(megapixels=0.02), device="cpu")
    desk.submit(source, tmp_path, task="derain", name="a.png").future.result(60)
    with pytest.raises(TooLarge, match=r"4 times as large, got 0\.0\."):
        desk.submit(source, tmp_path, task="sr4", name="a.png")
    desk.close()


def test_pages_count_however_small(tmp_path: Path) -> None:
    source = tmp_path / "observed.tif"
    pages = [Image.new("L", (2, 2))] * (PAGES + 1)
    pages[0].save(source, save_all=True, append_images=pages[1:])
    desk = Desk(device="cpu")
    with pytest.raises(TooLarge, match=f"{PAGES} pages, got {PAGES + 1}"):
        desk.submit(source, tmp_path, task="derain", name="a.tif")
    desk.close()


def test_what_is_cancelled_while_it_waits_ends_at_once(tmp_path: Path, source: Path) -> None:
    desk = Desk(Limits(at_once=1), device="cpu")
    gate = threading.Event()
    desk._pool.submit(gate.wait)  # for as long as this test takes
    ticket = desk.submit(source, tmp_path, task="derain", name="a.png")
    ticket.cancel()
    with pytest.raises(Cancelled):
        ticket.future.result(0)
    assert desk.held == 0
    left = desk.submit(source, tmp_path, task="derain", name="b.png")
    desk.close()
    with pytest.raises(Cancelled):
        left.future.result(0)
    gate.set()


def test_restoring_has_its_time(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*_: object, progress: Progress, **__: object) -> None:
        for _number in range(100):
            time.sleep(0.02)
            progress(0.5)

    monkeypatch.setattr(desk_module, "restore_file", slowly)
    desk = Desk(Limits(seconds=0.2), device="cpu")
    ticket = desk.submit(source, tmp_path, task="derain", name="a.png")
    with pytest.raises(TooSlow, match=r"'a\.png': expected at most 0\.2 seconds"):
        ticket.future.result(60)
    desk.close()


def test_what_does_not_end_is_left(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), threading.Event()

    def forever(*_: object, **__: object) -> None:
        begun.set()
        gate.wait()

    monkeypatch.setattr(desk_module, "restore_file", forever)
    desk = Desk(device="cpu")
    desk.submit(source, tmp_path, task="derain", name="a.png")
    begun.wait()
    desk.close(patience=0.1)
    assert desk.held == 1
    gate.set()
    desk.close()
    assert desk.held == 0


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strengths_that_are_none(tmp_path: Path, source: Path, strength: float) -> None:
    desk = Desk(device="cpu")
    with pytest.raises(UsageError, match="strength"):
        desk.submit(source, tmp_path, task="derain", strength=strength, name="a.png")
    with pytest.raises(UsageError, match="Did you mean 'derain'"):
        desk.submit(source, tmp_path, task="deraim", name="a.png")
    with pytest.raises(UsageError) as unknown:
        desk.submit(source, tmp_path, task="zzz", name="a.png")
    assert str(unknown.value).count("derain") == 1
    desk.close()


def test_faults_speak_of_the_picture_and_not_of_the_servers_files(tmp_path: Path) -> None:
    desk = Desk(device="cpu")
    source = tmp_path / "observed.png"
    source.write_text("no picture at all")
    with pytest.raises(KindError) as refused:
        desk.submit(source, tmp_path, task="derain", name="holiday.png")
    source.write_bytes(picture(60, 60)[:2000])
    ticket = desk.submit(source, tmp_path, task="derain", name="holiday.png")
    with pytest.raises(ImageError) as damaged:
        ticket.future.result(60)
    desk.close()
    for error in (refused.value, damaged.value):
        assert "holiday.png" in str(error)
        assert str(tmp_path) not in str(error)
        assert "observed" not in str(error)


def test_renamed_keeps_the_type_and_the_parts() -> None:
    error = ImageError("picture '/t/a.png'", expected="/t/c.png", got="/t", remedy="r")
    told = renamed(error, {Path("/t/a.png"): "b.png", Path("/t/c.png"): "d.png"})
    assert type(told) is ImageError
    assert (told.what, told.expected, told.got, told.remedy) == (
        "picture 'b.png'",
        "d.png",
        "its folder",
        "r",
    )
