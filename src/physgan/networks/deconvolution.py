"""Blind deconvolution: a network that looks twice, with the physics of a blur in between.

The first look gives what is legible of the clear picture. One kernel explains all of what was
observed, so that it follows from there in closed form, by least squares over all pixels, as in Cho
and Lee, "Fast Motion Deblurring" (2009). It is inverted as far as noise allows, and the second look
sees what came of that; from what it makes of it the kernel is estimated again, and better. At last
the picture is moved to where, blurred again, it gives what was observed. No kernel need be known to
restore.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.fourier import fast_length
from physgan.networks.base import RestorationNetwork
from physgan.networks.checks import check_arguments, check_images
from physgan.networks.convolution import Conv2d
from physgan.networks.edges import noise_of, strong_edges_kernel, turned
from physgan.networks.estimation import centred, estimated_kernel
from physgan.networks.grid import REACH, without_grid
from physgan.networks.init import zeroed
from physgan.networks.mirror import mirrored
from physgan.networks.spectra import back, spectrum_of
from physgan.networks.unet import UNet
from physgan.networks.ways import seen_through
from physgan.networks.window import WINDOW, steepest
from physgan.types import RestoreFn

_ENOUGH = 128 * 128
"""Pixels of a picture whose edges tell its kernel: faces and photographs of 128×128 px gain by
them, and lose at 96."""
_REGULARISATION = (0.002, 0.02)
"""Of the inverse filters: noise over signal where a difference of neighbours has a gain of 1."""
_REGULARISATION_OF_NOISE = (500.0, 4000.0)
"""The same per variance of the noise in grey, where that is known and comes to more."""
_TIE, _TIE_OF_EDGES = (0.1, 1e4), (0.3, 3e4)
"""Of the result to what the second look made of it, see `unexplained`: the least, and per variance
of the noise in grey. Kernels of edges are less to be relied on."""
AGAIN = 6
"""Times that a kernel is estimated anew from the second look (docs/networks.md)."""
_AGAIN_IN_TRAINING = 1
"""The same where it is learnt what such kernels are worth: each costs a quarter of a step more."""


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
        edges: whether the first kernel is that of strong edges, for pictures of which the first
            look makes too little legible, and, in training, of the clear pictures in part.
        gridless: whether a grid that the pixel shuffle leaves is taken out, see `without_grid`.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        side: int = 31,
        widths: Sequence[int] = (48, 96, 192),
        blocks: Sequence[int] = (2, 2, 4),
        unshuffle: int = 2,
        edges: bool = False,
        gridless: bool = False,
    ) -> None:
        check_arguments(channels=channels)
        check_arguments(side=side, at_least=3)
        super().__init__()
        self.guided = self.edges = edges
        self.gridless = gridless
        self.side = side + 1 - side % 2
        self.first = UNet(channels=channels, widths=widths, blocks=blocks, unshuffle=unshuffle)
        seen = (2 + len(_REGULARISATION)) * channels * unshuffle**2
        self.stem = Conv2d(seen, widths[0], 3, padding=1)
        self.head = Conv2d(widths[0], channels * unshuffle**2, 3, padding=1)
        self.trust = Conv2d(widths[0], channels * unshuffle**2, 3, padding=1)
        self.doubt = Conv2d(widths[0], channels * unshuffle**2, 3, padding=1)
        for added in (self.stem, self.head, self.trust, self.doubt):
            zeroed(added)
        self.channels: int = channels
        self.scale: int = 1
        self.multiple_of: int = self.first.multiple_of
        assert self.first.receptive_field is not None
        # Of the second look, and of the first or the inverse filter, whichever reaches further.
        reach = max(self.first.receptive_field // 2, 3 * self.side // 2) + 2 * unshuffle
        reach += REACH if gridless else 0
        reach += 3 * self.side // 2 + self.side // 2  # of a filter, and of a blur
        self.receptive_field: int | None = self.first.receptive_field + 2 * reach
        self.global_statistics: bool = True
        self.window: int = WINDOW

    def forward(
        self, y: Tensor, clear: Tensor | None = None, places: Sequence[float] = ()
    ) -> Tensor:
        """Restores `y`; height and width must be multiples of `multiple_of`.

        Args:
            y: what was observed.
            clear: in training, the clear pictures, from which kernels of every quality are made.
            places: with them, where each stands in its batch, in (0, 1), rising. Kernels of the
                first half are those that there will be; from there on they become better.

        Raises:
            ShapeError: wrong rank, channels or sides.
        """
        self._check(y)
        # A graph has one size as good as any other: there the kernel is that of the whole.
        if not seen_through() and max(y.shape[2:]) > self.window:
            return self.restored(y, *self.blur_of(y))
        look = self.first.look(y)
        if self.edges:
            return self._last(y, look, *self._of_edges(look, y, clear, places))[0]
        return self._last(y, look, *self._of_looks(look, y))[0]

    def blur_of(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """What blurred `y`, from the part of it with the steepest slopes.

        Returns:
            The kernel, N×side×side, and the noise, N.

        Raises:
            ShapeError: as `forward`.
        """
        self._check(y)
        window = steepest(y.detach(), self.window)
        if self.edges:
            return blur_by_edges(window.double(), side=self.side)
        with torch.no_grad():
            return self._of_looks(self.first.look(window), window)

    def looks(self, y: Tensor, kernel: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `restored` gives, and what the first and the second look made of `y`."""
        look = self.first.look(y)
        x_hat, second = self._last(y, look, kernel, noise)
        return x_hat, look, second

    def restored(self, y: Tensor, kernel: Tensor, noise: Tensor) -> Tensor:
        """What `forward` gives where this is what blurred `y`, see `blur_of`."""
        return self.looks(y, kernel, noise)[0]

    def conditioned(self, y: Tensor) -> RestoreFn:
        """The restorer of `y` and its parts: its pixels depend on what is near, and one kernel."""
        return _Conditioned(self, *self.blur_of(y))

    def _check(self, y: Tensor) -> None:
        least = self.multiple_of
        check_images(y, channels=self.channels, minimum=least, multiple_of=least)

    def _of_looks(self, look: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What blurred `y`, by what is legible."""

        def second(kernel: Tensor) -> Tensor:
            return self._second(y, look, kernel)[0]

        if self.training:  # where single precision is as good, and takes half of the time
            kernel = kernel_by_looks(y, look, second, side=self.side, times=_AGAIN_IN_TRAINING)
            # Releases of torch before 2.13 would take weights as they were cast without gradients.
            torch.clear_autocast_cache()
        else:
            kernel = kernel_by_looks(y.double(), look, second, side=self.side)
        return kernel, noise_in(y)

    def _of_edges(
        self, look: Tensor, y: Tensor, clear: Tensor | None, places: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        if clear is None:
            return blur_by_edges(y.double(), side=self.side)
        # Single precision is as good here, and takes half of the time.
        # Half of the kernels are those that there will be, with all that is wrong with them.
        first = sum(place <= 0.5 for place in places)
        kernel, noise = blur_by_edges(y[:first], side=self.side)
        if first == len(y):
            return kernel, noise
        look, y, clear = look[first:], y[first:], clear[first:]
        with _plainly(y.device):
            # The others go from those of the first look to those by all that there is, picture by
            # picture; then to what edges make of them.
            share = _numbers([2 * place - 1 for place in places[first:]], y)
            known = look + share[:, None, None, None] * (clear - look)
            grey = y.mean(dim=1, keepdim=True)
            better = turned(grey, estimated_kernel(known, y, side=self.side), noise_of(grey))
            return torch.cat([kernel, better]), torch.cat([noise, noise_in(y)])

    def _second(
        self, y: Tensor, look: Tensor, kernel: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the second look makes of `y`, and how far, pixel by pixel, the kernel holds."""
        with _plainly(y.device):
            inverted = deconvolved(y.detach(), kernel, noise).to(y.dtype)
        first, shuffle = self.first, self.first.unshuffle
        seen = torch.cat([y, look, inverted], dim=1)
        # What was inverted is restored as the first look restores what was observed. How far that
        # is to be trusted, and what else is to be mended, is judged by all that is known.
        sharp = inverted.unflatten(1, (-1, self.channels)).mean(dim=1)
        z = first.stem(F.pixel_unshuffle(sharp * 2 - 1, shuffle))
        z = first.trunk(z + self.stem(F.pixel_unshuffle(seen * 2 - 1, shuffle)))
        sharp = sharp + F.pixel_shuffle(first.head(z), shuffle)
        trust, mended, doubt = (
            F.pixel_shuffle(last(z), shuffle) for last in (self.trust, self.head, self.doubt)
        )
        x_hat: Tensor = look + trust * (sharp - look) + mended
        if self.gridless:
            x_hat, doubt = without_grid(x_hat), without_grid(doubt)
        return x_hat, 1 - doubt

    def _last(
        self, y: Tensor, look: Tensor, kernel: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What explains `y` near to the second look, and that."""
        second, holds = self._second(y, look, kernel, noise if self.edges else None)
        tie = _TIE_OF_EDGES if self.edges else _TIE
        rest = unexplained(second, y, kernel, noise, tie=tie).to(y.dtype)
        x_hat = second + holds * rest
        return x_hat if self.training else x_hat.clamp(0, 1), second


class _Conditioned(RestorationNetwork):
    """The restorer of a picture whose blur is known, for the whole of it or any part."""

    def __init__(self, network: BlindDeconvolution, kernel: Tensor, noise: Tensor) -> None:
        super().__init__()
        self.network = network
        self.kernel: Tensor
        self.noise: Tensor
        self.register_buffer("kernel", kernel, persistent=False)
        self.register_buffer("noise", noise, persistent=False)
        self.channels, self.scale = network.channels, network.scale
        self.multiple_of, self.receptive_field = network.multiple_of, network.receptive_field
        self.global_statistics = False

    def forward(self, y: Tensor) -> Tensor:
        n = y.shape[0]
        return self.network.restored(y, self.kernel.expand(n, -1, -1), self.noise.expand(n))


def kernel_by_looks(
    y: Tensor, look: Tensor, second: Callable[[Tensor], Tensor], *, side: int, times: int = AGAIN
) -> Tensor:
    """The kernel that blurred `y`, by what looks make legible.

    Args:
        y: N×C×h×w, in the type to compute in; at least float32 is taken.
        look: the first look, of the same shape.
        second: what the second look makes of `y` by a kernel.
        side: of the kernel, odd.
        times: that the kernel is estimated anew from that.

    Returns:
        N×side×side, float32, summing to one.
    """

    def explaining(legible: Tensor) -> Tensor:
        with _plainly(y.device):
            return centred(estimated_kernel(legible.detach(), y.detach(), side=side))

    kernel = explaining(look)
    for _ in range(times):
        with torch.no_grad():
            legible = second(kernel)
        kernel = explaining(legible)
    return kernel


def blur_by_edges(y: Tensor, *, side: int) -> tuple[Tensor, Tensor]:
    """What blurred `y`, by its strong edges.

    Small pictures have too few edges to tell by; theirs is the kernel that changes nothing.

    Args:
        y: N×C×h×w in [0, 1], in the type to compute in; at least float32 is taken.
        side: of the kernel, odd.

    Returns:
        The kernel, N×side×side, summing to one, and the noise, N: its standard deviation in grey;
        both float32.
    """
    with _plainly(y.device):
        y = y.detach().to(torch.promote_types(y.dtype, torch.float32))
        noise = noise_in(y)
        if len(y) and y.shape[2] * y.shape[3] >= _ENOUGH:
            return strong_edges_kernel(y, side=side), noise
        return no_blur(y, side=side), noise


def no_blur(y: Tensor, *, side: int) -> Tensor:
    """For each image of `y` the kernel that changes nothing, N×side×side, float32."""
    kernel = y.new_zeros(y.shape[0], side, side, dtype=torch.float32)
    kernel[:, side // 2, side // 2] = 1
    return kernel


def noise_in(y: Tensor) -> Tensor:
    """The standard deviation of the noise of pictures in grey, N, float32; see `noise_of`."""
    return noise_of(y.detach().mean(dim=1, keepdim=True)).flatten().float()


def deconvolved(y: Tensor, kernel: Tensor, noise: Tensor | None = None) -> Tensor:
    """`y` through inverse filters of its kernel, one for each regularisation, side by side.

    The filters are Wiener's for pictures whose spectra fall as one over the frequency, cut to three
    times the side of the kernel; the picture is mirrored at its border.

    Args:
        y: N×C×h×w.
        kernel: N×k×k, k odd, summing to one.
        noise: N, its standard deviation in grey; None takes it for slight.

    Returns:
        N×(2·C)×h×w in [-0.5, 1.5], in at least float32.
    """
    reach = 3 * kernel.shape[-1] // 2
    filters = _inverse_filters(kernel, noise, reach)
    return _filtered(y, filters, reach).clamp(-0.5, 1.5)


def unexplained(
    x: Tensor, y: Tensor, kernel: Tensor, noise: Tensor, *, tie: tuple[float, float]
) -> Tensor:
    """By how much to move `x` for its blur to give `y`, where noise lets that be told.

    The move d has about the least |kernel * (x + d) - y|² + p |d|²: its filter reaches three sides
    of the kernel far, and what is left unexplained counts by the square of the kernel's share that
    lies inside of the picture, since nobody knows what is beyond. Differentiable by `x`.

    Args:
        x: N×C×h×w, an estimate of the clear pictures.
        y: the same, what was observed.
        kernel: N×k×k, k odd, summing to one.
        noise: N, its standard deviation in grey.
        tie: p, as the least that it may be, and per variance of the noise.

    Returns:
        N×C×h×w, in at least float32.
    """
    with torch.autocast(y.device.type, enabled=False):
        with torch.no_grad():
            reach = 3 * kernel.shape[-1] // 2
            price = (tie[1] * noise.float().square()).clamp_min(tie[0])
            filters = _regularised(kernel, price[:, None, None, None], reach)
            inside = _inside(kernel, y).square()
        rest = y - _filtered(x, kernel[:, None], kernel.shape[-1] // 2)
        return _filtered(rest * inside, filters, reach)


def _inside(kernel: Tensor, y: Tensor) -> Tensor:
    """The share of a kernel that lies inside of the picture, around each pixel: N×1×h×w."""
    reach, (height, width) = kernel.shape[-1] // 2, y.shape[2:]
    size = [height + 2 * reach, width + 2 * reach]
    rows, columns = size if seen_through() else map(fast_length, size)
    kernel = kernel.to(torch.promote_types(y.dtype, torch.float32))
    there = _filled(torch.ones_like(kernel[:1, :1, :1]).expand(1, height, width), rows, columns)
    spectrum = spectrum_of(there) * spectrum_of(_filled(kernel, rows, columns))
    return back(spectrum, (rows, columns))[:, None, reach:, reach:][..., :height, :width]


def _filtered(u: Tensor, filters: Tensor, reach: int) -> Tensor:
    """Pictures, mirrored at their border, through each of their filters, side by side.

    Args:
        u: N×C×h×w.
        filters: N×F×(2·reach+1)×(2·reach+1).
        reach: of the filters, pixels.

    Returns:
        N×(F·C)×h×w, in at least float32.
    """
    height, width = u.shape[2:]
    u = u if u.dtype == torch.float64 else u.float()
    # What wraps around falls before the part that is taken, whatever the room: transforms are
    # quick at few lengths.
    size = [height + 2 * reach, width + 2 * reach]
    rows, columns = size if seen_through() else map(fast_length, size)
    spectrum = spectrum_of(_filled(mirrored(u, reach), rows, columns)[:, None])
    through = spectrum_of(_filled(filters.to(u.dtype), rows, columns)[:, :, None])
    found = back(spectrum * through, (rows, columns))
    result: Tensor = found[..., 2 * reach :, 2 * reach :][..., :height, :width].flatten(1, 2)
    return result


def _filled(u: Tensor, rows: int, columns: int) -> Tensor:
    """`u` with zeros below and on the right."""
    return F.pad(u, (0, columns - u.shape[-1], 0, rows - u.shape[-2]))


def _inverse_filters(kernel: Tensor, noise: Tensor | None, reach: int) -> Tensor:
    """N×2×(2·reach+1)×(2·reach+1), each summing to one."""
    price = _numbers(_REGULARISATION, kernel.float())
    if noise is not None:
        of_noise = _numbers(_REGULARISATION_OF_NOISE, price)
        price = torch.maximum(price, of_noise * noise.float().square()[:, None])
    at = torch.arange(4 * reach + 2, device=kernel.device)
    wave = 2 - 2 * torch.cos(2 * math.pi / (4 * reach + 2) * at)
    inverse = _regularised(kernel, price[..., None, None] * (wave[:, None] + wave), reach)
    summing: Tensor = inverse / inverse.sum(dim=(-2, -1), keepdim=True)
    return summing


def _regularised(kernel: Tensor, price: Tensor, reach: int) -> Tensor:
    """N×F×(2·reach+1)×(2·reach+1): the least squares' inverses of kernels, at prices N×F×p×q.

    Prices are of every frequency, p and q being twice the side of the result, or 1.
    """
    side, taps = kernel.shape[-1], 2 * reach + 1
    size = 2 * taps  # that what wraps around is faint
    gain = spectrum_of(F.pad(kernel.float(), (0, size - side, 0, size - side))[:, None])
    power = gain.real.square() + gain.imag.square()
    inverse = back(gain.conj() / (power + price[..., : gain.shape[-1]]), (size, size))
    # The corner of the kernel stands in the corner: its middle is half a side further on.
    inverse = inverse.roll((reach + side // 2,) * 2, (-2, -1))[..., :taps, :taps]
    # One in the middle half; in the outer quarters half a cosine.
    at = torch.arange(taps, device=kernel.device)
    fade = (1 - torch.cos(2 * math.pi / (taps + 1) * (at + 1))).clamp(max=1)
    faded: Tensor = inverse * fade[:, None] * fade
    return faded


def _numbers(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers on the device, and of the type, of a tensor; the device is not waited for."""
    return torch.cat([like.new_full((1,), value) for value in values])


@contextmanager
def _plainly(device: torch.device) -> Iterator[None]:
    """Without gradients, and in the precision of what is given."""
    with torch.no_grad():
        if seen_through():
            yield
        else:
            with torch.autocast(device.type, enabled=False):
                yield
