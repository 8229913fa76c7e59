"""The kernel that explains a picture as another one blurred, by least squares."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.fourier import fast_length
from physgan.networks.spectra import back, back_to_corner, spectrum_of, spectrum_of_corner
from physgan.networks.ways import seen_through

RIDGE = 3e-3
"""Of the least squares, as a share of what stands on the diagonal."""
_STEPS, _STEPS_FROM_NEAR = 20, 5
"""of conjugate gradients"""


def estimated_kernel(
    x: Tensor,
    y: Tensor,
    *,
    side: int,
    ridge: float | Tensor = RIDGE,
    faint: float = 0.05,
    near: Tensor | None = None,
) -> Tensor:
    """The kernels that best explain `y` as a blurred `x`, one for each picture.

    Ridge regression of the slopes of `y` on those of `x`, in grey, over the pixels whose kernel
    lies inside of the picture; what comes out negative or faint is put to zero. What is solved is
    close to having no one solution: in single precision digits that mean nothing show in the
    result, so pictures are to be given in double where it has to be the same everywhere.

    Args:
        x: N×C×h×w, an estimate of the clear pictures.
        y: N×C×h×w, what was observed; computed in the finer type of both, at least in float32.
        side: of the kernels, odd.
        ridge: price of a kernel's square, as a share of what stands on the diagonal; one number, or
            N×1×1. The more noise, the more.
        faint: share of the brightest sample of a kernel below which one fades, to nothing at half
            of it.
        near: N×side×side, kernels that are nearly right, from which less than half of the way is
            left.

    Returns:
        N×side×side, float32, summing to one. Where the picture is too small to tell, or has no
        slopes, a kernel that changes nothing.
    """
    reach = side // 2
    nothing = F.pad(torch.ones_like(y[:, :1, :1, :1], dtype=torch.float32)[:, 0], (reach,) * 4)
    precision = torch.promote_types(x.dtype, y.dtype)
    precision = torch.promote_types(precision, torch.float32)
    clear, observed = (slopes(u.to(precision).clamp(0, 1).mean(dim=1)) for u in (x, y))
    # The last row and the last column have no slope.
    inside = _inside(y.shape[-2] - 1, side, clear)[:, None]
    inside = F.pad(inside * _inside(y.shape[-1] - 1, side, clear), (0, 1, 0, 1))
    # Nothing that counts wraps around, whatever the room; a picture smaller than the kernel needs
    # some, and transforms are quick at few lengths.
    room = [
        side if seen_through() else fast_length(max(length, side)) - length
        for length in y.shape[2:]
    ]
    clear, observed, inside = (
        F.pad(u, (0, room[1], 0, room[0])) for u in (clear, observed, inside)
    )
    kernel = _regressed(clear, observed * inside, inside, ridge, side, near)
    # Without a sudden step, or digits that mean nothing would decide what is faint.
    bright = kernel.amax((1, 2), keepdim=True).clamp_min(1e-6)
    kernel = kernel * (2 * kernel / (faint * bright) - 1).clamp(0, 1)
    kernel = kernel.float()
    total = kernel.sum(dim=(1, 2), keepdim=True)
    return torch.where(total > 1e-3, kernel / total.clamp_min(1e-3), nothing)


def centred(kernel: Tensor) -> Tensor:
    """Moved, between pixels too, such that the middle of its light lies in the middle.

    Where a kernel lies cannot be told from a picture of which nothing else is known, and all that
    are drawn lie so: what is restored with it then stands where it was seen.

    Args:
        kernel: N×k×k, k odd, summing to one.

    Returns:
        The same, without what would leave it.
    """
    side = kernel.shape[-1]
    at = torch.arange(side, device=kernel.device)
    for dim in (1, 2):
        middle = (kernel.sum(dim=3 - dim) * (at - side // 2)).sum(dim=1, keepdim=True)
        whole = middle.floor()
        moved = [_from(kernel, at + whole.long() + step, dim) for step in (0, 1)]
        kernel = torch.lerp(moved[0], moved[1], (middle - whole)[..., None])
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def _from(kernel: Tensor, places: Tensor, dim: int) -> Tensor:
    """The rows or columns at N×k places, nothing at those that are none."""
    last = kernel.shape[-1] - 1
    there = ((places >= 0) & (places <= last)).unsqueeze(3 - dim)
    at = places.clamp(0, last).unsqueeze(3 - dim).expand_as(kernel)
    return kernel.gather(dim, at) * there


def _regressed(
    clear: Tensor,
    observed: Tensor,
    inside: Tensor,
    ridge: float | Tensor,
    side: int,
    near: Tensor | None,
) -> Tensor:
    """Ridge regression by conjugate gradients, of observed slopes on clear ones.

    Args:
        clear: N×2×h×w, float32 or float64.
        observed: the same, 0 where they do not count.
        inside: h×w, 1 where they do.
        ridge: see `estimated_kernel`.
        side: of the kernels, odd.
        near: see `estimated_kernel`.

    Returns:
        N×side×side.
    """
    reach, size = side // 2, clear.shape[-2:]
    # Kernels begin in the corner, and what they blur lies as much further on the other way.
    known = spectrum_of(clear.roll((-reach, -reach), (-2, -1)))
    mirrored = known.conj().resolve_conj()
    # The slopes of what lies under one sample of the kernel: what stands on the diagonal.
    energy = (clear.square() * inside).sum(dim=(1, 2, 3)).clamp_min(1e-6)[:, None, None]

    def correlated(u: Tensor) -> Tensor:
        """With the clear slopes, both directions together, at the lags of the kernel."""
        return back_to_corner((mirrored * spectrum_of(u)).sum(dim=1), size, side)

    def priced(kernel: Tensor) -> Tensor:
        """What the normal equations make of a kernel."""
        explained = back(known * spectrum_of_corner(kernel, size)[:, None], size)
        return correlated(explained.mul_(inside)) + ridge * energy * kernel

    rest = correlated(observed)
    kernel = torch.zeros_like(rest)
    if near is not None:
        kernel = near.to(rest.dtype)
        rest = rest - priced(kernel)
    direction, square = rest, _dot(rest, rest)
    for _ in range(_STEPS if near is None else _STEPS_FROM_NEAR):
        image = priced(direction)
        step = square / _dot(direction, image).clamp_min(1e-20)
        kernel, rest = kernel + step * direction, rest - step * image
        before, square = square, _dot(rest, rest)
        direction = rest + square / before.clamp_min(1e-20) * direction
    return kernel


def _inside(length: int, side: int, like: Tensor) -> Tensor:
    """1 where a kernel lies inside of `length` samples; nowhere where too few of these do."""
    at, last = torch.arange(length, device=like.device), length - 1
    reach = side // 2
    enough = (at >= 3 * side - 2).any()
    return ((at >= reach) & (at <= last - reach) & enough).to(like.dtype)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2), keepdim=True)


def slopes(grey: Tensor) -> Tensor:
    """N×2×h×w: downwards and to the right, 0 in the last row or column."""
    down = F.pad(grey[:, 1:] - grey[:, :-1], (0, 0, 0, 1))
    right = F.pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    return torch.stack([down, right], dim=1)
