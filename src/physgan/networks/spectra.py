"""Two-dimensional Fourier transforms of real pictures, such that exporters can follow them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from physgan.networks.ways import seen_through


def spectrum_of(u: Tensor) -> Tensor:
    """The half that tells all, or the whole where somebody looks through."""
    # Exporters and their runtimes know the whole transform better than half of it.
    spectrum: Tensor = torch.fft.fft2(u) if seen_through() else torch.fft.rfft2(u)
    return spectrum


def back(spectrum: Tensor, size: Sequence[int]) -> Tensor:
    """What has the spectrum by `spectrum_of`, of `size` rows and columns."""
    if seen_through():
        whole: Tensor = torch.fft.ifft2(spectrum).real.contiguous()
        return whole
    half: Tensor = torch.fft.irfft2(spectrum, s=tuple(size))
    return half
