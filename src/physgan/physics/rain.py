"""Rain: light that falling drops add along their way, and a sampler of streaks.

Conventions, pinned by tests:

* `y = x + streaks`; streaks are grey and never negative. Nothing is clipped, the sensor does that.
* a streak is a straight band of light around its centre; lengths and widths are in pixels.
* angles are in degrees from the vertical, positive where the upper end leans to the right, as `/`.
* coverage is the share of pixels that streaks lighten by more than 1/255, one level of 8 bits.

The veil of distant drops in heavy rain is a light haze after the rain in a chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError
from physgan.physics.checks import check_images, check_range, check_values, parameter
from physgan.physics.draw import uniform
from physgan.types import Part, Theta

VISIBLE = 1 / 255
"""What a pixel must gain to count as covered: one level of 8 bits."""

# Streaks add up as whole numbers of this unit, whose sum does not depend on the order: the same
# seed gives the same rain on every run, also where many threads add at once.
_UNIT = 2.0**-20

# Rows of streaks that are drawn at a time: bounds the memory of large pictures, and keeps what is
# computed within the caches of a processor.
_ROWS_AT_A_TIME = 1 << 15


# Streaks of one distance differ in length by this factor at most from their mean, and in brightness
# by a lognormal factor of mean 1 whose logarithm has this deviation: drops differ in size, and in
# what they mirror.
_LONGEST = 1.3
_GLITTER = 0.7

# Normal draws go so many deviations far; no streak leans more than so many degrees.
_TAILS = 3.0
_STEEPEST = 80.0


def rain(x: Tensor, streaks: Tensor) -> Tensor:
    """Adds streaks of rain: `x + streaks` (additive rain, as the paper takes it).

    Args:
        x: images, N×C×H×W.
        streaks: what the drops add to every channel, N×1×H×W, not negative, in units of the full
            range; taken in the type of `x`.

    Returns:
        Rainy images of the shape and type of `x`, above 1 where a streak meets a bright place.

    Raises:
        ShapeError: the shapes do not belong together.
    """
    check_images("images of rain", x)
    n, _, h, w = x.shape
    if streaks.shape != (n, 1, h, w):
        raise ShapeError(
            "streaks of rain",
            expected=f"N×1×H×W of the image's size, {(n, 1, h, w)}",
            got=f"{tuple(streaks.shape)}",
            remedy="Cut the streaks together with the image.",
        )
    return x + streaks.to(x.dtype)


class Rain:
    """The operator `rain`; theta: `streaks` N×1×H×W."""

    scale = 1
    parts: Mapping[str, Part] = MappingProxyType({"streaks": "map"})

    def __call__(self, x: Tensor, theta: Theta) -> Tensor:
        return rain(x, parameter(theta, "streaks", of="rain"))

    def margin(self, theta: Theta) -> int:
        """0: every pixel for itself."""
        return 0

    def check(self, theta: Theta) -> None:
        """Raises ThetaError unless all streaks are finite and none is negative."""
        check_values(
            "streaks of rain",
            parameter(theta, "streaks", of="rain"),
            remedy="Rain adds light; take away the clear picture, not the rainy one.",
        )


class Streaks(NamedTuple):
    """Streaks of rain, M of them: a tensor of M values for each of their properties.

    Along its length a streak brightens, stays, and fades; across, it is a band with soft edges.
    `blur` is the side of the box that it is averaged over, at least the pixel, 1: a thin streak is
    fainter than its brightness, by `width / blur`.
    """

    image: Tensor
    """which image of the batch, int64"""
    row: Tensor
    """row of the centre"""
    column: Tensor
    """column of the centre"""
    angle: Tensor
    """degrees from the vertical, positive as `/`, less than 90 to either side"""
    length: Tensor
    """from end to end"""
    width: Tensor
    """of the band before it is blurred"""
    blur: Tensor
    """side of the box of pixel and defocus, at least 1"""
    rise: Tensor
    """share of the length, from the upper end, on which it brightens"""
    fall: Tensor
    """share of the length, to the lower end, on which it fades; `rise + fall <= 1`"""
    brightness: Tensor
    """of the middle, were it wide enough to fill a pixel"""


def draw_streaks(streaks: Streaks, n: int, size: tuple[int, int]) -> Tensor:
    """The light of streaks on pictures, N×1×H×W float32, never negative.

    A streak of length L and width w, blurred by b, adds

        brightness · min((L' + 2u) / 2r, (L' - 2u) / 2f) · ((w + b) / 2 - |v|) / b

    at a pixel u down along the streak from its centre and v across, with L' = L + b, r and f its
    rise and fall in pixels, each of them b longer than its share of L; the first factor is held
    between 0 and 1, the second between 0 and `min(1, w / b)`. The second is exactly the band
    averaged over a box of side b: seen along a row of pixels, its light is `brightness · w`.

    Args:
        streaks: in any order, on any image of the batch, also outside the pictures.
        n: images of the batch.
        size: height and width.
    """
    h, w = size
    s = _seen(streaks, size)
    device = s.row.device
    canvas = torch.zeros(n * h * (w + 2), dtype=torch.int32, device=device)
    # The widest last: rows that are drawn together need about as many columns.
    s = _take(s, _across(s).argsort())
    top, count = _rows(s, h)
    owner = torch.repeat_interleave(torch.arange(len(count), device=device), count)
    first = (count.cumsum(0) - count)[owner]
    row = top[owner] + torch.arange(len(owner), device=device) - first
    bands = _bands(s, h * (w + 2))
    parts = zip(owner.split(_ROWS_AT_A_TIME), row.split(_ROWS_AT_A_TIME), strict=True)
    for which, rows in parts:
        if len(which):
            _draw_rows(
                canvas, _Bands(*(values.index_select(0, which) for values in bands)), rows, w
            )
    return canvas.reshape(n, 1, h, w + 2)[..., 1:-1].to(torch.float32) * _UNIT


class DrawnRain:
    """Rain of a drawn strength: streaks near and far, of one direction with some spread.

    Drops fill the space before the camera, so their number grows with the square of the distance,
    while their streaks get shorter and thinner: few are long, wide and bright, many short and
    faint. The camera looks into the distance, near drops are out of focus. Every image draws its
    own rain from the ranges.

    Args:
        coverage: least and greatest share of pixels that streaks lighten by more than 1/255; that
            many are covered in the mean over draws, drawn uniformly per image.
        length: of the nearest streaks, in pixels from end to end. Of this and all that follow the
            least and the greatest, drawn uniformly per image.
        width: of the nearest streaks, in pixels.
        brightness: of a streak that is in focus and wider than a pixel, in units of the full range.
        angle: mean direction, in degrees from the vertical, positive where the upper end leans to
            the right; at most 60 to either side.
        spread: standard deviation of the angles within an image, in degrees.
        depth: how many times farther than the nearest the farthest streaks are; at 1 all are alike.
        defocus: pixels over which a near streak is blurred, where the farthest are infinitely far.

    Raises:
        ThetaError: a range is not one, or its values are impossible.
    """

    def __init__(
        self,
        coverage: tuple[float, float] = (0.02, 0.97),
        length: tuple[float, float] = (20.0, 140.0),
        width: tuple[float, float] = (1.2, 3.5),
        brightness: tuple[float, float] = (0.04, 0.35),
        angle: tuple[float, float] = (-35.0, 35.0),
        spread: tuple[float, float] = (0.0, 2.5),
        depth: tuple[float, float] = (1.0, 3.0),
        defocus: tuple[float, float] = (0.0, 2.0),
    ) -> None:
        check_range("coverage of rain", coverage, greatest=0.99)
        check_range("length of streaks", length, least=1.0)
        check_range("width of streaks", width, least=0.5)
        check_range("brightness of streaks", brightness, least=2 * VISIBLE)
        check_range("angle of rain", angle, least=-60.0, greatest=60.0)
        steepest = max(map(abs, angle))
        check_range(
            f"spread of the angles of rain around {steepest:g} degrees",
            spread,
            greatest=(_STEEPEST - steepest) / _TAILS,
        )
        check_range("depth of rain", depth, least=1.0, greatest=10.0)
        check_range("defocus of streaks", defocus)
        self.coverage, self.length, self.width, self.brightness = (
            coverage,
            length,
            width,
            brightness,
        )
        self.angle, self.spread, self.depth, self.defocus = angle, spread, depth, defocus

    def sample(self, x: Tensor, *, generator: Generator) -> dict[str, Tensor]:
        """`streaks`, N×1×H×W, for the images of `x`."""
        n, _, h, w = x.shape
        return {"streaks": draw_streaks(self.streaks(n, (h, w), generator=generator), n, (h, w))}

    def streaks(self, n: int, size: tuple[int, int], *, generator: Generator) -> Streaks:
        """The single streaks of n pictures, also those that only their surroundings see."""

        def per_image(bounds: tuple[float, float]) -> Tensor:
            return uniform(n, bounds, generator=generator)

        coverage, length, width = map(per_image, (self.coverage, self.length, self.width))
        brightness, angle, spread = map(per_image, (self.brightness, self.angle, self.spread))
        depth, defocus = map(per_image, (self.depth, self.defocus))
        taper = per_image((0.0, 1.0))

        # Centres are drawn as far outside as the longest streak reaches.
        steepest = torch.deg2rad(angle.abs() + _TAILS * spread)
        reach = (_LONGEST * length + defocus + 1) / 2
        beside = width + defocus + 1
        height = size[0] + 2 * (reach + beside)
        breadth = size[1] + 2 * (reach * torch.sin(steepest) + beside)

        # Streaks that are strewn at random leave exp(-their area / that of the field) uncovered.
        quantiles = (torch.arange(32, device=generator.device) + 0.5) / 32
        distance = _distances(quantiles, depth[:, None])
        # The same quantiles in another order, since brightness does not depend on distance.
        glitter = _glitter(torch.special.ndtri(quantiles.reshape(4, 8).mT.flatten()))
        area = _area(
            length[:, None] / distance,
            width[:, None] / distance,
            _blur(defocus[:, None], distance, depth[:, None]),
            taper[:, None],
            brightness[:, None] * glitter,
        ).mean(dim=1)
        wanted = -torch.log1p(-coverage) * height * breadth
        count = torch.poisson(wanted / area, generator=generator).long()

        # How many there are is what the sizes of all that follows depend on: here, and in drawing,
        # the device is waited for.
        image = torch.repeat_interleave(torch.arange(n, device=count.device), count)
        m = len(image)

        def each(bounds: tuple[float, float]) -> Tensor:
            return uniform(m, bounds, generator=generator)

        distance = _distances(each((0.0, 1.0)), depth[image])
        normal = torch.randn(2, m, generator=generator, device=generator.device).clamp(
            -_TAILS, _TAILS
        )
        tapers = taper[image]
        rise = each((0.0, 1.0)) * tapers
        return Streaks(
            image=image,
            row=each((-0.5, 0.5)) * height[image] + (size[0] - 1) / 2,
            column=each((-0.5, 0.5)) * breadth[image] + (size[1] - 1) / 2,
            angle=angle[image] + spread[image] * normal[0],
            length=length[image] / distance * each((2 - _LONGEST, _LONGEST)),
            width=width[image] / distance,
            blur=_blur(defocus[image], distance, depth[image]),
            rise=rise,
            fall=tapers - rise,
            brightness=brightness[image] * _glitter(normal[1]),
        )


def _distances(share: Tensor, depth: Tensor) -> Tensor:
    """Distances, the nearest being 1, of which a share lies nearer, in a space that drops fill."""
    return (1 + share * (depth**3 - 1)) ** (1 / 3)


def _glitter(normal: Tensor) -> Tensor:
    """Factors of brightness, of mean 1, for normal draws."""
    return torch.exp(_GLITTER * normal - _GLITTER**2 / 2)


def _blur(defocus: Tensor, distance: Tensor, depth: Tensor) -> Tensor:
    """Side of the box of pixel and defocus; a thin lens that is focused on the farthest drops."""
    return 1 + defocus * (1 / distance - 1 / depth)


def _area(length: Tensor, width: Tensor, blur: Tensor, taper: Tensor, brightness: Tensor) -> Tensor:
    """Pixels that one streak lightens visibly, `taper` being the sum of its rise and fall.

    On the middle, where the streak has its full brightness, it is visible on a width of
    `w + b - 2 b threshold`, at a share p of the brightness on `w + b - 2 b threshold / p`; along
    rise and fall, p goes from 0 to 1 evenly.
    """
    threshold = VISIBLE / brightness
    # Half at most, so that streaks too faint to be seen are not drawn without end.
    least = (threshold / (width / blur).clamp(max=1)).clamp(1e-6, 0.5)
    threshold = least * (width / blur).clamp(max=1)
    ends = taper * length + 2 * blur
    middle = (length + blur - ends).clamp(min=0)
    ends = length + blur - middle
    sides = (width + blur) * (1 - least) + 2 * blur * threshold * torch.log(least)
    return middle * (width + blur - 2 * blur * threshold) + ends * sides


def _seen(streaks: Streaks, size: tuple[int, int]) -> Streaks:
    """The streaks that reach into the picture."""
    vertical, horizontal = _reach(streaks)
    row, column = streaks.row, streaks.column
    inside = (row + vertical >= 0) & (row - vertical <= size[0] - 1)
    inside &= (column + horizontal >= 0) & (column - horizontal <= size[1] - 1)
    return _take(streaks, inside.nonzero()[:, 0])


def _take(streaks: Streaks, index: Tensor) -> Streaks:
    return Streaks(*(values.index_select(0, index) for values in streaks))


def _reach(s: Streaks) -> tuple[Tensor, Tensor]:
    """How far streaks reach from their centres, along columns and along rows."""
    angle = torch.deg2rad(s.angle)
    cos, sin = torch.cos(angle), torch.sin(angle).abs()
    along, across = (s.length + s.blur) / 2, (s.width + s.blur) / 2
    return along * cos + across * sin, along * sin + across * cos


def _across(s: Streaks) -> Tensor:
    """Half of what a row of pixels sees of a streak."""
    return (s.width + s.blur) / 2 / torch.cos(torch.deg2rad(s.angle))


def _rows(s: Streaks, h: int) -> tuple[Tensor, Tensor]:
    """The first row of every streak within the picture, and how many there are."""
    vertical, _ = _reach(s)
    top = torch.ceil(s.row - vertical).clamp(min=0)
    bottom = torch.floor(s.row + vertical).clamp(max=h - 1)
    return top.long(), (bottom - top + 1).clamp(min=0).long()


class _Bands(NamedTuple):
    """What drawing a streak takes, M values each: computed once, taken for each of its rows."""

    origin: Tensor
    """where its image begins on the canvas, int64"""
    row: Tensor
    column: Tensor
    cos: Tensor
    sin: Tensor
    across: Tensor
    """half of what a row of pixels sees"""
    start: Tensor
    """the upper ramp along the streak is `start + risen u`, the lower one `end - fallen u`"""
    risen: Tensor
    end: Tensor
    fallen: Tensor
    side: Tensor
    """the ramps across are `side - slope |v|`, up to `top`"""
    slope: Tensor
    top: Tensor
    brightness: Tensor


def _bands(s: Streaks, canvas: int) -> _Bands:
    angle = torch.deg2rad(s.angle)
    reach = (s.length + s.blur) / 2
    risen, fallen = (1 / (s.blur + share * s.length) for share in (s.rise, s.fall))
    return _Bands(
        origin=s.image * canvas,
        row=s.row,
        column=s.column,
        cos=torch.cos(angle),
        sin=torch.sin(angle),
        across=_across(s),
        start=reach * risen,
        risen=risen,
        end=reach * fallen,
        fallen=fallen,
        side=(s.width + s.blur) / (2 * s.blur),
        slope=1 / s.blur,
        top=torch.minimum(s.width / s.blur, torch.ones_like(s.width)),
        brightness=s.brightness,
    )


def _draw_rows(canvas: Tensor, b: _Bands, row: Tensor, w: int) -> None:
    """Adds one row of each streak to a canvas of pictures w wide, a pixel more on either side."""
    down = row - b.row
    left = torch.ceil(b.column - down * b.sin / b.cos - b.across)
    # Columns first: the long dimension is the inner one.
    columns = torch.arange(int(2 * b.across.max()) + 1, device=row.device)[:, None]
    aside = left - b.column + columns
    along = down * b.cos - aside * b.sin
    across = (down * b.sin + aside * b.cos).abs_()
    ramps = torch.minimum(b.start + b.risen * along, b.end - b.fallen * along).clamp_(0, 1)
    edges = torch.minimum((b.side - b.slope * across).clamp_(min=0), b.top)
    light = ramps.mul_(edges).mul_(b.brightness / _UNIT).round_().to(torch.int32)
    # What lies outside falls on the pixels beside the picture.
    place = (left.long() + columns).clamp_(-1, w).add_(b.origin + row * (w + 2) + 1)
    canvas.index_add_(0, place.flatten(), light.flatten())
