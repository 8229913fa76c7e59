"""Checking a physics: agreement with what was made by it, and planted conventions recovered."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
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
from physgan.physics.blur import Blur, Boundary, MotionKernels
from physgan.physics.blur_field import BlurField, ShakeField
from physgan.physics.compose import Degradation, Stage
from physgan.physics.downsample import Bicubic
from physgan.physics.draw import Nothing
from physgan.physics.haze import Haze
from physgan.physics.jpeg import Jpeg
from physgan.physics.rain import DrawnRain, Rain
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from physgan.types import Theta
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


def made(
    chain: Degradation, count: int = 2, *, xs: Sequence[Tensor] = (), first: int = 0
) -> tuple[list[Pair], Thetas]:
    pairs: list[Pair] = []
    thetas: Thetas = []
    for index, x in enumerate(xs or [clear(first + i) for i in range(count)], first):
        generator = Generator().manual_seed(index)
        theta = {k: dict(part) for k, part in chain.sample(x, generator=generator).items()}
        y = chain.sense(chain.operator(x, theta), theta, generator=generator)
        y = y.clamp(0, 1).mul(255).round() / 255  # what a file keeps
        pairs.append(Pair(str(index), y, x))
        thetas.append(theta)
    return pairs, thetas


def noisy(sigma: float, size: tuple[float, float] = (5.0, 9.0), **how: Any) -> Degradation:
    sensor = SensorChain([Noise((sigma, sigma)), Clip(), Round()])
    return Degradation({"blur": Stage(Blur(**how), MotionKernels(size))}, sensor)


def only(report: Report) -> tuple[list[str], set[tuple[int, int]]]:
    return list(report.best.convention), set(report.best.shifts)


@pytest.mark.parametrize("chain", [BLUR, HAZE])
def test_pairs_of_our_own_agree_to_rounding(chain: Degradation) -> None:
    report = check_physics(*made(chain), chain)
    assert report.agrees
    assert report.verdict == "explains"
    assert report.stored.residual < 0.3 / 255  # rounding spreads by 1/sqrt(12) of a level
    assert report.stored.to_the_edges < 0.3 / 255
    assert report.best == report.stored
    assert report.input_residual > 10 * report.stored.residual
    assert report.chi2 is not None
    assert report.chi2 < 0.01  # without noise the truth leaves nothing


def test_noise_is_told_from_disagreement() -> None:
    chain = noisy(0.05, (7.0, 11.0))
    report = check_physics(*made(chain), chain)
    assert report.verdict == "explains"
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
    assert report.verdict == "explains otherwise"
    assert report.best.residual < 0.3 / 255


@pytest.mark.parametrize("shift", [(0, 1), (-4, 4), (3, 0), (-2, -3)])
def test_shifts_are_recovered(shift: tuple[int, int]) -> None:
    pairs, thetas = made(BLUR)
    moved = [Pair(p.name, p.y.roll(shift, (-2, -1)), p.x) for p in pairs]
    report = check_physics(moved, thetas, BLUR)
    assert only(report) == ([], {shift})
    assert not report.agrees
    assert report.stored.shifts == ((0, 0), (0, 0))
    assert report.stored.residual > 10 * report.best.residual
    # χ² leaves out what was rolled over the edge, which shows nowhere else.
    assert report.chi2 is not None
    assert report.chi2 > 100
    assert report.best_chi2 is not None
    assert report.best_chi2 < 0.01
    assert report.verdict == "explains otherwise"


def test_shifts_of_their_own() -> None:
    pairs, thetas = made(BLUR)
    shifts = [(1, 0), (-2, 3)]
    moved = [Pair(p.name, p.y.roll(s, (-2, -1)), p.x) for p, s in zip(pairs, shifts, strict=True)]
    report = check_physics(moved, thetas, BLUR)
    assert report.best.shifts == tuple(shifts)
    assert not report.agrees
    assert report.best.described() == ["y shifted by up to 3 px, otherwise from pair to pair"]


@pytest.mark.parametrize("size", [3.0, 11.0])
@pytest.mark.parametrize("boundary", ["replicate", "circular", "zero"])
def test_the_boundary_is_recovered(boundary: Boundary, size: float) -> None:
    pairs, thetas = made(noisy(0.0, (size, size), boundary=boundary))
    report = check_physics(pairs, thetas, noisy(0.0))
    assert only(report) == ([f"boundary of 'blur' {boundary}"], {(0, 0)})
    assert report.verdict == "explains otherwise"


def test_the_boundary_of_a_field_is_recovered() -> None:
    """And the operator that was handed in keeps its own."""

    def chain(boundary: Boundary) -> Degradation:
        return Degradation({"shake": Stage(BlurField(boundary), ShakeField(grid=(2, 2)))})

    ours = chain("reflect")
    report = check_physics(*made(chain("circular")), ours)
    assert only(report) == (["boundary of 'shake' circular"], {(0, 0)})
    operator = ours.operator.operators["shake"]
    assert isinstance(operator, BlurField)
    assert operator.boundary == "reflect"


class Lens:
    """An operator of another make, which keeps its boundary in something of its own."""

    scale = 1

    def __init__(self) -> None:
        self.blur = Blur()

    @property
    def boundary(self) -> Boundary:
        return self.blur.boundary

    @boundary.setter
    def boundary(self, boundary: Boundary) -> None:
        self.blur.boundary = boundary

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        return self.blur(x, theta)


def test_what_is_tried_leaves_the_operator_as_it_is() -> None:
    lens = Lens()
    chain = Degradation({"blur": Stage(lens, MotionKernels((5.0, 9.0)))})
    pairs, thetas = made(noisy(0.0, boundary="circular"))
    assert only(check_physics(pairs, thetas, chain))[0] == ["boundary of 'blur' circular"]
    assert lens.boundary == "reflect"


def test_a_wrong_kernel_leaves_the_boundary_alone() -> None:
    """Beside a wrong kernel another boundary often fits better; beside the right one, its own."""
    chain = noisy(0.0)
    for seed in range(12):
        (pair,), (theta,) = made(chain, 1, first=seed)
        theta["blur"]["kernel"] = theta["blur"]["kernel"].flip(-2, -1)
        report = check_physics([pair], [theta], chain)
        assert only(report) == (["'blur.kernel' turned by 180° (correlation)"], {(0, 0)})


def test_the_search_ends_where_nothing_fits() -> None:
    chain = noisy(0.1)
    (pair,), thetas = made(chain, xs=[clear(9, 20)], first=9)
    assert check_physics([pair], thetas, chain).verdict == "explains"
    for seed in range(8):
        (pair,), (theta,) = made(noisy(0.0), 1, first=seed)
        generator = Generator().manual_seed(1000 + seed)
        wrong = {**theta, "blur": MotionKernels((5.0, 9.0)).sample(pair.x, generator=generator)}
        report = check_physics([pair], [wrong], noisy(0.0))
        assert report.verdict == "unexplained"
        assert report.unexplained == (str(seed),)
        course = [report.stored, *report.steps]
        assert course[-1] == report.best
        falling = [finding.to_the_edges for finding in course]
        assert all(b < a for a, b in itertools.pairwise(falling))


def test_what_nothing_explains() -> None:
    chain = noisy(0.01, (7.0, 11.0))
    pairs, thetas = made(chain)
    noise = torch.rand(pairs[0].y.shape, generator=Generator().manual_seed(5))
    report = check_physics([Pair("noise", noise, pairs[0].x), pairs[1]], thetas, chain)
    assert report.verdict == "unexplained"
    assert report.unexplained == ("noise",)  # its neighbour is, and is not lost in a mean
    swapped = check_physics(pairs, thetas[::-1], chain)
    assert swapped.verdict == "unexplained"
    assert swapped.best_chi2 is not None
    assert swapped.best_chi2 > 2


def test_without_parameters_of_the_sensor_only_rounding_can_be_told() -> None:
    for sigma, verdict in ((0.0, "explains"), (0.05, "noise unknown")):
        chain = noisy(sigma)
        pairs, thetas = made(chain)
        for theta in thetas:
            del theta["sensor"]
        report = check_physics(pairs, thetas, chain)
        assert report.verdict == verdict
        assert report.agrees
        assert report.chi2 is report.best_chi2 is None
        assert report.missing == ("sensor.sigma",)


@pytest.mark.parametrize("side", [20, 40, 96])
@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
def test_no_false_alarms(sigma: float, side: int) -> None:
    """Noise alone changes no convention and makes no shift, also where there is nothing to see."""
    chain = noisy(sigma)
    for seed in range(4):
        for x in (clear(seed, side), torch.full((1, 3, side, side), 0.5)):
            report = check_physics(*made(chain, xs=[x], first=seed), chain)
            assert report.agrees
            assert report.verdict == "explains"
    exact = noisy(0.0)
    assert check_physics(*made(exact, xs=[torch.full((1, 3, side, side), 0.5)]), exact).agrees


@pytest.mark.parametrize(("sigma", "quality"), [(0.0, 80), (0.001, 30), (0.002, 80), (0.005, 80)])
def test_no_false_alarms_with_jpeg(sigma: float, quality: int) -> None:
    # Coefficients flip that flipped in no draw, and take whole blocks with them.
    sensor = SensorChain([Noise((sigma, sigma)), Clip(), Jpeg((quality, quality))])
    chain = Degradation({"blur": Stage(Blur(), MotionKernels((5.0, 9.0)))}, sensor)
    for first in (0, 20):
        report = check_physics(*made(chain, 4, first=first), chain)
        assert report.verdict == "explains"
        assert not report.overstated


def test_noise_that_theta_overstates_explains_nothing() -> None:
    chain = noisy(0.02)
    for sigma in (0.06, 5.1, math.nan):
        pairs, thetas = made(chain)
        for theta in thetas:
            theta["sensor"]["sigma"] = torch.tensor([sigma])
        report = check_physics(pairs, thetas, chain)
        assert report.verdict == "noise unknown"
        assert bool(report.impossible) == (sigma != 0.06)
        assert bool(report.overstated) == (sigma == 0.06)
    # A sigma that is known to a tenth does.
    pairs, thetas = made(chain)
    for theta in thetas:
        theta["sensor"]["sigma"] = torch.tensor([0.022])
    assert check_physics(pairs, thetas, chain).verdict == "explains"


def test_what_is_brighter_than_white_is_no_disagreement() -> None:
    chain = Degradation({"rain": Stage(Rain(), DrawnRain())}, SensorChain([Clip()]))
    pairs, thetas = made(chain, xs=[0.6 + 0.4 * clear(0), 0.6 + 0.4 * clear(1)])
    report = check_physics(pairs, thetas, chain)
    assert (chain.operator(pairs[0].x, thetas[0]) > 1).float().mean() > 0.01
    assert report.verdict == "explains"
    assert report.stored.residual < 0.3 / 255


def test_large_pictures_without_their_middle() -> None:
    """All four edges are kept, with what the boundary takes from across."""
    x, ours = clear(3, 700)[..., :450], noisy(0.02)
    pairs, thetas = made(noisy(0.02, boundary="circular"), xs=[x])
    case = physics._case(pairs[0], thetas[0], ours.operator)
    assert case.y.shape[-2:] == (396, 386)
    y_hat = ours.operator(case.x, case.theta)
    whole = ours.operator(x, thetas[0])
    rows = torch.cat([torch.arange(192), torch.arange(700 - 204, 700)])
    columns = torch.cat([torch.arange(192), torch.arange(450 - 194, 450)])
    where = case.valid.expand_as(y_hat)
    torch.testing.assert_close(y_hat[where], whole[..., rows, :][..., columns][where])
    assert where.float().mean() > 0.85
    thetas[0]["blur"]["kernel"] = thetas[0]["blur"]["kernel"].mT
    moved = [Pair("moved", pairs[0].y.roll((-3, 2), (-2, -1)), x)]
    report = check_physics(moved, thetas, ours)
    assert only(report) == (
        ["'blur.kernel' transposed", "boundary of 'blur' circular"],
        {(-3, 2)},
    )
    assert report.verdict == "explains otherwise"


def test_large_pictures_with_maps_and_samples_taken_away() -> None:
    haze = Stage(Haze(), Transmissions())
    chain = Degradation({"haze": haze, "down": Stage(Bicubic(2), Nothing())})
    pairs, thetas = made(chain, xs=[clear(1, 900)])
    case = physics._case(pairs[0], thetas[0], chain.operator)
    assert case.y.shape[-1] < 300
    report = check_physics(pairs, thetas, chain)
    assert report.verdict == "explains"
    assert report.stored.to_the_edges < 0.3 / 255
    for theta in thetas:
        theta["haze"]["airlight"] = theta["haze"]["airlight"] * 255
    assert only(check_physics(pairs, thetas, chain))[0] == ["'haze.airlight' divided by 255"]


def test_linear_light_is_recovered() -> None:
    pairs, thetas = made(BLUR)
    lit = [
        Pair(p.name, BLUR.operator(p.x**GAMMA, t).clamp(min=0) ** (1 / GAMMA), p.x)
        for p, t in zip(pairs, thetas, strict=True)
    ]
    report = check_physics(lit, thetas, BLUR)
    assert only(report)[0] == [f"physics in linear light (gamma {GAMMA})"]
    # An observation that is finer than a file is as far off as rounding.
    assert report.best_chi2 == pytest.approx(1, abs=0.1)
    assert report.verdict == "explains otherwise"


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


def test_what_cannot_be_is_told_unless_another_reading_mends_it() -> None:
    pairs, thetas = made(HAZE)
    for theta in thetas:
        theta["haze"]["airlight"] = theta["haze"]["airlight"] * 255
    assert check_physics(pairs, thetas, HAZE).impossible == {}
    pairs, thetas = made(BLUR)
    thetas[1]["blur"]["kernel"] = thetas[1]["blur"]["kernel"] * 2
    (clause,) = (told := check_physics(pairs, thetas, BLUR)).impossible
    assert "expected a sum of 1 (±0.001), which keeps the brightness, got a sum of 2.0" in clause
    assert told.impossible[clause] == "1"
    assert told.verdict == "unexplained"


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
    assert told["verdict"] == "explains"
    assert told["pairs"] == 3
    assert told["best"]["convention"] == []


def test_the_command_finds_a_planted_flip(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (ground / "pairs" / "theta").iterdir():
        theta = load_theta(path)
        theta["blur"]["kernel"] = theta["blur"]["kernel"].flip(-2, -1)
        save_theta(path, theta)
    assert main(["check-physics", str(ground / "pairs"), "--pairs-at-most", "2"]) == 0
    out, err = capsys.readouterr()
    assert "2 pairs" in out
    told = "Another convention explains the pairs: 'blur.kernel' turned by 180° (correlation)."
    assert out.splitlines()[-1] == told
    assert "'blur.kernel' transposed\n" in err


def test_the_command_tells_what_cannot_be(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ground / "pairs" / "theta" / "001.safetensors"
    theta = load_theta(path)
    theta["blur"]["kernel"] *= 3
    save_theta(path, theta)
    assert main(["check-physics", str(ground / "pairs")]) == 0
    assert "Theta of '001' cannot be: kernel of a blur: expected a sum" in capsys.readouterr().out
    assert main(["check-physics", str(ground / "pairs"), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["impossible"].values()) == ["001"]


def test_the_command_reads_only_the_pairs_it_looks_at(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ground / "pairs" / "clean" / "001.png").write_bytes(b"no picture")
    assert main(["check-physics", str(ground / "pairs"), "--pairs-at-most", "2"]) == 0
    capsys.readouterr()
    assert main(["check-physics", str(ground / "pairs"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert "a pair is left out: picture file" in err
    assert "001.png" in err
    told = json.loads(out)
    assert (told["pairs"], told["failed"], told["verdict"]) == (2, 1, "explains")
    (ground / "pairs" / "theta" / "000.safetensors").write_bytes(b"no theta")
    (ground / "pairs" / "degraded" / "002.png").write_bytes(b"no picture")
    assert main(["check-physics", str(ground / "pairs")]) == 1
    *named, last = capsys.readouterr().err.splitlines()
    assert all(part in line for part, line in zip(("000.", "001.", "002."), named, strict=True))
    assert "at least one, got none" in last


def test_the_command_tells_of_shifts_and_of_what_nothing_explains(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ground / "pairs" / "degraded"
    for path in folder.iterdir():
        write_8bit(path, read_8bit(path).roll((2, -1), (-2, -1)))
    assert main(["check-physics", str(ground / "pairs")]) == 0
    told = "Another convention explains the pairs: y shifted by +2 down, -1 right."
    assert capsys.readouterr().out.splitlines()[-1] == told
    first = sorted(folder.iterdir())[0]
    generator = Generator().manual_seed(0)
    noise = torch.randint(256, read_8bit(first).shape, generator=generator, dtype=torch.uint8)
    write_8bit(first, noise)
    assert main(["check-physics", str(ground / "pairs")]) == 0
    told = "Nothing that was tried explains the pairs (1 of 3, such as '000'). The nearest is"
    assert told in capsys.readouterr().out.splitlines()[-1]


FOREIGN = """
class Wrong:
    scale = 1

    def __call__(self, x, theta):
        return x[..., theta["none"]]
"""


def test_a_foreign_operator_that_raises_is_one_line(
    ground: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (ground / "wrong.py").write_text(FOREIGN, encoding="utf-8")
    text = (ground / "tiny.yaml").read_text(encoding="utf-8")
    text = text.replace("operator: blur", "operator: wrong.py:Wrong")
    (ground / "tiny.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(ground)
    assert main(["check-physics", str(ground / "pairs"), "--physics", "tiny.yaml"]) == 2
    (line,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("physgan: ")]
    assert "KeyError: 'none' (wrong.py, line 6)" in line


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
    assert told["missing"] == ["sensor.sigma"]
    assert told["verdict"] == "noise unknown"
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "χ²/N is not known: theta has no 'sensor.sigma'" in out
    assert "turned by 180° (correlation)" in out.splitlines()[-1]
    assert "% of the residual away" in out.splitlines()[-1]
