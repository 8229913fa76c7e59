"""`physgan train` as a user meets it: help, refusals, streams and exit statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from physgan.cli import main
from physgan.errors import install
from physgan.recipes.load import field_lines, shipped_recipes
from tests.training.tiny import draw_pictures, finish, start, write_recipe


@pytest.fixture(autouse=True)
def _random_state() -> Iterator[None]:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    """A whole command of a few steps."""
    pictures = draw_pictures(tmp_path / "pictures", 5)
    command = ["train", str(write_recipe(tmp_path)), "--output", str(tmp_path / "run")]
    quick = ["--device", "cpu", "--training.schedule", "{constant: 2, decay: 1}"]
    return [*command, *quick, "--data.train", str(pictures)]


def test_help_lists_recipes_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    for name in shipped_recipes():
        assert name in out
    for line in field_lines():
        assert line.split(" ", 1)[0] in out
    for option in ("--output", "--resume", "--device", "--tensorboard", "--json"):
        assert option in out


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        (["--objective.lambdaa", "3"], ["field 'objective.lambdaa'", "Did you mean 'lambda'?"]),
        (["--training.batch", "many"], ["field 'training.batch'", "valid integer"]),
        (["--training.batch"], ["field 'training.batch'", "a value and not a flag"]),
        (["stray"], ["override", "'stray'"]),
        (["--generator", "unett"], ["Did you mean 'unet'?"]),
        (["--generator.arguments.width", "3"], ["Did you mean 'widths'?"]),
        (["--training.schedule", "{constant: 0, decay: 0}"], ["at least one step"]),
        (["--data.crop", "30"], ["field 'data.crop'", "a multiple of 4"]),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    argv: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    parts: list[str],
) -> None:
    assert main([*argv, *extra]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("physgan: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert not (tmp_path / "run").exists()


def test_training_pictures_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "deblur-natural", "--output", "nowhere"]) == 2
    err = capsys.readouterr().err
    assert "data.train" in err
    assert "--data.train FOLDER" in err
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("name", ["deblur-naturel", "no/such.yaml"])
def test_an_unknown_recipe(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", name, "--output", "nowhere"]) == 2
    assert f"recipe '{name}'" in capsys.readouterr().err


def test_a_folder_that_is_not_there(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, "--data.train", str(tmp_path / "nothing")]) == 1
    err = capsys.readouterr().err
    assert f"'{tmp_path / 'nothing'}'" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_output_that_is_a_file(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    assert main(argv) == 1
    assert "got a file" in capsys.readouterr().err
    assert main([*argv, "--output", str(tmp_path / "run" / "deeper")]) == 1
    assert "a folder that can be written" in capsys.readouterr().err
    assert (tmp_path / "run").read_text(encoding="utf-8") == "mine"


def test_the_result_alone_goes_to_stdout(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert out.startswith(f"{tmp_path / 'run' / 'weights.safetensors'}: 3 steps, ")
    assert " dB over its input" in out
    # Not a terminal: a line for each record, with rate and time left.
    trained, validated = err.splitlines()[-2:]
    assert trained.startswith("step 3/3: total ")
    assert "steps/s" in trained
    assert trained.endswith("0:00:00 left")
    assert validated.startswith("step 3/3: ")
    assert " dB, input " in validated


def test_json_is_one_object(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    result = json.loads(out)
    assert result["weights"] == str(tmp_path / "run" / "weights.safetensors")
    assert result["steps"] == 3
    assert result["n"] == 2
    assert {"psnr", "ssim", "input_psnr", "input_ssim", "worst_gain"} <= result.keys()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_precisions(argv: list[str], precision: str, tmp_path: Path) -> None:
    assert main([*argv, "--training.precision", precision]) == 0
    assert (tmp_path / "run" / "card.md").exists()


def test_a_picture_that_cannot_be_read_is_named_and_passed_over(
    argv: list[str], tmp_path: Path
) -> None:
    (tmp_path / "pictures" / "002.png").write_bytes(b"no picture")
    status, out, err = finish(start(*argv, "--data.hold_out", "0"))
    assert status == 0
    assert ": 3 steps" in out
    assert err.count("passed over: picture file") == 1
    assert "002.png" in err


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyvips", "_libvips"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Blocker())
from physgan.cli import main
sys.exit(main(sys.argv[1:]))
"""
WITHOUT_FABRIC = BLOCKED.replace('("pyvips", "_libvips")', '("lightning_fabric",)')


def test_shards_train_where_pyvips_is_not(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = tmp_path / "shards"
    pack = ["pack", str(tmp_path / "pictures"), "--output", str(shards), "--size", "36"]
    assert main(pack) == 0
    blocked = tmp_path / "blocked.py"
    blocked.write_text(BLOCKED, encoding="utf-8")
    status, out, err = finish(start(*argv, "--data.train", shards, script=blocked))
    assert status == 0, err
    assert ": 3 steps, " in out


def test_training_without_fabric_says_what_to_install(argv: list[str], tmp_path: Path) -> None:
    blocked = tmp_path / "blocked.py"
    blocked.write_text(WITHOUT_FABRIC, encoding="utf-8")
    status, out, err = finish(start(*argv, script=blocked))
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].endswith(install("train"))
    assert "Traceback" not in err


def test_degrading_needs_nothing_of_training(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked.py"
    blocked.write_text(WITHOUT_FABRIC, encoding="utf-8")
    draw_pictures(tmp_path / "clear", 1)
    argv = ["degrade", tmp_path / "clear", "--physics", "sr4", "--output", tmp_path / "pairs"]
    status, _, err = finish(start(*map(str, argv), script=blocked))
    assert status == 0, err
