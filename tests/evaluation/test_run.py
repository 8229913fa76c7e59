"""Evaluation: records, summary, files, and the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from physgan.cli import main
from physgan.data.pairs import Pair
from physgan.data.pictures import FolderPictures
from physgan.data.text.fonts import font
from physgan.data.text.words import sentence
from physgan.errors import ImageError
from physgan.evaluation.run import evaluate_pair, score_pair, summarise
from physgan.metrics.protocol import protocol, scores
from physgan.resize import bicubic
from tests.restore.small import Inverts, small_weights
from tests.training.tiny import write_picture


def pairs(count: int = 3) -> list[Pair]:
    made = []
    for i in range(count):
        x = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(i))
        made.append(Pair(f"p{i}", (1 - x) * 0.9, x))
    return made


def test_records_are_scores_of_what_the_restorer_makes() -> None:
    how = protocol("rgb")
    records = [evaluate_pair(Inverts(), pair, how) for pair in pairs()]
    for record, pair in zip(records, pairs(), strict=True):
        assert record["name"] == pair.name
        expected = scores(1 - pair.y, pair.x, how)
        assert record["psnr"] == pytest.approx(expected["psnr"])
        assert record["ssim"] == pytest.approx(expected["ssim"])
        assert record["input_psnr"] == pytest.approx(scores(pair.y, pair.x, how)["psnr"])
    summary = summarise(records, how)
    assert summary["n"] == 3
    assert summary["psnr"] == pytest.approx(sum(r["psnr"] for r in records) / 3)
    gains = [r["psnr"] - r["input_psnr"] for r in records]
    assert summary["worst_gain"] == pytest.approx(min(gains))
    assert summary["median_gain"] == pytest.approx(sorted(gains)[1])
    assert summary["protocol"]["colour"] == "rgb"


def test_an_enlarged_picture_is_scored_beside_its_observation_enlarged_bicubically() -> None:
    x = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(5))
    how, pair = protocol("y", scale=4), Pair("small", bicubic(x, down=4).clamp(0, 1), x)
    record = score_pair(x.flip(3), pair, how, scale=4)
    assert record["psnr"] == pytest.approx(scores(x.flip(3), x, how)["psnr"])
    enlarged = bicubic(pair.y, up=4).clamp(0, 1)
    assert record["input_psnr"] == pytest.approx(scores(enlarged, x, how)["psnr"])
    assert "seconds" not in summarise([record], how)
    with pytest.raises(ImageError, match="pair 'small'"):
        score_pair(pair.y, pair, how, scale=4)


def test_sizes_that_do_not_belong_together() -> None:
    pair = Pair("odd", torch.rand(1, 3, 8, 8), torch.rand(1, 3, 16, 16))
    with pytest.raises(ImageError, match="pair 'odd'"):
        evaluate_pair(Inverts(), pair, protocol("rgb"))
    with pytest.raises(ImageError, match="at least one"):
        summarise([], protocol("rgb"))


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    for pair in pairs():
        for place, image in (("y", pair.y), ("x", pair.x)):
            (tmp_path / place).mkdir(exist_ok=True)
            write_picture(tmp_path / place / f"{pair.name}.png", image[0])
    small_weights(tmp_path / "w.safetensors")
    return tmp_path


def evaluate(ground: Path, *more: str) -> int:
    folders = ["--degraded", str(ground / "y"), "--clean", str(ground / "x")]
    output = ["--output", str(ground / "e")] if "--output" not in more else []
    weights = ["--weights", str(ground / "w.safetensors"), "--device", "cpu"]
    return main(["evaluate", *folders, *output, *weights, *more])


def test_the_command_leaves_records_and_summary(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(ground, "--json", "--protocol", "y-shift") == 0
    told = json.loads(capsys.readouterr().out)
    summary = json.loads((ground / "e" / "summary.json").read_text(encoding="utf-8"))
    assert told == summary
    assert summary["protocol"]["shift"] == 4
    lines = (ground / "e" / "per_image.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["p0", "p1", "p2"]
    assert evaluate(ground) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert evaluate(ground, "--overwrite") == 0
    assert "PSNR" in capsys.readouterr().out


def test_wrong_usage(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(ground, "--task", "deblur-text") == 2
    assert "got both" in capsys.readouterr().err
    for name in ("p0", "p1", "p2"):
        (ground / "x" / f"{name}.png").rename(ground / "x" / f"other-{name}.png")
    assert evaluate(ground) == 1
    assert "a partner of the same stem, got 6 without" in capsys.readouterr().err


def test_a_picture_without_partner_costs_no_other(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ground / "x" / "p1.png").unlink()
    (ground / "y" / "p2.png").unlink()
    assert evaluate(ground, "--json") == 1
    out, err = capsys.readouterr()
    for name in ("y/p1.png", "x/p2.png"):
        assert f"{name}' is left out: no partner of its stem" in err
    summary = json.loads(out)
    assert (summary["n"], summary["failed"]) == (1, 2)


def test_what_cannot_be_measured_costs_no_other(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(ground, "--output", str(ground / "whole")) == 0
    for name in ("large", "small"):
        write_picture(ground / "y" / f"{name}.png", torch.rand(3, 20, 24))
    write_picture(ground / "x" / "large.png", torch.rand(3, 40, 48))
    write_picture(ground / "x" / "small.png", torch.rand(3, 20, 24))
    (ground / "y" / "p0.png").write_bytes(b"no picture")
    for place in ("x", "y"):  # too small for SSIM
        write_picture(ground / place / "small.png", torch.rand(3, 4, 4))
    capsys.readouterr()
    assert evaluate(ground, "--json") == 1
    out, err = capsys.readouterr()
    for name in ("p0", "large", "small"):
        assert f"physgan: '{name}' is left out: " in err
    summary = json.loads(out)
    assert (summary["n"], summary["failed"]) == (2, 3)
    records = []
    for folder in ("whole", "e"):
        text = (ground / folder / "per_image.jsonl").read_text(encoding="utf-8")
        records.append([json.loads(line) | {"seconds": 0} for line in text.splitlines()])
    assert records[1] == records[0][1:]
    assert summary["psnr"] == pytest.approx(sum(r["psnr"] for r in records[1]) / 2)
    assert evaluate(ground, "--overwrite") == 1
    assert "2 images, 3 left out" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_text_is_read_and_its_errors_counted() -> None:
    from physgan.evaluation.reading import read_text, text_error
    from physgan.metrics.text import character_error_rate

    rng = Random(1)
    words = [w for w in sentence("en", rng) if w.isalpha()][:10]
    picture = Image.new("L", (420, 70), 255)
    for row in range(2):
        line = " ".join(words[5 * row : 5 * row + 5])
        face = font("LiberationSerif-Regular", 16.0)
        ImageDraw.Draw(picture).text((10, 8 + 26 * row), line, 0, font=face)
    x = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    x = x.reshape(1, 1, 70, 420).float() / 255
    assert character_error_rate(read_text(x), " ".join(words)) < 0.1
    assert text_error(x, x) == 0.0
    blurred: Tensor = torch.nn.functional.avg_pool2d(x, 11, 1, 5)
    assert text_error(blurred, x) > 0.3


@pytest.mark.skipif(os.name != "posix", reason="names are text here")
def test_names_that_are_no_text(ground: Path) -> None:
    def physgan(*argv: str) -> str:
        command = [sys.executable, "-m", "physgan", *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    name = os.fsdecode(b"M\xfcller.png")
    try:
        for place in ("x", "y"):
            shutil.copyfile(ground / place / "p0.png", ground / place / name)
    except OSError:
        pytest.skip("this file system knows no such names")
    folders = ["--degraded", str(ground / "y"), "--clean", str(ground / "x")]
    weights = ["--weights", str(ground / "w.safetensors"), "--device", "cpu", "--json"]
    told = physgan("evaluate", *folders, *weights, "--output", str(ground / "e"))
    assert json.loads(told)["n"] == 4
    lines = (ground / "e" / "per_image.jsonl").read_text(encoding="utf-8").splitlines()
    assert "M\udcfcller" in [json.loads(line)["name"] for line in lines]
    pairs = ["--physics", "deblur-natural", "--seed", "1", "--output", str(ground / "pairs")]
    for _ in range(2):  # what is there is left
        physgan("degrade", str(ground / "x"), *pairs)
        assert len(list((ground / "pairs" / "degraded").iterdir())) == 4
    assert "\\udcfcller" in (ground / "pairs" / "manifest.jsonl").read_text(encoding="utf-8")
    assert len(FolderPictures(ground / "x").identity()) == 64


def test_an_output_that_cannot_be_is_refused_before_the_work(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ground / "file").write_text("in the way", encoding="utf-8")
    assert evaluate(ground, "--output", str(ground / "file")) == 2
    err = capsys.readouterr().err
    assert "a folder that can be written to" in err
    assert "dB" not in err
