"""Depth for photographs that have none: drawn scenes whose outlines follow the picture's own.

Here, and not with haze, since nothing in it knows of haze: whatever depends on distance draws it
from here. `scene_depth` alone is meant for callers; what it is made of is public to be read, tested
and tried apart.

A scene is drawn in inverse depth q = 1 / Z. There, a plane in space is a linear function of the
place in the picture, and what hides what is the greatest q. A ground, side walls, a ceiling and a
far end give fields, streets and rooms; ridges and objects that stand on the ground lie before them.
In real scenes depth jumps where the picture has edges; so ridges and objects are made of whole
regions of the picture, as are skies: bright, smooth and above.

Places are (v, u): down and right of the middle, in half of the picture's longer side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.means import square_means
from physgan.physics.draw import smooth_field, uniform

GRID = 10
"""Regions of a picture along each side before they grow to its edges."""

LOOK = 40
"""Longest side at which regions are sought; their outlines are drawn at full size."""

OBJECTS, RIDGES = 6, 3
"""Most objects and ridges of a scene."""


class Regions(NamedTuple):
    """A picture cut into M pieces of even colour; some may be empty."""

    label: Tensor
    """piece of each pixel, N×H×W"""
    place: Tensor
    """mean place (v, u) of each piece, N×M×2"""
    colour: Tensor
    """mean colour, N×M×C"""


class Layers(NamedTuple):
    """K things before the surfaces of a scene."""

    planes: Tensor
    """inverse depth of each as (along v, along u, at the middle), N×K×3"""
    shown: Tensor
    """which regions show it, unless another is before it, N×K×M"""


def scene_depth(x: Tensor, *, generator: Generator) -> Tensor:
    """Depth of a drawn scene for each image of `x`, N×C×H×W in [0, 1].

    Returns:
        N×1×H×W, float32, above 0 and at most 1; 1 is reached in every image. The nearest point lies
        at a drawn share of up to 0.7 of that.
    """
    x = x.detach().float()
    n, _, h, w = x.shape
    regions = picture_regions(x, generator=generator)
    sky = sky_regions(x, regions, generator=generator)
    outdoors = uniform(n, (0, 1), generator=generator) < torch.where(sky.any(dim=1), 0.9, 0.5)
    sky = sky & outdoors[:, None]
    horizon = uniform(n, (-1.3, 0.5), generator=generator)
    # Below whatever sky there is.
    horizon = torch.maximum(horizon, regions.place[..., 0].masked_fill(~sky, -2).amax(dim=1))
    surfaces = draw_surfaces(horizon, outdoors, generator=generator)
    things = draw_objects(regions, surfaces, generator=generator)
    ridges = draw_ridges(regions, surfaces, horizon, outdoors, generator=generator)

    at = places(x).flatten(1).mT[None]
    label = regions.label.flatten(1)
    front = _rows(foremost(regions, things, ridges), label)
    q = inverse_depth(surfaces, at)
    q = torch.maximum(q, (front[..., :2] * at).sum(dim=-1) + front[..., 2])
    z = 1 / q.reshape(n, 1, h, w)
    # Ground is not even, and things are not flat.
    waves = 2 * smooth_field(n, (h, w), 5, generator=generator) - 1
    z = z * (_each(n, (0.0, 0.3), generator) * waves).exp()
    beyond = _each(n, (0.0, 0.7), generator).exp() * z.amax(dim=(-2, -1), keepdim=True)
    z = torch.where(sky.gather(1, label).reshape(n, 1, h, w), beyond, z)
    z = guided(x.mean(dim=1, keepdim=True), z / z.amax(dim=(-2, -1), keepdim=True))
    # A pixel on an outline sees both sides of it.
    z = _box(z, 1)

    near = _each(n, (0.001, 0.7), generator)
    high, low = z.amax(dim=(-2, -1), keepdim=True), z.amin(dim=(-2, -1), keepdim=True)
    return 1 - (1 - near) * (high - z) / (high - low).clamp(min=1e-6)


def places(x: Tensor) -> Tensor:
    """Places (v, u) of the pixels of `x`, 2×H×W; the longer side spans [-1, 1]."""
    h, w = x.shape[-2:]
    v, u = ((2 * torch.arange(side, device=x.device) + 1 - side) / max(h, w) for side in (h, w))
    return torch.stack(torch.meshgrid(v, u, indexing="ij"))


def picture_regions(x: Tensor, *, generator: Generator) -> Regions:
    """Cuts pictures N×C×H×W into GRID² regions of even colour that keep together.

    k-means over place and colour in windows of a jittered grid, as SLIC (Achanta et al. 2012); how
    much colour weighs against place is drawn per image.
    """
    n, c = x.shape[:2]
    small = _shrunk(x)
    h, w = small.shape[-2:]
    # Distances are compared in units of the grid's spacing and of a clear difference in colour.
    unlike = _log_uniform((n, 1), (0.07, 0.25), generator)
    scale = torch.full((n, 2 + c), GRID / 2, device=x.device)
    scale[:, 2:] = 1 / unlike / c**0.5
    scale = scale[:, :, None, None]

    points = _features(small) * scale
    # A pixel anywhere in each cell.
    jitter = uniform((n, GRID, GRID, 2), (0.0, 1.0), generator=generator)
    cells = torch.arange(GRID, device=x.device)
    rows = ((cells[:, None] + jitter[..., 0]) / GRID * h).long().clamp(max=h - 1)
    columns = ((cells + jitter[..., 1]) / GRID * w).long().clamp(max=w - 1)
    centre = _rows(points.flatten(2).mT, (rows * w + columns).flatten(1))
    for _ in range(2):
        belongs = _belongs(_nearest(points, centre), GRID**2)
        count = belongs.sum(dim=1)[..., None]
        mean = (points.flatten(2) @ belongs).mT / count.clamp(min=1)
        centre = torch.where(count > 0, mean, centre)

    # Speckle would fray the outlines.
    radius = max(1, round(max(x.shape[-2:]) / 128))
    label = _nearest(_features(_box(x, radius)) * scale, centre)
    centre = centre / scale[:, None, :, 0, 0]
    return Regions(label, centre[..., :2], centre[..., 2:])


def sky_regions(x: Tensor, regions: Regions, *, generator: Generator) -> Tensor:
    """Which regions may be sky, N×M: bright, smooth, not reddish, open to the picture's upper edge.

    How bright, and how far down the picture sky may reach, is drawn per image.
    """
    least = _each(len(x), (0.5, 0.75), generator)
    lowest = uniform((len(x), 1), (-0.2, 0.5), generator=generator)
    step = math.ceil(max(x.shape[-2:]) / LOOK)
    small = F.avg_pool2d(x, step, ceil_mode=True)
    # The last channel of RGB is blue; grey is its own.
    blue = small[:, -1:] - small.mean(dim=1, keepdim=True) > -0.06
    grain = F.avg_pool2d((x - _box(x, 1)).abs(), step, ceil_mode=True)
    shape = (small - _box(small, 1)).abs()
    smooth = torch.maximum(2 * grain, shape).amax(dim=1, keepdim=True) < 0.08
    fair = (blue & smooth & (small.amax(dim=1, keepdim=True) > least)).float()
    # A wire across the sky is not its end.
    above = torch.arange(1, fair.shape[-2] + 1, device=x.device)[:, None]
    reached = fair * (fair.cumsum(dim=-2) / above > 0.85)
    belongs = _belongs(regions.label[:, ::step, ::step], regions.place.shape[1])
    share = (reached.flatten(2) @ belongs)[:, 0] / belongs.sum(dim=1).clamp(min=1)
    return (share > 0.6) & (regions.place[..., 0] < lowest)


def draw_surfaces(horizon: Tensor, outdoors: Tensor, *, generator: Generator) -> Tensor:
    """Ground, far end, side walls and ceiling as a camera that is slightly rolled sees them.

    Args:
        horizon: its row v at the middle, N.
        outdoors: far end far away, few walls, no ceiling; or a room; N.
        generator: the caller's.

    Returns:
        Inverse depth of each surface as (along v, along u, at the middle), N×5×3, in units of the
        ground's slope. A surface that a scene lacks is 0 everywhere, behind all others.
    """
    n = len(horizon)
    roll = 0.05 * _normal((n,), generator)
    down, across = roll.cos(), roll.sin()
    vanishing = uniform(n, (-1.0, 1.0), generator=generator)
    far = torch.where(
        outdoors,
        _log_uniform(n, (0.03, 0.3), generator),
        _log_uniform(n, (0.2, 1.5), generator),
    )
    tilt = 0.3 * far * _normal((2, n), generator)
    walls = _coin((2, n), torch.where(outdoors, 0.25, 0.7), generator)
    left, right = walls * _log_uniform((2, n), (0.3, 2.0), generator)
    above = _coin(n, torch.where(outdoors, 0.0, 0.5), generator)
    above = above * _log_uniform(n, (0.5, 1.5), generator)
    surfaces = (
        (down, -across, -horizon),
        (tilt[0], tilt[1], far),
        (-across * left, -down * left, vanishing * left),
        (across * right, down * right, -vanishing * right),
        (-down * above, across * above, horizon * above),
    )
    return torch.stack([torch.stack(surface, dim=-1) for surface in surfaces], dim=1)


def draw_objects(regions: Regions, surfaces: Tensor, *, generator: Generator) -> Layers:
    """Objects that stand where the surface at their foot is, or before it.

    Each grows from a region, through those that lie near by in a shape between ellipse and box and
    are of its colour.
    """
    n, m = regions.place.shape[:2]
    each = (n, OBJECTS)
    seed = torch.randint(m, each, generator=generator, device=generator.device)
    centre = _rows(regions.place, seed)
    height = _log_uniform(each, (0.2, 1.0), generator)
    width = _log_uniform(each, (0.12, 0.7), generator)
    half = torch.stack([height, width], dim=-1)
    there = _coin(each, uniform((n, 1), (0.2, 1.0), generator=generator), generator)
    corner = 2 + 4 * _coin((*each, 1, 1), 0.5, generator)
    apart = (regions.place[:, None] - centre[:, :, None]).abs() / half[:, :, None]
    unlike = (regions.colour[:, None] - _rows(regions.colour, seed)[:, :, None]).square()
    choosy = _log_uniform((*each, 1), (0.5, 15.0), generator)
    inside = (apart**corner).sum(dim=-1) + choosy * unlike.mean(dim=-1) < 1

    foot = torch.stack([centre[..., 0] + height, centre[..., 1]], dim=-1)
    before = uniform(each, (0.0, 0.4), generator=generator).exp()
    q = before * inverse_depth(surfaces, foot)
    slant = 0.15 * q[..., None] * _normal((*each, 2), generator)
    middle = q - (slant * centre).sum(dim=-1)
    planes = torch.cat([slant, middle[..., None]], dim=-1)
    return Layers(planes, inside & there[..., None])


def draw_ridges(
    regions: Regions,
    surfaces: Tensor,
    horizon: Tensor,
    outdoors: Tensor,
    *,
    generator: Generator,
) -> Layers:
    """Ridges, hedges and rows of houses: all that lies below a jagged line, in half of the fields.

    The higher the line, the farther it is; all are nearer than the far end.
    """
    n = len(horizon)
    each = (n, RIDGES)
    high = uniform(each, (-0.7, 0.2), generator=generator).sort(dim=1).values
    closer = uniform(each, (0.1, 1.0), generator=generator).cumsum(dim=1).exp()
    waves = torch.arange(1, 5, device=generator.device)
    phase = uniform((*each, 1, 4), (0.0, 2 * math.pi), generator=generator)
    size = _log_uniform((*each, 1), (0.03, 0.4), generator)
    v, u = regions.place[:, None].unbind(dim=-1)
    jag = torch.sin(math.pi * u[..., None] * waves + phase) / waves
    line = (horizon[:, None] + high)[..., None] + size * jag.sum(dim=-1)
    there = _coin(n, torch.where(outdoors, 0.5, 0.0), generator)
    planes = F.pad((surfaces[:, 1, 2:] * closer)[..., None], (2, 0))
    return Layers(planes, (v > line) & there[:, None, None])


def foremost(regions: Regions, *layers: Layers) -> Tensor:
    """The plane that each region shows, N×M×3 as in `Layers`; zeros where it shows none."""
    planes = torch.cat([layer.planes for layer in layers], dim=1)
    shown = torch.cat([layer.shown for layer in layers], dim=1)
    q = planes[..., :2] @ regions.place.mT + planes[..., 2:]
    q, which = (q * shown).max(dim=1)
    return _rows(planes, which) * (q > 0)[..., None]


def inverse_depth(surfaces: Tensor, place: Tensor) -> Tensor:
    """Inverse depth of the foremost of N×P×3 surfaces at places N×K×2, or 1×K×2 for all: N×K.

    Nothing lies farther than three times the far end, the second surface, at the middle.
    """
    q = (surfaces[..., :2] @ place.mT + surfaces[..., 2:]).amax(dim=1)
    return torch.maximum(q, surfaces[:, 1, 2:] / 3)


def guided(guide: Tensor, values: Tensor, *, radius: int = 2, edge: float = 0.07) -> Tensor:
    """Values smoothed except where the guide has edges (guided filter, He et al. 2013).

    The local linear fits of values by guide are made at a longest side of LOOK and applied at full
    size, its fast variant (He and Sun 2015).

    Args:
        guide: N×1×H×W in [0, 1].
        values: N×1×H×W.
        radius: of the windows, in pixels of the small size.
        edge: differences in the guide that are much smaller are none.

    Returns:
        N×1×H×W within the range of each image's values.
    """
    small = _shrunk(torch.cat([guide, values], dim=1))
    mean = _box(small, radius)
    # Variance of the guide and its covariance with the values.
    spread = _box(small[:, :1] * small, radius) - mean[:, :1] * mean
    slope = spread[:, 1:] / (spread[:, :1].clamp(min=0) + edge**2)
    fit = _box(torch.cat([slope, mean[:, 1:] - slope * mean[:, :1]], dim=1), radius)
    fit = F.interpolate(fit, size=guide.shape[-2:], mode="bilinear")
    low, high = values.amin(dim=(-2, -1), keepdim=True), values.amax(dim=(-2, -1), keepdim=True)
    return (fit[:, :1] * guide + fit[:, 1:]).clamp(low, high)


def _shrunk(x: Tensor) -> Tensor:
    """Pictures with a longest side of LOOK, or as they are."""
    share = min(1.0, LOOK / max(x.shape[-2:]))
    size = [max(1, round(side * share)) for side in x.shape[-2:]]
    return F.interpolate(x, size=size, mode="bilinear", antialias=True)


def _features(x: Tensor) -> Tensor:
    """Place and colour of each pixel, N×(2 + C)×H×W."""
    return torch.cat([places(x).expand(len(x), -1, -1, -1), x], dim=1)


def _nearest(points: Tensor, centre: Tensor) -> Tensor:
    """Which of N×GRID²×F centres is nearest to each of N×F×H×W points, N×H×W.

    Sought among the centres of the point's cell of the grid and of the eight around it.
    """
    n, f, h, w = points.shape
    number = torch.arange(GRID**2, device=points.device).expand(n, 1, -1)
    grid = torch.cat([centre.mT, number], dim=1).reshape(n, f + 1, GRID, GRID)
    grid = F.pad(grid, (1, 1, 1, 1), mode="replicate")
    best = torch.full_like(points[:, 0], math.inf)
    label = torch.zeros_like(best)
    for down in range(3):
        for across in range(3):
            cells = grid[:, :, down : down + GRID, across : across + GRID]
            there = F.interpolate(cells, size=(h, w), mode="nearest")
            distance = (points - there[:, :f]).square_().sum(dim=1)
            label = torch.where(distance < best, there[:, f], label)
            best = torch.minimum(best, distance)
    return label.long()


def _box(x: Tensor, radius: int) -> Tensor:
    """Means over squares, the edges repeated."""
    return square_means(F.pad(x, (radius,) * 4, mode="replicate"), 2 * radius + 1)


def _belongs(label: Tensor, m: int) -> Tensor:
    """1 where a pixel has a label and 0 elsewhere, N×HW×M: sums by it come in one order."""
    label = label.flatten(1)[..., None]
    return torch.zeros(*label.shape[:2], m, device=label.device).scatter_(2, label, 1.0)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Rows of N×M×F by an index N×K: N×K×F."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def _each(n: int, bounds: tuple[float, float], generator: Generator) -> Tensor:
    """A number for each image, N×1×1×1."""
    return uniform((n, 1, 1, 1), bounds, generator=generator)


def _log_uniform(
    shape: int | tuple[int, ...], bounds: tuple[float, float], generator: Generator
) -> Tensor:
    """Numbers between two bounds, as likely to lie between 1 and 2 as between 2 and 4."""
    return uniform(shape, (math.log(bounds[0]), math.log(bounds[1])), generator=generator).exp()


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Normal numbers, none beyond ±2.5."""
    return torch.randn(shape, generator=generator, device=generator.device).clamp(-2.5, 2.5)


def _coin(
    shape: int | tuple[int, ...], probability: float | Tensor, generator: Generator
) -> Tensor:
    """True with a probability."""
    return uniform(shape, (0.0, 1.0), generator=generator) < probability
