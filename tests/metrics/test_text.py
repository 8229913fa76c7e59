"""Character errors: by hand, by law, and against difflib's view of equal texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgan.metrics.text import character_error_rate, character_errors

TEXTS = st.text(alphabet="ab c", max_size=8)


@pytest.mark.parametrize(
    ("read", "reference", "errors"),
    [
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("same", "same", 0),
        ("two  words\n", "two words", 0),
        ("flaw", "lawn", 2),
    ],
)
def test_distances_by_hand(read: str, reference: str, errors: int) -> None:
    assert character_errors(read, reference) == errors


def slow(a: str, b: str) -> int:
    """Levenshtein's recursion as it is defined."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return slow(a[1:], b[1:])
    return 1 + min(slow(a[1:], b), slow(a, b[1:]), slow(a[1:], b[1:]))


@given(st.text(alphabet="abc", max_size=5), st.text(alphabet="abc", max_size=5))
def test_the_definition(a: str, b: str) -> None:
    assert character_errors(a, b) == slow(a, b)


@given(TEXTS, TEXTS)
def test_a_distance_is_symmetric_and_zero_for_equals(a: str, b: str) -> None:
    assert character_errors(a, b) == character_errors(b, a)
    assert character_errors(a, a) == 0


def test_rates() -> None:
    assert character_error_rate("abcd", "abce") == 0.25
    assert character_error_rate("a much longer text", "ab") == 1.0
    assert character_error_rate("", " ") == 0.0
    assert character_error_rate("x", "") == 1.0
