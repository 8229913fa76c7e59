"""Uniform blur: a convolution with one kernel per image, and samplers of kernels.

Conventions, pinned by tests:

* true convolution: `y[i] = sum_j kernel[j] x[i - j]`, the kernel's centre being its middle sample.
  A kernel with its mass to the right of the centre moves the picture to the right.
* kernels are N×k×l with odd k and l; a kernel that keeps brightness sums to one.
* `boundary` names what lies outside the picture: its mirror image without repeating the edge
  (`reflect`), its last row (`replicate`), its other side (`circular`) or black (`zero`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.errors import ShapeError, ThetaError
from physgan.fourier import fast_length
from physgan.physics.checks import check_choice, check_images, check_range, parameter
from physgan.physics.draw import uniform
from physgan.types import Part, Theta

Boundary: TypeAlias = Literal["reflect", "replicate", "circular", "zero"]
Method: TypeAlias = Literal["auto", "direct", "fft"]

# Kernels of at most this many samples are convolved directly, larger ones by FFT. Measured on two
# CPU cores, forward and backward, batches of 8 at 128×128: `python -m benchmarks.blur`.
_DIRECT_SAMPLES = 289


def blur(
    x: Tensor,
    kernel: Tensor,
    *,
    boundary: Boundary = "reflect",
    method: Method = "auto",
) -> Tensor:
    """Convolves every image of a batch with its own kernel (Eq. 7 of the paper).

    Args:
        x: images, N×C×H×W.
        kernel: kernels, N×k×l, k and l odd; row n blurs all channels of image n. They are taken
            in the type of `x`.
        boundary: what lies outside the picture, see above.
        method: `direct` sums products, `fft` multiplies spectra; `auto` takes the faster. They
            differ by rounding alone.

    Returns:
        Blurred images of the shape and type of `x`, computed in at least float32, also under
        autocast.

    Raises:
        ThetaError: no such boundary, or no such method.
        ShapeError: `x` or `kernel` has a wrong shape, or the picture is smaller than the boundary
            that the kernel needs.
    """
    check_boundary(boundary)
    _check_shapes(x, kernel, boundary)
    check_choice("method of a blur", method, get_args(Method))
    wide = x if x.dtype == torch.float64 else x.float()
    with torch.autocast(x.device.type, enabled=False):
        return _convolved(wide, kernel.to(wide.dtype), boundary, method).to(x.dtype)


def _convolved(x: Tensor, kernel: Tensor, boundary: Boundary, method: Method) -> Tensor:
    n, c, h, w = x.shape
    k, l = kernel.shape[-2:]  # noqa: E741
    mode = "constant" if boundary == "zero" else boundary
    padded = F.pad(x, (l // 2, l // 2, k // 2, k // 2), mode=mode)
    if method == "direct" or (method == "auto" and k * l <= _DIRECT_SAMPLES):
        # conv2d correlates, so the kernel is turned; one group per image and channel.
        weight = kernel.flip(-2, -1)[:, None].expand(n, c, k, l).reshape(n * c, 1, k, l)
        result = F.conv2d(padded.reshape(1, n * c, *padded.shape[-2:]), weight, groups=n * c)
        return result.reshape(n, c, h, w)
    # The product of spectra is a circular convolution; what wraps round falls on the first k - 1
    # rows and l - 1 columns, which are not part of the result.
    size = [fast_length(padded.shape[-2]), fast_length(padded.shape[-1])]
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel, s=size)[:, None]
    whole: Tensor = torch.fft.irfft2(spectrum, s=size)
    return whole[..., k - 1 : k - 1 + h, l - 1 : l - 1 + w]


class Blur:
    """The operator `blur` with its boundary; theta: `kernel` N×k×l.

    Args:
        boundary: what lies beyond the edges: the picture mirrored without its last pixel (reflect),
            its last pixel again (replicate), its other side (circular), or black (zero).
    """

    scale = 1
    parts: Mapping[str, Part] = MappingProxyType({"kernel": "kernel"})

    def __init__(self, boundary: Boundary = "reflect") -> None:
        check_boundary(boundary)
        self.boundary: Boundary = boundary

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        return blur(x, parameter(theta, "kernel", of="blur"), boundary=self.boundary)

    def margin(self, theta: Theta) -> int:
        """Half of the kernel's longer side."""
        return max(parameter(theta, "kernel", of="blur").shape[-2:]) // 2

    def check(self, theta: Theta) -> None:
        """Raises ThetaError as `check_kernel`."""
        check_kernel(parameter(theta, "kernel", of="blur"))


class DiscKernels:
    """Kernels of a lens out of focus: anti-aliased discs of a radius drawn per image.

    Args:
        radius: least and greatest radius in pixels, drawn uniformly; a disc within one pixel is
            the identity.
    """

    def __init__(self, radius: tuple[float, float] = (0.0, 4.0)) -> None:
        check_range("radius of a disc", radius)
        self.radius = radius
        self.side = 2 * math.ceil(radius[1] - 0.5) + 1 if radius[1] > 0.5 else 1

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`kernel`, N×side×side, each summing to one."""
        radius = uniform(x.shape[0], self.radius, generator=generator)
        return {"kernel": disc(radius, self.side)}


class GaussianKernels:
    """Gaussian kernels, round or drawn out in a drawn direction.

    Args:
        sigma: least and greatest standard deviation in pixels, drawn uniformly: of a kernel that
            is not round, along its longer axis.
        ratio: least and greatest ratio of the shorter axis to the longer, drawn uniformly; 1 is
            round.
    """

    def __init__(
        self, sigma: tuple[float, float] = (0.0, 3.0), ratio: tuple[float, float] = (1.0, 1.0)
    ) -> None:
        check_range("sigma of a Gaussian kernel", sigma)
        check_range("ratio of the axes of a Gaussian kernel", ratio, greatest=1.0)
        self.sigma, self.ratio = sigma, ratio
        self.side = 2 * math.ceil(3 * sigma[1]) + 1

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`kernel`, N×side×side, each summing to one."""
        n = x.shape[0]
        longer = uniform(n, self.sigma, generator=generator)
        shorter = longer * uniform(n, self.ratio, generator=generator)
        angle = uniform(n, (0.0, math.pi), generator=generator)
        return {"kernel": gaussian(longer, shorter, angle, self.side)}


class MotionKernels:
    """Kernels of a hand that shakes: the trace of a random walk with inertia.

    Velocity is an autoregressive process, whose memory is drawn per kernel. The trace is centred
    on its centroid, so that the clear picture lies where the blurred one does, and scaled to fill a
    square window of a drawn side.

    Args:
        size: least and greatest side of the window in pixels, drawn uniformly.
        memory: least and greatest share of its velocity that the hand keeps from each of 64 steps
            to the next, drawn uniformly. Below 0.8 the walk turns so often that its trace is a
            tangle, three times as long as it is wide and more; near 1 it is a gentle curve.
    """

    def __init__(
        self, size: tuple[float, float] = (5.0, 21.0), memory: tuple[float, float] = (0.8, 0.99)
    ) -> None:
        check_range("size of a motion kernel", size, least=1.0)
        check_range("memory of a motion", memory, greatest=1.0)
        self.size, self.memory = size, memory
        self.side = 2 * math.ceil((size[1] - 1) / 2) + 1

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`kernel`, N×side×side, each summing to one."""
        size = uniform(x.shape[0], self.size, generator=generator)
        walks = random_walks(size, memory=self.memory, generator=generator)
        return {"kernel": trace(walks, self.side)}


class DefocusMotionKernels:
    """Kernels of a shaking hand behind a lens out of focus: motion convolved with a disc.

    The training blur of the paper, after Hradiš et al.

    Args:
        radius: of the disc, see `DiscKernels`.
        size: of the motion, see `MotionKernels`.
        strength: least and greatest share of radius and size that one image gets, drawn
            uniformly; from 0, some images stay nearly sharp.
        memory: of the motion, see `MotionKernels`; from tangles to gentle curves.
    """

    def __init__(
        self,
        radius: tuple[float, float] = (0.0, 4.0),
        size: tuple[float, float] = (5.0, 21.0),
        strength: tuple[float, float] = (1.0, 1.0),
        memory: tuple[float, float] = (0.3, 0.99),
    ) -> None:
        check_range("strength of a blur", strength, greatest=1.0)
        self.strength = strength
        self.disc = DiscKernels(radius)
        self.motion = MotionKernels(size, memory)
        self.side = self.disc.side + self.motion.side - 1

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`kernel`, N×side×side, each summing to one."""
        n = x.shape[0]
        strength = uniform(n, self.strength, generator=generator)
        radius = strength * uniform(n, self.disc.radius, generator=generator)
        size = 1 + strength * (uniform(n, self.motion.size, generator=generator) - 1)
        walks = random_walks(size, memory=self.motion.memory, generator=generator)
        motion = trace(walks, self.motion.side)
        room = F.pad(motion, (self.disc.side // 2,) * 4)[:, None]
        lens = disc(radius, self.disc.side)
        return {"kernel": blur(room, lens, boundary="zero", method="direct")[:, 0]}


def disc(radius: Tensor, side: int, *, oversampling: int = 8) -> Tensor:
    """Discs of uniform light, N×side×side summing to one, for radii N in pixels.

    Each sample is the share of its square that the disc covers, from `oversampling`² points.
    """
    fine = (torch.arange(side * oversampling, device=radius.device) + 0.5) / oversampling - side / 2
    squared = fine[:, None] ** 2 + fine[None, :] ** 2
    # A disc smaller than the grid of points would miss them all; there it is the identity.
    covered = squared <= radius.clamp(min=0.5 / oversampling * 2**0.5 + 1e-3)[:, None, None] ** 2
    kernel = F.avg_pool2d(covered.to(radius.dtype)[:, None], oversampling)[:, 0]
    return kernel / kernel.sum(dim=(-2, -1), keepdim=True)


def gaussian(longer: Tensor, shorter: Tensor, angle: Tensor, side: int) -> Tensor:
    """Gaussians sampled at the pixels, N×side×side summing to one.

    Args:
        longer: standard deviation along the first axis, N, in pixels; 0 is the identity.
        shorter: standard deviation across it, N, in pixels.
        angle: from the columns' axis (left to right) to the first, clockwise as seen, N, radians.
        side: of the kernels, odd; what lies outside is cut off.
    """
    at = torch.arange(side, device=angle.device, dtype=angle.dtype) - side // 2
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along = cos * at[None, None, :] + sin * at[None, :, None]
    across = cos * at[None, :, None] - sin * at[None, None, :]
    # Below a tenth of a pixel a Gaussian is the identity, and divisions by 0 are kept away.
    scaled = [
        d / sigma.clamp(min=0.1)[:, None, None] for d, sigma in ((along, longer), (across, shorter))
    ]
    kernel = torch.exp(-(scaled[0] ** 2 + scaled[1] ** 2) / 2)
    return kernel / kernel.sum(dim=(-2, -1), keepdim=True)


def random_walks(
    size: Tensor, *, memory: tuple[float, float], generator: Generator, steps: int = 64
) -> Tensor:
    """Paths of a shaking hand, N×T×2 (row, column) in pixels about their centroid.

    Args:
        size: side of the window that each path fills, N, in pixels.
        memory: least and greatest share of the velocity that stays from step to step.
        generator: the caller's.
        steps: independent pushes along a path.
    """
    n, device = size.shape[0], generator.device
    keeps = uniform(n, memory, generator=generator)
    pushes = torch.randn(n, steps, 2, generator=generator, device=device)
    # v[t] = sum_s keeps^(t - s) push[s]: the whole walk at once, no loop over time.
    t = torch.arange(steps, device=device)
    lag = (t[:, None] - t[None, :]).clamp(min=0)
    weight = torch.where(t[:, None] >= t[None, :], keeps[:, None, None] ** lag, 0.0)
    path = (weight @ pushes).cumsum(dim=1)
    path = F.interpolate(path.mT, scale_factor=4, mode="linear", align_corners=True).mT
    return fitted(path, (size - 1) / 2)


def fitted(path: Tensor, reach: Tensor) -> Tensor:
    """Paths N×T×D moved to their mean and scaled to go as far as `reach` N along an axis."""
    path = path - path.mean(dim=1, keepdim=True)
    far = path.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    return path / far * reach[:, None, None]


def trace(path: Tensor, side: int) -> Tensor:
    """The light that a moving point leaves: paths N×T×2 (row, column) to kernels N×side×side.

    Positions count in pixels from the middle sample; each is shared bilinearly among its four
    neighbours, and what falls outside the window is lost before the kernel is made to sum to one.
    """
    grid = torch.arange(side, device=path.device, dtype=path.dtype) - side // 2
    tent = (1 - (path[..., None] - grid).abs()).clamp(min=0)
    kernel = tent[:, :, 0].mT @ tent[:, :, 1]
    return kernel / kernel.sum(dim=(-2, -1), keepdim=True)


def check_kernel(kernel: Tensor) -> None:
    """Raises ThetaError unless every kernel is finite, never negative and sums to one (±1e-3)."""
    if not torch.isfinite(kernel).all() or (kernel < 0).any():
        raise ThetaError(
            "kernel of a blur",
            expected="finite values of at least 0",
            got="others among them",
            remedy="What noise leaves below 0 has to become 0 before.",
        )
    total = kernel.sum(dim=(-2, -1))
    worst = total[(total - 1).abs().argmax()]
    if (worst - 1).abs() > 1e-3:
        raise ThetaError(
            "kernel of a blur",
            expected="a sum of 1 (±0.001), which keeps the brightness",
            got=f"a sum of {float(worst):.4f}",
            remedy="Divide the kernel by its sum.",
        )


def _check_shapes(x: Tensor, kernel: Tensor, boundary: Boundary) -> None:
    check_images("images to blur", x)
    if kernel.ndim != 3 or kernel.shape[0] != x.shape[0]:
        raise ShapeError(
            "kernels of a blur",
            expected=f"N×k×l with one kernel for each of {x.shape[0]} images",
            got=f"shape {tuple(kernel.shape)}",
        )
    k, l = kernel.shape[-2:]  # noqa: E741
    if k % 2 == 0 or l % 2 == 0:
        raise ShapeError(
            "kernels of a blur",
            expected="odd sides, so that the centre is a sample",
            got=f"{k}×{l}",
            remedy="Pad the kernel by one row or column of zeros on the side you mean.",
        )
    h, w = x.shape[-2:]
    need = {"reflect": (k // 2 + 1, l // 2 + 1), "circular": (k // 2, l // 2)}
    least_h, least_w = need.get(boundary, (1, 1))
    if h < least_h or w < least_w:
        raise ShapeError(
            f"images to blur with boundary '{boundary}' and a kernel of {k}×{l}",
            expected=f"at least {least_h}×{least_w} pixels",
            got=f"{h}×{w}",
            remedy="Use boundary 'replicate', a larger picture or a smaller kernel.",
        )


def check_boundary(boundary: str) -> None:
    """Raises ThetaError unless a blur knows the boundary."""
    check_choice("boundary of a blur", boundary, get_args(Boundary))
