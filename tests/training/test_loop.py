"""The loop: what a run leaves, what it does not compute, and how it deals with broken steps."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import physgan
from physgan.cli import main
from physgan.data.crops import Crops
from physgan.data.pictures import open_pictures
from physgan.errors import TrainingError
from physgan.networks import PatchDiscriminator, UNet
from physgan.objective.objective import Objective, Weights
from physgan.physics.compose import Degradation, Stage
from physgan.recipes.build import build_degradation
from physgan.recipes.load import load_recipe
from physgan.training.logs import Watcher
from physgan.training.loop import Outcome, Plan, fit
from physgan.training.state import MANIFEST
from physgan.types import Theta
from physgan.weights.file import load_weights
from tests.training.tiny import draw_pictures, records, write_picture, write_recipe

TERMS = ("physics", "content", "second_content", "adversarial_clear", "adversarial_observation")


@pytest.fixture(autouse=True)
def _random_state() -> Iterator[None]:
    """A run seeds torch's global generator, which other tests may use."""
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def train(folder: Path, *overrides: str, count: int = 6, channels: int = 3) -> int:
    """The tiny run through the command, in this process."""
    pictures = folder / "pictures"
    if not pictures.exists():
        draw_pictures(pictures, count, channels=channels)
    options = ["--output", str(folder / "run"), "--device", "cpu"]
    data = ["--data.train", str(pictures), "--data.channels", str(channels)]
    return main(["train", str(write_recipe(folder)), *options, *data, *overrides])


# ---------------------------------------------------------------- what a run leaves


@pytest.mark.parametrize("channels", [1, 3])
def test_a_run_leaves_weights_card_and_log(tmp_path: Path, channels: int) -> None:
    assert train(tmp_path, channels=channels) == 0
    run = tmp_path / "run"
    network, info = load_weights(run / "weights.safetensors")
    assert (info.architecture, info.channels, info.scale) == ("unet", channels, 1)
    assert info.recipe["name"] == "tiny"  # type: ignore[index, call-overload]
    assert str(tmp_path) not in json.dumps(info.recipe)
    assert isinstance(info.measured, dict)
    assert info.measured["n"] == 2
    assert (info.training["steps"], info.training["seed"]) == (12, 11)
    curve: Any = info.training["curve"]
    assert [point["step"] for point in curve] == [6, 12]
    assert "began_from" not in info.training
    with torch.no_grad():
        assert network(torch.rand(1, channels, 16, 16)).shape == (1, channels, 16, 16)
    card = (run / "card.md").read_text(encoding="utf-8")
    assert card.startswith("# tiny\n")
    assert "| Steps | 12 |" in card
    assert load_recipe(run / "recipe.yaml").data.channels == channels

    lines = records(run)
    trained = [r for r in lines if r["kind"] == "train"]
    assert [r["step"] for r in trained] == [5, 10, 12]
    for record in trained:
        assert all(math.isfinite(v) for k, v in record.items() if k != "kind")
        assert set(TERMS) | {"total", "gradient_norm", "lr", "skipped"} <= record.keys()
        for name in ("d_clear", "d_observation"):
            assert record[name] >= 0
            assert 0 <= record[f"{name}_real"] <= 1
            assert 0 <= record[f"{name}_fake"] <= 1
        expected = sum(w * record[t] for w, t in zip((10, 50, 10, 1, 1), TERMS, strict=True))
        assert record["total"] == pytest.approx(expected, rel=1e-5)
        assert record["skipped"] == 0
    # constant 6, decay 6: the steps before these lines are numbers 4, 9 and 11
    assert [r["lr"] / 2e-4 for r in trained] == pytest.approx([1, 1 / 2, 1 / 6])
    validated = [r for r in lines if r["kind"] == "validation"]
    assert [r["step"] for r in validated] == [6, 12]
    for record in validated:
        assert record["n"] == 2
        assert 5 < record["input_psnr"] < 60
        assert record["worst_gain"] <= record["psnr"] - record["input_psnr"] + 1e-6


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        assert train(tmp_path / name, *(["--seed", "12"] if name == "c" else [])) == 0
    a, b, c = (records(tmp_path / name / "run") for name in "abc")
    assert a == b
    assert a != c


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    drawn = "{name: hazy_scenes, arguments: {beta: [2, 2], airlight: [0.9, 0.9], tint: 0}}"
    overrides = ["--physics.stages", f"{{fog: {{operator: depth_haze, sampler: {drawn}}}}}"]
    overrides += ["--optimiser.lr", "3e-3", "--training.schedule", "{constant: 40, decay: 0}"]
    overrides += ["--training.log_every", "10", "--training.ema", "0.5"]
    assert train(tmp_path, *overrides, "--training.validate_every", "40") == 0
    lines = records(tmp_path / "run")
    content = [r["content"] for r in lines if r["kind"] == "train"]
    assert content[-1] < 0.9 * content[0]
    last = lines[-1]
    assert last["psnr"] > last["input_psnr"]


def test_validation_on_pairs_of_two_folders(tmp_path: Path) -> None:
    clean, degraded = tmp_path / "clean", tmp_path / "degraded"
    clean.mkdir()
    degraded.mkdir()
    generator = Generator().manual_seed(1)
    errors = []
    for i in range(3):
        x = torch.rand(3, 20, 28 + i, generator=generator)
        y = (x + 0.05).clamp(0, 1)
        write_picture(clean / f"{i}.png", x)
        write_picture(degraded / f"{i}.png", y)
        a, b = (t.mul(255).round() / 255 for t in (x, y))
        errors.append(float(-10 * torch.log10((a - b).square().mean())))
    pairs = f"{{degraded: {degraded}, clean: {clean}}}"
    assert train(tmp_path, "--data.pairs", pairs) == 0
    last = records(tmp_path / "run")[-1]
    assert last["n"] == 3
    assert last["input_psnr"] == pytest.approx(sum(errors) / 3, abs=1e-3)
    _, info = load_weights(tmp_path / "run" / "weights.safetensors")
    assert str(tmp_path) not in json.dumps(info.recipe)
    assert info.data.startswith("6 clear pictures")  # none is held out


def test_pairs_that_do_not_belong_together_are_found_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, side in (("clean", 24), ("degraded", 20)):
        (tmp_path / name).mkdir()
        write_picture(tmp_path / name / "a.png", torch.rand(3, side, side))
    pairs = f"{{degraded: {tmp_path / 'degraded'}, clean: {tmp_path / 'clean'}}}"
    assert train(tmp_path, "--data.pairs", pairs) == 1
    err = capsys.readouterr().err
    assert "pair 'a'" in err
    assert "got 24×24" in err
    assert not (tmp_path / "run").exists()


def test_without_pairs_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "--data.hold_out", "0") == 0
    assert {r["kind"] for r in records(tmp_path / "run")} == {"train"}
    assert capsys.readouterr().out.endswith("12 steps\n")


def test_tensorboard_holds_numbers_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import (  # type: ignore[import-untyped]
        event_accumulator,
    )

    assert train(tmp_path, "--tensorboard") == 0
    events = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    numbers = events.Scalars("train/d_clear_real")
    assert [e.step for e in numbers] == [5, 10, 12]
    assert [e.step for e in events.Scalars("validation/psnr")] == [6, 12]
    pictures = events.Tags()["images"]
    assert len(pictures) == 2
    for name in pictures:
        assert [(e.step, e.height, e.width) for e in events.Images(name)] == [
            (6, 32, 96),
            (12, 32, 96),
        ]


@pytest.mark.parametrize(
    ("crop", "part"),
    [("30", "a multiple of 4"), ("2", "a multiple of 4"), ("20", "at least 24 px")],
)
def test_a_crop_that_the_networks_cannot_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], crop: str, part: str
) -> None:
    assert train(tmp_path, "--data.crop", crop) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "run" / "recipe.yaml").exists()
    assert train(tmp_path) == 0  # the folder is free for another attempt


# ---------------------------------------------------------------- what is not computed


class Counting:
    """An operator that does nothing but count."""

    scale = 1

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        self.calls += 1
        return x * 0.9


class Nothing:
    """A sampler without parameters."""

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return {}


class Recorder:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, float | int | str]] = []
        self.steps: list[int] = []
        self.closed = 0

    def stepped(self, step: int) -> None:
        self.steps.append(step)

    def told(self, record: Mapping[str, float | int | str]) -> None:
        self.records.append(record)

    def shown(self, step: int, pictures: Sequence[tuple[str, Tensor]]) -> None:
        raise AssertionError("there are no pairs")

    def close(self) -> None:
        self.closed += 1


def players(*, observation: bool = True) -> dict[str, nn.Module]:
    torch.manual_seed(1)
    made: dict[str, nn.Module] = {
        "generator": UNet(widths=(4,), blocks=(1,)),
        "clear": PatchDiscriminator(width=2),
    }
    return made | ({"observation": PatchDiscriminator(width=2)} if observation else {})


def crops(step: int) -> Crops:
    generator = Generator().manual_seed(step)
    x = torch.randint(0, 256, (2, 3, 24, 24), generator=generator, dtype=torch.uint8)
    return Crops(x, {})


def run(
    folder: Path,
    degradation: Degradation,
    *,
    networks: dict[str, nn.Module] | None = None,
    objective: Objective | None = None,
    stream: Callable[[int], Crops] = crops,
    watcher: Watcher | None = None,
    **plan: Any,
) -> tuple[nn.Module, Outcome]:
    """A run of a few steps; the averaged network that it handed out last."""
    saved: list[nn.Module] = []
    outcome = fit(
        networks or players(),
        stream=stream,
        pairs=(),
        degradation=degradation,
        objective=objective or Objective(),
        plan=Plan(seed=3, **{"constant": 4, "decay": 0, "log_every": 2, **plan}),
        folder=folder,
        save_weights=lambda network, _: saved.append(network),
        watchers=lambda _: [watcher] if watcher else [],
        device="cpu",
    )
    return saved[-1], outcome


@pytest.mark.parametrize(
    ("weights", "h_calls", "passes"),
    [
        (Weights(physics=0, second_content=0, adversarial_observation=0), 1, 1),
        (Weights(second_content=0, adversarial_observation=0), 2, 1),
        (Weights(physics=0, second_content=0), 2, 1),
        (Weights(), 2, 2),
    ],
    ids=["BaseGAN", "physics", "D_h", "all"],
)
def test_a_term_without_weight_costs_nothing(
    tmp_path: Path, weights: Weights, h_calls: int, passes: int
) -> None:
    operator, watcher = Counting(), Recorder()
    networks = players(observation=weights.adversarial_observation > 0)
    forwards = 0

    def count(*_: object) -> None:
        nonlocal forwards
        forwards += 1

    networks["generator"].register_forward_pre_hook(count)
    run(
        tmp_path,
        Degradation({"a": Stage(operator, Nothing())}),
        networks=networks,
        objective=Objective(weights),
        watcher=watcher,
    )
    assert operator.calls == 4 * h_calls
    assert forwards == 4 * passes
    named = [name for name, value in vars(weights).items() if value]
    for record in watcher.records:
        assert [name for name in TERMS if name in record] == [t for t in TERMS if t in named]
        assert ("d_observation" in record) == ("adversarial_observation" in named)


def test_watchers_are_told_every_step_and_closed(tmp_path: Path) -> None:
    watcher = Recorder()
    run(tmp_path, Degradation({"a": Stage(Counting(), Nothing())}), watcher=watcher)
    assert watcher.steps == [1, 2, 3, 4]
    assert [r["step"] for r in watcher.records] == [2, 4]
    assert watcher.closed == 1


def test_watchers_are_closed_when_the_run_fails(tmp_path: Path) -> None:
    def stream(step: int) -> Crops:
        if step == 2:
            raise OSError("disk gone")
        return crops(step)

    watcher = Recorder()
    chain = Degradation({"a": Stage(Counting(), Nothing())})
    with pytest.raises(OSError, match="disk gone"):
        run(tmp_path, chain, stream=stream, watcher=watcher)
    assert watcher.closed == 1


def test_a_line_of_the_log_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    each, twos = Recorder(), Recorder()
    for name, watcher, every in (("a", each, 1), ("b", twos, 2)):
        (tmp_path / name).mkdir()
        chain = Degradation({"a": Stage(Counting(), Nothing())})
        run(tmp_path / name, chain, watcher=watcher, log_every=every)
    for name in (*TERMS, "total", "d_clear", "d_observation_fake"):
        single = [float(r[name]) for r in each.records]
        assert [float(r[name]) for r in twos.records] == pytest.approx(
            [(a + b) / 2 for a, b in zip(single[::2], single[1::2], strict=True)]
        )


def test_opponents_of_other_names_are_refused(tmp_path: Path) -> None:
    networks = players() | {"depth": PatchDiscriminator(width=2)}
    with pytest.raises(ValueError, match="opponents are called"):
        run(tmp_path, Degradation({"a": Stage(Counting(), Nothing())}), networks=networks)


@pytest.mark.parametrize("device", ["gpuu", "cuda"])
def test_a_device_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert train(tmp_path, "--device", device) == 1
    err = capsys.readouterr().err
    assert f"device '{device}'" in err.splitlines()[-1]
    assert err.count("\n") == 2  # what is to be trained, and the fault
    assert not (tmp_path / "run" / "recipe.yaml").exists()


# ---------------------------------------------------------------- broken steps


class Breaks:
    """A sampler whose n-th draw is not finite where `broken(n)`, counted from 1."""

    def __init__(self, broken: Callable[[int], bool]) -> None:
        self.broken, self.draws = broken, 0

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        self.draws += 1
        return {"gain": torch.full((len(x),), math.nan if self.broken(self.draws) else 0.9)}


class Gain:
    """y = gain · x."""

    scale = 1

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        return x * theta["gain"][:, None, None, None]


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in network.state_dict().items()}


def test_a_broken_step_is_skipped_counted_and_leaves_no_trace(tmp_path: Path) -> None:
    results = []
    for name, broken, steps in (("a", {2, 3}, 6), ("b", set[int](), 4)):
        (tmp_path / name).mkdir()
        chain = Degradation({"a": Stage(Gain(), Breaks(broken.__contains__))})
        networks, watcher = players(), Recorder()
        average, outcome = run(
            tmp_path / name,
            chain,
            networks=networks,
            stream=lambda _: crops(0),  # so that only the broken steps differ
            watcher=watcher,
            constant=steps,
        )
        assert outcome.step == steps
        assert watcher.records[-1]["skipped"] == len(broken)
        assert all(math.isfinite(float(v)) for r in watcher.records for v in list(r.values())[1:])
        results.append([weights_of(n) for n in (average, *networks.values())])
        manifest = json.loads((tmp_path / name / MANIFEST).read_text(encoding="utf-8"))
        assert (manifest["skipped"], manifest["skipped_in_a_row"]) == (len(broken), 0)
    for with_broken, without in zip(*results, strict=True):
        for name, tensor in with_broken.items():
            assert torch.equal(tensor, without[name]), name


def test_an_interval_of_broken_steps_has_no_terms(tmp_path: Path) -> None:
    watcher = Recorder()
    chain = Degradation({"a": Stage(Gain(), Breaks(lambda n: n <= 2))})
    run(tmp_path, chain, watcher=watcher)
    first, second = watcher.records
    assert "total" not in first
    assert first["skipped"] == second["skipped"] == 2
    assert "total" in second


def test_broken_steps_that_persist_stop_the_run_with_a_diagnosis(tmp_path: Path) -> None:
    watcher = Recorder()
    breaks = Breaks(lambda n: n >= 4)
    chain = Degradation({"a": Stage(Gain(), breaks)})
    with pytest.raises(TrainingError) as stopped:
        run(tmp_path, chain, watcher=watcher, constant=100, patience=3, checkpoint_every=2)
    text = str(stopped.value)
    assert "\n" not in text
    assert "training at step 6" in text
    assert "3 skipped steps in a row" in text
    for name in (*TERMS, "total", "gradient_norm"):
        assert name in text
    assert "learning rate 0.0002" in text
    assert "precision fp32" in text
    assert "--optimiser.lr" in text
    assert "--resume" in text
    assert breaks.draws == 6
    assert watcher.closed == 1
    # What is kept is finite.
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["step"] == 4


def test_patience_counts_steps_in_a_row(tmp_path: Path) -> None:
    chain = Degradation({"a": Stage(Gain(), Breaks(lambda n: n % 3 != 0))})
    _, outcome = run(tmp_path, chain, constant=12, patience=3)
    assert outcome.step == 12


BREAKING = """
import torch

class Gain:
    scale = 1
    def __call__(self, x, theta):
        return x * theta["gain"][:, None, None, None]

class Breaks:
    def __init__(self, after: int):
        self.after, self.draws = after, 0
    def sample(self, x, *, generator):
        self.draws += 1
        return {"gain": torch.full((len(x),), float("nan") if self.draws > self.after else 1.0)}
"""


def test_the_command_tells_the_diagnosis_and_the_advice_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tmp_path / "breaking.py"
    code.write_text(BREAKING, encoding="utf-8")

    def stage(after: int) -> list[str]:
        sampler = f"{{name: '{code}:Breaks', arguments: {{after: {after}}}}}"
        return ["--physics.stages", f"{{a: {{operator: '{code}:Gain', sampler: {sampler}}}}}"]

    # Two draws are taken before training, to try the physics.
    assert train(tmp_path, *stage(8), "--training.patience", "2", "--data.hold_out", "0") == 1
    out, err = capsys.readouterr()
    assert out == ""
    diagnosis = err.splitlines()[-1]
    assert diagnosis.startswith("physgan: training at step 8: ")
    assert "Lower --optimiser.lr" in diagnosis
    # As advised: with a lower rate, from the last checkpoint, which is of step 4.
    advised = ["--resume", "--optimiser.lr", "1e-4", "--optimiser.clip", "1"]
    more = ["--training.patience", "2", "--data.hold_out", "0"]
    assert train(tmp_path, *stage(8), *more, *advised) == 1
    assert "training at step 12" in capsys.readouterr().err


# ---------------------------------------------------------------- foreign physics


OPERATOR = '''
"""Light that fades from left to right: ten lines."""
import torch

class Fade:
    scale = 1
    def __call__(self, x, theta):
        ramp = torch.linspace(1, 0, x.shape[-1], device=x.device)
        return x * (1 - theta["loss"][:, None, None, None] * ramp)

class DrawnLoss:
    def __init__(self, greatest: float = 0.5):
        self.greatest = greatest
    def sample(self, x, *, generator):
        return {"loss": torch.rand(len(x), generator=generator) * self.greatest}
'''


def test_a_physics_of_ten_lines_trains(tmp_path: Path) -> None:
    code = tmp_path / "fade.py"
    code.write_text(OPERATOR, encoding="utf-8")
    sampler = f"{{name: '{code}:DrawnLoss', arguments: {{greatest: 0.8}}}}"
    stages = f"{{fade: {{operator: '{code}:Fade', sampler: {sampler}}}}}"
    overrides = ["--physics.stages", stages, "--training.schedule", "{constant: 1, decay: 1}"]
    assert train(tmp_path, *overrides) == 0
    (record,) = (r for r in records(tmp_path / "run") if r["kind"] == "train")
    assert record["step"] == 2
    assert record["physics"] > 0


def test_pictures_of_a_run_are_those_of_the_folder(tmp_path: Path) -> None:
    # What the other tests rest on: the drawn pictures are read as they were written.
    draw_pictures(tmp_path, 3)
    read = open_pictures(tmp_path)
    assert len(read) == 3
    sizes = [tuple(read.read(i).shape) for i in range(3)]
    assert sizes == [(3, 40 + i, 40 + 2 * i) for i in range(3)]
    assert all(len(read.read(i).unique()) > 50 for i in range(3))
    assert not any(
        torch.equal(read.read(a)[:, :40, :40], read.read(b)[:, :40, :40])
        for a, b in pairwise(range(3))
    )


def test_a_run_does_not_end_well_on_broken_steps(tmp_path: Path) -> None:
    chain = Degradation({"a": Stage(Gain(), Breaks(lambda n: n >= 4))})
    with pytest.raises(TrainingError, match="skipped steps in a row"):
        run(tmp_path, chain, constant=11, patience=6, log_every=50)


def test_another_optimiser_is_another_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path) == 0
    assert train(tmp_path, "--optimiser.method", "muon", "--resume") != 0
    assert "optimiser.method" in capsys.readouterr().err
    assert "muon" not in (tmp_path / "run" / "recipe.yaml").read_text("utf-8")


class Answers(TorchDispatchMode):
    """Counts what would have to wait for a device: numbers that Python is told, and sizes."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func.name().removeprefix("aten::").split(".")[0] in self.WAITING:
            package = str(Path(physgan.__file__).parent)
            ours = [f for f in traceback.extract_stack() if f.filename.startswith(package)]
            # Choices of the pools come from a generator on the host.
            if "self.generator" not in (ours[-1].line or ""):
                self.asked.append(f"{ours[-1].filename}:{ours[-1].lineno}")
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device_between_lines_of_the_log(tmp_path: Path) -> None:
    answers = Answers()
    between: list[int] = []

    class Between(Recorder):
        def stepped(self, step: int) -> None:
            between.append(len(answers.asked))

        def told(self, record: Mapping[str, float | int | str]) -> None:
            super().told(record)
            between.append(len(answers.asked))

    watcher = Between()
    with answers:
        run(
            tmp_path,
            build_degradation(load_recipe("deblur-natural").physics),
            watcher=watcher,
            constant=8,
            log_every=7,
            patience=7,
            pool=3,
        )
    # Told after step 7 and at the end: only there may numbers have been asked for.
    assert between[:6] == [between[0]] * 6
    assert between[6] > between[5]
