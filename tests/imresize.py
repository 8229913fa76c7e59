"""MATLAB's imresize for one direction after another, written out pixel by pixel: a reference."""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]


def cubic(x: float) -> float:
    """Keys, a = -1/2, in MATLAB's form."""
    a = abs(x)
    return (1.5 * a**3 - 2.5 * a**2 + 1) * (a <= 1) + (-0.5 * a**3 + 2.5 * a**2 - 4 * a + 2) * (
        1 < a <= 2
    )


def contributions(length: int, factor: Fraction) -> list[list[tuple[int, float]]]:
    """For each pixel of the result, pixels of the input and their weights, counted from 1."""
    shrinks = factor < 1
    width = 4 / factor if shrinks else Fraction(4)
    table = []
    for out in range(1, math.ceil(length * factor) + 1):
        u = out / factor + Fraction(1, 2) * (1 - 1 / factor)
        left = math.floor(u - width / 2)
        taps = []
        for index in range(left, left + math.ceil(width) + 2):
            distance = float(u - index)
            weight = float(factor) * cubic(float(factor) * distance) if shrinks else cubic(distance)
            # aux = [1:n, n:-1:1], read periodically
            around = (index - 1) % (2 * length)
            inside = around + 1 if around < length else 2 * length - around
            taps.append((inside, weight))
        total = sum(weight for _, weight in taps)
        table.append([(inside, weight / total) for inside, weight in taps])
    return table


def imresize(image: Image, factor: Fraction) -> Image:
    """One plane H×W resized bicubically, antialiased where it shrinks."""
    for _ in range(2):
        rows = contributions(image.shape[0], factor)
        result = np.zeros((len(rows), image.shape[1]))
        for out, taps in enumerate(rows):
            for inside, weight in taps:
                result[out] += weight * image[inside - 1]
        image = result.T
    return image
