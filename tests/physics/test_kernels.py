"""Measured kernels: brought into form, padded, drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.physics.blur import blur, check_kernel
from physgan.physics.kernels import DrawnKernels, centred_kernel, pad_kernels


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@given(k=st.integers(1, 9), l=st.integers(1, 9), seed=st.integers(0, 999))
def test_centred_kernel(k: int, l: int, seed: int) -> None:  # noqa: E741
    measured = torch.rand(k, l, generator=generator(seed)) ** 4
    kernel = centred_kernel(255 * measured)
    assert kernel.dtype == torch.float32
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    check_kernel(kernel[None])
    # The centroid is the middle sample, by scipy's reckoning and to half a pixel.
    row, column = scipy.ndimage.center_of_mass(kernel.numpy())
    assert abs(row - kernel.shape[0] // 2) <= 0.5 + 1e-4
    assert abs(column - kernel.shape[1] // 2) <= 0.5 + 1e-4
    # Nothing is lost nor changed but for zeros around it.
    lit = kernel[kernel > 0]
    torch.testing.assert_close(lit, measured.flatten() / measured.sum())
    # It is as small as it can be: one of the two outer rows, and of the columns, holds light.
    assert float(kernel[0].sum() + kernel[-1].sum()) > 0
    assert float(kernel[:, 0].sum() + kernel[:, -1].sum()) > 0


def test_centred_kernel_by_hand() -> None:
    measured = torch.zeros(6, 8)
    measured[1, 2:6] = torch.tensor([1.0, 1.0, 1.0, 5.0])
    # The centroid lies 2.25 from the first: at the third sample, so one is added on the right.
    assert centred_kernel(measured).tolist() == [[0.125, 0.125, 0.125, 0.625, 0]]


def test_a_blur_with_it_moves_nothing() -> None:
    measured = torch.zeros(9, 9)
    measured[0, 3:9] = 1
    point = torch.zeros(1, 1, 21, 21)
    point[0, 0, 10, 10] = 1
    y = blur(point, centred_kernel(measured)[None], boundary="zero")[0, 0]
    np.testing.assert_allclose(scipy.ndimage.center_of_mass(y.numpy()), (10, 10), atol=0.51)
    assert scipy.ndimage.center_of_mass(y.numpy())[0] == pytest.approx(10, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([[0.0, 0.0]], r"not all of them 0, got a sum of 0"),
        ([[-1.0, -1.0]], r"not all of them 0, got a sum of -2"),
        ([[2.0, -1.0]], r"at least 0.*below 0 has to become 0"),
        ([[1.0, math.nan]], r"finite.*a sum of nan"),
        ([[1.0, math.inf]], r"finite"),
    ],
)
def test_what_is_no_kernel(values: list[list[float]], text: str) -> None:
    with pytest.raises(ThetaError, match=text):
        centred_kernel(torch.tensor(values))


@pytest.mark.parametrize("shape", [(3,), (1, 3, 3), (0, 3)])
def test_other_dimensions_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="a measured kernel: expected k×l"):
        centred_kernel(torch.ones(shape))


@pytest.mark.parametrize("square", [False, True])
def test_pad_kernels(square: bool) -> None:
    kernels = [torch.rand(3, 7), torch.rand(2, 5, 1), torch.rand(1, 1)]
    padded = pad_kernels(kernels, square=square)
    assert padded.shape == ((4, 7, 7) if square else (4, 5, 7))
    # Blurring with them is as before.
    x = torch.rand(4, 1, 12, 12)
    apart = [kernels[0][None], kernels[1][:1], kernels[1][1:], kernels[2][None]]
    for image, one, y in zip(x, apart, blur(x, padded), strict=True):
        torch.testing.assert_close(y, blur(image[None], one)[0])


def test_pad_kernels_refuses() -> None:
    with pytest.raises(ShapeError, match="at least one"):
        pad_kernels([])
    with pytest.raises(ShapeError, match=r"odd sides.*got 3×4.*centred_kernel"):
        pad_kernels([torch.ones(3, 3), torch.ones(3, 4)])
    with pytest.raises(ShapeError, match="k×l or n×k×l"):
        pad_kernels([torch.ones(3)])


def some_kernels() -> Tensor:
    kernels = torch.rand(3, 3, 5, generator=generator())
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def test_each_kernel_is_drawn_as_often() -> None:
    kernels = some_kernels()
    drawn = DrawnKernels(kernels).sample(torch.zeros(3000, 1, 1, 1), generator=generator())
    which = (drawn["kernel"][:, None] == kernels).all(dim=(2, 3))
    assert (which.sum(dim=1) == 1).all()
    assert (which.sum(dim=0) > 900).all()


def test_turned_kernels_are_drawn_in_all_eight_forms() -> None:
    kernels = some_kernels()
    square = torch.nn.functional.pad(kernels, (0, 0, 1, 1))
    forms = {
        tuple(torch.rot90(form, quarters, (0, 1)).flatten().tolist())
        for one in square
        for form in (one, one.flip(0))
        for quarters in range(4)
    }
    assert len(forms) == 24
    sampler = DrawnKernels(kernels, turns=True)
    drawn = sampler.sample(torch.zeros(2400, 1, 1, 1), generator=generator())["kernel"]
    counts = dict.fromkeys(forms, 0)
    for one in drawn:
        counts[tuple(one.flatten().tolist())] += 1
    assert min(counts.values()) > 50


def test_drawn_kernels_refuses() -> None:
    with pytest.raises(ShapeError, match=r"at least one, got shape \(0, 3, 3\)"):
        DrawnKernels(torch.ones(0, 3, 3))
    with pytest.raises(ShapeError, match="n×k×l"):
        DrawnKernels(torch.ones(3, 3))
    with pytest.raises(ShapeError, match="odd sides"):
        DrawnKernels(torch.ones(1, 2, 3))
    with pytest.raises(ThetaError, match="a sum of 1"):
        DrawnKernels(torch.ones(1, 3, 3))
