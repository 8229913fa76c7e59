"""A run that is killed or interrupted and resumed equals one that never was, bit for bit."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from physgan.cli import main
from physgan.training.state import MANIFEST
from tests.training.tiny import (
    RECIPE,
    draw_pictures,
    finish,
    records,
    start,
    write_recipe,
)

STEPS = 80

# Intervals that do not fit each other: a checkpoint falls between two lines of the log.
OVERRIDES = [
    *("--training.schedule", f"{{constant: {STEPS // 2}, decay: {STEPS // 2}}}"),
    *("--training.log_every", "7"),
    *("--training.validate_every", "40"),
    *("--training.checkpoint.every", "5"),
    *("--generator.arguments.widths", "[32, 96]"),  # several megabytes
]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and the recipe."""
    folder = tmp_path_factory.mktemp("resume")
    draw_pictures(folder / "pictures", 7)
    write_recipe(folder)
    return folder


def command(ground: Path, run: Path, *more: str) -> list[str | Path]:
    named: list[str | Path] = ["train", ground / "tiny.yaml", "--output", run, "--device", "cpu"]
    return [*named, "--data.train", ground / "pictures", *OVERRIDES, *more]


@pytest.fixture(scope="module")
def unbroken(ground: Path) -> Path:
    """A run that was never killed."""
    run = ground / "unbroken"
    status, _, err = finish(start(*command(ground, run)))
    assert status == 0, err
    return run


def step_of(run: Path) -> int:
    """The step of the checkpoint; 0 while there is none."""
    try:
        return int(json.loads((run / MANIFEST).read_text(encoding="utf-8"))["step"])
    except FileNotFoundError:
        return 0


def stopped_after(
    step: int, ground: Path, run: Path, *more: str, by: int = signal.SIGKILL, **options: Any
) -> tuple[int, str, str]:
    """Starts the command and stops it at a random moment after the checkpoint of a step."""
    process = start(*command(ground, run, *more), **options)
    limit = time.monotonic() + 60
    while step_of(run) < step and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.002)
    time.sleep(random.random() * 0.1)
    process.send_signal(by)
    return finish(process)


def resumed(ground: Path, run: Path, *more: str) -> str:
    """What it says while it goes on to the end."""
    status, _, err = finish(start(*command(ground, run, "--resume", *more)))
    assert status == 0, err
    return err


def assert_equal_runs(run: Path, unbroken: Path) -> None:
    mine, other = (load_file(r / "weights.safetensors") for r in (run, unbroken))
    assert mine.keys() == other.keys()
    for name, tensor in mine.items():
        assert tensor.dtype == other[name].dtype
        assert torch.equal(tensor, other[name]), name
    assert records(run) == records(unbroken)
    steps = [r["step"] for r in records(run) if r["kind"] == "train"]
    assert steps == [*range(7, STEPS, 7), STEPS]
    assert checkpoint_of(run) == checkpoint_of(unbroken)
    assert not list(run.glob(".*"))  # what the kill left half written is gone


def parts_of(run: Path) -> list[Path]:
    return sorted(run.glob("checkpoint-*"))


def checkpoint_of(run: Path) -> dict[str, Any]:
    """The manifest without the clock: hash of all tensors, step, counts."""
    manifest: dict[str, Any] = json.loads((run / MANIFEST).read_text(encoding="utf-8"))
    del manifest["seconds"], manifest["parts"]
    return manifest


def test_killed_while_writing_small_parts(ground: Path, unbroken: Path) -> None:
    run, parts = ground / "parts", ["--training.checkpoint.part_megabytes", "1"]
    status, out, _ = stopped_after(15, ground, run, *parts)
    assert (status, out) == (-signal.SIGKILL, "")
    assert 15 <= step_of(run) < STEPS
    assert len(parts_of(run)) > 3
    after = f"going on after step {step_of(run)} of {STEPS}"
    assert after in resumed(ground, run, *parts)
    assert len(parts_of(run)) > 3
    assert max(path.stat().st_size for path in parts_of(run)) == 10**6
    assert len(parts_of(unbroken)) == 1
    assert_equal_runs(run, unbroken)


def heed_interrupts() -> None:
    """In the child: signals as at a terminal, whatever started the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_killed_twice_and_interrupted(ground: Path, unbroken: Path) -> None:
    run, killed = ground / "stopped", -signal.SIGKILL
    assert stopped_after(5, ground, run)[0] == killed
    first = step_of(run)
    assert stopped_after(first + 5, ground, run, "--resume")[0] == killed
    second = step_of(run)
    assert first + 5 <= second

    status, out, err = stopped_after(
        second + 5, ground, run, "--resume", by=signal.SIGINT, preexec_fn=heed_interrupts
    )
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == "physgan: interrupted; go on with --resume."
    assert "Traceback" not in err
    assert second + 5 <= step_of(run) < STEPS
    assert (run / "weights.safetensors").exists()

    resumed(ground, run)
    assert_equal_runs(run, unbroken)


def test_a_terminal_that_goes_leaves_a_checkpoint(ground: Path) -> None:
    run = ground / "left"
    status, *_ = stopped_after(5, ground, run, by=signal.SIGHUP, preexec_fn=heed_interrupts)
    assert status == 130
    assert 5 <= step_of(run) < STEPS


# ---------------------------------------------------------------- what may change, and what not


@pytest.fixture
def begun(tmp_path: Path) -> Callable[..., int]:
    """The tiny run in this process, done once; called again with options and overrides."""
    draw_pictures(tmp_path / "pictures", 5)
    write_recipe(tmp_path, RECIPE.replace("hold_out: 2", "hold_out: 1"))

    def train(*more: str) -> int:
        options = ["--output", str(tmp_path / "run"), "--device", "cpu"]
        data = ["--data.train", str(tmp_path / "pictures")]
        return main(["train", str(tmp_path / "tiny.yaml"), *options, *data, *more])

    state = torch.get_rng_state()
    assert train() == 0
    torch.set_rng_state(state)
    return train


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("--objective.lambda=100", "objective.lambda"),
        ("--objective.pool=7", "objective.pool"),
        ("--data.crop=64", "data.crop"),
        ("--data.hold_out=2", "data.hold_out"),
        ("--seed=3", "seed"),
        ("--generator.arguments.blocks=[2, 1]", "generator.arguments.blocks"),
        ("--discriminator.arguments.width=4", "discriminator.arguments.width"),
        ("--physics.stages.blur.sampler.arguments.radius=[0, 1]", "sampler.arguments.radius"),
        ("--physics.sensor=[clip]", "physics.sensor"),
        ("--training.batch=3", "training.batch"),
    ],
)
def test_another_recipe_is_refused(
    begun: Callable[..., int], capsys: pytest.CaptureFixture[str], override: str, field: str
) -> None:
    capsys.readouterr()
    assert begun("--resume", override) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "expected the one that it was started with" in err
    assert f"{field}." in err
    assert "recipe.yaml" in err


def test_where_things_lie_and_how_often_one_looks_may_change(
    begun: Callable[..., int], tmp_path: Path
) -> None:
    (tmp_path / "pictures").rename(tmp_path / "moved")
    changes = [
        *("--data.train", str(tmp_path / "moved")),
        *("--data.licence", "CC0-1.0"),
        *("--data.workers", "2"),
        *("--training.log_every", "2"),
        *("--training.checkpoint.every", "3"),
        *("--training.schedule", "{constant: 6, decay: 10}"),
        *("--optimiser.lr", "1e-4"),
    ]
    assert begun("--resume", *changes) == 0
    run = tmp_path / "run"
    steps = [r["step"] for r in records(run) if r["kind"] == "train"]
    assert steps == [5, 10, 12, 14, 16]
    assert records(run)[-2]["lr"] == pytest.approx(1e-4 / 10)
    assert step_of(run) == 16


def test_an_output_that_holds_a_run_is_refused(
    begun: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = records(tmp_path / "run")
    capsys.readouterr()
    assert begun() == 1
    err = capsys.readouterr().err
    assert "--resume" in err
    assert err.count("\n") == 1
    assert records(tmp_path / "run") == log


def test_a_checkpoint_without_its_recipe_goes_on(begun: Callable[..., int], tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "recipe.yaml").unlink()
    assert begun() == 1  # it is a run all the same
    assert begun("--resume", "--training.schedule", "{constant: 6, decay: 8}") == 0
    assert step_of(run) == 14


def test_resuming_a_run_that_is_done_restores_its_weights(
    begun: Callable[..., int], tmp_path: Path
) -> None:
    # As if it had been killed between the last checkpoint and its weights.
    weights = tmp_path / "run" / "weights.safetensors"
    before, log = load_file(weights), records(tmp_path / "run")
    weights.unlink()
    assert begun("--resume") == 0
    after = load_file(weights)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert records(tmp_path / "run") == log


def test_resuming_where_nothing_is_just_starts(begun: Callable[..., int], tmp_path: Path) -> None:
    assert begun("--resume", "--output", str(tmp_path / "new")) == 0
    assert records(tmp_path / "new") == records(tmp_path / "run")


def test_a_recipe_without_a_checkpoint_binds_nobody(
    begun: Callable[..., int], tmp_path: Path
) -> None:
    # A run killed before its first checkpoint leaves its recipe and perhaps lines of its log.
    run = tmp_path / "run"
    (run / MANIFEST).unlink()
    assert begun() == 1
    assert begun("--resume", "--objective.lambda", "10") == 0
    assert [r["step"] for r in records(run) if r["kind"] == "train"] == [5, 10, 12]


def test_a_damaged_checkpoint_is_one_sentence(
    begun: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (part,) = (tmp_path / "run").glob("checkpoint-*")
    part.write_bytes(part.read_bytes()[:-9])
    capsys.readouterr()
    assert begun("--resume") == 1
    err = capsys.readouterr().err
    assert "undamaged" in err.splitlines()[-1]
    assert err.count("\n") == 3  # what is to be trained, in which arithmetic, and the fault
