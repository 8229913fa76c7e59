"""How much of a text is read wrongly."""

from __future__ import annotations


def character_errors(read: str, reference: str) -> int:
    """Least number of letters to insert, delete or replace to make one text the other.

    Levenshtein's distance, over texts whose runs of white space count as one space.
    """
    a, b = " ".join(read.split()), " ".join(reference.split())
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            cost = diagonal + (letter != other)
            diagonal = row[j]
            row[j] = min(cost, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def character_error_rate(read: str, reference: str) -> float:
    """Errors for each letter of the reference, at most 1; 0 where neither holds any."""
    length = len(" ".join(reference.split()))
    if length == 0:
        return 0.0 if not read.split() else 1.0
    return min(1.0, character_errors(read, reference) / length)
