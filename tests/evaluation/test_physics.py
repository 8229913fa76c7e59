"""Checking a physics: agreement with what was made by it, and planted conventions recovered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.cli import main
from physgan.data.pairs import Pair
from physgan.data.theta import load_theta, save_theta
from physgan.errors import ImageError, ThetaError
from physgan.evaluation import physics
from physgan.evaluation.physics import GAMMA, Report, check_physics
from physgan.images.read import read_8bit
from physgan.images.write import write_8bit
from physgan.physics.blur import Blur, Boundary, MotionKernels, blur
from physgan.physics.compose import Degradation, Stage
from physgan.physics.haze import Haze
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from tests.data.files import DATA
from tests.physics.cases import Transmissions
from tests.training.tiny import draw_pictures, write_recipe

BLUR = Degradation({"blur": Stage(Blur(), MotionKernels((7.0, 11.0)))}, SensorChain([Round()]))
HAZE = Degradation({"haze": Stage(Haze(), Transmissions())}, SensorChain([Round()]))


def clear(index: int, side: int = 96) -> Tensor:
    """Edges and texture everywhere, unlike when mirrored or turned."""
    generator = Generator().manual_seed(index)
    coarse, fine = (torch.rand(1, 3, n, n, generator=generator) for n in (7, 32))
    options: dict[str, Any] = {"size": (side, side), "mode": "bicubic"}
    return (0.7 * F.interpolate(coarse, **options) + 0.3 * F.interpolate(fine, **options)).clamp(
        0, 1
    )


Thetas: TypeAlias = list[dict[str, dict[str, Tensor]]]


def made(chain: Degradation, count: int = 2) -> tuple[list[Pair], Thetas]:
    pairs: list[Pair] = []
    thetas: Thetas = []
    for index in range(count):
        x, generator = clear(index), Generator().manual_seed(index)
        theta = {k: dict(part) for k, part in chain.sample(x, generator=generator).items()}
        y = chain.sense(chain.operator(x, theta), theta, generator=generator)
        pairs.append(Pair(str(index), y, x))
        thetas.append(theta)
    return pairs, thetas


def only(report: Report) -> tuple[list[str], set[tuple[int, int]]]:
    return report.best.convention.described(), set(report.best.shifts)


@pytest.mark.parametrize("chain", [BLUR, HAZE])
def test_pairs_of_our_own_agree_to_rounding(chain: Degradation) -> None:
    report = check_physics(*made(chain), chain)
    assert report.agrees
    assert report.stored.residual < 0.3 / 255  # rounding spreads by 1/sqrt(12) of a level
    assert report.stored.to_the_edges < 0.3 / 255
    assert report.best == report.stored
    assert report.input_residual > 10 * report.stored.residual
    assert report.chi2 is not None
    assert report.chi2 < 1.1


def test_noise_is_told_from_disagreement() -> None:
    sensor = SensorChain([Noise((0.05, 0.05)), Clip(), Round()])
    chain = Degradation({"blur": Stage(Blur(), MotionKernels((7.0, 11.0)))}, sensor)
    report = check_physics(*made(chain), chain)
    assert report.agrees
    assert report.chi2 == pytest.approx(1, abs=0.05)
    assert report.stored.residual == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize("how", [how for how in physics._DIHEDRAL if how != "as it is"])
def test_every_flip_and_turn_is_recovered(how: str) -> None:
    pairs, thetas = made(BLUR)
    # Stored such that what is tried puts it right.
    undone = {"turned by 90°": "turned by 270°", "turned by 270°": "turned by 90°"}.get(how, how)
    for theta in thetas:
        theta["blur"]["kernel"] = physics._DIHEDRAL[undone](theta["blur"]["kernel"])
    report = check_physics(pairs, thetas, BLUR)
    assert not report.agrees
    assert only(report) == ([f"'blur.kernel' {how}"], {(0, 0)})
    assert report.best.residual < 0.3 / 255


@pytest.mark.parametrize("shift", [(0, 1), (-4, 4), (3, 0), (-2, -3)])
def test_shifts_are_recovered(shift: tuple[int, int]) -> None:
    pairs, thetas = made(BLUR)
    moved = [Pair(p.name, p.y.roll(shift, (-2, -1)), p.x) for p in pairs]
    assert only(check_physics(moved, thetas, BLUR)) == ([], {shift})


def test_shifts_of_their_own() -> None:
    pairs, thetas = made(BLUR)
    shifts = [(1, 0), (-2, 3)]
    moved = [Pair(p.name, p.y.roll(s, (-2, -1)), p.x) for p, s in zip(pairs, shifts, strict=True)]
    assert check_physics(moved, thetas, BLUR).best.shifts == tuple(shifts)


@pytest.mark.parametrize("boundary", ["replicate", "circular", "zero"])
def test_the_boundary_is_recovered(boundary: Boundary) -> None:
    pairs, thetas = made(BLUR)
    others = [
        Pair(p.name, blur(p.x, t["blur"]["kernel"], boundary=boundary), p.x)
        for p, t in zip(pairs, thetas, strict=True)
    ]
    report = check_physics(others, thetas, BLUR)
    assert not report.agrees
    assert only(report) == ([f"boundary of 'blur' {boundary}"], {(0, 0)})


def test_linear_light_is_recovered() -> None:
    pairs, thetas = made(BLUR)
    lit = [
        Pair(p.name, BLUR.operator(p.x**GAMMA, t).clamp(min=0) ** (1 / GAMMA), p.x)
        for p, t in zip(pairs, thetas, strict=True)
    ]
    assert only(check_physics(lit, thetas, BLUR))[0] == [f"physics in linear light (gamma {GAMMA})"]


@pytest.mark.parametrize(
    ("name", "stored", "told"),
    [
        ("airlight", lambda a: a * 255, "divided by 255"),
        ("airlight", lambda a: a * 2 - 1, "taken from [-1, 1]"),
        ("transmission", lambda t: 1 - t, "as 1 less it"),
    ],
)
def test_ranges_are_recovered(name: str, stored: Any, told: str) -> None:
    pairs, thetas = made(HAZE)
    for theta in thetas:
        theta["haze"][name] = stored(theta["haze"][name])
    assert only(check_physics(pairs, thetas, HAZE)) == ([f"'haze.{name}' {told}"], {(0, 0)})


def test_two_conventions_at_once() -> None:
    pairs, thetas = made(BLUR)
    for theta in thetas:
        theta["blur"]["kernel"] = theta["blur"]["kernel"].mT
    moved = [Pair(p.name, p.y.roll((2, -1), (-2, -1)), p.x) for p in pairs]
    assert only(check_physics(moved, thetas, BLUR)) == (["'blur.kernel' transposed"], {(2, -1)})


def test_what_cannot_be_checked() -> None:
    pairs, thetas = made(BLUR, 1)
    with pytest.raises(ImageError, match="at least one"):
        check_physics([], [], BLUR)
    small = Pair("small", pairs[0].y[..., :16, :16], pairs[0].x[..., :16, :16])
    with pytest.raises(ImageError, match="more than 16 pixels"):
        check_physics([small], thetas, BLUR)
    with pytest.raises(ThetaError, match="kernel"):
        check_physics(pairs, [{"blur": {}}], BLUR)


# ---------------------------------------------------------------- the command


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    draw_pictures(tmp_path / "clear", 3, size=64)
    text = write_recipe(tmp_path).read_text(encoding="utf-8")
    text = text.replace("{name: disc, arguments: {radius: [0, 2]}}", "motion")
    (tmp_path / "tiny.yaml").write_text(text.replace("[0, 0.05]", "[0, 0]"), encoding="utf-8")
    argv = [str(tmp_path / "clear"), "--physics", str(tmp_path / "tiny.yaml")]
    assert main(["degrade", *argv, "--output", str(tmp_path / "pairs")]) == 0
    return tmp_path


def test_the_command_agrees_with_pairs_that_it_made(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-physics", str(ground / "pairs")]) == 0
    assert "no other convention explains them better" in capsys.readouterr().out
    assert main(["check-physics", str(ground / "pairs"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["agrees"]
    assert told["pairs"] == 3
    assert told["best"]["convention"] == []


def test_the_command_finds_a_planted_flip(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (ground / "pairs" / "theta").iterdir():
        theta = load_theta(path)
        theta["blur"]["kernel"] = theta["blur"]["kernel"].flip(-2, -1)
        save_theta(path, theta)
    assert main(["check-physics", str(ground / "pairs"), "--pairs-at-most", "2"]) == 0
    out = capsys.readouterr().out
    assert "2 pairs" in out
    assert "'blur.kernel' turned by 180° (correlation)" in out.splitlines()[-1]


def test_the_command_without_physics_or_theta(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next((ground / "pairs" / "theta").iterdir()).unlink()
    assert main(["check-physics", str(ground / "pairs")]) == 1
    assert "1 missing" in capsys.readouterr().err
    (ground / "pairs" / "manifest.jsonl").unlink()
    assert main(["check-physics", str(ground / "pairs")]) == 2
    assert "--physics RECIPE" in capsys.readouterr().err


LEVIN = DATA / "levin09"


@pytest.mark.skipif(not LEVIN.is_dir(), reason="the pictures of Levin et al. are not here")
def test_the_flip_of_levins_kernels_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Their y is a correlation with f, each kernel off its centre by some pixels."""
    argv = ["check-physics", str(LEVIN), "--physics", "deblur-natural", "--pairs-at-most", "4"]
    assert main([*argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert not told["agrees"]
    assert told["best"]["convention"][0] == "'blur.kernel' turned by 180° (correlation)"
    assert told["best"]["residual"] < 0.012
    assert told["stored"]["residual"] > 2 * told["best"]["residual"]
    assert told["chi2"] is None
    assert main(argv) == 0
    assert "turned by 180° (correlation)" in capsys.readouterr().out.splitlines()[-1]


def test_pairs_read_from_files_are_those_that_were_written(ground: Path) -> None:
    write_8bit(ground / "again.png", read_8bit(ground / "clear" / "000.png"))
    assert torch.equal(read_8bit(ground / "again.png"), read_8bit(ground / "clear" / "000.png"))
