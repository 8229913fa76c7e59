"""Blind deconvolution: a network that looks twice, with the physics of a blur in between.

The first look gives what is legible of the clear picture. One kernel explains all of what was
observed, so that it can be had from there in closed form, by least squares over all pixels, as in
Cho and Lee, "Fast Motion Deblurring" (2009). It is inverted as far as noise allows, and the second
look sees what came of that. No kernel need be known to restore.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from physgan.networks.base import RestorationNetwork
from physgan.networks.checks import check_arguments, check_images
from physgan.networks.convolution import Conv2d
from physgan.networks.unet import UNet
from physgan.networks.ways import seen_through
from physgan.types import RestoreFn

WINDOW = 512
"""Side in pixels of the part of a picture that the kernel is estimated from, at most."""
_REGULARISATION = (0.002, 0.02)
"""Of the inverse filters: noise over signal where a difference of neighbours has a gain of 1."""
_RIDGE = 3e-3
"""Of the least squares, as a share of what stands on the diagonal."""
_STEPS = 20
"""of conjugate gradients"""
_FAINT = 0.05
"""Share of the brightest sample of a kernel below which one fades, to nothing at half of it."""


class BlindDeconvolution(RestorationNetwork):
    """Restorer of pictures that one kernel blurred all over, N×C×h×w to N×C×h×w.

    Both looks share their trunk, a `UNet`. In training its results may leave [0, 1]; in evaluation
    they are clamped.

    Args:
        channels: of the pictures.
        side: of the kernels that can be estimated, odd, in pixels.
        widths: see `UNet`.
        blocks: see `UNet`.
        unshuffle: see `UNet`.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        side: int = 31,
        widths: Sequence[int] = (48, 96, 192),
        blocks: Sequence[int] = (2, 2, 4),
        unshuffle: int = 2,
    ) -> None:
        check_arguments(channels=channels)
        check_arguments(side=side, at_least=3)
        super().__init__()
        self.side = side + 1 - side % 2
        self.first = UNet(channels=channels, widths=widths, blocks=blocks, unshuffle=unshuffle)
        seen = (2 + len(_REGULARISATION)) * channels * unshuffle**2
        self.stem = Conv2d(seen, widths[0], 3, padding=1)
        self.head = Conv2d(widths[0], channels * unshuffle**2, 3, padding=1)
        self.edges = Conv2d(widths[0], 2 * unshuffle**2, 3, padding=1)
        for added in (self.stem, self.head, self.edges):
            nn.init.zeros_(added.weight)
            nn.init.zeros_(added.bias)  # type: ignore[arg-type]
        self.channels: int = channels
        self.scale: int = 1
        self.multiple_of: int = self.first.multiple_of
        assert self.first.receptive_field is not None
        # Of the second look, and of the first or the inverse filter, whichever reaches further.
        reach = max(self.first.receptive_field // 2, 3 * self.side // 2) + 2 * unshuffle
        self.receptive_field: int | None = self.first.receptive_field + 2 * reach
        self.global_statistics: bool = True

    def forward(self, y: Tensor) -> Tensor:
        """Restores `y`; height and width must be multiples of `multiple_of`.

        Raises:
            ShapeError: wrong rank, channels or sides.
        """
        self._check(y)
        # A graph has one size as good as any other: there the kernel is that of the whole.
        if not seen_through() and max(y.shape[2:]) > WINDOW:
            return self.restored(y, self.kernel_of(y))
        look, edges = self._first(y)
        return self._second(y, look, self._kernel(edges, y))

    def kernel_of(self, y: Tensor) -> Tensor:
        """The kernel that blurred `y`, N×side×side, from the part of it with the steepest slopes.

        Raises:
            ShapeError: as `forward`.
        """
        self._check(y)
        window = steepest(y, WINDOW, step=WINDOW // 8)
        with torch.no_grad():
            return self._kernel(self._first(window)[1], window)

    def restored(self, y: Tensor, kernel: Tensor) -> Tensor:
        """What `forward` gives where `kernel`, N×side×side, is what blurred `y`."""
        return self._second(y, self.first.look(y), kernel)

    def conditioned(self, y: Tensor) -> RestoreFn:
        """The restorer of `y` and its parts: its pixels depend on what is near, and one kernel."""
        return _Conditioned(self, self.kernel_of(y))

    def _check(self, y: Tensor) -> None:
        least = self.multiple_of
        check_images(y, channels=self.channels, minimum=least, multiple_of=least)

    def _first(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The first look, and the slopes that it takes the clear picture to have, N×2×h×w."""
        shuffle, first = self.first.unshuffle, self.first
        z = first.trunk(first.stem(F.pixel_unshuffle(y * 2 - 1, shuffle)))
        look = y + F.pixel_shuffle(first.head(z), shuffle)
        return look, slopes(look) + F.pixel_shuffle(self.edges(z), shuffle)

    def _kernel(self, edges: Tensor, y: Tensor) -> Tensor:
        with _plainly(y.device):
            return estimated_kernel(edges, y.detach(), side=self.side)

    def _second(self, y: Tensor, look: Tensor, kernel: Tensor) -> Tensor:
        with _plainly(y.device):
            inverted = deconvolved(y.detach(), kernel).to(y.dtype)
        first, shuffle = self.first, self.first.unshuffle
        seen = torch.cat([y, look, inverted], dim=1)
        # As the first look sees what was observed, the second sees what was inverted, and more.
        sharp = inverted.unflatten(1, (-1, self.channels)).mean(dim=1)
        z = first.stem(F.pixel_unshuffle(sharp * 2 - 1, shuffle))
        z = first.trunk(z + self.stem(F.pixel_unshuffle(seen * 2 - 1, shuffle)))
        x_hat = look + F.pixel_shuffle(self.head(z), shuffle)
        return x_hat if self.training else x_hat.clamp(0, 1)


class _Conditioned(RestorationNetwork):
    """The restorer of a picture whose kernel is known, for the whole of it or any part."""

    def __init__(self, network: BlindDeconvolution, kernel: Tensor) -> None:
        super().__init__()
        self.network = network
        self.kernel: Tensor
        self.register_buffer("kernel", kernel, persistent=False)
        self.channels, self.scale = network.channels, network.scale
        self.multiple_of, self.receptive_field = network.multiple_of, network.receptive_field
        self.global_statistics = False

    def forward(self, y: Tensor) -> Tensor:
        return self.network.restored(y, self.kernel.expand(y.shape[0], -1, -1))


def steepest(y: Tensor, side: int, *, step: int) -> Tensor:
    """The windows of `y`, N×C×h×w, with the greatest squares of slopes, of at most `side` pixels.

    Args:
        y: pictures.
        side: of the windows; smaller pictures come back whole.
        step: pixels from one window that is looked at to the next.
    """
    height, width = (min(side, length) for length in y.shape[2:])
    if (height, width) == tuple(y.shape[2:]):
        return y
    steep = slopes(y.float()).square().sum(dim=1, keepdim=True)
    steep = F.avg_pool2d(steep, (height, width), stride=step)
    best = steep.flatten(1).argmax(dim=1).tolist()
    windows = []
    for one, at in zip(y, best, strict=True):
        top, left = (step * place for place in divmod(at, steep.shape[3]))
        windows.append(one[:, top : top + height, left : left + width])
    return torch.stack(windows)


def slopes(x: Tensor) -> Tensor:
    """Of the grey of N×C×h×w, clamped to [0, 1], N×2×h×w: downwards and to the right.

    In the last row, or column, 0.
    """
    grey = x.clamp(0, 1).mean(dim=1, keepdim=True)
    down = F.pad(grey[:, :, 1:] - grey[:, :, :-1], (0, 0, 0, 1))
    right = F.pad(grey[..., 1:] - grey[..., :-1], (0, 1, 0, 0))
    return torch.cat([down, right], dim=1)


def estimated_kernel(edges: Tensor, y: Tensor, *, side: int) -> Tensor:
    """The kernels that best explain the slopes of `y` as blurred ones, one for each picture.

    Ridge regression over the pixels whose kernel lies inside of the picture; what comes out
    negative or faint is put to zero. Differentiable with respect to `edges`.

    Args:
        edges: N×2×h×w, the slopes of the clear pictures as `slopes` gives them, or what is known
            of them; 0 where nothing is.
        y: N×C×h×w, what was observed.
        side: of the kernels, odd.

    Returns:
        N×side×side, float32, summing to one. Where the picture is too small to tell, or has no
        slopes, a kernel that changes nothing.
    """
    reach = side // 2
    nothing = F.pad(torch.ones_like(y[:, :1, :1, :1], dtype=torch.float32)[:, 0], (reach,) * 4)
    # In double precision, since what is solved is close to having no one solution.
    clear, observed = edges.double(), slopes(y.double())
    # The last row and the last column have no slope.
    inside = _inside(y.shape[-2] - 1, side, y.device)[:, None]
    inside = F.pad(inside * _inside(y.shape[-1] - 1, side, y.device), (0, 1, 0, 1))
    # Nothing that counts wraps around; a picture smaller than the kernel needs room for it.
    room = [side if seen_through() else max(0, side - length) for length in y.shape[2:]]
    clear, observed, inside = (
        F.pad(u, (0, room[1], 0, room[0])) for u in (clear, observed, inside)
    )
    solve = _solved if seen_through() else _Solved.apply
    kernel = solve(clear, observed * inside, inside, side)
    # Without a step, or digits that mean nothing would decide what is faint.
    bright = kernel.amax((1, 2), keepdim=True).clamp_min(1e-6)
    kernel = kernel * (2 * kernel / (_FAINT * bright) - 1).clamp(0, 1)
    kernel = kernel.float()
    total = kernel.sum(dim=(1, 2), keepdim=True)
    return torch.where(total > 1e-3, kernel / total.clamp_min(1e-3), nothing)


class _Least:
    """Ridge regression of observed slopes on clear ones blurred by a kernel.

    Args:
        clear: N×2×h×w.
        inside: h×w, 1 where an observed slope counts.
        side: of the kernel.
    """

    def __init__(self, clear: Tensor, inside: Tensor, side: int) -> None:
        self.inside, self.side, self.size = inside, side, clear.shape[-2:]
        self.spectrum = _spectrum(clear)
        # Of the slopes that lie under one sample of the kernel: what stands on the diagonal.
        self.energy = (clear.square() * inside).sum(dim=(1, 2, 3)).clamp_min(1e-6)[:, None, None]

    def explained(self, kernel: Tensor) -> Tensor:
        """What is observed, N×2×h×w, where it counts."""
        reach, side = self.side // 2, self.side
        wide = F.pad(kernel, (0, self.size[1] - side, 0, self.size[0] - side))
        wide = wide.roll((-reach, -reach), (-2, -1))
        return _back(self.spectrum * _spectrum(wide[:, None]), self.size) * self.inside

    def correlated(self, u: Tensor) -> Tensor:
        """What counts of `u` with the clear slopes, both directions, at the lags of the kernel."""
        reach = self.side // 2
        product = (self.spectrum.conj() * _spectrum(u)).sum(dim=1)
        lags: Tensor = _back(product, self.size).roll((reach, reach), (-2, -1))
        return lags[:, : self.side, : self.side]

    def solved(self, rest: Tensor) -> Tensor:
        """What has `rest` as its image under the normal equations, by conjugate gradients."""
        kernel = torch.zeros_like(rest)
        direction, square = rest, _dot(rest, rest)
        for _ in range(_STEPS):
            image = self.correlated(self.explained(direction))
            image = image + _RIDGE * self.energy * direction
            step = square / _dot(direction, image).clamp_min(1e-20)
            kernel, rest = kernel + step * direction, rest - step * image
            before, square = square, _dot(rest, rest)
            direction = rest + square / before.clamp_min(1e-20) * direction
        return kernel


def _solved(clear: Tensor, observed: Tensor, inside: Tensor, side: int) -> Tensor:
    least = _Least(clear, inside, side)
    return least.solved(least.correlated(observed))


class _Solved(torch.autograd.Function):
    """`_solved`, whose gradient is one more solution of the same equations.

    With A k = b, both of them made of the clear slopes, and a gradient g of k, the gradient of the
    slopes is that of l · (b − A k) where A l = g and neither k nor l moves.
    """

    @staticmethod
    def forward(ctx: Any, clear: Tensor, observed: Tensor, inside: Tensor, side: int) -> Tensor:
        kernel = _solved(clear, observed, inside, side)
        ctx.save_for_backward(clear, observed, inside, kernel)
        return kernel

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        clear, observed, inside, kernel = ctx.saved_tensors
        side = kernel.shape[-1]
        weight = _Least(clear, inside, side).solved(gradient)
        with torch.enable_grad():
            clear = clear.detach().requires_grad_()
            least = _Least(clear, inside, side)
            rest = observed - least.explained(kernel)
            total = (least.explained(weight) * rest).sum()
            total = total - _RIDGE * (least.energy * weight * kernel).sum()
            (moves,) = torch.autograd.grad(total, clear)
        return moves, None, None, None


def deconvolved(y: Tensor, kernel: Tensor) -> Tensor:
    """`y` through inverse filters of its kernel, one for each regularisation, side by side.

    The filters are Wiener's for pictures whose spectra fall as one over the frequency, cut to three
    times the side of the kernel; the picture is mirrored at its border.

    Args:
        y: N×C×h×w.
        kernel: N×k×k, k odd, summing to one.

    Returns:
        N×(2·C)×h×w in [-0.5, 1.5], in at least float32.
    """
    n, _, height, width = y.shape
    side = kernel.shape[-1]
    reach = 3 * side // 2
    y = y if y.dtype == torch.float64 else y.float()
    filters = _inverse_filters(kernel, reach).to(y.dtype)
    rows, columns = height + 2 * reach, width + 2 * reach
    spectrum = _spectrum(_mirrored(y, reach)[:, None])
    wide = F.pad(filters, (0, columns - 2 * reach - 1, 0, rows - 2 * reach - 1))
    inverted = _back(spectrum * _spectrum(wide[:, :, None]), (rows, columns))
    inverted = inverted[..., 2 * reach :, 2 * reach :]
    result: Tensor = inverted.reshape(n, -1, height, width).clamp(-0.5, 1.5)
    return result


def _inverse_filters(kernel: Tensor, reach: int) -> Tensor:
    """N×2×(2·reach+1)×(2·reach+1), each summing to one."""
    side, taps = kernel.shape[-1], 2 * reach + 1
    size = 2 * taps  # that what wraps around is faint
    gain = _spectrum(F.pad(kernel.float(), (0, size - side, 0, size - side))[:, None])
    at = torch.arange(size, device=kernel.device)
    wave = 2 - 2 * torch.cos(2 * math.pi / size * at)
    slope = (wave[:, None] + wave)[:, : gain.shape[-1]]
    price = torch.tensor(_REGULARISATION, device=kernel.device)[:, None, None] * slope
    power = gain.real.square() + gain.imag.square()
    inverse = _back(gain.conj() / (power + price), (size, size))
    # The corner of the kernel stands in the corner: its middle is half a side further on.
    inverse = inverse.roll((reach + side // 2,) * 2, (-2, -1))[..., :taps, :taps]
    # One in the middle half; in the outer quarters half a cosine.
    fade = (1 - torch.cos(2 * math.pi / (taps + 1) * (at[:taps] + 1))).clamp(max=1)
    inverse = inverse * fade[:, None] * fade
    summing: Tensor = inverse / inverse.sum(dim=(-2, -1), keepdim=True)
    return summing


def _mirrored(y: Tensor, reach: int) -> Tensor:
    """With `reach` pixels more on each side, mirrored there as far as `y` reaches."""
    for dim in (2, 3):
        last = y.shape[dim] - 1
        at = torch.arange(-reach, last + 1 + reach, device=y.device).abs()
        y = y.index_select(dim, torch.where(at > last, 2 * last - at, at).clamp(0, last))
    return y


def _inside(length: int, side: int, device: torch.device) -> Tensor:
    """1 where a kernel lies inside of `length` samples; nowhere where too few of these do."""
    at, last = torch.arange(length, device=device), length - 1
    reach = side // 2
    enough = at[-1] >= 3 * side - 2
    return ((at >= reach) & (at <= last - reach) & enough).double()


def _spectrum(u: Tensor) -> Tensor:
    # Exporters and their runtimes know the whole transform better than half of it.
    spectrum: Tensor = torch.fft.fft2(u) if seen_through() else torch.fft.rfft2(u)
    return spectrum


def _back(spectrum: Tensor, size: Sequence[int]) -> Tensor:
    """What has the spectrum, of `size` rows and columns."""
    if seen_through():
        whole: Tensor = torch.fft.ifft2(spectrum).real
        return whole
    half: Tensor = torch.fft.irfft2(spectrum, s=tuple(size))
    return half


@contextmanager
def _plainly(device: torch.device) -> Iterator[None]:
    """In the precision of what is given."""
    if seen_through():
        yield
    else:
        with torch.autocast(device.type, enabled=False):
            yield


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2), keepdim=True)
