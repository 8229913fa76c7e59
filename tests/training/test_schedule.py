"""The learning rate over a run."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgan.training.schedule import learning_rate_factor


@given(st.integers(0, 50), st.integers(1, 50))
def test_constant_then_linear_to_zero(constant: int, decay: int) -> None:
    run = [learning_rate_factor(t, constant=constant, decay=decay) for t in range(constant + decay)]
    assert run[: constant + 1] == [1.0] * min(constant + 1, len(run))
    assert run[-1] == pytest.approx(1 / decay)
    assert all(a >= b for a, b in pairwise(run))
    falls = [a - b for a, b in pairwise(run[constant:])]
    assert falls == pytest.approx([1 / decay] * (decay - 1))
    assert learning_rate_factor(constant + decay, constant=constant, decay=decay) == 0
    assert learning_rate_factor(constant + decay + 9, constant=constant, decay=decay) == 0


def test_without_decay() -> None:
    assert [learning_rate_factor(t, constant=3, decay=0) for t in range(3)] == [1, 1, 1]
