"""`physgan restore` through its real entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from physgan.cli import main
from physgan.weights import catalogue
from tests.restore.small import small_weights
from tests.training.tiny import finish, start, write_picture


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / "in" / name, torch.rand(3, 12, 14))
    small_weights(tmp_path / "w.safetensors")
    return tmp_path


def restore(ground: Path, *more: str, weights: bool = True) -> int:
    options = ["--weights", str(ground / "w.safetensors")] if weights else []
    output = ["--output", str(ground / "out"), "--device", "cpu"]
    return main(["restore", str(ground / "in"), *output, *options, *more])


def test_a_folder_is_restored(ground: Path) -> None:
    status, out, err = finish(
        start("restore", ground / "in", "--weights", ground / "w.safetensors",
              "--output", ground / "out")
    )  # fmt: skip
    assert (status, out) == (0, "")
    assert "[2/2]" in err
    assert sorted(p.name for p in (ground / "out").iterdir()) == ["a.png", "b.png"]


def test_json_is_a_line_for_each_picture(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ground / "in" / "bad.png").write_bytes(b"")
    (ground / "in" / "stray.txt").write_bytes(b"x")
    assert restore(ground, "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {Path(line["source"]).name: line["status"] for line in lines}
    assert found == {
        "a.png": "restored", "b.png": "restored", "bad.png": "failed", "stray.txt": "left out",
    }  # fmt: skip
    assert all("error" in line for line in lines if line["status"] == "failed")


def test_weights_are_not_read_for_nothing(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ground / "w.safetensors").write_bytes(b"no weights")
    for path in (ground / "in").iterdir():
        path.unlink()
    assert restore(ground) == 1
    err = capsys.readouterr().err
    assert "in'" in err
    assert "safetensors" not in err


def test_a_file_that_is_no_picture_is_told_of_and_no_fault(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ground / "in" / "notes.txt").write_bytes(b"x")
    assert restore(ground) == 0
    err = capsys.readouterr().err
    assert "notes.txt: left out" in err
    assert err.endswith("2 restored, 1 left out\n")


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--json",)])
def test_folders_that_are_not_entered_are_told_of_and_no_fault(
    ground: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    for folder in ("c", "d"):
        (ground / "in" / folder).mkdir()
    assert restore(ground, *more) == 0
    out, err = capsys.readouterr()
    assert err.splitlines().count("2 folders within were not entered: --recursive") == 1
    assert out.count("\n") == (2 if more else 0)
    (ground / "in" / "d").rmdir()
    assert restore(ground, "--overwrite") == 0
    assert "1 folder within was not entered: --recursive" in capsys.readouterr().err
    assert restore(ground, "--overwrite", "--recursive") == 0
    assert "entered" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["scan.bmp", "IMG.CR2", "scan.HIF", "scan.PDF"])
def test_a_picture_of_a_kind_that_is_not_taken_is_a_fault(
    ground: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (ground / "in" / name).write_bytes(b"x")
    assert restore(ground) == 1
    err = capsys.readouterr().err
    assert name in err
    assert " first." in err
    assert len(list((ground / "out").iterdir())) == 2


def test_a_fault_says_where_it_comes_from(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--weights", str(ground / "w.safetensors"), "--output", str(ground / "out")]
    assert main(["restore", str(ground / "nothing.png"), *options, "--json"]) == 1
    line = json.loads(capsys.readouterr().out)
    assert line["status"] == "failed"
    assert line["source"] == str(ground / "nothing.png")


def test_nothing_is_replaced_unasked(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore(ground) == 0
    before = (ground / "out" / "a.png").read_bytes()
    assert restore(ground, "--strength", "0") == 1
    assert capsys.readouterr().err.count("--overwrite") == 2
    assert (ground / "out" / "a.png").read_bytes() == before
    assert restore(ground, "--skip-existing") == 0
    assert restore(ground, "--overwrite", "--strength", "0") == 0
    assert (ground / "out" / "a.png").read_bytes() != before


def test_a_dry_run_writes_nothing(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore(ground, "--dry-run") == 0
    assert capsys.readouterr().out.count(" -> ") == 2
    assert not (ground / "out").exists()


def test_a_dry_run_knows_what_is_there(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ground / "out").mkdir()
    (ground / "out" / "a.png").write_bytes(b"")

    def told(*more: str) -> tuple[int, list[str]]:
        status = restore(ground, "--dry-run", "--json", *more)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return status, [line["status"] for line in lines]

    assert told() == (1, ["failed", "planned"])
    assert told("--skip-existing") == (0, ["skipped", "planned"])
    assert told("--overwrite") == (0, ["planned", "planned"])


def test_an_output_named_like_a_picture(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["restore", str(ground / "in" / "a.png"), "--weights", str(ground / "w.safetensors")]
    assert main([*argv, "--output", str(ground / "result.png")]) == 2
    assert "got the name of a picture" in capsys.readouterr().err
    assert not (ground / "result.png").exists()


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (("--strength", "1.5"), "0 to 1"),
        (("--tile", "big"), "auto or a number"),
        (("--task", "deblur-text"), "--task NAME or --weights FILE"),
        (("--skip-existing", "--overwrite"), "got both"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    ground: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], part: str
) -> None:
    assert restore(ground, *more) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert part in err


def test_an_output_that_is_a_file(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ground / "out").write_bytes(b"")
    assert restore(ground) == 2
    assert "expected a folder, got a file" in capsys.readouterr().err


def test_an_unknown_task(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore(ground, "--task", "deblur-tekst", weights=False) in (1, 2)
    assert "deblur-tekst" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--task", "--weights"])
def test_a_task_whose_weights_do_not_ship_is_to_be_trained(
    ground: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    option: str,
) -> None:
    monkeypatch.setattr(catalogue, "SHIPPED", {"deblur-text": ""})
    assert restore(ground, option, "deblur-face", weights=False) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{option}: expected one whose weights ship, deblur-text, got 'deblur-face', a " in err
    assert "no weights ship yet. Train it: physgan train deblur-face --data.train" in err
    assert "--weights RUN" in err
    assert "Did you mean" not in err


def test_no_pictures_is_wrong_usage(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["restore", "--weights", str(ground / "w.safetensors"), "--output", str(ground / "out")]
    assert main(argv) == 2
    assert "expected files or folders, got none" in capsys.readouterr().err


def test_a_sheet_shows_them_all(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ground / "in" / "bad.png").write_bytes(b"")
    (ground / "in" / "scan.bmp").write_bytes(b"x")
    sheet = ground / "sheet.png"
    assert restore(ground, "--sheet", str(sheet), "--json") == 1
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert f"{sheet}: 2 pictures before and after, 2 that failed" in err
    assert lines[-1] == {"target": str(sheet), "status": "sheet", "pictures": 4}
    before = sheet.read_bytes()
    assert restore(ground, "--sheet", str(sheet), "--skip-existing") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert restore(ground, "--sheet", str(sheet), "--overwrite", "--strength", "0") == 1
    assert sheet.read_bytes() != before


def test_a_sheet_that_cannot_be_written_costs_no_result(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ground / "file").write_bytes(b"")
    assert restore(ground, "--sheet", str(ground / "file" / "s.png")) == 1
    assert len(list((ground / "out").iterdir())) == 2
    assert "s.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sheet", "part"), [("s.txt", "ending in"), ("out/a.png", "that of a picture of this run")]
)
def test_a_sheet_that_cannot_be_meant(
    ground: Path, capsys: pytest.CaptureFixture[str], sheet: str, part: str
) -> None:
    assert restore(ground, "--sheet", str(ground / sheet)) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1
    assert not (ground / "out").exists()


def test_a_name_cannot_command_the_terminal(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_picture(ground / "in" / "new\nline\x1b[31m.png", torch.rand(3, 8, 9))
    for more in ([], ["--dry-run", "--overwrite"]):
        assert restore(ground, *more) == 0
        told = "".join(capsys.readouterr())
        assert "new\\nline\\x1b[31m.png" in told
        assert "\x1b" not in told


def test_links_to_folders_are_told(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ground / "in" / "link").symlink_to(ground)
    assert restore(ground, "--recursive") == 0
    assert "link: left out, a link to a folder" in capsys.readouterr().err


def test_who_replaces_originals_is_told(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore(ground, "--overwrite", "--output", str(ground / "in"), "--dry-run") == 0
    assert "2 pictures are replaced by what is restored" in capsys.readouterr().err
    assert restore(ground, "--overwrite", "--dry-run") == 0
    assert "replaced" not in capsys.readouterr().err


def test_help_names_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["restore", "--help"])
    told = capsys.readouterr().out
    assert all(task in told for task in catalogue.SHIPPED)


def test_a_device_that_is_not_there_tells_what_to_do(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has it")
    assert restore(ground, "--device", "cuda") == 1
    assert "--device cpu" in capsys.readouterr().err
