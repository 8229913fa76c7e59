"""Means over squares: what torch's own pooling gives, forth and back."""

import pytest
import torch
from torch import Generator
from torch.nn import functional as F

from physgan.means import square_means


@pytest.mark.parametrize("side", [1, 2, 3, 8, 13])
def test_means_are_those_of_pooling(side: int) -> None:
    x = torch.rand(2, 3, 17, 13, generator=Generator().manual_seed(side), dtype=torch.float64)
    x.requires_grad_()
    means, pooled = square_means(x, side), F.avg_pool2d(x, side, stride=1)
    assert means.shape == pooled.shape
    assert torch.allclose(means, pooled)
    weight = torch.rand(pooled.shape, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((m * weight).sum(), x)[0] for m in (means, pooled))
    assert torch.allclose(ours, theirs)
