"""Contact sheets: what stands where, how many pages, and what they never replace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from physgan.errors import ImageError, UsageError
from physgan.restore.panels import line_of_text
from physgan.restore.plan import Job
from physgan.restore.sheet import PER_PAGE, Sheet, pages_of
from tests.training.tiny import write_picture

# Of a cell: 192 px before, 4 between, 192 after; 4 down to the name, 21 px of it; 16 around. A row
# is as high as the highest of its pictures. Above them headings of 21 px and 4 below.
LEFT, HEADING = 16, 25
TOP = 16 + HEADING
AFTER, ACROSS = 196, 388 + 16


def down(tall: int) -> int:
    """From one row to the next."""
    return tall + 25 + 16


def jobs(folder: Path, count: int) -> list[Job]:
    return [Job(folder / f"{n}.png", folder / "out" / f"{n}.png") for n in range(count)]


def painted(path: Path, *colour: float, height: int = 30, width: int = 40) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_picture(path, torch.tensor(colour).view(3, 1, 1).expand(3, height, width))
    return path


def seen(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def test_before_after_and_name(tmp_path: Path) -> None:
    todo = jobs(tmp_path, 6)
    sheet = Sheet(tmp_path / "sheets" / "s.png", todo)
    for number, job in enumerate(todo):
        painted(job.source, *RED)
        painted(job.target, *BLUE)
        assert sheet.add(f"{number}.png", job.source, job.target) is None
    assert sheet.end() == (tmp_path / "sheets" / "s.png", 6, 0)
    assert sheet.end() is None
    page = seen(tmp_path / "sheets" / "s.png")
    assert page.shape == (HEADING + 2 * down(30) + 16, 4 * ACROSS + 16, 3)
    for column in range(4):
        for place, heading in ((0, "before"), (AFTER, "after")):
            line = np.asarray(line_of_text(heading))
            left = LEFT + column * ACROSS + place
            assert (page[16 : 16 + 21, left : left + line.shape[1]] == line).all()
    for number in range(6):
        row, column = divmod(number, 4)
        cell = page[TOP + row * down(30) :, LEFT + column * ACROSS :]
        assert (cell[:30, :40] == (255, 0, 0)).all()
        assert (cell[:30, AFTER : AFTER + 40] == (0, 0, 255)).all()
        assert (cell[34 : 34 + 21, :60] < 100).any()
    assert (page[TOP + down(30) :, LEFT + 2 * ACROSS :] == 255).all()


def test_a_row_is_as_high_as_its_highest_picture(tmp_path: Path) -> None:
    todo = jobs(tmp_path, 6)
    sheet = Sheet(tmp_path / "s.png", todo)
    for number, job in enumerate(todo):
        painted(job.source, *RED, height=100 if number == 1 else 20)
        painted(job.target, *BLUE, height=60 if number == 4 else 20)
        sheet.add(f"{number}.png", job.source, job.target)
    sheet.end()
    page = seen(tmp_path / "s.png")
    assert page.shape[0] == HEADING + down(100) + down(60) + 16
    assert (page[TOP : TOP + 100, LEFT + ACROSS : LEFT + ACROSS + 40] == (255, 0, 0)).all()
    first = page[TOP:, LEFT:]
    assert (first[80:100, :40] == (255, 0, 0)).all()  # pictures stand upon their names
    assert (first[:80, :388] == 255).all()
    below = page[TOP + down(100) :, LEFT:]
    assert (below[:60, AFTER : AFTER + 40] == (0, 0, 255)).all()
    assert (below[40:60, :40] == (255, 0, 0)).all()


def test_large_pictures_are_made_small_and_small_ones_stay(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    sheet = Sheet(tmp_path / "s.png", [job])
    painted(job.source, *RED, height=100, width=400)
    painted(job.target, *BLUE, height=400, width=1600)
    sheet.add("0.png", job.source, job.target)
    sheet.end()
    cell = seen(tmp_path / "s.png")[TOP:, LEFT:]
    assert (cell[:48, :192] == (255, 0, 0)).all()
    assert (cell[:48, AFTER : AFTER + 192] == (0, 0, 255)).all()
    assert (cell[48:52, :388] == 255).all()


def test_what_was_enlarged_is_as_large_before(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    sheet = Sheet(tmp_path / "s.png", [job])
    painted(job.source, *RED, height=10, width=20)
    painted(job.target, *BLUE, height=40, width=80)
    sheet.add("0.png", job.source, job.target)
    sheet.end()
    cell = seen(tmp_path / "s.png")[TOP:, LEFT:]
    assert (cell[:40, :80] == (255, 0, 0)).all()


def test_what_failed_is_there_by_its_name(tmp_path: Path) -> None:
    todo = jobs(tmp_path, 2)
    sheet = Sheet(tmp_path / "s.jpg", todo, others=1)
    painted(todo[0].source, *RED)
    todo[1].source.write_bytes(b"no picture")
    for name, job in (("a", todo[0]), ("b", todo[1])):
        sheet.add(name, job.source, None)
    sheet.add("写真.png", tmp_path / "nothing.png", None)
    assert sheet.end() == (tmp_path / "s.jpg", 3, 3)
    page = seen(tmp_path / "s.jpg")
    for column, before in ((0, True), (1, False), (2, False)):
        cell = page[TOP:, LEFT + column * ACROSS :]
        assert (cell[:30, :192] < 100).any() == before
        assert (cell[:30, AFTER:388] < 100).any()  # "failed"
        assert (cell[34 : 34 + 21, :100] < 100).any()


@pytest.mark.parametrize("kind", ["grey", "alpha", "cmyk", "16"])
def test_kinds_of_pictures(tmp_path: Path, kind: str) -> None:
    modes = {"grey": "L", "alpha": "RGBA", "cmyk": "CMYK", "16": "I;16"}
    (job,) = jobs(tmp_path, 1)
    source = tmp_path / ("a.tif" if kind == "cmyk" else "a.png")
    Image.new(modes[kind], (30, 30)).save(source)
    sheet = Sheet(tmp_path / "s.png", [job])
    sheet.add("a", source, source)
    sheet.end()
    cell = seen(tmp_path / "s.png")[TOP:, LEFT:]
    # Black; clear, which lies on white; no ink.
    assert (cell[:30, :30].mean() > 200) == (kind in ("alpha", "cmyk"))


def test_pages(tmp_path: Path) -> None:
    todo = jobs(tmp_path, PER_PAGE + 1)
    first, second = pages_of(tmp_path / "s.png", len(todo))
    assert (first.name, second.name) == ("s.png", "s-2.png")
    picture = painted(tmp_path / "a" / "x.png", *RED, height=4, width=4)
    sheet = Sheet(tmp_path / "s.png", todo)
    told = [sheet.add(str(n), picture, picture) for n in range(len(todo))]
    assert [t for t in told if t] == [(first, PER_PAGE, 0)]
    assert sheet.end() == (second, 1, 0)
    assert seen(first).shape[0] == HEADING + 10 * down(4) + 16
    assert seen(second).shape[0] == HEADING + down(4) + 16
    # Any of them that is there is in the way, before anything is restored.
    first.unlink()
    with pytest.raises(UsageError, match=r"s-2\.png.*--overwrite"):
        Sheet(tmp_path / "s.png", todo)
    assert len(pages_of(tmp_path / "s.png", PER_PAGE)) == 1


def test_what_a_sheet_must_not_be(tmp_path: Path) -> None:
    todo = jobs(tmp_path, 2)
    for path in (todo[1].source, todo[1].target, tmp_path / "out" / ".." / "0.png"):
        with pytest.raises(UsageError, match="that of a picture of this run"):
            Sheet(path, todo, overwrite=True)
    with pytest.raises(UsageError, match=r"ending in \.png, \.jpg, \.jpeg"):
        Sheet(tmp_path / "s.pdf", todo)
    with pytest.raises(UsageError, match="results that replace them"):
        Sheet(tmp_path / "s.png", [Job(tmp_path / "a.png", tmp_path / "b" / ".." / "a.png")])


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, 1)
    (tmp_path / "file").write_bytes(b"")
    sheet = Sheet(tmp_path / "file" / "s.png", [job])
    sheet.add("a", job.source, None)
    with pytest.raises(ImageError, match="a place that can be written"):
        sheet.end()


def test_a_page_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "s.png", jobs(tmp_path, 1))
    sheet.add("0.png", painted(tmp_path / "0.png", 1, 0, 0), None)
    (tmp_path / "s.png").write_text("mine", encoding="utf-8")
    with pytest.raises(ImageError, match=r"s\.png"):
        sheet.end()
    assert (tmp_path / "s.png").read_text(encoding="utf-8") == "mine"
