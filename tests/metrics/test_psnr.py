import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from physgan.errors import ShapeError
from physgan.metrics import psnr


def pair(n: int, c: int, h: int, w: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, c, h, w, generator=generator, dtype=torch.float64)
    return x + 0.1 * torch.randn(x.shape, generator=generator, dtype=x.dtype), x


@given(
    n=st.integers(1, 3),
    c=st.integers(1, 4),
    h=st.integers(1, 20),
    w=st.integers(1, 20),
    data_range=st.sampled_from([1.0, 2.0, 255.0]),
)
def test_equals_scikit_image(n: int, c: int, h: int, w: int, data_range: float) -> None:
    x_hat, x = pair(n, c, h, w)
    wanted = [
        peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
            b.numpy(), a.numpy(), data_range=data_range
        )
        for a, b in zip(x_hat, x, strict=True)
    ]
    result = psnr(x_hat, x, data_range=data_range)
    assert result.tolist() == pytest.approx(wanted, abs=1e-9)
    single = psnr(x_hat.float(), x.float(), data_range=data_range)
    assert single.dtype == torch.float32
    assert single.tolist() == pytest.approx(wanted, abs=1e-3)


def test_equal_images_are_infinite_each_for_itself() -> None:
    x_hat, x = pair(2, 3, 8, 8)
    x_hat[0] = x[0]
    result = psnr(x_hat, x, data_range=1)
    assert math.isinf(result[0])
    assert math.isfinite(result[1])


def test_8_bit_values_do_not_wrap_round() -> None:
    dark, bright = torch.tensor([[[[0, 10]]], [[[255, 5]]]], dtype=torch.uint8)
    wanted = psnr(dark[None].double(), bright[None].double(), data_range=255)
    assert psnr(dark[None], bright[None], data_range=255).item() == pytest.approx(wanted.item())


def test_wrong_calls() -> None:
    x_hat, x = pair(2, 3, 8, 8)
    with pytest.raises(ShapeError, match="N×C×H×W"):
        psnr(x_hat, x[:1], data_range=1)
    with pytest.raises(ShapeError, match="N×C×H×W"):
        psnr(x_hat[0], x[0], data_range=1)
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(ShapeError, match="data range"):
            psnr(x_hat, x, data_range=wrong)
    with pytest.raises(TypeError):
        psnr(x_hat, x)  # type: ignore[call-arg]
