"""Pairs in haze and without tell the transmission, the airlight, and so the depth."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.data import hazed
from physgan.data.hazed import hazed_pairs, transmission_of
from physgan.errors import ImageError
from physgan.recipes.build import PICTURES
from tests.data.files import DATA
from tests.training.tiny import write_picture


def scene(seed: int, channels: int = 3, size: tuple[int, int] = (96, 128)) -> tuple[Tensor, Tensor]:
    """A clear picture of many colours, and a depth that changes softly, in (0, 1]."""
    draws = Generator().manual_seed(seed)
    x = F.interpolate(torch.rand(1, channels, 12, 16, generator=draws), size, mode="bicubic")
    depth = F.interpolate(torch.rand(1, 1, 3, 4, generator=draws), size, mode="bicubic")
    return x[0].clamp(0, 0.85), depth[0].clamp(0.05, 1)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), beta=st.floats(0.4, 2), airlight=st.floats(0.6, 0.98))
def test_what_was_put_in_comes_out(seed: int, beta: float, airlight: float) -> None:
    x, depth = scene(seed)
    t = torch.exp(-beta * depth)
    a = torch.tensor([airlight, airlight, min(1.0, airlight + 0.02)])
    found, light = transmission_of(x * t + a[:, None, None] * (1 - t), x)
    torch.testing.assert_close(light, a, rtol=0, atol=0.005)
    assert float((found - t).abs().mean()) < 0.01  # depth changes within the squares, too


def test_grey_pictures_and_rounded_ones() -> None:
    x, depth = scene(1, channels=1)
    t = torch.exp(-depth)
    y = ((x * t + 0.9 * (1 - t)) * 255).round() / 255
    found, light = transmission_of(y, x)
    assert light.shape == (1,)
    assert float(light) == pytest.approx(0.9, abs=0.03)
    assert float((found - t).abs().mean()) < 0.03


def test_a_patch_of_the_airlight_s_colour_takes_its_surroundings() -> None:
    x, depth = scene(2)
    x[:, 40:43, 60:63] = 0.9
    t = torch.exp(-1.2 * depth)
    found, _ = transmission_of(x * t + 0.9 * (1 - t), x)
    assert float((found - t)[:, 40:43, 60:63].abs().max()) < 0.05


def test_no_haze_is_no_haze() -> None:
    x, _ = scene(3)
    found, _ = transmission_of(x, x)
    assert float(found.min()) > 0.999


def written(folder: Path, name: str, x: Tensor, t: Tensor, airlight: float) -> None:
    for part, picture in (("clear", x), ("hazy", x * t + airlight * (1 - t))):
        (folder / part).mkdir(exist_ok=True)
        write_picture(folder / part / f"{name}.png", picture)


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_as_pictures_of_a_recipe(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hazed, "_KEPT", kept)
    for seed, airlight in enumerate((0.7, 0.95)):
        x, depth = scene(seed)
        written(tmp_path, str(seed), x, torch.exp(-1.5 * depth), airlight)
    scenes = PICTURES["hazed_pairs"](tmp_path / "hazy", tmp_path / "clear")
    assert len(scenes) == 2
    for index in (0, 1, 1, 0):
        _, depth = scene(index)
        found = scenes.depth(index)
        assert found.shape == depth.shape
        assert float((found - depth / depth.max()).abs().mean()) < 0.05
        assert scenes.depth(index, (24, 32)).shape == (1, 24, 32)


def test_no_haze_tells_no_depth(tmp_path: Path) -> None:
    x, _ = scene(3)
    written(tmp_path, "a", x, torch.ones(()), 0.8)
    scenes = hazed_pairs(tmp_path / "hazy", tmp_path / "clear")
    with pytest.raises(ImageError, match=r"expected some, .* got none"):
        scenes.depth(0)


def test_where_there_is_no_haze_it_is_near(tmp_path: Path) -> None:
    x, _ = scene(4)
    t = torch.full_like(x[:1], 0.3)
    t[:, 20:80, 10:60] = 1
    written(tmp_path, "a", x, t, 0.9)
    depth = hazed_pairs(tmp_path / "hazy", tmp_path / "clear").depth(0)
    assert float(depth[:, 30:70, 20:50].max()) < 0.05
    assert float(depth[:, :10].min()) > 0.8


def test_faults_are_named(tmp_path: Path) -> None:
    x, _ = scene(0)
    for folder in ("hazy", "clear"):
        (tmp_path / folder).mkdir()
    write_picture(tmp_path / "clear" / "a.png", x)
    write_picture(tmp_path / "hazy" / "a.png", x[:, :-2])
    with pytest.raises(ImageError, match="128×94"):
        hazed_pairs(tmp_path / "hazy", tmp_path / "clear").depth(0)
    write_picture(tmp_path / "clear" / "b.png", x)
    with pytest.raises(ImageError, match="b"):
        hazed_pairs(tmp_path / "hazy", tmp_path / "clear")


REAL = DATA / "haze_train_pairs"


@pytest.mark.skipif(not REAL.is_dir(), reason="the pairs in haze are not on this machine")
@pytest.mark.parametrize("index", [0, 50, 121])
def test_published_pairs_are_explained(index: int) -> None:
    from physgan.images.read import read_8bit

    scenes = hazed_pairs(REAL / "hazy", REAL / "clear")
    y, x = (read_8bit(p).float() / 255 for p in (scenes.maps[index], scenes.pictures.paths[index]))
    t, a = transmission_of(y, x)
    again = x * t + a[:, None, None] * (1 - t)
    assert float((again - y).square().mean()) < 10**-3.5  # 35 dB, about that of the JPEG files
