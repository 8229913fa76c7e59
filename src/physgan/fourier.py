"""Lengths at which discrete Fourier transforms are quick."""

from __future__ import annotations


def fast_length(n: int) -> int:
    """The least length of at least `n`, and 1, with no prime factor above 5.

    >>> [fast_length(n) for n in (1, 7, 172, 183)]
    [1, 8, 180, 192]
    """
    n = max(n, 1)
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1
