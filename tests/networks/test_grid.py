"""The grid of a pixel shuffle: what is taken out, and that nothing else is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from physgan.metrics.checkerboard import stride_peak
from physgan.networks.grid import REACH, without_grid


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def grid(height: int, width: int, offsets: Tensor) -> Tensor:
    """2×2 offsets, over and over."""
    return offsets.repeat(height // 2, width // 2)[None, None]


@pytest.mark.parametrize("offsets", [[[0, 1], [1, 0]], [[0, 1], [0, 1]], [[3, 0], [0, 0]]])
def test_a_grid_is_taken_out_but_for_its_mean(offsets: list[list[float]]) -> None:
    of_a_square = torch.tensor(offsets, dtype=torch.float64)
    x = grid(64, 80, of_a_square) + torch.linspace(0, 1, 80, dtype=torch.float64)
    clear = of_a_square.mean() + torch.linspace(0, 1, 80, dtype=torch.float64)
    # Of what were whole units; a slope ends at the border, which is mirrored.
    assert float((without_grid(x) - clear).abs().max()) < 0.004


@pytest.mark.parametrize("height", [1, 2, 5, 8, 12, 13, 31])
def test_up_to_the_border_and_in_small_pictures(height: int) -> None:
    x = grid(height + 1, 40, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))[:, :, :height].double()
    torch.testing.assert_close(without_grid(x), torch.full_like(x, 0.5))


def test_what_it_costs_an_edge() -> None:
    x = torch.zeros(1, 1, 40, 80, dtype=torch.float64)
    x[..., 40:] = 1
    moved = (without_grid(x) - x).abs()
    assert float(moved.max()) == pytest.approx(1 / 26)
    assert float(moved[..., : 40 - REACH - 1].max()) < 1e-12
    assert float(moved[..., 40 + REACH + 1 :].max()) < 1e-12


def test_what_is_no_grid_stays() -> None:
    rows, columns = torch.meshgrid(*[torch.arange(96, dtype=torch.float64)] * 2, indexing="ij")
    for across, down in [(0.0, 0.0), (0.1, 0.0), (0.3, 0.25), (0.4, 0.4), (0.05, 0.42)]:
        x = torch.cos(2 * torch.pi * (across * columns + down * rows))[None, None]
        inner = (without_grid(x) - x)[..., REACH:-REACH, REACH:-REACH]
        assert float(inner.abs().max()) < 0.02


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([torch.float32, torch.float64]))
def test_it_is_linear_and_of_any_size(height: int, width: int, kind: torch.dtype) -> None:
    a, b = noise(2, 3, height, width).to(kind), noise(2, 3, height, width, seed=1).to(kind)
    both = without_grid(2 * a - b)
    assert both.shape == a.shape
    assert both.dtype == kind
    torch.testing.assert_close(both, 2 * without_grid(a) - without_grid(b))


def test_images_and_channels_do_not_mix() -> None:
    x = noise(3, 2, 30, 34)
    for n in range(3):
        torch.testing.assert_close(without_grid(x[n : n + 1]), without_grid(x)[n : n + 1])
    x[1, 1] = 0
    assert float(without_grid(x)[1, 1].abs().max()) == 0


def test_gradients() -> None:
    x = noise(1, 2, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(without_grid, x)


def test_half_precision_around_it_costs_nothing() -> None:
    x = noise(1, 3, 40, 40).float()
    with torch.autocast("cpu", torch.bfloat16):
        within = without_grid(x)
    assert torch.equal(within, without_grid(x))
    assert without_grid(x.bfloat16()).dtype == torch.bfloat16


def test_the_measure_of_checkerboards_sees_it_go() -> None:
    x = noise(1, 1, 256, 256) + 0.3 * grid(256, 256, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert stride_peak([x], stride=2) > 5
    assert stride_peak([without_grid(x)], stride=2) < 1
