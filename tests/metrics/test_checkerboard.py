"""Checkerboards are found, and nothing else is taken for one."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError
from physgan.metrics.checkerboard import stride_peak


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def pattern(h: int, w: int, stride: int) -> Tensor:
    rows, columns = torch.arange(h)[:, None], torch.arange(w)
    return ((rows % stride == 0) & (columns % stride == 0)).float()


@pytest.mark.parametrize("stride", [2, 4, 8, 32])
def test_white_noise_has_no_peak(stride: int) -> None:
    assert 0.85 < stride_peak([noise(4, 3, 256, 256)], stride=stride) < 1.2


@pytest.mark.parametrize("stride", [2, 4, 8, 32])
def test_a_faint_pattern_under_noise_is_found(stride: int) -> None:
    change = noise(2, 3, 256, 320) + stride * 0.8 * pattern(256, 320, stride)
    assert stride_peak([change], stride=stride) > 2


def test_blurred_edges_are_no_pattern() -> None:
    # What a restorer leaves of a step edge, upright and level.
    change = torch.zeros(1, 1, 192, 192)
    change[..., 70:73, :] = torch.tensor([0.2, 0.5, 0.2])[:, None]
    change[..., :, 101:104] += torch.tensor([0.2, 0.5, 0.2])
    change = change + 0.01 * noise(1, 1, 192, 192)
    assert stride_peak([change], stride=4) < 2


def test_a_transposed_convolution_that_overlaps_unevenly_is_found() -> None:
    layer = torch.nn.ConvTranspose2d(1, 1, 3, stride=2, bias=False)
    torch.nn.init.ones_(layer.weight)
    with torch.no_grad():
        assert stride_peak([layer(noise(1, 1, 200, 200).abs())], stride=2) > 10


def test_pictures_of_several_sizes_count_together() -> None:
    both = [noise(1, 3, 64, 64), noise(2, 3, 200, 100, seed=1)]
    assert 0.6 < stride_peak(both, stride=2) < 1.4


def test_no_change_has_no_pattern() -> None:
    assert stride_peak([torch.zeros(1, 3, 64, 64)], stride=2) == 1


@pytest.mark.parametrize(
    ("changes", "stride", "told"),
    [
        ([torch.zeros(1, 3, 64, 64)], 3, "stride"),
        ([torch.zeros(3, 64, 64)], 2, "N×C×H×W"),
        ([torch.zeros(1, 3, 63, 90)], 2, "64 px"),
        ([], 2, "64 px"),
    ],
)
def test_what_cannot_be_told_is_refused(changes: list[Tensor], stride: int, told: str) -> None:
    with pytest.raises(ShapeError, match=told):
        stride_peak(changes, stride=stride)
