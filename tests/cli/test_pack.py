"""`physgan pack`: shards that are read back, bad pictures named, nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from physgan.cli import main
from physgan.data.pictures import open_pictures
from tests.training.tiny import draw_pictures


def pack(folder: Path, *more: str, size: int = 24) -> int:
    options = ["--output", str(folder / "shards"), "--size", str(size)]
    return main(["pack", str(folder / "pictures"), *options, *more])


def test_shards_hold_crops_of_the_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path / "pictures", 4)
    assert pack(tmp_path, "--per-picture", "3") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'shards'}: 12 crops in 1 shards\n"
    assert err == ""
    originals, crops = (open_pictures(tmp_path / name) for name in ("pictures", "shards"))
    assert len(crops) == 12
    for i in range(12):
        assert crops.origin(i) == i // 3
        crop, whole = crops.read(i), originals.read(i // 3)
        assert crop.shape == (3, 24, 24)
        windows = whole.unfold(1, 24, 1).unfold(2, 24, 1)  # every place it can be from
        assert bool((windows == crop[:, None, None]).all(dim=(0, 3, 4)).any())


def test_folders_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_pictures(tmp_path / "pictures", 1)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for output in (tmp_path / "file" / "below", tmp_path / ("long" * 100)):
        options = ["--output", str(output), "--size", "24"]
        assert main(["pack", str(tmp_path / "pictures"), *options]) == 1
        err = capsys.readouterr().err
        assert "expected a path that can be reached" in err
        assert "Traceback" not in err


def test_the_seed_decides(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "pictures", 2)
    made = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert (
            main(
                [
                    *("pack", str(tmp_path / "pictures"), "--output", str(tmp_path / name)),
                    *("--size", "24", "--seed", seed),
                ]
            )
            == 0
        )
        crops = open_pictures(tmp_path / name)
        made.append(torch.stack([crops.read(i) for i in range(len(crops))]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_json_names_the_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_pictures(tmp_path / "pictures", 3, channels=1)
    assert pack(tmp_path, "--channels", "1", "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    result = json.loads(out)
    assert (result["crops"], result["failed"]) == (12, 0)
    assert [Path(p).exists() for p in result["shards"]] == [True]
    assert open_pictures(tmp_path / "shards", channels=1).read(0).shape == (1, 24, 24)


def test_a_greatest_size_makes_several_shards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path / "pictures", 4, size=200)
    more = ["--shard-megabytes", "1", "--per-picture", "5", "--json"]
    assert pack(tmp_path, *more, size=200) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["shards"]) == 4  # five crops of 120 kB; a shard ends between pictures
    crops = open_pictures(tmp_path / "shards")
    assert [crops.origin(i) for i in range(len(crops))] == [i // 5 for i in range(20)]


def test_a_bad_picture_is_named_and_the_others_are_packed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path / "pictures", 4)
    (tmp_path / "pictures" / "001.png").write_bytes(b"no picture")
    assert pack(tmp_path) == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("physgan: ")
    assert "001.png" in err
    assert "12 crops" in out
    assert len(open_pictures(tmp_path / "shards")) == 12


def test_bad_pictures_alone_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"no picture")
    assert pack(tmp_path, "--json") == 1
    assert json.loads(capsys.readouterr().out) == {"shards": [], "crops": 0, "failed": 1}
    assert not list((tmp_path / "shards").iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_pictures(tmp_path / "pictures", 2)
    assert pack(tmp_path) == 0
    (shard,) = (tmp_path / "shards").iterdir()
    before = shard.read_bytes()
    capsys.readouterr()
    assert pack(tmp_path, "--seed", "5") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "remove the shards" in err
    assert shard.read_bytes() == before


def test_an_output_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_pictures(tmp_path / "pictures", 1)
    (tmp_path / "shards").write_text("mine", encoding="utf-8")
    assert pack(tmp_path) == 1
    assert "got a file" in capsys.readouterr().err
    assert (tmp_path / "shards").read_text(encoding="utf-8") == "mine"


def test_a_folder_without_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack(tmp_path) == 1
    (tmp_path / "pictures").mkdir()
    assert pack(tmp_path) == 1
    assert capsys.readouterr().err.count("\n") == 2
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("flag", ["--size", "--per-picture", "--channels", "--shard-megabytes"])
def test_numbers_below_one_are_wrong_usage(
    tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path / "pictures", 1)
    assert pack(tmp_path, flag, "0") == 2
    err = capsys.readouterr().err
    assert flag in err
    assert err.count("\n") == 1
    assert not (tmp_path / "shards").exists()


def test_an_unknown_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack(tmp_path, "--per-pictur", "3") == 2
    assert "Did you mean '--per-picture'?" in capsys.readouterr().err
