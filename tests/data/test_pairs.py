from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from physgan.data.pairs import drawn_pairs, read_pairs
from physgan.errors import ImageError
from physgan.physics.blur import Blur, DiscKernels
from physgan.physics.compose import Degradation, Stage
from physgan.physics.sensor import Noise, SensorChain
from tests.data.sets import picture


def save(path: Path, seed: int, *, h: int = 4, w: int = 5) -> torch.Tensor:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = picture(h, w, seed=seed)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return pixels


def test_pairs_are_matched_by_stem(tmp_path: Path) -> None:
    clean = {stem: save(tmp_path / "x" / f"{stem}.png", i) for i, stem in enumerate("bca")}
    degraded = {stem: save(tmp_path / "y" / f"{stem}.tif", i + 9) for i, stem in enumerate("cab")}
    pairs = read_pairs(tmp_path / "y", tmp_path / "x")
    assert [pair.name for pair in pairs] == ["a", "b", "c"]
    for pair in pairs:
        assert pair.x.dtype == pair.y.dtype == torch.float32
        assert torch.equal(pair.x, clean[pair.name][None].float() / 255)
        assert torch.equal(pair.y, degraded[pair.name][None].float() / 255)
    grey = read_pairs(tmp_path / "y", tmp_path / "x", channels=1)
    assert grey[0].x.shape == grey[0].y.shape == (1, 1, 4, 5)


def test_observations_may_be_smaller(tmp_path: Path) -> None:
    save(tmp_path / "x" / "a.png", 0, h=8, w=12)
    save(tmp_path / "y" / "a.png", 1, h=4, w=6)
    (pair,) = read_pairs(tmp_path / "y", tmp_path / "x")
    assert (pair.x.shape, pair.y.shape) == ((1, 3, 8, 12), (1, 3, 4, 6))


@pytest.mark.parametrize("alone", ["x", "y"])
def test_a_missing_partner(tmp_path: Path, alone: str) -> None:
    for side in ("x", "y"):
        save(tmp_path / side / "a.png", 0)
    save(tmp_path / alone / "lonely.png", 0)
    with pytest.raises(ImageError, match=r"a partner of the same stem, got 1 without.*'lonely'"):
        read_pairs(tmp_path / "y", tmp_path / "x")


@pytest.mark.parametrize("second", ["a.tif", "below/a.png"])
def test_two_of_one_stem(tmp_path: Path, second: str) -> None:
    for side in ("x", "y"):
        save(tmp_path / side / "a.png", 0)
    save(tmp_path / "x" / second, 0)
    both = rf"one picture of each stem, got '(a\.png' and '{second}|{second}' and 'a\.png)'"
    with pytest.raises(ImageError, match=both):
        read_pairs(tmp_path / "y", tmp_path / "x")


def test_missing_folders(tmp_path: Path) -> None:
    save(tmp_path / "x" / "a.png", 0)
    with pytest.raises(ImageError, match=r"'.*y'.*a folder that exists"):
        read_pairs(tmp_path / "y", tmp_path / "x")


def test_drawn_pairs() -> None:
    # No clipping and no rounding in the sensor: the pairs are 8-bit pictures nevertheless.
    degradation = Degradation(
        {"blur": Stage(Blur(), DiscKernels((1.0, 3.0)))}, SensorChain([Noise((0.2, 0.2))])
    )
    pictures: list[tuple[str, Tensor, dict[str, Tensor]]] = [
        ("one", picture(16, 20, seed=1), {}),
        ("two", picture(9, 9, seed=2), {}),
    ]
    pairs = drawn_pairs(iter(pictures), degradation, seed=3)
    assert [pair.name for pair in pairs] == ["one", "two"]
    for pair, (_, pixels, _) in zip(pairs, pictures, strict=True):
        assert torch.equal(pair.x, pixels[None].float() / 255)
        assert pair.y.shape == pair.x.shape
        assert torch.equal(pair.y, (pair.y * 255).round().to(torch.uint8) / 255)
        assert pair.y.min() == 0
        assert pair.y.max() == 1
        assert 0.1 < float((pair.y - pair.x).abs().mean()) < 0.5

    state = torch.get_rng_state()
    again = drawn_pairs(pictures, degradation, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    other = drawn_pairs(pictures, degradation, seed=4)
    for first, second, third in zip(pairs, again, other, strict=True):
        assert torch.equal(first.y, second.y)
        assert not torch.equal(first.y, third.y)
