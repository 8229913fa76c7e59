"""Kernels that somebody measured: put into the form that a blur takes, and drawn from.

Reading them from files is the business of `physgan.data.kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError, ThetaError
from physgan.physics.blur import check_kernel


class DrawnKernels:
    """Draws from given kernels, each as likely as any other.

    Args:
        kernels: n×k×l, k and l odd, each summing to one, such as `pad_kernels` gives.
        turns: whether to draw mirrored and quarter-turned kernels too, eight forms of each; kernels
            that are not square are then padded to be so.

    Raises:
        ShapeError: no kernels, or even sides.
        ThetaError: a kernel is negative, not finite or does not sum to one.
    """

    def __init__(self, kernels: Tensor, *, turns: bool = False) -> None:
        if kernels.ndim != 3 or len(kernels) == 0:
            raise ShapeError(
                "kernels to draw from",
                expected="n×k×l, at least one",
                got=f"shape {tuple(kernels.shape)}",
            )
        kernels = pad_kernels([kernels.float()], square=turns)
        check_kernel(kernels)
        if turns:
            kernels = torch.cat([kernels, kernels.mT])
            kernels = torch.cat([kernels, kernels.flip(-1)])
            kernels = torch.cat([kernels, kernels.flip(-2)])
        self.kernels = kernels

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`kernel`, N×k×l."""
        device = generator.device
        which = torch.randint(len(self.kernels), (x.shape[0],), generator=generator, device=device)
        return {"kernel": self.kernels.to(device)[which]}


def centred_kernel(measured: Tensor) -> Tensor:
    """A measured kernel in the form that a blur takes.

    It is divided by its sum, empty rows and columns around it are cut off, and as few are added
    again as bring the centroid of its light, to the nearest pixel, into the middle. So both sides
    come out odd, whatever they were, and a blur with it leaves the picture where it lies.

    Args:
        measured: k×l, not negative, of any scale.

    Returns:
        The kernel in float32, with odd sides and a sum of 1.

    Raises:
        ShapeError: it has not two dimensions.
        ThetaError: it holds values below 0 or that are not finite, or nothing else than 0.
    """
    if measured.ndim != 2 or measured.numel() == 0:
        raise ShapeError(
            "a measured kernel", expected="k×l, rows by columns", got=f"{tuple(measured.shape)}"
        )
    kernel = measured.double()
    total = kernel.sum()
    if not total > 0:
        raise ThetaError(
            "kernel of a blur",
            expected="finite values of at least 0, not all of them 0",
            got=f"a sum of {float(total):.4g}",
        )
    kernel = kernel / total
    check_kernel(kernel[None])
    for dim in (0, 1):
        lit = kernel.sum(dim=1 - dim).nonzero()
        kernel = kernel.narrow(dim, int(lit[0]), int(lit[-1] - lit[0]) + 1)
    pads: list[int] = []
    for dim in (1, 0):  # F.pad begins with the last
        light, length = kernel.sum(dim=1 - dim), kernel.shape[dim]
        at = int((light * torch.arange(length, dtype=light.dtype)).sum().round())
        half = max(at, length - 1 - at)
        pads += [half - at, half - (length - 1 - at)]
    return F.pad(kernel, pads).float()


def pad_kernels(kernels: Sequence[Tensor], *, square: bool = False) -> Tensor:
    """Kernels of unlike sizes as one batch: zeros around each to the greatest height and width.

    Args:
        kernels: each k×l or n×k×l, k and l odd; the middle sample stays in the middle.
        square: whether to pad to the greater of both.

    Returns:
        n×K×L, in the order given.

    Raises:
        ShapeError: no kernels, other dimensions, or even sides.
    """
    if not kernels:
        raise ShapeError("kernels to pad", expected="at least one", got="none")
    batches = [kernel[None] if kernel.ndim == 2 else kernel for kernel in kernels]
    for batch in batches:
        if batch.ndim != 3:
            raise ShapeError(
                "kernels to pad", expected="k×l or n×k×l", got=f"shape {tuple(batch.shape)}"
            )
        if batch.shape[-2] % 2 == 0 or batch.shape[-1] % 2 == 0:
            raise ShapeError(
                "kernels to pad",
                expected="odd sides, so that the centre is a sample",
                got=f"{batch.shape[-2]}×{batch.shape[-1]}",
                remedy="`centred_kernel` brings the centroid of a kernel into its middle.",
            )
    height, width = (max(batch.shape[dim] for batch in batches) for dim in (-2, -1))
    if square:
        height = width = max(height, width)
    padded = []
    for batch in batches:
        rows, columns = (height - batch.shape[-2]) // 2, (width - batch.shape[-1]) // 2
        padded.append(F.pad(batch, (columns, columns, rows, rows)))
    return torch.cat(padded)
