"""The residual of the physics in units of noise: 1 for the truth, whatever the sensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.cli import main
from physgan.data.synthesis import synthesise
from physgan.data.theta import load_theta, save_theta
from physgan.evaluation.consistency import FILE_STEP, consistency
from physgan.physics.blur import Blur, DiscKernels
from physgan.physics.compose import Degradation, Stage
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from physgan.types import Sensor, Theta
from tests.restore.small import small_weights
from tests.training.tiny import write_picture, write_recipe


class Photons:
    """Noise that grows with the signal, as a camera's own stage may have it."""

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        return {}

    def __call__(self, y: Tensor, theta: Theta, *, generator: Generator) -> Tensor:
        return y + 0.1 * y.sqrt() * torch.randn(y.shape, generator=generator)


def degradation(*sensor: Sensor) -> Degradation:
    return Degradation({"blur": Stage(Blur(), DiscKernels((2.0, 2.0)))}, SensorChain(sensor))


def page(seed: int = 0) -> Tensor:
    """Mostly white with black in it, so that half of the noise is clipped."""
    generator = Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 40, 40, generator=generator) > 0.3
    return F.interpolate(coarse.float(), (80, 80))


def observed(x: Tensor, chain: Degradation) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
    batch = synthesise(x, chain, generator=Generator().manual_seed(1))
    y = batch.y.clamp(0, 1).mul(255).round() / 255  # what a file keeps
    return y, {name: dict(part) for name, part in batch.theta.items()}


@pytest.mark.parametrize(
    "sensor",
    [
        [Noise((0.05, 0.05)), Clip(), Round()],
        [Noise((0.01, 0.01)), Clip()],
        [Noise((0.2, 0.2)), Clip(), Round(4)],
        [Photons(), Clip()],
    ],
)
def test_the_truth_is_as_far_off_as_noise(sensor: list[Sensor]) -> None:
    chain = degradation(*sensor)
    y, theta = observed(page(), chain)
    told = consistency(page(), y, chain, theta, generator=Generator().manual_seed(2))
    assert told["chi2"] == pytest.approx(1, abs=0.05)
    assert told["residual"] == pytest.approx(
        float((chain.operator(page(), theta) - y).square().mean()) ** 0.5
    )


def test_what_explains_less_is_further_off() -> None:
    chain = degradation(Noise((0.02, 0.02)), Clip(), Round())
    y, theta = observed(page(), chain)

    def chi2(x: Tensor) -> float:
        return consistency(x, y, chain, theta, generator=Generator().manual_seed(2))["chi2"]

    assert chi2(y) > 5  # the observation itself, blurred once more
    assert chi2(page(seed=1)) > 100
    # One that moves by a quarter of the noise, everywhere and after the blur, adds its square.
    assert chi2(page() * 0.995) > chi2(page())


@pytest.mark.parametrize("sensor", [[], [Clip(), Round()]])
@pytest.mark.parametrize("sigma", [0.002, 0.003, 0.005])
def test_noise_of_half_a_level(sigma: float, sensor: list[Sensor]) -> None:
    """A sensor that rounds and a file that does are one: what was rounded is not counted twice."""
    chain = degradation(Noise((sigma, sigma)), *sensor)
    for x in (page(), 0.2 + 0.6 * page()):  # with and without values at the ends
        y, theta = observed(x, chain)
        truth, darker, dark, moved = (
            consistency(seen, y, chain, theta, generator=Generator().manual_seed(2))["chi2"]
            for seen in (x, x * (1 - sigma), x * (1 - 3 * sigma), x.roll(1, -1))
        )
        assert truth == pytest.approx(1, abs=0.03)
        assert darker > 1.2
        assert dark > 3
        assert moved > 100


def test_without_noise_the_truth_leaves_nothing() -> None:
    """And an image is a twelfth of a squared level for each value that it gets wrong by one."""
    chain = degradation()
    y, theta = observed(page(), chain)
    told = consistency(page(), y, chain, theta, generator=Generator().manual_seed(2))
    assert told["residual"] <= FILE_STEP / 2
    assert told["chi2"] < 0.01
    wrong = y.clone()
    wrong[..., ::10, ::10] += torch.where(wrong[..., ::10, ::10] < 0.5, FILE_STEP, -FILE_STEP)
    told = consistency(page(), wrong, chain, theta, generator=Generator().manual_seed(2))
    assert told["chi2"] == pytest.approx(12 / 100, rel=0.01)


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """Two pairs with theta, weights, and the recipe whose physics made them."""
    write_recipe(tmp_path)
    for folder in ("x", "y", "theta"):
        (tmp_path / folder).mkdir()
    chain = degradation(Noise((0.05, 0.05)), Clip(), Round())
    for name in ("a", "b"):
        y, theta = observed(page(), chain)
        write_picture(tmp_path / "x" / f"{name}.png", page()[0])
        write_picture(tmp_path / "y" / f"{name}.png", y[0])
        save_theta(tmp_path / "theta" / f"{name}.safetensors", theta)
    small_weights(tmp_path / "w.safetensors")
    return tmp_path


def evaluate(ground: Path, *more: str) -> int:
    folders = ["--degraded", str(ground / "y"), "--clean", str(ground / "x")]
    folders += ["--theta", str(ground / "theta"), "--output", str(ground / "e")]
    weights = ["--weights", str(ground / "w.safetensors"), "--device", "cpu"]
    return main(["evaluate", *folders, *weights, *more])


def test_the_command_tells_how_consistent_results_are(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(ground, "--physics", str(ground / "tiny.yaml")) == 0
    told = capsys.readouterr().out
    assert "χ²/N" in told
    assert "its median" in told
    summary = json.loads((ground / "e" / "summary.json").read_text(encoding="utf-8"))
    assert summary["clean_chi2"] == pytest.approx(1, abs=0.05)
    assert summary["chi2"] > 1.5
    lines = (ground / "e" / "per_image.jsonl").read_text(encoding="utf-8").splitlines()
    assert {"chi2", "residual", "clean_chi2", "clean_residual"} <= json.loads(lines[0]).keys()


def test_what_the_command_refuses(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # These weights carry no recipe.
    assert evaluate(ground) == 2
    assert "--physics RECIPE" in capsys.readouterr().err
    (ground / "theta" / "b.safetensors").unlink()
    assert evaluate(ground, "--physics", str(ground / "tiny.yaml")) == 1
    assert "1 missing, such as 'b.safetensors'" in capsys.readouterr().err
    assert not (ground / "e").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t["blur"].update(kernel=t["blur"]["kernel"] * 2), "a sum of 1 (±0.001)"),
        (lambda t: t["blur"].update(kernel=F.pad(t["blur"]["kernel"], (0, 1))), "odd"),
        (lambda t: t["blur"].pop("kernel"), "a parameter 'kernel'"),
        (lambda t: t.pop("blur"), "parameters of the stage 'blur'"),
    ],
)
def test_theta_that_cannot_be_costs_its_own_pair(
    ground: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, dict[str, Tensor]]], object],
    told: str,
) -> None:
    theta = load_theta(ground / "theta" / "b.safetensors")
    change(theta)
    save_theta(ground / "theta" / "b.safetensors", theta)
    assert evaluate(ground, "--physics", str(ground / "tiny.yaml")) == 1
    error = capsys.readouterr().err
    assert "physgan: 'b' is left out: " in error
    assert told in error
    assert "got" in error
    lines = (ground / "e" / "per_image.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["a"]


def test_theta_of_another_physics_leaves_nothing(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(ground, "--physics", "dehaze") == 1
    *named, last = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in named] == [" 'a' is left out", " 'b' is left out"]
    assert "at least one, got none" in last
    assert not (ground / "e").exists()


def test_theta_of_another_sensor_is_refused(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ground / "tiny.yaml").read_text(encoding="utf-8")
    raw = yaml.safe_load(text)
    raw["physics"]["sensor"] = ["clip"]
    (ground / "quiet.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert evaluate(ground, "--physics", str(ground / "quiet.yaml")) == 1
    error = capsys.readouterr().err
    assert "'sensor.sigma', which it does not take. Name the physics that made the pairs" in error


def test_theta_that_is_not_finite_is_refused(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theta = load_theta(ground / "theta" / "b.safetensors")
    theta["blur"]["kernel"][0, 0, 0] = torch.nan
    save_theta(ground / "theta" / "b.safetensors", theta)
    assert evaluate(ground, "--physics", str(ground / "tiny.yaml")) == 1
    error = capsys.readouterr().err
    assert "'blur.kernel' in theta file" in error
    assert "expected finite numbers" in error
    assert json.loads((ground / "e" / "summary.json").read_text(encoding="utf-8"))["n"] == 1


def test_a_foreign_physics_that_fails_on_theta_is_one_line(
    ground: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ground / "own.py").write_text(
        "from physgan.physics.blur import blur\n"
        "class Own:\n"
        "    scale = 1\n"
        "    def __call__(self, x, theta):\n"
        "        return blur(x, theta['psf'])\n",
        encoding="utf-8",
    )
    raw = yaml.safe_load((ground / "tiny.yaml").read_text(encoding="utf-8"))
    raw["physics"]["stages"]["blur"]["operator"] = "own.py:Own"
    (ground / "own.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert evaluate(ground, "--physics", str(ground / "own.yaml")) == 1
    error = capsys.readouterr().err
    assert "got KeyError: 'psf' (own.py, line 5). Does it belong to this physics?" in error
    assert "Traceback" not in error


def test_folders_of_theta_are_told_apart(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    physics = ("--physics", str(ground / "tiny.yaml"))
    assert evaluate(ground, *physics, "--theta", str(ground / "gone")) == 1
    assert "a folder that exists, got nothing of that name" in capsys.readouterr().err
    assert evaluate(ground, *physics, "--theta", str(ground)) == 1
    assert f"Did you mean '{ground / 'theta'}'?" in capsys.readouterr().err
