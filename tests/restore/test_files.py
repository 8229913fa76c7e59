"""Files and folders: what goes where, and that one fault costs no other picture its result."""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pyvips
import torch

from physgan.errors import OutOfMemory, PhysganError, UsageError
from physgan.images import strips, write
from physgan.images.picture import read_picture
from physgan.restore import file, files
from physgan.restore.device import Elsewhere
from physgan.restore.file import restore_file
from physgan.restore.files import restore_files
from physgan.restore.plan import Job, plan
from physgan.restore.sheet import Sheet
from tests.restore.small import Inverts
from tests.training.tiny import write_picture


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """Two pictures, one deeper, one with a name of other scripts, a stray file, a damaged one."""
    for i, name in enumerate(["in/a.png", "in/Ünï 写真.png", "in/deep/b.png"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / name, torch.rand(3, 8 + i, 9))
    (tmp_path / "in" / "notes.txt").write_text("hello", encoding="utf-8")
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    return tmp_path


def names(jobs: list[Job], output: Path) -> list[str]:
    return sorted(job.target.relative_to(output).as_posix() for job in jobs)


def test_relative_paths_and_names_are_kept(ground: Path) -> None:
    out = ground / "out"
    jobs, faults, stray, unentered, linked = plan([ground / "in"], out, recursive=True)
    assert not linked
    assert unentered == 0
    assert names(jobs, out) == ["a.png", "broken.png", "deep/b.png", "Ünï 写真.png"]
    assert [path.name for path in stray] == ["notes.txt"]
    assert not faults
    flat, *_ = plan([ground / "in"], out)
    assert "deep/b.png" not in names(flat, out)
    single, none, *_ = plan([ground / "in" / "deep" / "b.png"], out)
    assert names(single, out) == ["b.png"]
    assert not none


def test_clashes_and_things_that_are_not_there_are_faults(ground: Path) -> None:
    (ground / "other").mkdir()
    write_picture(ground / "other" / "a.png", torch.rand(3, 8, 8))
    jobs, faults, *_ = plan(
        [ground / "in" / "a.png", ground / "other", ground / "nothing.png"], ground / "out"
    )
    assert [job.source.parent.name for job in jobs] == ["in"]
    texts = [str(fault.error) for fault in faults]
    assert any("for both" in text for text in texts)
    assert any("nothing there" in text for text in texts)


def test_a_picture_that_is_named_twice_is_restored_once(ground: Path) -> None:
    one = ground / "in" / "a.png"
    again = ground / "in" / ".." / "in" / "a.png"
    jobs, faults, *_ = plan([one, again, ground / "in"], ground / "out")
    assert [job.source for job in jobs].count(one) == 1
    assert [job.target.name for job in jobs].count("a.png") == 1
    assert not faults


def test_a_folder_without_pictures_is_a_fault(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    jobs, (fault,), *_ = plan([empty], tmp_path / "out")
    assert not jobs
    assert fault.source == empty
    assert "--recursive" not in str(fault.error)
    (empty / "deep").mkdir()
    write_picture(empty / "deep" / "a.png", torch.rand(3, 8, 8))
    _, (fault,), *_ = plan([empty], tmp_path / "out")
    assert "--recursive" in str(fault.error)


def test_folders_that_are_not_entered_are_counted(ground: Path) -> None:
    inside = ground / "in"
    assert plan([inside], ground / "out").unentered == 1
    (inside / "more" / "deeper").mkdir(parents=True)
    (inside / ".hidden").mkdir()
    (inside / "link").symlink_to(ground)
    assert plan([inside], ground / "out").unentered == 2
    assert plan([inside, inside / "a.png"], inside / "more").unentered == 1  # results of before
    assert plan([inside], ground / "out", recursive=True).unentered == 0
    assert plan([inside / "more"], ground / "out").unentered == 0  # a fault, which tells of it


def test_results_within_the_input_are_not_restored_again(ground: Path) -> None:
    out = ground / "in" / "restored"
    for _ in range(2):
        jobs, *_ = plan([ground / "in"], out, recursive=True)
        assert len(jobs) == 4
        list(restore_files(Inverts(), jobs, overwrite=True))


def test_an_output_above_the_input_hides_nothing(ground: Path) -> None:
    jobs, faults, *_ = plan([ground / "in"], ground, recursive=True)
    assert len(jobs) == 4
    assert not faults


def test_one_damaged_picture_costs_no_other(ground: Path) -> None:
    jobs, *_ = plan([ground / "in"], ground / "out", recursive=True)
    outcomes = {o.source.name: o for o in restore_files(Inverts(), jobs)}
    assert outcomes["broken.png"].status == "failed"
    assert "broken.png" in str(outcomes["broken.png"].error)
    assert {n for n, o in outcomes.items() if o.status == "restored"} == {
        "a.png", "b.png", "Ünï 写真.png",
    }  # fmt: skip
    assert not (ground / "out" / "broken.png").exists()
    y, x_hat = (
        read_picture(path).pages[0].colour
        for path in (ground / "in" / "deep" / "b.png", ground / "out" / "deep" / "b.png")
    )
    assert torch.allclose(x_hat, 1 - y, atol=1 / 255)


def test_what_is_there_stays_unless_asked(ground: Path) -> None:
    jobs, *_ = plan([ground / "in" / "a.png"], ground / "out")
    (ground / "out").mkdir()
    target = ground / "out" / "a.png"
    target.write_bytes(b"precious")
    (refused,) = restore_files(Inverts(), jobs)
    assert refused.status == "failed"
    assert "--overwrite" in str(refused.error)
    (left,) = restore_files(Inverts(), jobs, skip_existing=True)
    assert left.status == "skipped"
    assert target.read_bytes() == b"precious"
    (done,) = restore_files(Inverts(), jobs, overwrite=True)
    assert done.status == "restored"
    assert read_picture(target).pages[0].colour.shape == (3, 8, 9)


def test_every_page_is_restored_and_the_form_kept(tmp_path: Path) -> None:
    pages = [pyvips.Image.black(6, 5, bands=3).linear(1, 5000 * i).cast("ushort") for i in range(3)]
    whole = pyvips.Image.arrayjoin(pages, across=1).copy(interpretation="rgb16")
    whole.set_type(pyvips.GValue.gint_type, "page-height", 5)
    whole.write_to_file(str(tmp_path / "pages.tif"))
    restore_file(Inverts(scale=2), tmp_path / "pages.tif", tmp_path / "out" / "pages.tif")
    back = pyvips.Image.new_from_file(str(tmp_path / "out" / "pages.tif"), n=-1)
    assert (back.width, back.get("page-height"), back.get("n-pages")) == (12, 10, 3)
    assert back.format == "ushort"
    assert [back(0, 10 * i)[0] for i in range(3)] == [65535 - 5000 * i for i in range(3)]


def test_a_failed_result_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "a.png", torch.rand(3, 8, 8))

    class Breaks(Inverts):
        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("something broke")

    with pytest.raises(RuntimeError, match="something broke"):
        restore_file(Breaks(), tmp_path / "a.png", tmp_path / "out" / "a.png")
    assert not (tmp_path / "out").exists()


def test_progress_goes_over_all_pages(tmp_path: Path) -> None:
    pages = [pyvips.Image.black(300, 256, bands=3).cast("uchar") for _ in range(4)]
    whole = pyvips.Image.arrayjoin(pages, across=1).copy(interpretation="srgb")
    whole.set_type(pyvips.GValue.gint_type, "page-height", 256)
    whole.write_to_file(str(tmp_path / "pages.tif"))
    shares: list[float] = []
    restore_file(Inverts(), tmp_path / "pages.tif", tmp_path / "o.tif", progress=shares.append)
    # Before each page is read, and after each is restored.
    assert shares == [0.0] * 4 + [0.25, 0.5, 0.75, 1.0]


def test_a_folder_that_may_not_be_looked_into_is_told(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    jobs, faults, *_ = plan([ground / "in"], ground / "out", recursive=True)
    assert "deep/b.png" not in names(jobs, ground / "out")
    assert len(jobs) == 3
    assert any("deep" in str(f.source) and "may not be looked at" in str(f.error) for f in faults)
    _, faults, *_ = plan([ground / "in" / "deep"], ground / "out")
    assert len(faults) == 1  # and not that there is nothing in it, which nobody knows


def test_hidden_folders_are_left_alone(ground: Path) -> None:
    write_picture(ground / "in" / "a.png", torch.rand(3, 8, 8))
    (ground / "in" / ".thumbs").mkdir()
    write_picture(ground / "in" / ".thumbs" / "a.png", torch.rand(3, 8, 8))
    jobs, *_ = plan([ground / "in"], ground / "out", recursive=True)
    assert not [job for job in jobs if ".thumbs" in job.source.parts]


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[str]]:
    """Small and larger pictures, one of several pages, one that is damaged: names in order."""
    (tmp_path / "in").mkdir()
    draws = torch.Generator().manual_seed(0)
    kinds: list[str] = []
    for i in range(40):
        name = f"{i:02d}.png"
        side = (16, 20, 90, 300)[i % 4]
        write_picture(tmp_path / "in" / name, torch.rand(3, side, side + i % 3, generator=draws))
        kinds.append(name)
    (tmp_path / "in" / "07.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    pages = [pyvips.Image.black(9, 8, bands=3).linear(1, 50 * i).cast("uchar") for i in range(3)]
    roll = pyvips.Image.arrayjoin(pages, across=1).copy(interpretation="srgb")
    roll.set_type(pyvips.GValue.gint_type, "page-height", 8)
    roll.write_to_file(str(tmp_path / "in" / "40.tif"))
    return tmp_path, [*kinds, "40.tif"]


def test_a_folder_comes_out_as_its_files_do_alone(folder: tuple[Path, list[str]]) -> None:
    place, kinds = folder
    jobs, *_ = plan([place / "in"], place / "out")
    shares: list[float] = []
    outcomes = list(restore_files(Inverts(), jobs, progress=shares.append))
    assert [o.source.name for o in outcomes] == kinds
    assert [o.source.name for o in outcomes if o.status != "restored"] == ["07.png"]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    for outcome in outcomes:
        if outcome.status == "restored":
            assert outcome.seconds > 0
            alone = place / "alone" / outcome.source.name
            restore_file(Inverts(), outcome.source, alone)
            assert outcome.target.read_bytes() == alone.read_bytes()


def test_a_group_that_fails_fails_one_by_one(folder: tuple[Path, list[str]]) -> None:
    place, _ = folder
    jobs, *_ = plan([place / "in"], place / "out")

    class Refuses(Inverts):
        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            if y.shape[2] == 20:
                raise PhysganError("a picture", expected="another height", got="20 rows")
            return super().__call__(y)

    outcomes = list(restore_files(Refuses(), jobs))
    failed = {o.source.name for o in outcomes if o.status == "failed"}
    assert failed == {f"{i:02d}.png" for i in range(1, 40, 4)} | {"07.png"}
    for outcome in outcomes:
        assert outcome.target.exists() == (outcome.status == "restored")


def test_two_jobs_for_one_target(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, torch.rand(3, 8, 8))
    jobs = [Job(tmp_path / name, tmp_path / "out" / "c.png") for name in ("a.png", "b.png")]
    for overwrite, second in ((True, "failed"), (False, "skipped")):
        (tmp_path / "out" / "c.png").unlink(missing_ok=True)
        outcomes = restore_files(Inverts(), jobs, overwrite=overwrite, skip_existing=not overwrite)
        assert [o.status for o in outcomes] == ["restored", second]


def test_ending_early_finishes_what_was_restored(folder: tuple[Path, list[str]]) -> None:
    place, _ = folder
    jobs, *_ = plan([place / "in"], place / "out")
    outcomes = restore_files(Inverts(), jobs)
    assert next(outcomes).status == "restored"
    outcomes.close()
    for path in (place / "out").iterdir():
        read_picture(path)  # whole
    assert not [path for path in (place / "out").iterdir() if path.name.startswith(".")]


def small(place: Path, count: int, side: int = 20) -> list[Job]:
    jobs = []
    for i in range(count):
        (place / "in").mkdir(exist_ok=True)
        write_picture(place / "in" / f"{i:03d}.png", torch.rand(3, side, side))
        jobs.append(Job(place / "in" / f"{i:03d}.png", place / "out" / f"{i:03d}.png"))
    return jobs


def test_who_wants_the_run_to_end_is_heard_at_once(tmp_path: Path) -> None:
    jobs = small(tmp_path, 1)
    for i in range(4):
        write_picture(tmp_path / "in" / f"large{i}.png", torch.rand(3, 300, 300))
        jobs.append(Job(tmp_path / "in" / f"large{i}.png", tmp_path / "out" / f"large{i}.png"))

    class Interrupted(Inverts):
        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            if y.shape[2] == 300:
                self.sizes.append(tuple(y.shape))
                raise KeyboardInterrupt
            return super().__call__(y)

    fn = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        list(restore_files(fn, jobs))
    assert len([size for size in fn.sizes if size[2] == 300]) == 1


def test_results_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = small(tmp_path, 24, side=260)
    fn = Inverts()
    unwritten: list[int] = []
    written = 0

    def slow(target: Path, picture: object, **_: object) -> None:
        nonlocal written
        time.sleep(0.02)
        written += 1
        unwritten.append(len(fn.sizes) - written)

    monkeypatch.setattr(files, "write_file", slow)
    assert len(list(restore_files(fn, jobs))) == 24
    assert max(unwritten) <= 3


def test_a_target_that_comes_to_be_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two names of one folder, and a file that somebody else writes meanwhile."""
    (job,) = small(tmp_path, 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    again = Job(job.source, tmp_path / "link" / job.target.name)
    outcomes = list(restore_files(Inverts(), [job, again]))
    assert [o.status for o in outcomes] == ["restored", "failed"]
    monkeypatch.setattr(file, "STREAMED", 0)
    job.target.unlink()

    class Meanwhile(Inverts):
        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            job.target.write_bytes(b"precious")
            return super().__call__(y)

    meanwhile = Meanwhile()
    meanwhile.global_statistics = True  # restored whole, written in the end
    (outcome,) = restore_files(meanwhile, [job])
    assert outcome.status == "failed"
    assert job.target.read_bytes() == b"precious"


def test_a_name_that_no_result_can_have_is_refused_before_the_work(tmp_path: Path) -> None:
    (job,) = small(tmp_path, 1)
    fn = Inverts()
    (outcome,) = restore_files(fn, [Job(job.source, tmp_path / "out" / "noext")])
    assert "a name ending in" in str(outcome.error)
    assert not fn.sizes


@pytest.mark.parametrize("streamed", [False, True])
def test_what_comes_to_be_while_a_result_is_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    """As another run into the same folder, or its owner, may do at any moment."""
    if streamed:
        monkeypatch.setattr(file, "STREAMED", 0)
    saving = write.save

    def late(path: Path, *more: Any, **options: Any) -> None:
        path.write_bytes(b"somebody's")
        saving(path, *more, **options)

    monkeypatch.setattr(write, "save", late)
    monkeypatch.setattr(strips, "save", late)
    (job,) = small(tmp_path, 1)
    (outcome,) = restore_files(Inverts(), [job])
    assert outcome.status == "failed"
    assert "no file of that name" in str(outcome.error)
    assert job.target.read_bytes() == b"somebody's"
    assert [path.name for path in job.target.parent.iterdir()] == [job.target.name]
    (outcome,) = restore_files(Inverts(), [job], overwrite=True)
    assert outcome.status == "restored"


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("too deep")])
@pytest.mark.parametrize("where", ["open_file", "restore_pages", "write_file"])
def test_no_fault_of_one_costs_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    jobs = small(tmp_path, 4)
    write_picture(jobs[2].source, torch.zeros(3, 20, 20))
    own = getattr(files, where)

    def fails(*arguments: Any, **options: Any) -> Any:
        black = isinstance(arguments[1], list) and any(p.colour.max() == 0 for p in arguments[1])
        if black or jobs[2].source in arguments or jobs[2].target in arguments:
            raise error
        return own(*arguments, **options)

    monkeypatch.setattr(files, where, fails)
    if where == "restore_pages":
        monkeypatch.setattr(file, where, lambda fn, pages, **o: fails(fn, list(pages), **o))
    outcomes = list(restore_files(Inverts(), jobs))
    assert [each.status for each in outcomes] == ["restored", "restored", "failed", "restored"]
    told = str(outcomes[2].error)
    assert jobs[2].source.name in told
    assert ("memory" if isinstance(error, MemoryError) else "RecursionError: too deep") in told


def test_the_second_job_for_a_target_takes_over_from_a_damaged_one(tmp_path: Path) -> None:
    jobs = small(tmp_path, 2)
    jobs[0].source.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    both = [jobs[0], Job(jobs[1].source, jobs[0].target)]
    assert [o.status for o in restore_files(Inverts(), both)] == ["failed", "restored"]


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are opened from now on."""
    opened: list[Path] = []

    def counted(fn: Any, source: Path) -> Any:
        opened.append(source)
        return file.open_file(fn, source)

    monkeypatch.setattr(files, "open_file", counted)
    return opened


def test_large_files_are_not_opened_far_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    opened, ended = counting(monkeypatch), list[int]()
    for outcome in restore_files(Inverts(), small(tmp_path, 12)):
        ended.append(len(opened))
        assert outcome.status == "restored"
    assert all(ahead <= number + 4 for number, ahead in enumerate(ended))


def test_one_that_waits_for_others_of_its_size_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 5)
    monkeypatch.setattr(files, "_WAITING", 4000)
    jobs = small(tmp_path, 40)
    write_picture(jobs[0].source, torch.rand(3, 50, 50))
    opened = counting(monkeypatch)
    outcomes = restore_files(Inverts(), jobs)
    assert next(outcomes).source == jobs[0].source
    assert len(opened) < 40
    assert len(list(outcomes)) == 39


@pytest.mark.parametrize("how", ["to the end", "closed", "failed"])
def test_threads_are_as_many_afterwards(how: str, tmp_path: Path) -> None:
    def count() -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    class Breaks(Inverts):
        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("broken")

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        outcomes = restore_files(Breaks() if how == "failed" else Inverts(), small(tmp_path, 3))
        if how == "failed":
            told = [outcome.error for outcome in outcomes]
            assert all("RuntimeError: broken" in str(error) for error in told)
            assert all(error and isinstance(error.__cause__, RuntimeError) for error in told)
        elif how == "closed":
            next(outcomes)
            outcomes.close()
        else:
            list(outcomes)
        assert count() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_an_output_that_may_not_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = small(tmp_path, 3)
    exists = Path.exists

    def refusing(path: Path) -> bool:
        if path == jobs[1].target:
            raise PermissionError(errno.EACCES, "Permission denied")
        return exists(path)

    monkeypatch.setattr(Path, "exists", refusing)
    outcomes = list(restore_files(Inverts(), jobs))
    assert [o.status for o in outcomes] == ["restored", "failed", "restored"]
    assert "may be looked into" in str(outcomes[1].error)


def test_large_pictures_go_past_one_that_waits_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 5)
    monkeypatch.setattr(files, "SMALL", 1000)
    monkeypatch.setattr(files, "_WAITING", 4000)
    jobs = small(tmp_path, 30)
    for job in jobs[1:]:
        write_picture(job.source, torch.rand(3, 40, 40))
    opened = counting(monkeypatch)
    outcomes = restore_files(Inverts(), jobs)
    assert next(outcomes).source == jobs[0].source
    assert len(opened) < 30
    assert len(list(outcomes)) == 29


def test_a_fault_names_its_file(tmp_path: Path) -> None:
    class Breaks(Inverts):
        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            return y * torch.nan

    write_picture(tmp_path / "a.png", torch.rand(3, 9, 9))
    (outcome,) = restore_files(Breaks(), [Job(tmp_path / "a.png", tmp_path / "b.png")])
    assert f"picture file '{tmp_path / 'a.png'}', colour of page 0" in str(outcome.error)


@pytest.mark.parametrize("name", ["b.bmp", "b.jpg", "b.webp"])
def test_what_the_target_cannot_hold_is_told_before_the_work(name: str, tmp_path: Path) -> None:
    fn = Inverts()
    fn.scale = 4
    write_picture(tmp_path / "a.png", torch.rand(3, 2, 16400))
    with pytest.raises(PhysganError, match=name):
        restore_file(fn, tmp_path / "a.png", tmp_path / name)
    (outcome,) = restore_files(fn, [Job(tmp_path / "a.png", tmp_path / name)])
    assert outcome.status == "failed"
    assert fn.sizes == []


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xe9.png")
    write_picture(tmp_path / "a.png", torch.rand(3, 9, 9))
    try:
        (tmp_path / "a.png").rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    (tmp_path / "out").mkdir()
    jobs = [Job(tmp_path / name, tmp_path / "out" / name)]
    (outcome,) = restore_files(Inverts(), jobs)
    assert outcome.error is None
    assert read_picture(tmp_path / "out" / name).form.kind == "png"
    sheet = Sheet(tmp_path / "sheet.png", jobs)
    sheet.add(name, *(jobs[0].source, jobs[0].target))
    written = sheet.end()
    assert written is not None
    assert written.page.exists()


def test_the_first_picture_that_can_tell_decides_whatever_thread_is_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures before it are in float32, those from it on as it says."""
    monkeypatch.setattr("physgan.restore.device.has_bf16", lambda device: True)
    monkeypatch.setattr(Elsewhere, "settle", _settles_by_brightness)
    jobs = small(tmp_path, 12)
    for number, job in enumerate(jobs):
        write_picture(job.source, torch.full((3, 250, 250), 0.3 + 0.5 * (number == 4)))
    fn = Elsewhere(Precise(), torch.device("cpu"))
    assert all(outcome.error is None for outcome in restore_files(fn, jobs))
    levels = [float(read_picture(job.target).pages[0].colour.max()) for job in jobs]
    assert [level == 1 for level in levels] == [number >= 4 for number in range(12)]


def _settles_by_brightness(self: Elsewhere, y: torch.Tensor) -> None:
    if not self.settled and float(y.max()) > 0.5:
        self._place = self._place._replace(bf16=True)


class Precise(torch.nn.Module):
    """White in bf16, black in float32; the first pictures take long."""

    channels, scale, multiple_of, receptive_field, global_statistics = 3, 1, 1, 1, False

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        if float(y.max()) < 0.5:
            time.sleep(0.01)
        return torch.full_like(y, float(torch.is_autocast_enabled("cpu")))


def test_links_that_lead_in_circles_cost_nobody_a_result(ground: Path) -> None:
    for name in ("round.png", "round"):
        (ground / "in" / name).symlink_to(name)
    for recursive in (False, True):
        jobs, faults, stray, *_ = plan([ground / "in"], ground / "out", recursive=recursive)
        assert ground / "in" / "a.png" in [job.source for job in jobs]
        assert ground / "in" / "round" in stray
        assert not faults
    outcomes = list(restore_files(Inverts(), jobs))
    told = {outcome.source.name: outcome.status for outcome in outcomes}
    assert (told["a.png"], told["round.png"]) == ("restored", "failed")


def test_links_to_folders_are_told_where_folders_are_entered(ground: Path) -> None:
    (ground / "elsewhere").mkdir()
    write_picture(ground / "elsewhere" / "far.png", torch.rand(3, 8, 8))
    (ground / "in" / "link").symlink_to(ground / "elsewhere")
    asked = plan([ground / "in"], ground / "out", recursive=True)
    assert asked.linked == [ground / "in" / "link"]
    assert not any("link" in job.source.parts for job in asked.jobs)
    assert not plan([ground / "in"], ground / "out").linked


def test_a_result_takes_the_place_of_no_other_picture(tmp_path: Path) -> None:
    for folder, level in (("one", 0.2), ("two", 0.8)):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "a.png", torch.full((3, 20, 20), level))
    paths = [tmp_path / folder / "a.png" for folder in ("one", "two")]
    for order in (paths, paths[::-1]):
        jobs, (fault,), *_ = plan(order, tmp_path / "two")
        assert [job.source for job in jobs] == [paths[1]]
        assert fault.source == paths[0]
        assert "one of them" in str(fault.error) or "for both" in str(fault.error)


def test_a_picture_that_failed_is_not_held_by_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    opens = file.open_file

    def watched(*given: Any, **more: Any) -> Any:
        picture: Any = opens(*given, **more)
        held.append(weakref.ref(picture.pages[0].colour))
        return picture

    class Full(Inverts):
        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(files, "open_file", watched)
    outcomes = list(restore_files(Full(), small(tmp_path, 3, side=300)))
    assert [type(outcome.error) for outcome in outcomes] == [OutOfMemory] * 3
    assert len(held) == 3
    assert not any(reference() is not None for reference in held)


def test_pictures_that_wait_for_others_of_their_size_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_WAITING", 4000)
    jobs = small(tmp_path, 1)
    for i in range(30):  # sizes that nobody shares
        write_picture(tmp_path / "in" / f"own{i:02d}.png", torch.rand(3, 20 + 4 * i, 20))
        jobs.append(Job(tmp_path / "in" / f"own{i:02d}.png", tmp_path / "out" / f"own{i:02d}.png"))
    opened = counting(monkeypatch)
    outcomes = restore_files(Inverts(), jobs)
    assert next(outcomes).status == "restored"
    assert len(opened) < 20
    assert len(list(outcomes)) == 30


def test_nobody_waits_for_what_was_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven or eight wait behind the one that is at hand when somebody has had enough."""
    monkeypatch.setattr(files, "_one_core_each", many_queued)

    class Slow(Inverts):
        def __call__(self, y: torch.Tensor) -> torch.Tensor:
            x = super().__call__(y)
            time.sleep(0.2)
            return x

    fn = Slow()
    outcomes = restore_files(fn, small(tmp_path, 20, side=250))
    next(outcomes)
    begun = len(fn.sizes)
    outcomes.close()
    assert len(fn.sizes) <= begun + 2  # one may have been begun meanwhile


@contextmanager
def many_queued(fn: object) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool, 4


def test_a_strength_that_is_none_is_refused_before_the_work(tmp_path: Path) -> None:
    fn = Inverts()
    with pytest.raises(UsageError, match="0 to 1"):
        list(restore_files(fn, small(tmp_path, 2), strength=50))
    assert not fn.sizes


def test_a_link_is_a_file_of_its_own(tmp_path: Path) -> None:
    """What takes its place leaves alone where it leads."""
    (job,) = small(tmp_path, 1)
    job.target.parent.mkdir()
    job.target.symlink_to(job.source)
    (planned,), faults, *_ = plan([job.source], job.target.parent)
    assert not faults
    assert not planned.replaces_its_source
    write_picture(tmp_path / "000.png", torch.rand(3, 20, 20))
    (other,), faults, *_ = plan([tmp_path / "000.png"], job.target.parent)
    assert not faults
    assert not other.replaces_its_source
    (own,), *_ = plan([job.source], job.source.parent)
    assert own.replaces_its_source
    (linked,), *_ = plan([job.target], job.source.parent)
    assert linked.replaces_its_source  # the result takes the place of what the link leads to
