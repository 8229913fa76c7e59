"""The restorer that people hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from physgan.errors import ImageError, ShapeError, UsageError, WeightsError
from physgan.images.picture import read_picture
from physgan.restore.restorer import Restorer
from physgan.restore.whole import restore_whole
from physgan.weights.file import load_weights
from tests.restore.small import small_weights
from tests.training.tiny import write_picture


@pytest.mark.parametrize("scale", [1, 2])
def test_a_file_and_a_folder_give_the_same_restorer(tmp_path: Path, scale: int) -> None:
    path = small_weights(tmp_path / "weights.safetensors", scale=scale)
    y = torch.rand(2, 3, 21, 30)
    expected = restore_whole(load_weights(path)[0], y)
    for source in (path, str(path), tmp_path, str(tmp_path)):
        restorer = Restorer.from_pretrained(source, device="cpu")
        assert torch.allclose(restorer(y), expected, atol=1e-5)
    assert torch.allclose(restorer(y, strength=0.0).mean(), y.mean(), atol=0.02)
    network = load_weights(path)[0]
    parameters = f"{sum(p.numel() for p in network.parameters()):,}"
    sizes = f"{parameters} parameters, 3 channels, scale {scale}"
    told = f"small, unet, {sizes}, on cpu; licence: CC0-1.0"
    assert repr(restorer) == f"Restorer({told})"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_result_is_of_the_type_of_the_observation(tmp_path: Path, dtype: torch.dtype) -> None:
    restorer = Restorer.from_pretrained(small_weights(tmp_path / "w.safetensors"), device="cpu")
    y = torch.rand(1, 3, 20, 16)
    x_hat = restorer(y.to(dtype))
    assert x_hat.dtype == dtype
    assert torch.allclose(x_hat.float(), restorer(y), atol=0.02)


def test_what_is_no_tensor_of_floats_is_refused_in_words(tmp_path: Path) -> None:
    restorer = Restorer.from_pretrained(small_weights(tmp_path / "w.safetensors"), device="cpu")
    with pytest.raises(ShapeError, match=r"numpy\.ndarray.*torch\.from_numpy"):
        restorer(np.zeros((8, 8, 3)))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="Divide 8-bit values by 255"):
        restorer(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_values_of_another_range_are_refused(tmp_path: Path) -> None:
    restorer = Restorer.from_pretrained(small_weights(tmp_path / "w.safetensors"), device="cpu")
    y = torch.linspace(0, 1, 768).reshape(1, 3, 16, 16)
    for restore in (restorer, restorer.compare):
        with pytest.raises(UsageError, match=r"up to 255.*y / 255"):
            restore(y * 255)
    # Noise leaves [0, 1], too.
    noise = torch.randn(y.shape, generator=Generator().manual_seed(0))
    restorer(y + 0.5 * noise)


def test_grey_and_files(tmp_path: Path) -> None:
    restorer = Restorer.from_pretrained(small_weights(tmp_path / "w.safetensors"), device="cpu")
    assert restorer(torch.rand(1, 1, 9, 9)).shape == (1, 1, 9, 9)
    write_picture(tmp_path / "in.png", torch.rand(1, 12, 10))
    restorer.restore_file(tmp_path / "in.png", str(tmp_path / "out.png"))
    assert read_picture(tmp_path / "out.png").pages[0].colour.shape == (1, 12, 10)
    before = (tmp_path / "in.png").read_bytes()
    for target in ("in.png", "out.png"):
        with pytest.raises(ImageError, match="overwrite=True"):
            restorer.restore_file(tmp_path / "in.png", tmp_path / target)
    assert (tmp_path / "in.png").read_bytes() == before
    restorer.restore_file(tmp_path / "in.png", tmp_path / "in.png", overwrite=True)
    assert (tmp_path / "in.png").read_bytes() != before


@pytest.mark.parametrize(
    ("source", "part"),
    [("deblur-nothing", "shipped"), ("no/such/file.safetensors", "nothing there")],
)
def test_weights_that_are_not_there(source: str, part: str) -> None:
    with pytest.raises(WeightsError, match=part):
        Restorer.from_pretrained(source, device="cpu")


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.safetensors or model\.safetensors in it"):
        Restorer.from_pretrained(tmp_path, device="cpu")


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    path = small_weights(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="device 'gpuu'"):
        Restorer.from_pretrained(path, device="gpuu")
