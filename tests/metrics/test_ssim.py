import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from physgan.errors import ShapeError
from physgan.metrics import ssim


def pair(n: int, c: int, h: int, w: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(h * 100 + w)
    x = torch.rand(n, c, h, w, generator=generator, dtype=torch.float64)
    # Bright, flat images are the hard ones: their variance is a small difference of squares.
    x[0] = 0.97 + 0.01 * x[0]
    return x + 0.1 * torch.randn(x.shape, generator=generator, dtype=x.dtype), x


def reference(x_hat: torch.Tensor, x: torch.Tensor, data_range: float) -> list[float]:
    return [
        structural_similarity(  # type: ignore[no-untyped-call]
            b.numpy(),
            a.numpy(),
            data_range=data_range,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(x_hat, x, strict=True)
    ]


@settings(max_examples=30)
@given(
    n=st.integers(1, 3),
    c=st.integers(1, 3),
    h=st.integers(11, 40),
    w=st.integers(11, 40),
    data_range=st.sampled_from([1.0, 2.0, 255.0]),
)
def test_equals_scikit_image(n: int, c: int, h: int, w: int, data_range: float) -> None:
    x_hat, x = pair(n, c, h, w)
    wanted = reference(x_hat, x, data_range)
    assert ssim(x_hat, x, data_range=data_range).tolist() == pytest.approx(wanted, abs=1e-9)
    single = ssim(x_hat.float(), x.float(), data_range=data_range)
    assert single.dtype == torch.float32
    assert single.tolist() == pytest.approx(wanted, abs=2e-5)


def test_laws() -> None:
    x_hat, x = pair(3, 2, 20, 30)
    result = ssim(x_hat, x, data_range=1)
    torch.testing.assert_close(ssim(x, x, data_range=1), torch.ones(3, dtype=x.dtype))
    torch.testing.assert_close(ssim(x, x_hat, data_range=1), result)
    torch.testing.assert_close(ssim(255 * x_hat, 255 * x, data_range=255), result)
    assert (result < 1).all()


def test_wrong_calls() -> None:
    x_hat, x = pair(2, 3, 12, 12)
    with pytest.raises(ShapeError, match="11 px"):
        ssim(x_hat[..., :10], x[..., :10], data_range=1)
    with pytest.raises(ShapeError, match="N×C×H×W"):
        ssim(x_hat, x[..., :11], data_range=1)
    with pytest.raises(ShapeError, match="data range"):
        ssim(x_hat, x, data_range=0)
