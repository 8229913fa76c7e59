"""Instance normalisation: the one place where a network takes statistics over the whole image.

Who restores an image in tiles hands in the statistics of the whole by `statistics_from`: a network
whose every look at the whole image goes through `InstanceNorm` then gives tiles equal to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from physgan.networks.ways import seen_through

Statistics: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Features N×C×H×W to mean and biased variance of the whole image that they are a part of, N×C."""

_given: ContextVar[Statistics | None] = ContextVar("statistics", default=None)


@contextmanager
def statistics_from(source: Statistics) -> Iterator[None]:
    """Within it, in this thread, every `InstanceNorm` asks `source` in place of its own input.

    Args:
        source: called with the input of each normalisation, in the order in which a network runs.
    """
    token = _given.set(source)
    try:
        yield
    finally:
        _given.reset(token)


class InstanceNorm(nn.Module):
    """Gives each channel of each image mean 0 and variance 1, without learnt parameters.

    Biased variance, as in Ulyanov et al., "Instance Normalization" (2016). The statistics are
    taken in at least float32, also under autocast. No running statistics: training and
    restoring compute the same.

    Written out, since torch's own (2.13) on a CPU returns false gradients for a single image whose
    gradient arrives with channels last, copies every image whose channels are last, and takes
    several times as long.

    Args:
        channels: number of channels; stands in the module's text only.
        eps: added to the variance.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `x`, N×C×H×W with more than one pixel; the result has the type of `x`.

        Raises:
            ValueError: one pixel has no variance.
        """
        if x.shape[2] * x.shape[3] == 1:
            raise ValueError(f"expected more than one pixel to normalise, got {tuple(x.shape)}")
        if seen_through():
            return _plainly(x, self.eps)
        source = _given.get()
        if source is not None:
            rows, along = _rows(x)
            mean, variance = (t.to(rows).unsqueeze(along) for t in source(x))
            return _normalised(x, mean, (variance + self.eps).rsqrt())
        if torch.is_grad_enabled() and x.requires_grad:
            normalised: Tensor = _Normalise.apply(x, self.eps)  # type: ignore[no-untyped-call]
            return normalised
        return _normalised(x, *_statistics(x, self.eps))

    def extra_repr(self) -> str:
        """Channels and eps, for `print(network)`."""
        return f"{self.channels}, eps={self.eps}"


class _Normalise(torch.autograd.Function):
    """Normalisation that keeps its input alone for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        mean, scale = _statistics(x, eps)
        ctx.save_for_backward(x, mean, scale)
        ctx.eps = eps
        return _normalised(x, mean, scale)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        x, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # for gradients of gradients, statistics depend on x
            mean, scale = _statistics(x, ctx.eps)
        rows, along = _rows(x)
        given, _ = _rows(g, like=x)
        n = rows.shape[along]
        centred = rows - mean
        # (g − mean(g) − x̂ · mean(g · x̂)) · scale
        slope = (given * centred).sum(along, keepdim=True) / n
        result = torch.addcmul(given, centred, slope * scale.square(), value=-1)
        shift = given.mean(along, keepdim=True) * scale
        return _images(torch.addcmul(-shift, result, scale), like=x), None


def _plainly(x: Tensor, eps: float) -> Tensor:
    """The same in operations that compilers and transforms know."""
    wide = _wide(x)
    variance, mean = torch.var_mean(wide, dim=(2, 3), correction=0, keepdim=True)
    return ((wide - mean) * (variance + eps).rsqrt()).to(x.dtype)


def _statistics(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / standard deviation of each channel of each image, as `_rows` lays them out."""
    rows, along = _rows(x)
    mean = rows.mean(along, keepdim=True)
    centred = rows - mean
    power = centred.square().sum(along, keepdim=True)
    return mean, (power / rows.shape[along] + eps).rsqrt()


def _normalised(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    # Not a view, so that whoever comes next may change it in place.
    layout = torch.channels_last if _channels_last(x) else torch.contiguous_format
    result = torch.empty_like(x, memory_format=layout)
    rows = torch.addcmul(-mean * scale, _rows(x)[0], scale)
    return result.copy_(_images(rows, like=x))


def _rows(x: Tensor, *, like: Tensor | None = None) -> tuple[Tensor, int]:
    """Images as N×pixels×C or N×C×pixels, as they lie in memory, and which dimension is pixels."""
    if _channels_last(x if like is None else like):
        return _wide(x).permute(0, 2, 3, 1).flatten(1, 2), 1
    return _wide(x).flatten(2), 2


def _images(rows: Tensor, *, like: Tensor) -> Tensor:
    """What `_rows` took apart, in the shape and type of `like`."""
    n, c, h, w = like.shape
    rows = rows.to(like.dtype)
    if _channels_last(like):
        return rows.view(n, h, w, c).permute(0, 3, 1, 2)
    return rows.view(n, c, h, w)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
