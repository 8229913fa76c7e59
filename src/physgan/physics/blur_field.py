"""Blur that differs from place to place: a field of kernels, and samplers of such fields.

Conventions, pinned by tests: every kernel convolves the whole picture as `blur` does, and a weight
for each pixel of the result says how much of each of these blurred pictures it takes:

    y = sum_g weight_g · (kernel_g * x)

Weights act after the convolution, because a pixel of the result sees its own kernel: it gathers
light along the way that the camera took over it, which is what a moving camera does exactly. Flat
pictures stay flat and values in [0, 1] stay there, whatever the weights. (Weights before the
convolution make each point of the scene spread its light by its own kernel; where kernels meet,
brightness then piles up.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.physics.blur import Boundary, blur, check_boundary, check_kernel, fitted, trace
from physgan.physics.checks import check_images, check_range, parameter
from physgan.physics.draw import uniform
from physgan.physics.shake import check_exposure, hand_motion, paths_at
from physgan.types import Part, Theta


def blur_field(
    x: Tensor, kernel: Tensor, weight: Tensor, *, boundary: Boundary = "reflect"
) -> Tensor:
    """Convolves every image with g kernels and mixes the results pixel by pixel.

    The interpolated field of Nagy and O'Leary (1998), here with any weights.

    Args:
        x: images, N×C×H×W.
        kernel: kernels, N×g×k×l, k and l odd, taken in the type of `x`.
        weight: share of each kernel at each pixel, N×g×H×W, of sum 1 over g where brightness is to
            be kept; taken in the type of `x`.
        boundary: what lies outside the picture, see `physgan.physics.blur`.

    Returns:
        Blurred images of the shape and type of `x`.

    Raises:
        ThetaError: no such boundary.
        ShapeError: the shapes do not belong together, or as `blur`.
    """
    check_images("images of a blur field", x)
    n, _, h, w = x.shape
    if kernel.ndim != 4 or kernel.shape[0] != n or kernel.shape[1] == 0:
        raise ShapeError(
            "kernels of a blur field",
            expected=f"N×g×k×l with some for each of {n} images",
            got=f"{tuple(kernel.shape)}",
        )
    g = kernel.shape[1]
    if weight.shape != (n, g, h, w):
        raise ShapeError(
            "weights of a blur field",
            expected=f"N×g×H×W of the kernels' number and the image's size, {(n, g, h, w)}",
            got=f"{tuple(weight.shape)}",
            remedy="Crop the weights together with the image.",
        )
    blurred = blur(x.repeat_interleave(g, dim=0), kernel.flatten(0, 1), boundary=boundary)
    shares = blurred.unflatten(0, (n, g)) * weight.to(x.dtype)[:, :, None]
    y: Tensor = shares.sum(dim=1)
    return y


class BlurField:
    """The operator `blur_field` with its boundary; theta: `kernel` N×g×k×l, `weight` N×g×H×W.

    Args:
        boundary: what lies beyond the edges: the picture mirrored without its last pixel (reflect),
            its last pixel again (replicate), its other side (circular), or black (zero).
    """

    scale = 1
    parts: Mapping[str, Part] = MappingProxyType({"kernel": "kernel", "weight": "map"})

    def __init__(self, boundary: Boundary = "reflect") -> None:
        check_boundary(boundary)
        self.boundary: Boundary = boundary

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        kernel = parameter(theta, "kernel", of="blur field")
        weight = parameter(theta, "weight", of="blur field")
        return blur_field(x, kernel, weight, boundary=self.boundary)

    def margin(self, theta: Theta) -> int:
        """Half of the kernels' longer side."""
        return max(parameter(theta, "kernel", of="blur field").shape[-2:]) // 2

    def check(self, theta: Theta) -> None:
        """Raises ThetaError unless kernels and weights are at least 0, of sum 1 (±1e-3)."""
        check_kernel(parameter(theta, "kernel", of="blur field").flatten(0, 1))
        weight = parameter(theta, "weight", of="blur field")
        low, worst = float(weight.min()), float((weight.sum(dim=1) - 1).abs().max())
        if not (low >= 0 and worst <= 1e-3):
            raise ThetaError(
                "weights of a blur field",
                expected="at least 0, and a sum of 1 (±0.001) over the kernels at every pixel",
                got=f"a least weight of {low:.4g}, sums off by up to {worst:.4g}",
                remedy="Divide the weights by their sum over the kernels.",
            )


class ShakeField:
    """A camera that shifts and turns: blur grows with the distance from the middle of the picture.

    One motion of the hand (`physgan.physics.shake`) gives the kernels at the points of a grid;
    between them pixels take bilinear shares of the four around. In the middle the kernels are those
    of `ShakeKernels`.

    Between two points the motion differs by the angle times their distance. Where that is more than
    about 2 px, as in large pictures, the mixture shows two lines instead of one: take a finer grid.

    Args:
        size: least and greatest side in pixels of the window that the shift fills, drawn uniformly.
        angle: least and greatest turn to either side of the mean, in degrees, drawn uniformly; at
            r pixels from the middle 1 degree moves by r/57 pixels.
        exposure: as for `ShakeKernels`.
        grid: rows and columns of control points, from edge to edge; each costs one convolution.
    """

    def __init__(
        self,
        size: tuple[float, float] = (5.0, 17.0),
        angle: tuple[float, float] = (0.0, 2.0),
        exposure: tuple[float, float] = (0.2, 1.0),
        grid: tuple[int, int] = (4, 4),
    ) -> None:
        check_range("size of a shake", size, least=1.0)
        check_range("angle of a shake", angle, greatest=10.0)
        check_exposure(exposure)
        if min(grid) < 1:
            raise ThetaError(
                "grid of a blur field", expected="at least one row and column", got=str(grid)
            )
        self.size, self.angle, self.exposure, self.grid = size, angle, exposure, grid

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`kernel` N×g×side×side, each summing to one, and `weight` N×g×H×W, g points of the grid.

        The side grows with the picture, since the blur in its corners does.
        """
        n, _, h, w = x.shape
        size = uniform(n, self.size, generator=generator)
        angle = torch.deg2rad(uniform(n, self.angle, generator=generator))
        exposure = uniform(n, self.exposure, generator=generator)
        motion = hand_motion(exposure, generator=generator)
        shift = fitted(motion[..., :2], (size - 1) / 2)
        turn = fitted(motion[..., 2:], angle)[..., 0]
        rows, columns = (
            _points(pixels, points, x) for pixels, points in zip((h, w), self.grid, strict=True)
        )
        place = torch.cartesian_prod(rows - (h - 1) / 2, columns - (w - 1) / 2)
        paths = paths_at(shift, turn, place)
        farthest = math.hypot((h - 1) / 2, (w - 1) / 2)
        reach = (self.size[1] - 1) / 2 + math.radians(self.angle[1]) * farthest
        kernel = trace(paths.flatten(0, 1), 2 * math.ceil(reach) + 1).unflatten(0, (n, -1))
        across = _shares(rows, h)[:, None, :, None] * _shares(columns, w)[None, :, None, :]
        weight = across.flatten(0, 1)[None].expand(n, -1, -1, -1)
        return {"kernel": kernel, "weight": weight.contiguous()}


class MovingObjects:
    """A few things that move by themselves before a background, seen by a shaking camera.

    Each thing moves evenly or nearly so, and with the camera; its region is a soft-edged blob, with
    the kernel of its own motion smeared into its edge, since that far it covers the background for
    a part of the exposure. The nearer covers the farther. What a moving thing uncovers is not
    simulated: behind its smeared edge the background is mixed with the blurred picture, which is
    exact only where both look alike.

    Args:
        count: least and greatest number of things, drawn uniformly.
        size: least and greatest side in pixels of the window that a thing's own motion fills, drawn
            uniformly.
        camera: least and greatest side in pixels of the window that the camera's shift fills, drawn
            uniformly; 1 is a camera at rest.
        radius: least and greatest radius of a region, in shares of the picture's shorter side,
            drawn uniformly.
    """

    def __init__(
        self,
        count: tuple[int, int] = (1, 3),
        size: tuple[float, float] = (5.0, 17.0),
        camera: tuple[float, float] = (1.0, 7.0),
        radius: tuple[float, float] = (0.1, 0.3),
    ) -> None:
        check_range("count of moving objects", count, least=1)
        check_range("size of an object's motion", size, least=1.0)
        check_range("size of a camera's motion", camera, least=1.0)
        check_range("radius of a moving object", radius)
        self.count, self.size, self.camera, self.radius = count, size, camera, radius
        self.side = 2 * math.ceil((size[1] - 1) / 2 + (camera[1] - 1) / 2) + 1

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`kernel` N×g×side×side, each summing to one, and `weight` N×g×H×W, the background first.

        g is one more than the greatest count; things that an image does not have weigh nothing.
        """
        n, _, h, w = x.shape
        device, most = generator.device, self.count[1]
        size = uniform(n * most, self.size, generator=generator)
        camera = uniform(n, self.camera, generator=generator)
        exposure = uniform(n, (0.2, 1.0), generator=generator)
        shake = fitted(hand_motion(exposure, generator=generator)[..., :2], (camera - 1) / 2)
        t = torch.linspace(-0.5, 0.5, shake.shape[1], device=device)[:, None]
        speed, change = torch.randn(2, n * most, 1, 2, generator=generator, device=device)
        own = fitted(speed * t + 0.5 * change * t**2, (size - 1) / 2).unflatten(0, (n, most))
        paths = torch.cat([shake[:, None], shake[:, None] + own], dim=1)
        kernel = trace(paths.flatten(0, 1), self.side).unflatten(0, (n, -1))

        mask = _blobs(n * most, (h, w), self.radius, generator=generator)
        mask = blur(mask, kernel[:, 1:].flatten(0, 1), boundary="replicate")
        number = torch.randint(self.count[0], most + 1, (n,), generator=generator, device=device)
        there = torch.arange(most, device=device) < number[:, None]
        mask = mask.clamp(0, 1).unflatten(0, (n, most))[:, :, 0] * there[:, :, None, None]
        # What the things in front leave free: the last is the nearest, the background the farthest.
        free = (1 - mask).flip(1).cumprod(dim=1).flip(1)
        uncovered = torch.cat([free[:, 1:], torch.ones_like(free[:, :1])], dim=1)
        return {"kernel": kernel, "weight": torch.cat([free[:, :1], mask * uncovered], dim=1)}


def _points(pixels: int, points: int, like: Tensor) -> Tensor:
    """Places of control points along a side, from edge to edge; a single one lies in the middle."""
    if points == 1:
        return torch.full((1,), (pixels - 1) / 2, device=like.device)
    return torch.linspace(0, pixels - 1, points, device=like.device)


def _shares(points: Tensor, pixels: int) -> Tensor:
    """How much of each control point a pixel takes, points×pixels: linear between neighbours."""
    count = len(points)
    at = torch.linspace(0, count - 1, pixels, device=points.device)
    return (1 - (at - torch.arange(count, device=points.device)[:, None]).abs()).clamp(min=0)


def _blobs(
    n: int, size: tuple[int, int], radius: tuple[float, float], *, generator: Generator
) -> Tensor:
    """Round regions with three bulges or so, edges 2 px wide, n×1×H×W in [0, 1]."""
    h, w = size
    device = generator.device
    middle = torch.rand(n, 2, 1, 1, generator=generator, device=device)
    mean = min(size) * uniform(n, radius, generator=generator)[:, None, None]
    depth, phase = torch.rand(2, n, 3, 1, 1, generator=generator, device=device)
    down = torch.arange(h, device=device)[:, None] + 0.5 - middle[:, 0] * h
    right = torch.arange(w, device=device) + 0.5 - middle[:, 1] * w
    angle = torch.atan2(down, right)[:, None]
    wave = torch.arange(2, 5, device=device)[:, None, None]
    bulges = (depth * torch.cos(wave * angle + 2 * math.pi * phase)).sum(dim=1)
    edge = mean * (1 + 0.15 * bulges)
    inside: Tensor = ((edge - torch.hypot(down, right)) / 2 + 0.5).clamp(0, 1)
    return inside[:, None]
