import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from physgan.errors import ShapeError, ThetaError
from physgan.physics.haze import (
    DepthHaze,
    Haze,
    HazyScenes,
    depth_haze,
    haze,
    transmission_of,
)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def randoms(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


@given(n=st.integers(1, 3), c=st.integers(1, 4), h=st.integers(1, 5), w=st.integers(1, 5))
def test_is_the_formula(n: int, c: int, h: int, w: int) -> None:
    x, t, a = randoms(n, c, h, w), randoms(n, 1, h, w, seed=1), randoms(n, c, seed=2)
    wanted = np.empty((n, c, h, w))
    for i in range(n):
        for k in range(c):
            for row in range(h):
                for column in range(w):
                    through = float(t[i, 0, row, column])
                    wanted[i, k, row, column] = float(x[i, k, row, column]) * through + float(
                        a[i, k]
                    ) * (1 - through)
    np.testing.assert_allclose(haze(x, t, a).numpy(), wanted, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        Haze()(x, {"transmission": t, "airlight": a}).numpy(), wanted, rtol=0, atol=1e-14
    )


def test_all_light_or_none() -> None:
    x, a = randoms(2, 3, 4, 5), randoms(2, 3, seed=1)
    t = torch.ones(2, 1, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(haze(x, t, a), x, rtol=0, atol=1e-15)
    assert torch.equal(haze(x, 0 * t, a), a[:, :, None, None].expand(2, 3, 4, 5))


def test_units_of_depth_and_beta() -> None:
    depth = torch.tensor([[[[0.0, 0.5, 1.0]]], [[[0.0, 0.5, 1.0]]]])
    t = transmission_of(depth, torch.tensor([1.0, 2.0]))
    wanted = [[1, math.exp(-0.5), math.exp(-1)], [1, math.exp(-1), math.exp(-2)]]
    torch.testing.assert_close(t[:, 0, 0], torch.tensor(wanted))
    assert torch.equal(transmission_of(depth, torch.zeros(2)), torch.ones(2, 1, 1, 3))


@pytest.mark.parametrize(
    ("x", "t", "a", "parts"),
    [
        ((3, 4, 5), (1, 4, 5), (3,), ["images of a haze", "N×C×H×W", "(3, 4, 5)"]),
        ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3), ["transmission", "(2, 1, 4, 5)", "(2, 3, 4, 5)"]),
        ((2, 3, 4, 5), (2, 1, 5, 4), (2, 3), ["transmission", "together with the image"]),
        ((2, 3, 4, 5), (1, 1, 4, 5), (2, 3), ["transmission", "(1, 1, 4, 5)"]),
        ((2, 3, 4, 5), (2, 1, 4, 5), (2, 1), ["airlight", "(2, 3)", "(2, 1)"]),
        ((2, 3, 4, 5), (2, 1, 4, 5), (3,), ["airlight", "(3,)"]),
    ],
)
def test_shapes_refused(
    x: tuple[int, ...], t: tuple[int, ...], a: tuple[int, ...], parts: list[str]
) -> None:
    with pytest.raises(ShapeError) as raised:
        haze(torch.zeros(x), torch.zeros(t), torch.zeros(a))
    for part in parts:
        assert part in str(raised.value)


@given(n=st.integers(1, 3), c=st.integers(1, 4), h=st.integers(1, 5), w=st.integers(1, 5))
def test_depth_haze_is_the_formula(n: int, c: int, h: int, w: int) -> None:
    x, depth = randoms(n, c, h, w), 3 * randoms(n, 1, h, w, seed=1)
    beta, a = 2 * randoms(n, seed=2), randoms(n, c, seed=3)
    wanted = np.empty((n, c, h, w))
    for i, k, row, column in np.ndindex(n, c, h, w):
        t = math.exp(-float(beta[i]) * float(depth[i, 0, row, column]))
        wanted[i, k, row, column] = float(x[i, k, row, column]) * t + float(a[i, k]) * (1 - t)
    np.testing.assert_allclose(depth_haze(x, depth, beta, a).numpy(), wanted, rtol=0, atol=1e-14)
    theta = {"depth": depth, "beta": beta, "airlight": a}
    y = DepthHaze()(x, theta)
    np.testing.assert_allclose(y.numpy(), wanted, rtol=0, atol=1e-14)
    # The same haze, told by its transmission.
    by_transmission = {"transmission": transmission_of(depth, beta), "airlight": a}
    assert torch.equal(Haze()(x, by_transmission), y)


@pytest.mark.parametrize(
    ("x", "depth", "beta", "parts"),
    [
        ((3, 4, 5), (1, 4, 5), (3,), ["images of a haze", "N×C×H×W", "(3, 4, 5)"]),
        ((2, 3, 4, 5), (2, 1, 5, 4), (2,), ["depth of a haze", "(2, 1, 4, 5)", "(2, 1, 5, 4)"]),
        ((2, 3, 4, 5), (1, 1, 4, 5), (2,), ["depth", "together with the image"]),
        ((2, 3, 4, 5), (2, 1, 4, 5), (1,), ["beta of a haze", "(2,)", "(1,)"]),
        ((2, 3, 4, 5), (2, 1, 4, 5), (2, 1), ["beta", "One number for each image"]),
    ],
)
def test_shapes_of_depth_refused(
    x: tuple[int, ...], depth: tuple[int, ...], beta: tuple[int, ...], parts: list[str]
) -> None:
    with pytest.raises(ShapeError) as raised:
        depth_haze(torch.zeros(x), torch.zeros(depth), torch.zeros(beta), torch.zeros(2, 3))
    for part in parts:
        assert part in str(raised.value)


def test_airlight_over_depth_refused() -> None:
    x, depth, beta = torch.zeros(2, 3, 4, 5), torch.zeros(2, 1, 4, 5), torch.zeros(2)
    with pytest.raises(ShapeError, match="airlight of a haze"):
        depth_haze(x, depth, beta, torch.zeros(2, 1))


@pytest.mark.parametrize("name", ["depth", "beta", "airlight"])
def test_missing_parameter_of_depth_haze(name: str) -> None:
    theta = {"depth": torch.ones(1, 1, 2, 2), "beta": torch.ones(1), "airlight": torch.ones(1, 3)}
    theta["x" + name] = theta.pop(name)
    with pytest.raises(ThetaError, match=f"theta of a depth haze.*'{name}'"):
        DepthHaze()(torch.ones(1, 3, 2, 2), theta)


@pytest.mark.parametrize("name", ["transmission", "airlight"])
def test_missing_parameter(name: str) -> None:
    theta = {"transmission": torch.ones(1, 1, 2, 2), "airlight": torch.ones(1, 3)}
    theta["x" + name] = theta.pop(name)
    with pytest.raises(ThetaError, match=f"theta of a haze.*'{name}'.*Did you mean 'x{name}'"):
        Haze()(torch.ones(1, 3, 2, 2), theta)


@given(
    beta=st.tuples(st.floats(0, 5), st.floats(0, 5)),
    airlight=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    tint=st.floats(0, 0.3),
    channels=st.integers(1, 5),
)
def test_hazy_scenes_keep_their_ranges(
    beta: tuple[float, float], airlight: tuple[float, float], tint: float, channels: int
) -> None:
    thin, thick = sorted(beta)
    dark, bright = sorted(airlight)
    sampler = HazyScenes((thin, thick), (dark, bright), tint)
    theta = sampler.sample(torch.rand(3, channels, 9, 12), generator=generator())
    assert {name: tuple(t.shape) for name, t in theta.items()} == {
        "depth": (3, 1, 9, 12),
        "beta": (3,),
        "airlight": (3, channels),
    }
    a = theta["airlight"]
    assert a.min() >= max(0.0, dark - tint) - 1e-6
    assert a.max() <= min(1.0, bright + tint) + 1e-6
    assert theta["beta"].min() >= thin - 1e-6
    assert theta["beta"].max() <= thick + 1e-6
    # Beta is the thickness at the scene's greatest depth, where least light comes through.
    t = transmission_of(theta["depth"], theta["beta"])
    DepthHaze().check(theta)
    Haze().check({"transmission": t, "airlight": a})
    torch.testing.assert_close(t.amin(dim=(1, 2, 3)), torch.exp(-theta["beta"]))


def test_air_is_tinted_towards_red_or_blue() -> None:
    sampler = HazyScenes(airlight=(0.5, 0.5), tint=0.1)
    a = sampler.sample(torch.rand(500, 3, 1, 1), generator=generator())["airlight"] - 0.5
    red, green, blue = a.T
    assert 0.09 < red.abs().max() <= 0.1
    assert 0.09 < blue.abs().max() <= 0.1
    assert 0.02 < green.abs().max() <= 0.025 + 1e-6
    assert torch.corrcoef(torch.stack([red, blue]))[0, 1] < -0.8
    assert red.mean().abs() < 0.01


def test_no_tint_is_grey() -> None:
    a = HazyScenes(tint=0.0).sample(torch.rand(5, 3, 4, 4), generator=generator())["airlight"]
    assert torch.equal(a, a[:, :1].expand(5, 3))


def test_a_share_has_no_haze() -> None:
    x = torch.rand(400, 3, 1, 1)
    theta = HazyScenes((0.5, 2.0), clear=0.3).sample(x, generator=generator())
    none = theta["beta"] == 0
    assert 0.2 < none.float().mean() < 0.4
    assert theta["beta"][~none].min() >= 0.5
    every = HazyScenes((0.5, 2.0)).sample(x, generator=generator())
    assert torch.equal(theta["beta"][~none], every["beta"][~none])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"clear": 1.1}, "without haze"),
        ({"clear": -0.1}, "without haze"),
        ({"beta": (-0.1, 1.0)}, "beta"),
        ({"beta": (2.0, 1.0)}, "beta"),
        ({"beta": (1.0, math.inf)}, "beta"),
        ({"airlight": (0.5, 1.1)}, "airlight of a haze: expected 0 <= least <= greatest <= 1"),
        ({"airlight": (0.9, 0.8)}, "airlight"),
        ({"tint": -0.1}, "tint"),
        ({"tint": math.nan}, "tint"),
    ],
)
def test_bad_ranges(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(ThetaError, match=part):
        HazyScenes(**arguments)


@pytest.mark.parametrize("name", ["transmission", "airlight"])
@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0, math.nan])
def test_impossible_haze(name: str, value: float) -> None:
    theta = {"transmission": torch.ones(1, 1, 2, 2), "airlight": torch.zeros(1, 3)}
    Haze().check(theta)
    theta[name].view(-1)[0] = value
    with pytest.raises(ThetaError, match=rf"{name} of a haze: expected values in \[0, 1\]"):
        Haze().check(theta)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("airlight", 204.0, r"values in \[0, 1\], got 0 to 204. Divide by the full range"),
        ("depth", -0.01, "finite values of at least 0"),
        ("depth", math.nan, "finite values of at least 0"),
        ("beta", math.inf, "finite values of at least 0"),
    ],
)
def test_impossible_depth_haze(name: str, value: float, expected: str) -> None:
    theta = {"depth": torch.ones(1, 1, 2, 2), "beta": torch.ones(1), "airlight": torch.zeros(1, 3)}
    DepthHaze().check(theta)
    theta[name].view(-1)[0] = value
    with pytest.raises(ThetaError, match=f"{name} of a haze: expected {expected}"):
        DepthHaze().check(theta)
