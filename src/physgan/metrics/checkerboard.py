"""Checkerboards: whether what a restorer changed repeats with the strides of its network.

Strided and transposed convolutions can leave a pattern of the stride's period (Odena et al.,
"Deconvolution and Checkerboard Artifacts", 2016). In the spectrum of the change it is a peak at
whole multiples of 1/stride, in an otherwise smooth neighbourhood.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from physgan.errors import ShapeError

_LEAST_SIDE, _PERIODS = 64, 4
"""pixels to a side of the squares whose spectra are averaged (Welch 1967), and how many periods of
the stride they hold at least"""
_NEAR, _FAR = 3, 6
"""bins between which a frequency's neighbourhood lies: beyond the window's lobe, still close"""


def stride_peak(changes: Iterable[Tensor], *, stride: int) -> float:
    """Greatest amplitude at a frequency of the stride, in units of its neighbourhood's median.

    Power is averaged over squares of 64×64 (of 128×128 for a stride of 32) under a Hann window,
    over all channels and images, and its root taken: noise and edges lie near 1 where squares are
    many, and a checkerboard stands out. Frequencies on an axis are compared along it, since edges
    of houses and letters make the axes themselves bright. Pictures that were JPEG show their blocks
    at strides 2, 4 and 8, too.

    Args:
        changes: N×C×H×W each, such as `x_hat - x`; H and W may differ among them.
        stride: 2, 4, 8, 16 or 32: how many pixels the pattern takes to repeat.

    Returns:
        Around 1 without a pattern.

    Raises:
        ShapeError: another stride, a tensor of other dimensions, or not one square.
    """
    if stride not in (2, 4, 8, 16, 32):
        raise ShapeError("stride of a checkerboard", expected="2, 4, 8, 16 or 32", got=str(stride))
    side = max(_LEAST_SIDE, _PERIODS * stride)
    power = _power(changes, side)
    at = range(0, side, side // stride)
    return max(
        float((power[v, u] / _around(power, v, u)).sqrt())
        for v in at
        for u in at
        if (v, u) != (0, 0)
    )


def _power(changes: Iterable[Tensor], side: int) -> Tensor:
    """Mean power spectrum, side×side, the constant first."""
    window = torch.hann_window(side, dtype=torch.float64)
    total, squares = torch.zeros(side, side, dtype=torch.float64), 0
    for change in changes:
        if change.ndim != 4:
            raise ShapeError("change", expected="N×C×H×W", got=f"{change.ndim} dimensions")
        for square in _squares(change.detach().double().cpu(), side):
            flat = square - square.mean((-2, -1), keepdim=True)
            spectrum = torch.fft.fft2(flat * window * window[:, None])
            total += spectrum.abs().square().flatten(0, -3).sum(0)
            squares += math.prod(square.shape[:-2])
    if not squares:
        raise ShapeError("changes", expected=f"a side of at least {side} px", got="smaller ones")
    # Without any change there is no pattern in it either.
    return total / squares + torch.finfo(torch.float64).tiny


def _squares(change: Tensor, side: int) -> Iterator[Tensor]:
    """Squares that overlap by half, N×C×side×side."""
    h, w = change.shape[-2:]
    for top in range(0, h - side + 1, side // 2):
        for left in range(0, w - side + 1, side // 2):
            yield change[..., top : top + side, left : left + side]


def _around(power: Tensor, v: int, u: int) -> Tensor:
    """Median over the neighbourhood of a frequency: along the axis, if it lies on one."""
    reach = range(-_FAR, _FAR + 1)
    offsets = [
        (i, j)
        for i in (reach if v else (0,))
        for j in (reach if u else (0,))
        if max(abs(i), abs(j)) >= _NEAR
    ]
    return torch.stack(
        [power[(v + i) % len(power), (u + j) % len(power)] for i, j in offsets]
    ).median()
