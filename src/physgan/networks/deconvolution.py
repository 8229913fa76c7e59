"""Blind deconvolution: a network that looks twice, with the physics of a blur in between.

The first look gives what is legible of the clear picture. One kernel explains all of what was
observed, so that it can be had from there in closed form, by least squares over all pixels, as in
Cho and Lee, "Fast Motion Deblurring" (2009). It is inverted as far as noise allows, and the second
look sees what came of that; from what it makes of it the kernel is had anew, and better. No kernel
need be known to restore.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
_AGAIN = 2
"""Times that a kernel is estimated anew from the second look; 0.17 and 0.05 dB on drawn pages"""
_AGAIN_IN_TRAINING = 1
"""The same where it is learnt what such kernels are worth: each costs a quarter of a step more."""
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
        self.trust = Conv2d(widths[0], channels * unshuffle**2, 3, padding=1)
        for added in (self.stem, self.head, self.trust):
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
        look = self.first.look(y)
        return self._second(y, look, self._explaining(look, y))

    def kernel_of(self, y: Tensor) -> Tensor:
        """The kernel that blurred `y`, N×side×side, from the part of it with the steepest slopes.

        Raises:
            ShapeError: as `forward`.
        """
        self._check(y)
        window = steepest(y, WINDOW, step=WINDOW // 8)
        with torch.no_grad():
            return self._explaining(self.first.look(window), window)

    def restored(self, y: Tensor, kernel: Tensor) -> Tensor:
        """What `forward` gives where `kernel`, N×side×side, is what blurred `y`."""
        return self._second(y, self.first.look(y), kernel)

    def conditioned(self, y: Tensor) -> RestoreFn:
        """The restorer of `y` and its parts: its pixels depend on what is near, and one kernel."""
        return _Conditioned(self, self.kernel_of(y))

    def _check(self, y: Tensor) -> None:
        least = self.multiple_of
        check_images(y, channels=self.channels, minimum=least, multiple_of=least)

    def _explaining(self, look: Tensor, y: Tensor) -> Tensor:
        """The kernel by the first look, had anew from what it leads to."""
        kernel = self._kernel(look, y)
        for _ in range(_AGAIN_IN_TRAINING if self.training else _AGAIN):
            with torch.no_grad():
                legible = self._second(y, look, kernel)
            kernel = self._kernel(legible, y)
        return kernel

    def _kernel(self, look: Tensor, y: Tensor) -> Tensor:
        with _plainly(y.device):
            return estimated_kernel(look.detach(), y.detach(), side=self.side)

    def _second(self, y: Tensor, look: Tensor, kernel: Tensor) -> Tensor:
        with _plainly(y.device):
            inverted = deconvolved(y.detach(), kernel).to(y.dtype)
        first, shuffle = self.first, self.first.unshuffle
        seen = torch.cat([y, look, inverted], dim=1)
        # What was inverted is restored as the first look restores what was observed. How far that
        # is to be trusted, and what else is to be mended, is judged by all that is known.
        sharp = inverted.unflatten(1, (-1, self.channels)).mean(dim=1)
        z = first.stem(F.pixel_unshuffle(sharp * 2 - 1, shuffle))
        z = first.trunk(z + self.stem(F.pixel_unshuffle(seen * 2 - 1, shuffle)))
        sharp = sharp + F.pixel_shuffle(first.head(z), shuffle)
        trust, mended = (F.pixel_shuffle(last(z), shuffle) for last in (self.trust, self.head))
        x_hat: Tensor = look + trust * (sharp - look) + mended
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
    steep = _slopes(y.float().mean(dim=1)).square().sum(dim=1, keepdim=True)
    steep = F.avg_pool2d(steep, (height, width), stride=step)
    best = steep.flatten(1).argmax(dim=1).tolist()
    windows = []
    for one, at in zip(y, best, strict=True):
        top, left = (step * place for place in divmod(at, steep.shape[3]))
        windows.append(one[:, top : top + height, left : left + width])
    return torch.stack(windows)


def estimated_kernel(x: Tensor, y: Tensor, *, side: int) -> Tensor:
    """The kernels that best explain `y` as a blurred `x`, one for each picture.

    Ridge regression of the slopes of `y` on those of `x`, in grey, over the pixels whose kernel
    lies inside of the picture; what comes out negative or faint is put to zero.

    Args:
        x: N×C×h×w, an estimate of the clear pictures.
        y: N×C×h×w, what was observed.
        side: of the kernels, odd.

    Returns:
        N×side×side, float32, summing to one. Where the picture is too small to tell, or has no
        slopes, a kernel that changes nothing.
    """
    reach = side // 2
    nothing = F.pad(torch.ones_like(y[:, :1, :1, :1], dtype=torch.float32)[:, 0], (reach,) * 4)
    # In double precision, since what is solved is close to having no one solution.
    clear, observed = (_slopes(u.double().clamp(0, 1).mean(dim=1)) for u in (x, y))
    # The last row and the last column have no slope.
    inside = _inside(y.shape[-2] - 1, side, y.device)[:, None]
    inside = F.pad(inside * _inside(y.shape[-1] - 1, side, y.device), (0, 1, 0, 1))
    # Nothing that counts wraps around; a picture smaller than the kernel needs room for it.
    room = [side if seen_through() else max(0, side - length) for length in y.shape[2:]]
    clear, observed, inside = (
        F.pad(u, (0, room[1], 0, room[0])) for u in (clear, observed, inside)
    )
    kernel = _regressed(clear, observed * inside, inside, side)
    # Without a step, or digits that mean nothing would decide what is faint.
    bright = kernel.amax((1, 2), keepdim=True).clamp_min(1e-6)
    kernel = kernel * (2 * kernel / (_FAINT * bright) - 1).clamp(0, 1)
    kernel = kernel.float()
    total = kernel.sum(dim=(1, 2), keepdim=True)
    return torch.where(total > 1e-3, kernel / total.clamp_min(1e-3), nothing)


def _regressed(clear: Tensor, observed: Tensor, inside: Tensor, side: int) -> Tensor:
    """Ridge regression by conjugate gradients, of observed slopes on clear ones.

    Args:
        clear: N×2×h×w, float64.
        observed: the same, 0 where they do not count.
        inside: h×w, 1 where they do.
        side: of the kernels, odd.

    Returns:
        N×side×side.
    """
    reach, size = side // 2, clear.shape[-2:]
    # Kernels lie in whole pictures, their middles in the corner: so there is nothing to cut.
    support = F.pad(clear.new_ones(side, side), (0, size[1] - side, 0, size[0] - side))
    support = support.roll((-reach, -reach), (-2, -1))
    known = _spectrum(clear)
    # The slopes of what lies under one sample of the kernel: what stands on the diagonal.
    energy = (clear.square() * inside).sum(dim=(1, 2, 3)).clamp_min(1e-6)[:, None, None]
    # Written out, the steps are thousands of nodes of a graph, and minutes to export.
    looped = torch.compiler.is_exporting()

    def correlated(u: Tensor, spectrum: Tensor) -> Tensor:
        """With the clear slopes, both directions together, at the lags of the kernel."""
        return _back((spectrum.conj() * _spectrum(u)).sum(dim=1), size) * support

    def nearer(
        count: Tensor, kernel: Tensor, rest: Tensor, direction: Tensor, square: Tensor
    ) -> tuple[Tensor, ...]:
        """One step of conjugate gradients."""
        # A loop in a graph takes no complex numbers from without.
        spectrum = _spectrum(clear) if looped else known
        explained = _back(spectrum * _spectrum(direction[:, None]), size) * inside
        image = correlated(explained, spectrum) + _RIDGE * energy * direction
        step = square / _dot(direction, image).clamp_min(1e-20)
        kernel, rest = kernel + step * direction, rest - step * image
        before, square = square, _dot(rest, rest)
        direction = rest + square / before.clamp_min(1e-20) * direction
        return count + 1, kernel, rest, direction, square

    rest = correlated(observed, known)
    state: tuple[Tensor, ...] = (
        torch.zeros((), dtype=torch.int64),
        torch.zeros_like(rest),
        rest,
        rest.clone(),
        _dot(rest, rest),
    )
    if looped:
        from torch._higher_order_ops import while_loop  # of exporters, and slow to come

        state = while_loop(lambda count, *_: count < _STEPS, nearer, state)
    else:
        for _ in range(_STEPS):
            state = nearer(*state)
    return state[1].roll((reach, reach), (-2, -1))[:, :side, :side]


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
    """Without gradients, and in the precision of what is given."""
    with torch.no_grad():
        if seen_through():
            yield
        else:
            with torch.autocast(device.type, enabled=False):
                yield


def _slopes(grey: Tensor) -> Tensor:
    """N×2×h×w: downwards and to the right, 0 in the last row or column."""
    down = F.pad(grey[:, 1:] - grey[:, :-1], (0, 0, 0, 1))
    right = F.pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    return torch.stack([down, right], dim=1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2), keepdim=True)
