"""Protocols: luminance and shifts against written-out computations, and what they allow for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio
from torch import Generator, Tensor

from physgan.errors import ShapeError
from physgan.metrics.luminance import luminance
from physgan.metrics.protocol import protocol, scores
from physgan.metrics.shift import best_shift, overlap


def picture(h: int = 40, w: int = 44, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(1, channels, h, w, generator=Generator().manual_seed(seed))


def test_luminance_is_that_of_scikit_image() -> None:
    x = picture()
    expected = rgb2ycbcr(x[0].permute(1, 2, 0).numpy())[..., 0] / 255
    np.testing.assert_allclose(luminance(x)[0, 0].numpy(), expected, atol=1e-6)
    grey = picture(channels=1)
    assert torch.allclose(luminance(grey), luminance(grey.expand(-1, 3, -1, -1)), atol=1e-6)
    with pytest.raises(ShapeError, match="luminance"):
        luminance(torch.zeros(1, 4, 3, 3))


@settings(max_examples=30)
@given(down=st.integers(-4, 4), right=st.integers(-4, 4))
def test_a_planted_shift_is_found(down: int, right: int) -> None:
    wide = picture(60, 60, seed=3)
    x = wide[..., 10:50, 10:50]
    # What was moved by (-down, -right) is brought back by (down, right).
    moved = wide[..., 10 + down : 50 + down, 10 + right : 50 + right]
    assert best_shift(moved, x) == (down, right)
    a, b = overlap(moved, x, down, right)
    assert torch.equal(a, b)
    assert a.shape[-2:] == (40 - abs(down), 40 - abs(right))
    assert scores(moved, x, protocol("rgb-shift"))["psnr"] == 100.0
    plain = scores(moved, x, protocol("rgb"))["psnr"]
    assert (plain == 100.0) == ((down, right) == (0, 0))


def test_of_equal_shifts_the_smallest_is_taken() -> None:
    flat = torch.full((1, 3, 20, 20), 0.5)
    assert best_shift(flat, flat) == (0, 0)


def test_y_with_a_border_is_what_super_resolution_reports() -> None:
    x, x_hat = picture(43, 46, seed=1), picture(43, 46, seed=2)
    found = scores(x_hat, x, protocol("y", scale=4))

    def file_luminance(image: Tensor) -> np.ndarray:
        pixels = image[0].permute(1, 2, 0).mul(255).round().numpy() / 255
        return np.asarray(rgb2ycbcr(pixels))[:40, :44][4:-4, 4:-4]

    a, b = file_luminance(x_hat)[..., 0], file_luminance(x)[..., 0]
    expected = peak_signal_noise_ratio(b, a, data_range=255)  # type: ignore[no-untyped-call]
    assert found["psnr"] == pytest.approx(float(expected), abs=1e-4)


def test_rounding_to_8_bits_comes_first() -> None:
    x = torch.full((1, 3, 16, 16), 100 / 255)
    assert scores(x + 0.4 / 255, x, protocol("rgb"))["psnr"] == 100.0
    assert scores(x + 0.6 / 255, x, protocol("rgb"))["psnr"] == pytest.approx(48.13, abs=0.01)


def test_unknown_protocols_name_the_nearest() -> None:
    with pytest.raises(ShapeError, match="Did you mean 'rgb-shift'"):
        protocol("rgb_shift")


def test_a_protocol_describes_itself() -> None:
    assert protocol("y-shift", scale=4).described() == {
        "colour": "y",
        "shift": 4,
        "border": 4,
        "crop": 4,
        "rounding": "8 bits",
        "data_range": 1.0,
    }


def test_images_that_cannot_be_aligned() -> None:
    with pytest.raises(ShapeError, match="sides above 4"):
        best_shift(torch.zeros(1, 3, 4, 9), torch.zeros(1, 3, 4, 9))
    with pytest.raises(ShapeError, match="of one shape"):
        best_shift(torch.zeros(1, 3, 9, 9), torch.zeros(1, 3, 9, 8))
