"""Convolutions that a CPU without bf16 units trains faster than the library's own.

`Conv2d` and `ConvTranspose2d` are torch's, with the same weights under the same names. On a CPU, in
float32 and with channels last in memory, a 3×3 convolution of many channels goes by Winograd's way
(winograd.py), and the gradient of other wide weights is a sum of matrix products, one for each of
the kernel's pixels, for which oneDNN takes several times as long where the batch is a single image.
Everywhere else (GPUs, bf16, compiled or exported graphs, other memory formats) they are torch's.
Layer by layer: `python -m benchmarks convolutions`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgan.networks import winograd
from physgan.networks.ways import seen_through

_WIDE = 64
"""channels on both sides from which our ways are quicker"""
_MANY = 32
"""tiles from which Winograd's way makes up for what it does to the weights"""

Network = TypeVar("Network", bound=nn.Module)


def channels_last(network: Network) -> Network:
    """The same network, its weights laid out as convolutions are quickest, here and on GPUs."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


class Conv2d(nn.Conv2d):
    """torch's convolution, computed the fastest way known here."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        plain = self.groups == 1 and set(self.dilation) == {1} and not isinstance(self.padding, str)
        if not plain or not _may_choose(input, weight):
            return super()._conv_forward(input, weight, bias)  # type: ignore[no-any-return]
        padding = self.padding
        if self.padding_mode != "zeros":
            border = self._reversed_padding_repeated_twice
            input = F.pad(input, border, mode=self.padding_mode)
            padding = (0, 0)
        how = _How(self.stride, padding, transposed=False, output_padding=(0, 0))  # type: ignore[arg-type]
        return _convolve(input, weight, bias, how)


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch's transposed convolution, computed the fastest way known here."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As torch's."""
        plain = self.groups == 1 and set(self.dilation) == {1} and output_size is None
        if not plain or not _may_choose(input, self.weight):
            return super().forward(input, output_size)
        how = _How(self.stride, self.padding, transposed=True, output_padding=self.output_padding)  # type: ignore[arg-type]
        return _convolve(input, self.weight, self.bias, how)


class _How(NamedTuple):
    """The arguments of a convolution."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    transposed: bool
    output_padding: tuple[int, int]

    def winograd(self, x: Tensor, weight: Tensor) -> bool:
        """Whether Winograd's way computes it."""
        k, (border, across) = weight.shape[-2:], self.padding
        square = border == across and not self.transposed
        fits = k == (3, 3) and self.stride == (1, 1) and square
        return fits and winograd.count_tiles(x.shape, border) >= _MANY


def _may_choose(x: Tensor, weight: Tensor) -> bool:
    """Whether ways other than the library's are open."""
    return (
        not seen_through()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.ndim == 4
        and x.numel() > 0
        and min(weight.shape[:2]) >= _WIDE
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
    )


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
    """Output of a convolution, ready for gradients."""
    y: Tensor = _Convolution.apply(x, weight, bias, how)  # type: ignore[no-untyped-call]
    return y


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
    if how.winograd(x, weight):
        y = winograd.convolve(x, weight, how.padding[0])
        return y if bias is None else y.add_(bias[:, None, None])
    library: Tensor = torch.ops.aten.convolution(
        x, weight, bias, how.stride, how.padding, (1, 1), how.transposed, how.output_padding, 1
    )
    return library


class _Convolution(torch.autograd.Function):
    """A convolution whose gradients are ours."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = how
        return _forward(x, weight, bias, how)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        how: _How = ctx.how
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        if torch.is_grad_enabled():  # gradients of gradients: the library's, which have their own
            dx, dw = _library(g, x, weight, how, of_x, of_weight)
        elif how.winograd(x, weight):
            dx, dw = winograd.gradients(
                g, x, weight, how.padding[0], of_x=of_x, of_weight=of_weight
            )
        else:
            dx, _ = _library(g, x, weight, how, of_x, False)
            dw = _weight_gradient(g, x, weight, how) if of_weight else None
        return dx, dw, g.sum((0, 2, 3)) if of_bias else None, None


def _library(
    g: Tensor, x: Tensor, weight: Tensor, how: _How, of_x: bool, of_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    if not (of_x or of_weight):
        return None, None
    dx, dw, _ = torch.ops.aten.convolution_backward(
        g,
        x,
        weight,
        None,
        how.stride,
        how.padding,
        (1, 1),
        how.transposed,
        how.output_padding,
        1,
        (of_x, of_weight, False),
    )
    return dx, dw


def _weight_gradient(g: Tensor, x: Tensor, weight: Tensor, how: _How) -> Tensor:
    """The gradient of a weight: for each pixel of the kernel, what it saw times what came of it."""
    if how.transposed:  # which is the gradient of a convolution from g to x
        g, x = x, g
    out, height, width = g.shape[1:]
    (down, across), (top, left) = how.stride, how.padding
    rows, columns = weight.shape[2:]
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, left, left, top, top))
    given = g.permute(0, 2, 3, 1).reshape(-1, out).T
    dw = x.new_empty(rows, columns, out, x.shape[3])
    for i in range(rows):
        for j in range(columns):
            seen = x[
                :,
                i : i + down * (height - 1) + 1 : down,
                j : j + across * (width - 1) + 1 : across,
            ]
            torch.mm(given, seen.reshape(-1, x.shape[3]), out=dw[i, j])
    return dw.permute(2, 3, 0, 1)
