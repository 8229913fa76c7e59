import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physgan.networks import InstanceNorm


def features(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(n=st.integers(1, 3), c=st.integers(1, 4), height=st.integers(1, 9), width=st.integers(2, 9))
def test_is_the_formula(n: int, c: int, height: int, width: int) -> None:
    x = 3 + 2 * features(n, c, height, width)
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(InstanceNorm(c)(x), (x - mean) / (variance + 1e-5).sqrt())


def test_has_neither_parameters_nor_state() -> None:
    assert not InstanceNorm(3).state_dict()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_statistics_are_float32_and_the_type_is_kept(dtype: torch.dtype) -> None:
    # A large mean: sums and squares in half precision would overflow or lose every digit.
    x = (300 + 20 * features(2, 3, 32, 32)).to(dtype)
    exact = InstanceNorm(3)(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        result = InstanceNorm(3)(x)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("of_x", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("of_g", [torch.contiguous_format, torch.channels_last])
def test_gradients_whatever_the_layout(
    n: int, of_x: torch.memory_format, of_g: torch.memory_format
) -> None:
    # torch's own instance_norm fails this for n = 1 and a gradient with channels last.
    x, g = features(n, 4, 5, 6), features(n, 4, 5, 6).cos()
    exact = x.clone().requires_grad_()
    variance, mean = torch.var_mean(exact, dim=(2, 3), correction=0, keepdim=True)
    (expected,) = torch.autograd.grad((exact - mean) / (variance + 1e-5).sqrt(), exact, g)
    x = x.contiguous(memory_format=of_x).requires_grad_()
    normalised = InstanceNorm(4)(x)
    (result,) = torch.autograd.grad(normalised, x, g.contiguous(memory_format=of_g))
    assert normalised.is_contiguous(memory_format=of_x)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_gradients(layout: torch.memory_format) -> None:
    x = features(2, 2, 3, 4).contiguous(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(InstanceNorm(2), (x,))
    assert torch.autograd.gradgradcheck(InstanceNorm(2), (x,))


def test_one_pixel_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than one pixel"):
        InstanceNorm(2)(features(1, 2, 1, 1))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_may_be_changed_in_place(layout: torch.memory_format) -> None:
    x = features(1, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
    result = torch.nn.Sequential(InstanceNorm(3), torch.nn.ReLU(inplace=True))(x)
    torch.testing.assert_close(result, torch.relu(InstanceNorm(3)(x)))
    result.sum().backward()
    assert x.grad is not None
