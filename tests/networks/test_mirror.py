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


@pytest.mark.parametrize("reach", [3, 20])
def test_exporters_follow_it(reach: int) -> None:
    class Mirrored(torch.nn.Module):
        def forward(self, y: torch.Tensor) -> torch.Tensor:
            return mirrored(y, reach)

    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(Mirrored(), (torch.rand(1, 2, 12, 14),), dynamic_shapes=(sides,))
    y = torch.rand(1, 2, 9, 30)
    assert torch.equal(program.module()(y), mirrored(y, reach))
