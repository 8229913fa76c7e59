"""The kernel that blurred a picture, from its strong edges alone, and nothing learnt.

After Xu, Zheng and Jia, "Unnatural L0 Sparse Representation for Natural Image Deblurring" (2013):
what a picture is made of, as far as a blur can be told from it, are few steps, flat in between. So
slopes are counted rather than summed, which leaves the strongest, and the kernel that explains the
picture by them follows by least squares; from a quarter of the size upwards, since there kernels
are small.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.fourier import fast_length
from physgan.networks.estimation import centred, estimated_kernel
from physgan.networks.spectra import back, spectrum_of
from physgan.resize import bicubic

_SIZES = tuple(map(Fraction, ("1/4", "5/14", "1/2", "5/7", "1")))
"""of the picture; near half an octave from one to the next"""
_TURNS, _TURNS_AT_LAST = 6, 2
"""Of edges and kernel at each size, and at the full one, where they take half of the time and bring
the least."""
_PRICE, _PRICE_OF_NOISE = 1.4e-3, 3.0
"""Of a pixel with a slope, for values in [0, 1]; but at least as many times the variance of the
noise, or noise is taken for edges."""
_GROWTH = 3.0
"""Of the penalty that binds picture and counted slopes, from twice the price on."""
_STEPS = 12
"""of that growth"""
_RIDGE, _RIDGE_OF_NOISE = 0.01, 900.0
"""See `estimated_kernel`; the second is per variance of the noise, and the greater counts."""
_FAINT = 0.1
"""See `estimated_kernel`: these kernels have specks that are none."""


def strong_edges_kernel(y: Tensor, *, side: int) -> Tensor:
    """The kernels that blurred pictures, in grey, with the middle of their light in the middle.

    The more noise, the smoother they are and the less they tell; small pictures have too few
    edges. The last digit can decide whether a slope counts: pictures are to be given in double
    precision where the result has to be the same everywhere.

    Args:
        y: N×C×h×w in [0, 1], both sides of at least 4 px; computed in its type, at least in
            float32.
        side: of the kernels, odd.

    Returns:
        N×side×side, float32, summing to one.

    Raises:
        ShapeError: nothing would be left of a quarter of the picture.
    """
    grey = y.to(torch.promote_types(y.dtype, torch.float32)).mean(dim=1, keepdim=True)
    noise = noise_of(grey)
    # Two samples, since one explains every picture by itself.
    kernel = F.pad(y.new_full((y.shape[0], 1, 2), 0.5, dtype=torch.float32), (0, 1, 1, 1))
    before = _SIZES[0]
    for size in _SIZES:
        small = bicubic(grey, up=size.numerator, down=size.denominator)
        here = 2 * math.ceil((side * size - 1) / 2) + 1
        kernel = _resized(kernel, here, ratio=size / before)
        for _ in range(_TURNS_AT_LAST if size == 1 else _TURNS):
            kernel = turned(small, kernel, noise, size=float(size))
        before = size
    return centred(kernel)


def turned(grey: Tensor, kernel: Tensor, noise: Tensor, *, size: float = 1.0) -> Tensor:
    """The kernels that explain pictures by the strong edges that given kernels leave of them.

    Args:
        grey: N×1×h×w, what was observed.
        kernel: N×k×k, k odd, summing to one.
        noise: N×1×1, its standard deviation where the picture was whole.
        size: of `grey`, as a share of what it was.

    Returns:
        N×k×k, float32, summing to one.
    """
    price = (_PRICE_OF_NOISE * (noise * size).square()).clamp_min(_PRICE)
    edges = _strong_edges(grey, kernel, price)
    ridge = (_RIDGE_OF_NOISE * noise.square()).clamp_min(_RIDGE)
    side = kernel.shape[-1]
    return estimated_kernel(edges, grey, side=side, ridge=ridge, faint=_FAINT, near=kernel)


def noise_of(grey: Tensor) -> Tensor:
    """The standard deviation of white noise, N×1×1, from what no smooth picture has.

    The mean of absolute second differences in both directions, as in Immerkær, "Fast Noise Variance
    Estimation" (1996). Texture counts as noise.

    Args:
        grey: N×1×h×w; 0 comes of sides below 3 px.
    """
    if min(grey.shape[2:]) < 3:
        return grey.new_zeros(grey.shape[0], 1, 1)
    second = grey.diff(n=2, dim=2).diff(n=2, dim=3)[:, 0]
    return second.abs().mean(dim=(1, 2), keepdim=True) * math.sqrt(math.pi / 2) / 6


def _strong_edges(grey: Tensor, kernel: Tensor, price: Tensor) -> Tensor:
    """The picture of few slopes that `kernel` blurs to `grey`, N×1×h×w, by half-quadratic turns.

    Args:
        grey: as for `turned`.
        kernel: as for `turned`.
        price: N×1×1, of a pixel with a slope.
    """
    reach = kernel.shape[-1]
    # A border as wide as a kernel reaches, or wider: transforms are quick at few lengths.
    height, width = grey.shape[2:]
    size = [fast_length(length + 2 * reach) for length in (height, width)]
    border = (reach, size[1] - width - reach, reach, size[0] - height - reach)
    u = _without_borders(F.pad(grey, border, mode="replicate")[:, 0], reach)
    wave = [
        2 - 2 * torch.cos(2 * math.pi / n * torch.arange(n, dtype=u.dtype, device=u.device))
        for n in size
    ]
    gain = F.pad(kernel.to(u.dtype), (0, size[1] - reach, 0, size[0] - reach))
    gain = spectrum_of(gain.roll((-(reach // 2), -(reach // 2)), (-2, -1)))
    slope = (wave[0][:, None] + wave[1])[:, : gain.shape[-1]]
    power = gain.real.square() + gain.imag.square()
    observed, penalty = gain.conj() * spectrum_of(u), 2 * price
    for _ in range(_STEPS):  # in place: most of the time would go into fresh memory
        down, right = u.roll(-1, 1).sub_(u), u.roll(-1, 2).sub_(u)
        counts = down.square().addcmul_(right, right).ge_(price / penalty)
        down, right = down.mul_(counts), right.mul_(counts)
        falls = down.roll(1, 1).sub_(down).add_(right.roll(1, 2)).sub_(right)
        wanted = spectrum_of(falls).mul_(penalty).add_(observed)
        u = back(wanted.mul_((power + penalty * slope).reciprocal_()), size)
        penalty = penalty * _GROWTH
    return u[:, None, reach : reach + height, reach : reach + width]


def _without_borders(u: Tensor, reach: int) -> Tensor:
    """`u`, N×h×w, faded over `reach` pixels to what both of its opposite borders share."""
    for dim in (1, 2):
        at = torch.arange(u.shape[dim], dtype=u.dtype, device=u.device)
        border = torch.minimum(at, at.flip(0)) / reach
        own = (border.clamp(max=1) / 2 + 0.5).reshape(-1, *[1] * (2 - dim))
        u = own * u + (1 - own) * u.flip(dim)
    return u


def _resized(kernel: Tensor, side: int, *, ratio: Fraction) -> Tensor:
    """Enlarged by about `ratio`, then cut or filled up to `side`."""
    size = 2 * round((kernel.shape[-1] * ratio - 1) / 2) + 1
    kernel = F.interpolate(kernel[:, None], size=(size, size), mode="bicubic")[:, 0].clamp_min(0)
    kernel = F.pad(kernel, ((side - size) // 2,) * 4)
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)
