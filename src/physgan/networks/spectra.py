"""Two-dimensional Fourier transforms of real pictures, such that exporters can follow them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.networks.ways import seen_through


def spectrum_of(u: Tensor) -> Tensor:
    """The half that tells all, or the whole where somebody looks through."""
    # Exporters and their runtimes know the whole transform better than half of it.
    spectrum: Tensor = torch.fft.fft2(u) if seen_through() else torch.fft.rfft2(u)
    return spectrum


def spectrum_of_corner(u: Tensor, size: Sequence[int]) -> Tensor:
    """`spectrum_of` what has `u` in its first rows and columns, and is of `size`, 0 elsewhere."""
    rows, columns = size
    if seen_through():
        return spectrum_of(F.pad(u, (0, columns - u.shape[-1], 0, rows - u.shape[-2])))
    spectrum: Tensor = torch.fft.fft(torch.fft.rfft(u, n=columns), n=rows, dim=-2)
    return spectrum


def back_to_corner(spectrum: Tensor, size: Sequence[int], side: int) -> Tensor:
    """The first `side` rows and columns of what `back` gives."""
    if seen_through():
        return back(spectrum, size)[..., :side, :side]
    rows = torch.fft.ifft(spectrum, dim=-2)[..., :side, :]
    corner: Tensor = torch.fft.irfft(rows, n=size[-1])[..., :side]
    return corner


def back(spectrum: Tensor, size: Sequence[int]) -> Tensor:
    """What has the spectrum by `spectrum_of`, of `size` rows and columns."""
    if seen_through():
        whole: Tensor = torch.fft.ifft2(spectrum).real.contiguous()
        return whole
    half: Tensor = torch.fft.irfft2(spectrum, s=tuple(size))
    return half
