"""The benchmarks compare like with like, and run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import failures, jpeg, real
from benchmarks.train import drawn_crops, reference_of
from physgan.metrics.protocol import protocol, scores
from physgan.networks import UNet
from physgan.recipes.build import build_degradation, build_objective
from physgan.recipes.experiment import plan_of, players_of
from physgan.recipes.load import load_recipe
from physgan.restore.panels import GAP
from physgan.restore.restorer import Restorer
from physgan.training.logs import JsonLines
from physgan.training.loop import fit
from physgan.weights.catalogue import SHIPPED
from tests.training.tiny import write_picture

SMALL = [
    "--data.crop=48",
    "--training.batch=2",
    "--generator={name: resnet9, arguments: {width: 4, blocks: 1}}",
    "--discriminator={name: patchgan, arguments: {width: 4}}",
    "--objective.pool=3",
    "--optimiser.method=adam",
    "--training.precision=fp32",
]


@pytest.fixture(autouse=True)
def _random_state() -> Any:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


# Wide and large enough for Winograd's way, and for ours with the gradients of other kernels.
MANY = "--training.batch=4"
WIDE = "--generator={name: resnet9, arguments: {width: 16, blocks: 2}}"
GUIDED = (
    "--generator={name: blind_deconvolution, "
    "arguments: {widths: [4, 6], blocks: [1, 1], side: 9, edges: true}}"
)
WIDE_D = "--discriminator={name: patchgan, arguments: {width: 48}}"


@pytest.mark.parametrize(
    ("name", "wider"),
    [
        ("paper/deblur-natural", ()),
        ("paper/deblur-natural", (MANY, WIDE, WIDE_D)),
        ("deblur-text", ()),
    ],
)
def test_the_reference_computes_what_we_compute(
    name: str, wider: Sequence[str], tmp_path: Path
) -> None:
    steps = 3
    recipe = load_recipe(
        name,
        [*SMALL, *wider, f"--training.schedule={{unit: steps, constant: {steps}, decay: 0}}"],
    )
    degradation, objective = build_degradation(recipe.physics), build_objective(recipe.objective)
    plan = plan_of(recipe, 1)
    networks = players_of(recipe, degradation, objective)
    start = weights(networks)
    fit(
        networks,
        stream=drawn_crops(recipe),
        pairs=(),
        degradation=degradation,
        objective=objective,
        plan=dataclasses.replace(plan, log_every=1),
        folder=tmp_path,
        save_weights=lambda network, outcome: None,
        watchers=lambda start: [JsonLines(tmp_path / "log.jsonl")],
        device="cpu",
    )
    ours = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    reference, crops = reference_of(recipe, "cpu"), drawn_crops(recipe)
    theirs = [reference.step(crops(step).x) for step in range(steps)]
    assert len(ours) == steps
    for mine, plain in zip(ours, theirs, strict=True):
        assert plain.keys() <= mine.keys()
        # Adam's first moves follow the signs of gradients, those of rounding too.
        first = mine["step"] == 1
        off = (1e-4 if first else 2e-2) if wider else (1e-5 if first else 2e-3)
        for name, value in plain.items():
            assert mine[name] == pytest.approx(float(value), rel=off), name
    mine, plainly = weights(networks), weights(reference.networks)
    for name, before in start.items():
        moved = (mine[name] - before).norm()
        assert moved > 0
        assert (mine[name] - plainly[name]).norm() < 0.1 * moved, name


def test_the_reference_shows_a_guided_network_what_we_show_it() -> None:
    recipe = load_recipe("deblur-natural", [*SMALL, GUIDED])
    reference, crops = reference_of(recipe, "cpu"), drawn_crops(recipe)(0).x
    seen: list[tuple[Any, ...]] = []
    reference.networks["generator"].register_forward_pre_hook(lambda _, given: seen.append(given))
    reference.step(crops)
    ((_, clear, places),) = seen
    assert torch.equal(clear, crops.float() / 255)
    assert places == [0.25, 0.75]


def weights(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """All kernels of each network in one vector; biases before a normalisation move at random."""
    return {
        name: torch.cat([p.detach().flatten() for p in n.parameters() if p.ndim > 1])
        for name, n in networks.items()
    }


def test_the_command(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "train", "--threads", "1"),
            *("--rounds", "2", "--steps", "1", "--first", "2", "--device", "cpu"),
            *("--output", str(tmp_path / "r.json"), "--set", *(f[2:] for f in SMALL)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert result.returncode == 0, result.stderr
    assert "ratio" in result.stdout
    told = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert told["ratio"]["rounds"] == 2
    assert told["ratio"]["least"] <= told["ratio"]["median"] <= told["ratio"]["greatest"]
    for side in ("ours", "reference"):
        stages = told[side]["stages"].values()
        assert min(stage["seconds"] for stage in stages) > 0
        # The stages are the step, but for what lies between them.
        assert sum(stage["seconds"] for stage in stages) < 3 * max(told["seconds_per_step"][side])
        assert sum(s["tflop"] for s in stages) == pytest.approx(told[side]["tflop_per_step"])
        assert told[side]["stages"]["restore"]["tflop"] > 0
        assert all(0.05 < stage["memory_gb"] <= told[side]["memory_gb"] for stage in stages)
    # Ours spares the discriminators' weights while the generator moves.
    assert told["ours"]["tflop_per_step"] < told["reference"]["tflop_per_step"]
    assert told["matrix_tflops"]["fp32"] > 0


def test_failures_are_those_that_gain_least() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(widths=(4, 6), blocks=(1, 1))
        torch.nn.init.normal_(network.head.weight, std=0.02)
    found = failures.cases(Restorer(network.eval()), "derain", 5)
    gains = [case.gain for case in found]
    assert len(gains) == 5
    assert gains == sorted(gains)
    for case in found:
        how = protocol("rgb")
        after, before = (
            min(40.0, scores(image, case.x, how)["psnr"]) for image in (case.x_hat, case.y)
        )
        assert case.gain == pytest.approx(after - before)
    assert [case.picture for case in failures.of_each(found)] == list(
        dict.fromkeys(case.picture for case in found)
    )
    sheet = failures.sheet(found[:2])
    assert sheet.width > 3 * failures.SIDE
    assert sheet.height > 2 * failures.SIDE


@pytest.mark.parametrize("task", sorted(real.SHOWN))
def test_real_photographs_are_shown_before_and_after(task: str) -> None:
    scale, photographs = (4 if task == "sr4" else 1), real.SHOWN[task]
    # A new network enlarges bicubically; this one adds a fifth.
    network = UNet(widths=(4, 6), blocks=(1, 1), scale=scale)
    assert network.head.bias is not None
    nn.init.constant_(network.head.bias, 0.2)
    sheet = real.sheet(Restorer(network.eval()), photographs)
    height = 0
    for photograph in photographs:
        y = photograph.read()
        tall, wide = (scale * side for side in y.shape[2:])
        top = height + 14 * 3 // 2 + GAP
        before, after = (
            np.asarray(sheet.crop((left, top, left + wide, top + tall)), dtype=float)
            for left in (0, wide + GAP)
        )
        if scale == 1:
            assert np.array_equal(before, y[0].permute(1, 2, 0).numpy() * 255)
        inside = before > 0  # what is shown of before is clamped before it brightens
        assert np.abs(after - (before + 51).clip(max=255))[inside].max() <= 1
        height = top + tall + GAP
    assert sheet.height == height - GAP


def test_of_every_task_it_is_told_what_was_seen_on_real_photographs() -> None:
    assert real.SEEN.keys() == SHIPPED.keys()
    assert real.SHOWN.keys() <= SHIPPED.keys()


def test_what_was_seen_by_other_weights_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(real.SEEN, "dehaze", real.Seen(SHIPPED["dehaze"][:12], "Fog."))
    assert real.describe("dehaze").endswith("\n\nFog.\n")
    monkeypatch.setitem(real.SEEN, "dehaze", real.Seen("0123456789ab", "Fog."))
    told = "\n\nBy earlier weights (0123456789ab), not those that ship: Fog.\n"
    assert real.describe("dehaze").endswith(told)


def test_what_jpeg_costs_is_measured_against_the_same_clear_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Set14").mkdir()
    for number in range(3):
        write_picture(tmp_path / "Set14" / f"{number}.png", smooth(number))
    assert jpeg.main([str(tmp_path), "--task", "sr4", "--every", "2"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    pairs = [cell.split(" → ") for cell in line.strip("| ").split(" | ")[1:]]
    assert len(pairs) == len(jpeg.QUALITIES)
    before, after = ([float(pair[i]) for pair in pairs] for i in (0, 1))
    assert before == sorted(before, reverse=True)
    assert before[0] > before[-1] + 0.5
    assert after[0] > after[-1]
    with pytest.raises(SystemExit):
        jpeg.main([str(tmp_path), "--every", "0"])


def smooth(seed: int) -> Tensor:
    x = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(x, size=(100, 120), mode="bicubic")[0].clamp(0, 1)
