import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from physgan.data.synthesis import synthesise
from physgan.errors import ShapeError, ThetaError
from physgan.physics import rain as module
from physgan.physics.compose import Degradation, Stage
from physgan.physics.haze import DepthHaze, HazyScenes, transmission_of
from physgan.physics.rain import (
    VISIBLE,
    DrawnRain,
    Rain,
    Streaks,
    draw_streaks,
    rain,
)
from physgan.physics.sensor import Clip, Round, SensorChain


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def one(**properties: float) -> Streaks:
    """One streak: upright, sharp, of even light in the middle of 101×101 pixels, unless told."""
    plain = {
        "image": 0,
        "row": 50.0,
        "column": 50.0,
        "angle": 0.0,
        "length": 40.0,
        "width": 3.0,
        "blur": 1.0,
        "rise": 0.0,
        "fall": 0.0,
        "brightness": 0.5,
    }
    assert properties.keys() <= plain.keys()
    return Streaks(*(torch.tensor([value]) for value in (plain | properties).values()))


def picture(streaks: Streaks) -> Tensor:
    return draw_streaks(streaks, 1, (101, 101))[0, 0].double()


def coverage(streaks: Tensor) -> Tensor:
    return (streaks > VISIBLE).float().mean(dim=(1, 2, 3))


def moments(light: Tensor) -> tuple[float, float, float]:
    """Angle of the long axis in degrees from the vertical, positive as /, and both deviations."""
    rows, columns = torch.meshgrid(*map(torch.arange, light.shape), indexing="ij")
    up, right = -rows.double(), columns.double()
    weight = light / light.sum()
    up, right = up - (up * weight).sum(), right - (right * weight).sum()
    uu, rr, ur = ((a * b * weight).sum() for a, b in ((up, up), (right, right), (up, right)))
    angle = 0.5 * math.atan2(2 * ur, uu - rr)
    mean, difference = (uu + rr) / 2, math.hypot((uu - rr) / 2, ur)
    return math.degrees(angle), math.sqrt(mean + difference), math.sqrt(mean - difference)


def orientation(light: Tensor) -> float:
    """Angle of many streaks, in degrees from the vertical, positive as /, from their spectrum.

    The power of upright streaks lies along the horizontal frequencies, within a disc so that no
    direction has more of them.
    """
    h, w = light.shape
    window = torch.hann_window(h)[:, None] * torch.hann_window(w)
    power = torch.fft.fft2((light - light.mean()) * window).abs() ** 2
    fy, fx = torch.fft.fftfreq(h)[:, None], torch.fft.fftfreq(w)
    power = power * ((fx**2 + fy**2) < 0.25**2)
    twice = torch.atan2((2 * fx * fy * power).sum(), ((fx**2 - fy**2) * power).sum())
    return math.degrees(0.5 * float(twice))


# ---------------------------------------------------------------- the operator


def test_adds_the_same_light_to_all_channels_and_does_not_clip() -> None:
    x = torch.rand(2, 3, 4, 5, generator=generator(), dtype=torch.float64)
    streaks = torch.rand(2, 1, 4, 5, generator=generator(1), dtype=torch.float64)
    wanted = x.numpy() + streaks.numpy()
    np.testing.assert_array_equal(rain(x, streaks).numpy(), wanted)
    np.testing.assert_array_equal(Rain()(x, {"streaks": streaks}).numpy(), wanted)
    assert wanted.max() > 1


@pytest.mark.parametrize(
    ("x", "streaks", "parts"),
    [
        ((3, 4, 5), (1, 4, 5), ["images of rain", "N×C×H×W", "(3, 4, 5)"]),
        ((2, 3, 4, 5), (2, 3, 4, 5), ["streaks of rain", "(2, 1, 4, 5)", "(2, 3, 4, 5)"]),
        ((2, 3, 4, 5), (1, 1, 4, 5), ["streaks of rain", "(1, 1, 4, 5)"]),
        ((2, 3, 4, 5), (2, 1, 5, 4), ["streaks of rain", "together with the image"]),
    ],
)
def test_shapes_refused(x: tuple[int, ...], streaks: tuple[int, ...], parts: list[str]) -> None:
    with pytest.raises(ShapeError) as raised:
        rain(torch.zeros(x), torch.zeros(streaks))
    for part in parts:
        assert part in str(raised.value)


def test_missing_streaks() -> None:
    with pytest.raises(ThetaError, match=r"theta of a rain.*'streaks'.*Did you mean 'streak'"):
        Rain()(torch.ones(1, 3, 2, 2), {"streak": torch.ones(1, 1, 2, 2)})


@pytest.mark.parametrize("value", [-0.01, math.nan, math.inf])
def test_impossible_rain(value: float) -> None:
    theta = {"streaks": torch.zeros(2, 1, 3, 3)}
    Rain().check(theta)
    theta["streaks"][1, 0, 2, 2] = value
    with pytest.raises(ThetaError, match="streaks of rain: expected finite values of at least 0"):
        Rain().check(theta)


# ---------------------------------------------------------------- drawing


def written_out(streaks: Streaks, n: int, size: tuple[int, int]) -> np.ndarray:
    """The formula of `draw_streaks`, pixel by pixel."""
    light = np.zeros((n, 1, *size))
    for values in zip(*(property.tolist() for property in streaks), strict=True):
        image, row, column, angle, length, width, blur, rise, fall, brightness = values
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        for r, c in itertools.product(range(size[0]), range(size[1])):
            # A positive angle leans to the right at the top: down along it goes to the left.
            u = (r - row) * cos - (c - column) * sin
            v = (r - row) * sin + (c - column) * cos
            half = (length + blur) / 2
            along = min((half + u) / (blur + rise * length), (half - u) / (blur + fall * length))
            across = ((width + blur) / 2 - abs(v)) / blur
            light[image, 0, r, c] += (
                brightness * min(max(along, 0.0), 1.0) * min(max(across, 0.0), 1.0, width / blur)
            )
    return light


@settings(deadline=None)
@given(h=st.integers(1, 24), w=st.integers(1, 24), m=st.integers(0, 12), seed=st.integers(0, 999))
def test_is_the_formula(h: int, w: int, m: int, seed: int) -> None:
    own = generator(seed)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(m, generator=own)

    rise = draw(0, 1)
    streaks = Streaks(
        image=torch.randint(3, (m,), generator=own),
        row=draw(-10, h + 10),
        column=draw(-10, w + 10),
        angle=draw(-75, 75),
        length=draw(1, 30),
        width=draw(0.2, 5),
        blur=draw(1, 6),
        rise=rise,
        fall=draw(0, 1) * (1 - rise),
        brightness=draw(0.01, 1),
    )
    drawn = draw_streaks(streaks, 3, (h, w))
    assert drawn.shape == (3, 1, h, w)
    assert drawn.dtype == torch.float32
    np.testing.assert_allclose(drawn.numpy(), written_out(streaks, 3, (h, w)), rtol=0, atol=2e-5)


def test_rows_are_drawn_in_any_number_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    streaks = DrawnRain((0.5, 0.5)).streaks(2, (40, 50), generator=generator())
    whole = draw_streaks(streaks, 2, (40, 50))
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", 7)
    assert torch.equal(draw_streaks(streaks, 2, (40, 50)), whole)


def test_order_of_streaks_does_not_matter() -> None:
    streaks = DrawnRain((0.9, 0.9)).streaks(2, (40, 50), generator=generator())
    turned = Streaks(*(values.flip(0) for values in streaks))
    assert torch.equal(draw_streaks(turned, 2, (40, 50)), draw_streaks(streaks, 2, (40, 50)))


@pytest.mark.parametrize("angle", [-60.0, -20.0, 0.0, 7.0, 45.0])
def test_angle(angle: float) -> None:
    light = picture(one(angle=angle))
    measured, _, _ = moments(light)
    assert measured == pytest.approx(angle, abs=0.3)
    if angle > 0:  # as /: the upper end is on the right
        assert light[:45, 51:].sum() > 2 * light[:45, :50].sum()


@pytest.mark.parametrize("length", [12.0, 25.0, 60.0])
@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_length(length: float, angle: float) -> None:
    # An even line of length L has a deviation of L / sqrt(12), and the pixel adds its own.
    _, deviation, _ = moments(picture(one(length=length, angle=angle)))
    assert deviation * math.sqrt(12) == pytest.approx(math.hypot(length, 1), rel=0.02)


@pytest.mark.parametrize("width", [0.4, 1.0, 2.5, 6.0])
@pytest.mark.parametrize("blur", [1.0, 4.0])
def test_width_and_blur(width: float, blur: float) -> None:
    # A streak moved by sixteenths of a pixel shows the light between the pixels.
    columns = 50 + torch.arange(16) / 16
    rows = torch.stack([picture(one(width=width, blur=blur, column=float(c)))[50] for c in columns])
    across = torch.arange(101) - columns[:, None]
    total = rows.sum()
    variance = (rows * across**2).sum() / total
    # Box of the width, averaged over a box of the blur: variances add, and light is kept.
    assert math.sqrt(12 * variance) == pytest.approx(math.hypot(width, blur), rel=0.01)
    assert float(total / 16) == pytest.approx(0.5 * width, rel=0.01)
    assert float(rows.max()) == pytest.approx(0.5 * min(1.0, width / blur), rel=1e-3)


def test_rise_and_fall() -> None:
    light = picture(one(rise=0.75, fall=0.25))[:, 50]
    assert int(light.argmax()) == pytest.approx(50 + 10, abs=1)  # three quarters of 40 px down
    assert (light[31:60].diff() > 0).all()
    assert (light[61:70].diff() < 0).all()
    assert light[:29].sum() == light[72:].sum() == 0


def test_streaks_of_the_surroundings_reach_into_the_picture() -> None:
    # Without them, fewer streaks would cross the first rows than the middle.
    theta = DrawnRain((0.4, 0.4), length=(60, 60), depth=(1, 1)).sample(
        torch.rand(400, 1, 48, 48), generator=generator()
    )
    rows = theta["streaks"].mean(dim=(0, 1, 3))
    columns = theta["streaks"].mean(dim=(0, 1, 2))
    for profile in (rows, columns):
        ends = torch.cat([profile[:4], profile[-4:]]).mean()
        assert float(ends / profile[8:-8].mean()) == pytest.approx(1, abs=0.06)


# ---------------------------------------------------------------- the sampler


@pytest.mark.parametrize("wanted", [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97])
def test_coverage_is_what_was_asked_for(wanted: float) -> None:
    x = torch.rand(96, 1, 96, 96)
    streaks = DrawnRain((wanted, wanted)).sample(x, generator=generator())["streaks"]
    assert float(coverage(streaks).mean()) == pytest.approx(wanted, abs=0.025)


def test_coverage_is_drawn_per_image_from_drizzle_to_downpour() -> None:
    x = torch.rand(64, 3, 128, 128)
    covered = coverage(DrawnRain().sample(x, generator=generator())["streaks"])
    # As the two sets of the field: light rain from 0.16 to 0.5, heavy rain above 0.5.
    assert covered.min() < 0.1
    assert covered.max() > 0.9
    assert float(covered.mean()) == pytest.approx((0.02 + 0.97) / 2, abs=0.12)
    assert len(covered[(covered > 0.16) & (covered < 0.5)]) > 8


@pytest.mark.parametrize("angle", [-35.0, -10.0, 0.0, 20.0, 50.0])
def test_dominant_orientation(angle: float) -> None:
    sampler = DrawnRain((0.2, 0.2), angle=(angle, angle), spread=(1.0, 1.0), length=(40, 60))
    streaks = sampler.sample(torch.rand(6, 1, 256, 256), generator=generator())["streaks"]
    measured = [orientation(light[0]) for light in streaks]
    assert np.mean(measured) == pytest.approx(angle, abs=1.5)
    assert max(abs(one - angle) for one in measured) < 4


def test_spread_of_angles() -> None:
    sampler = DrawnRain(angle=(10, 10), spread=(4, 4))
    streaks = sampler.streaks(1, (256, 256), generator=generator())
    assert float(streaks.angle.mean()) == pytest.approx(10, abs=0.5)
    assert float(streaks.angle.std()) == pytest.approx(4, abs=0.3)
    assert (streaks.angle - 10).abs().max() <= 12 + 1e-4


def test_near_are_few_long_wide_and_blurred() -> None:
    sampler = DrawnRain(length=(60, 60), width=(4, 4), depth=(4, 4), defocus=(2, 2))
    streaks = sampler.streaks(8, (256, 256), generator=generator())
    distance = 4 / streaks.width
    assert float(distance.min()) >= 1 - 1e-5
    assert float(distance.max()) <= 4 + 1e-5
    # Drops fill a space: an eighth of them within half of the greatest distance, but for the part
    # before the nearest.
    nearer = float((distance < 2).float().mean())
    assert nearer == pytest.approx((2**3 - 1) / (4**3 - 1), abs=0.02)
    assert (streaks.length * distance / 60).sub(1).abs().max() <= 0.3 + 1e-4
    torch.testing.assert_close(streaks.blur, 1 + 2 * (1 / distance - 1 / 4))
    assert (streaks.rise + streaks.fall).max() <= 1


def test_at_one_depth_all_are_alike() -> None:
    streaks = DrawnRain(width=(2, 2), depth=(1, 1), defocus=(3, 3)).streaks(
        2, (64, 64), generator=generator()
    )
    torch.testing.assert_close(streaks.width, torch.full_like(streaks.width, 2))
    torch.testing.assert_close(streaks.blur, torch.ones_like(streaks.blur))


def test_brightness() -> None:
    sampler = DrawnRain(brightness=(0.2, 0.2))
    streaks = sampler.streaks(8, (256, 256), generator=generator())
    assert float(streaks.brightness.mean()) == pytest.approx(0.2, rel=0.05)
    assert streaks.brightness.min() > 0


@settings(deadline=None, max_examples=30)
@given(
    covered=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    length=st.floats(1, 200),
    width=st.floats(0.5, 20),
    brightness=st.floats(2.001 / 255, 3),
    angle=st.floats(-60, 60),
    depth=st.floats(1, 10),
    defocus=st.floats(0, 20),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    seed=st.integers(0, 99),
)
def test_whatever_is_drawn_is_rain(
    covered: tuple[float, float],
    length: float,
    width: float,
    brightness: float,
    angle: float,
    depth: float,
    defocus: float,
    size: tuple[int, int],
    seed: int,
) -> None:
    sampler = DrawnRain(
        (min(covered), max(covered)),
        (length, length),
        (width, width),
        (brightness, brightness),
        (angle, angle),
        depth=(depth, depth),
        defocus=(defocus, defocus),
    )
    theta = sampler.sample(torch.rand(2, 3, *size), generator=generator(seed))
    Rain().check(theta)
    assert theta["streaks"].shape == (2, 1, *size)


def test_no_coverage_is_no_rain() -> None:
    streaks = DrawnRain((0, 0)).sample(torch.rand(3, 3, 20, 20), generator=generator())["streaks"]
    assert torch.equal(streaks, torch.zeros(3, 1, 20, 20))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"coverage": (-0.1, 0.5)}, "coverage of rain: expected 0 <= least"),
        ({"coverage": (0.5, 1.0)}, "coverage of rain.*<= 0.99"),
        ({"length": (0.5, 10.0)}, "length of streaks: expected 1 <= least"),
        ({"width": (0.1, 10.0)}, "width of streaks: expected 0.5 <= least"),
        ({"brightness": (0.0, 0.3)}, "brightness of streaks"),
        ({"brightness": (0.1, math.inf)}, "brightness of streaks"),
        ({"angle": (-61.0, 0.0)}, "angle of rain: expected -60 <= least <= greatest <= 60"),
        ({"angle": (0.0, -1.0)}, "angle of rain"),
        ({"spread": (0.0, 16.0)}, "spread of the angles of rain around 35 degrees.*<= 15"),
        ({"depth": (0.5, 2.0)}, "depth of rain: expected 1 <= least"),
        ({"depth": (1.0, 11.0)}, "depth of rain"),
        ({"defocus": (-1.0, 2.0)}, "defocus of streaks"),
        ({"defocus": (0.0, math.nan)}, "defocus of streaks"),
    ],
)
def test_bad_ranges(arguments: dict[str, tuple[float, float]], part: str) -> None:
    with pytest.raises(ThetaError, match=part):
        DrawnRain(**arguments)


# ---------------------------------------------------------------- rain and its veil


def test_rain_then_haze() -> None:
    veiled = Degradation(
        {
            "rain": Stage(Rain(), DrawnRain((0.6, 0.9))),
            "veil": Stage(DepthHaze(), HazyScenes(beta=(0.1, 0.6), airlight=(0.7, 0.9))),
        },
        SensorChain([Clip(), Round()]),
    )
    x = torch.rand(2, 3, 64, 64, generator=generator()) * 0.5
    batch = synthesise(x, veiled, generator=generator())
    theta = batch.theta
    assert {stage: set(part) for stage, part in theta.items()} == {
        "rain": {"streaks"},
        "veil": {"depth", "beta", "airlight"},
        "sensor": set(),
    }
    t = transmission_of(theta["veil"]["depth"], theta["veil"]["beta"])
    a = theta["veil"]["airlight"][:, :, None, None]
    wanted = (x + theta["rain"]["streaks"]) * t + a * (1 - t)
    torch.testing.assert_close(batch.y, wanted.clamp(0, 1), rtol=0, atol=0.5 / 255 + 1e-6)
    assert t.min() > 0.5  # light
