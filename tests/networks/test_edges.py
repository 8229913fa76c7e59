"""The kernel by strong edges: its worth where there are edges, and where nothing can be told."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.networks.deconvolution import deconvolved
from physgan.networks.edges import noise_of, strong_edges_kernel, turned
from physgan.physics.blur import blur
from physgan.physics.shake import ShakeKernels


def boards(n: int, size: int = 160, seed: int = 0) -> Tensor:
    """Flat patches of many greys and outlines: N×3×size×size."""
    draws = Generator().manual_seed(seed)
    x = torch.full((n, 1, size, size), 0.5)
    for picture in x:
        for _ in range(60):
            top, left = (int(v) for v in torch.randint(size - 10, (2,), generator=draws))
            height, width = (int(v) for v in torch.randint(8, 50, (2,), generator=draws))
            shade = 0.1 + 0.8 * float(torch.rand((), generator=draws))
            picture[:, top : top + height, left : left + width] = shade
    turned_over = x.mT.flip(2)  # so that corners lie under corners
    return (0.6 * x + 0.4 * turned_over).expand(-1, 3, -1, -1).contiguous()


def shaken(x: Tensor, *, noise: float = 0.005, size: int = 11) -> tuple[Tensor, Tensor]:
    draws = Generator().manual_seed(3)
    kernel = ShakeKernels(size=(size, size)).sample(x, generator=draws)["kernel"]
    y = blur(x, kernel, boundary="reflect")
    return (y + noise * torch.randn(y.shape, generator=draws)).clamp(0, 1), kernel


def away(found: Tensor, wanted: Tensor) -> list[float]:
    """Distance over the wanted kernel's norm, for the best place within two pixels."""
    wanted = F.pad(wanted, ((found.shape[-1] - wanted.shape[-1]) // 2,) * 4)
    places = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
    distances = [(found.roll(place, (1, 2)) - wanted).norm(dim=(1, 2)) for place in places]
    nearest = torch.stack(distances).amin(dim=0) / wanted.norm(dim=(1, 2))
    return [float(d) for d in nearest]


def test_the_kernel_is_found_without_the_clear_picture() -> None:
    x = boards(3)
    y, kernel = shaken(x)
    found = strong_edges_kernel(y, side=15)
    assert found.shape == (3, 15, 15)
    assert torch.allclose(found.sum(dim=(1, 2)), torch.ones(3))
    assert float(found.min()) >= 0
    assert max(away(found, kernel)) < 0.6
    before, after = (
        -10 * torch.log10((u - x).square().mean(dim=(1, 2, 3)))
        for u in (y, deconvolved(y, found)[:, 3:])
    )
    assert float((after - before).min()) > 1


def test_the_middle_of_its_light_lies_in_the_middle() -> None:
    found = strong_edges_kernel(shaken(boards(3))[0], side=15)
    at = torch.arange(15) - 7.0
    for dim in (1, 2):
        assert float((found.sum(dim=dim) * at).sum(dim=1).abs().max()) <= 0.5 + 1e-4


def test_noise_is_measured() -> None:
    draws = Generator().manual_seed(1)
    y, _ = shaken(boards(2), noise=0)
    grey = y.mean(dim=1, keepdim=True)
    for sigma in (0.02, 0.1):
        noisy = grey + sigma * torch.randn(grey.shape, generator=draws)
        assert noise_of(noisy).flatten().tolist() == pytest.approx([sigma] * 2, rel=0.15)
    assert noise_of(grey[..., :2]).tolist() == [[[0.0]], [[0.0]]]


def test_a_turn_betters_a_kernel_that_is_nearly_right() -> None:
    x = boards(2)
    y, kernel = shaken(x)
    smeared = F.avg_pool2d(F.pad(kernel, (3,) * 4)[:, None], 3, 1)[:, 0]
    grey = y.double().mean(dim=1, keepdim=True)
    better = turned(grey, smeared, noise_of(grey))
    assert all(a < b for a, b in zip(away(better, kernel), away(smeared, kernel), strict=True))


def test_rows_and_columns_are_alike() -> None:
    # Sides that grow by unequal borders to lengths at which transforms are quick.
    y, kernel = shaken(boards(1, 131)[:, :, :, :97])
    grey = y.double().mean(dim=1, keepdim=True)
    found = turned(grey, kernel, noise_of(grey))
    over = turned(grey.mT, kernel.mT, noise_of(grey))
    torch.testing.assert_close(over.mT, found, atol=1e-6, rtol=0)


def test_each_picture_has_its_own() -> None:
    # In single precision the last digit would decide whether some slopes count.
    y = torch.cat([shaken(boards(1, 96))[0], shaken(boards(1, 96, seed=4), noise=0.05)[0]]).double()
    together = strong_edges_kernel(y, side=9)
    apart = torch.cat([strong_edges_kernel(one[None], side=9) for one in y])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-3)


@settings(max_examples=15)
@given(height=st.integers(4, 40), width=st.integers(4, 40), flat=st.booleans())
def test_small_and_flat_pictures_have_some_kernel(height: int, width: int, flat: bool) -> None:
    draws = Generator().manual_seed(height * width)
    y = torch.rand(1, 3, height, width, generator=draws)
    found = strong_edges_kernel(torch.full_like(y, 0.3) if flat else y, side=9)
    assert math.isclose(float(found.sum()), 1, rel_tol=1e-5)
    assert bool(torch.isfinite(found).all())
