"""Images continued beyond their border."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physgan.networks.mirror import mirrored


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 70))
def test_it_is_what_numpy_calls_reflection(height: int, width: int, reach: int) -> None:
    y = torch.arange(2 * 3 * height * width).reshape(2, 3, height, width)
    by_numpy = np.pad(y.numpy(), ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    assert torch.equal(mirrored(y, reach), torch.from_numpy(by_numpy))


class Mirrored(torch.nn.Module):
    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return mirrored(y, self.reach)


@pytest.mark.parametrize("reach", [3, 20])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what PyTorch calls itself
def test_exporters_follow_it(reach: int) -> None:
    network = Mirrored(reach).eval()
    first, y = torch.rand(1, 2, 12, 14), torch.rand(1, 2, 9, 30)
    sides = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(network, (first,), dynamic_shapes=sides)
    assert torch.equal(program.module()(y), mirrored(y, reach))
    traced = torch.jit.trace(network, first)
    assert torch.equal(traced(y), mirrored(y, reach))
