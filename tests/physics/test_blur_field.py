"""Blur fields against a written-out loop, and shaking cameras against turned pictures."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Generator, Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.physics.blur import Blur, Boundary, fitted
from physgan.physics.blur_field import (
    BlurField,
    MovingObjects,
    ShakeField,
    blur_field,
)
from physgan.physics.shake import ShakeKernels, hand_motion

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
PADDING = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "zero": "constant"}


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def randoms(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


def shares(*shape: int, seed: int = 0) -> Tensor:
    weight = randoms(*shape, seed=seed)
    return weight / weight.sum(dim=1, keepdim=True)


# ---------------------------------------------------------------- the operator


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_is_the_sum_written_out(boundary: Boundary) -> None:
    x, kernel = randoms(2, 2, 7, 8), randoms(2, 3, 3, 5, seed=1)
    weight = shares(2, 3, 7, 8, seed=2)
    y = blur_field(x, kernel, weight, boundary=boundary)
    for n, c in np.ndindex(2, 2):
        padded = np.pad(x[n, c].numpy(), ((1, 1), (2, 2)), mode=PADDING[boundary])  # type: ignore[call-overload]
        for row, column in np.ndindex(7, 8):
            total = 0.0
            for g, i, j in np.ndindex(3, 3, 5):
                light = padded[row + 2 - i, column + 4 - j]  # y[p] = sum_d kernel[d] x[p - d]
                total += float(weight[n, g, row, column] * kernel[n, g, i, j] * light)
            assert float(y[n, c, row, column]) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("g", [1, 3])
@pytest.mark.parametrize("side", [5, 21])
def test_one_kernel_everywhere_is_blur(boundary: Boundary, g: int, side: int) -> None:
    x, kernel = randoms(2, 3, 24, 20), shares(2, side * side, 1, 1, seed=1).reshape(2, side, side)
    theta = {
        "kernel": kernel[:, None].expand(-1, g, -1, -1),
        "weight": shares(2, g, 24, 20, seed=2),
    }
    wanted = Blur(boundary)(x, {"kernel": kernel})
    torch.testing.assert_close(BlurField(boundary)(x, theta), wanted, rtol=0, atol=1e-13)


def test_each_half_sees_its_kernel() -> None:
    x = randoms(1, 1, 9, 20)
    kernel = shares(1, 18, 1, 1, seed=1).reshape(1, 2, 3, 3)
    weight = torch.zeros(1, 2, 9, 20)
    weight[:, 0, :, :10] = 1
    weight[:, 1, :, 10:] = 1
    y = BlurField()(x, {"kernel": kernel, "weight": weight})
    left, right = (Blur()(x, {"kernel": kernel[:, i]}) for i in (0, 1))
    torch.testing.assert_close(y[..., :10], left[..., :10])
    torch.testing.assert_close(y[..., 10:], right[..., 10:])


@pytest.mark.parametrize("sampler", [ShakeField(), MovingObjects()])
def test_flat_pictures_stay_flat(sampler: Any) -> None:
    flat = torch.full((2, 3, 48, 56), 0.7)
    y = BlurField("replicate")(flat, sampler.sample(flat, generator=generator()))
    torch.testing.assert_close(y, flat, rtol=0, atol=1e-6)


def test_margin_is_half_the_longer_side() -> None:
    theta = {"kernel": torch.zeros(1, 2, 3, 9), "weight": torch.zeros(1, 2, 8, 8)}
    assert BlurField().margin(theta) == 4


@pytest.mark.parametrize(
    ("x", "kernel", "weight", "parts"),
    [
        ((3, 8, 8), (1, 2, 3, 3), (1, 2, 8, 8), ["images", "N×C×H×W", "(3, 8, 8)"]),
        ((1, 3, 8, 8), (1, 3, 3), (1, 2, 8, 8), ["kernels", "N×g×k×l", "(1, 3, 3)"]),
        ((2, 3, 8, 8), (1, 2, 3, 3), (2, 2, 8, 8), ["kernels", "each of 2 images"]),
        ((1, 3, 8, 8), (1, 0, 3, 3), (1, 0, 8, 8), ["kernels", "some for each"]),
        ((1, 3, 8, 8), (1, 2, 3, 3), (1, 3, 8, 8), ["weights", "(1, 2, 8, 8)", "(1, 3, 8, 8)"]),
        ((1, 3, 8, 8), (1, 2, 3, 3), (1, 2, 8, 9), ["weights", "Crop the weights"]),
        ((1, 3, 8, 8), (1, 2, 4, 3), (1, 2, 8, 8), ["odd sides", "4×3"]),
        ((1, 3, 4, 8), (1, 2, 9, 3), (1, 2, 4, 8), ["'reflect'", "at least 5×2"]),
    ],
)
def test_shapes_refused(
    x: tuple[int, ...], kernel: tuple[int, ...], weight: tuple[int, ...], parts: list[str]
) -> None:
    with pytest.raises(ShapeError) as raised:
        blur_field(torch.zeros(x), torch.zeros(kernel), torch.zeros(weight))
    for part in parts:
        assert part in str(raised.value)


def test_unknown_boundary_and_missing_parameters() -> None:
    wrong: Any = "mirror"
    with pytest.raises(ThetaError, match="boundary of a blur"):
        BlurField(wrong)
    x, kernel = torch.zeros(1, 1, 8, 8), torch.zeros(1, 2, 3, 3)
    with pytest.raises(ThetaError, match=r"theta of a blur field.*'weight'"):
        BlurField()(x, {"kernel": kernel})
    with pytest.raises(ThetaError, match=r"theta of a blur field.*'kernel'"):
        BlurField()(x, {"kernels": kernel})


def test_impossible_fields() -> None:
    kernel, weight = torch.full((1, 2, 3, 3), 1 / 9), torch.full((1, 2, 4, 4), 0.5)
    BlurField().check({"kernel": kernel, "weight": weight})
    below = weight.clone()
    below[0, 0, 0, 0], below[0, 1, 0, 0] = -0.5, 1.5
    for wrong, text in (
        (weight * 1.01, "sums off by up to 0.01"),
        (below, "least weight of -0.5"),
        (weight * math.nan, "nan"),
    ):
        with pytest.raises(ThetaError, match=text):
            BlurField().check({"kernel": kernel, "weight": wrong})
    with pytest.raises(ThetaError, match="kernel of a blur"):
        BlurField().check({"kernel": 2 * kernel, "weight": weight})


# ---------------------------------------------------------------- a camera that shifts and turns


def smooth_picture(h: int, w: int) -> np.ndarray:
    noise = np.random.default_rng(0).random((h, w))
    picture = scipy.ndimage.gaussian_filter(noise, 2.0, mode="reflect")
    stretched: np.ndarray = (picture - picture.min()) / np.ptp(picture)
    return stretched


def test_is_the_mean_of_pictures_that_shift_and_turn() -> None:
    """The same motion, by turning the whole picture for each of its moments and averaging.

    Interpolated bilinearly (order 1), as kernels share light among pixels.
    """
    h, w, size, degrees = 72, 80, 7.0, 4.0
    picture = smooth_picture(h, w)
    x = torch.from_numpy(picture)[None, None]
    sampler = ShakeField((size, size), (degrees, degrees), (0.5, 0.5), grid=(13, 13))
    theta = sampler.sample(x, generator=generator(2))
    y = blur_field(x, theta["kernel"], theta["weight"], boundary="replicate")[0, 0].numpy()

    same = generator(2)
    for _ in range(3):  # size, angle and exposure, known here
        torch.rand(1, generator=same)
    motion = hand_motion(torch.tensor([0.5]), generator=same)
    shift = fitted(motion[..., :2], torch.tensor([(size - 1) / 2]))[0].numpy()
    turn = fitted(motion[..., 2:], torch.tensor([math.radians(degrees)]))[0, :, 0].numpy()
    middle = np.array([(h - 1) / 2, (w - 1) / 2])
    moments = range(0, len(turn), 4)
    total = np.zeros_like(picture)
    for t in moments:
        # What stands at p was at R⁻¹(p − middle − shift) + middle; turned clockwise, rows down.
        cos, sin = math.cos(turn[t]), math.sin(turn[t])
        back = np.array([[cos, -sin], [sin, cos]])
        offset = middle - back @ (middle + shift[t])
        total += scipy.ndimage.affine_transform(picture, back, offset, order=1, mode="nearest")
    total /= len(moments)
    inner = np.s_[10:-10, 10:-10]
    blurred = np.abs(total - picture)[inner].mean()
    off = np.abs(y - total)[inner].mean()
    assert blurred > 0.02
    assert off < 0.06 * blurred
    # Turned the other way it would be off by much more: sign and place are the right ones.
    mirrored = blur_field(x, theta["kernel"].flip(1), theta["weight"], boundary="replicate")
    assert np.abs(mirrored[0, 0].numpy() - total)[inner].mean() > 3 * off


def spreads(kernel: Tensor) -> Tensor:
    """Root of the mean squared distance from the middle sample, of kernels *×k×k."""
    at = torch.arange(kernel.shape[-1]) - kernel.shape[-1] // 2
    squared = at[:, None] ** 2 + at**2
    return (kernel * squared).sum(dim=(-2, -1)).sqrt()


def test_blur_grows_with_the_distance_from_the_middle() -> None:
    x = torch.zeros(80, 1, 101, 101)
    sampler = ShakeField((3.0, 5.0), (3.0, 5.0), grid=(5, 5))
    kernel = sampler.sample(x, generator=generator())["kernel"].unflatten(1, (5, 5))
    mean = spreads(kernel).mean(dim=0)
    middle, side, corner = mean[2, 2], mean[[0, 2, 2, 4], [2, 0, 4, 2]], mean[::4, ::4]
    assert side.min() > 1.5 * middle
    assert corner.min() > 1.2 * side.max()


def test_the_middle_kernel_is_that_of_uniform_shake() -> None:
    x = torch.zeros(3, 1, 40, 60)
    kernel = ShakeField((9.0, 9.0), (2.0, 2.0), (0.5, 0.5), grid=(3, 3)).sample(
        x, generator=generator()
    )["kernel"][:, 4]
    same = generator()
    torch.rand(3, generator=same)  # one more draw than of ShakeKernels: the angle
    uniform = ShakeKernels((9.0, 9.0), (0.5, 0.5)).sample(x, generator=same)["kernel"]
    rest = (kernel.shape[-1] - 9) // 2
    torch.testing.assert_close(kernel[:, rest:-rest, rest:-rest], uniform)


def test_without_turning_all_kernels_are_the_same() -> None:
    x = torch.zeros(2, 1, 20, 20)
    kernel = ShakeField((9.0, 9.0), (0.0, 0.0)).sample(x, generator=generator())["kernel"]
    torch.testing.assert_close(kernel, kernel[:, :1].expand_as(kernel))


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (33, 70), (128, 96)])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 4)])
def test_fields_of_shake_are_sound(size: tuple[int, int], grid: tuple[int, int]) -> None:
    x = torch.zeros(4, 3, *size)
    theta = ShakeField((5.0, 17.0), (0.0, 3.0), grid=grid).sample(x, generator=generator())
    BlurField().check(theta)
    g = grid[0] * grid[1]
    assert theta["kernel"].shape[:2] == (4, g)
    assert theta["weight"].shape == (4, g, *size)
    # Everywhere the blurred picture lies where the clear one does, so nothing left the window.
    at = torch.arange(theta["kernel"].shape[-1]) - theta["kernel"].shape[-1] // 2
    for dim in (-1, -2):
        mean = (theta["kernel"].sum(dim=dim) * at).sum(dim=-1)
        torch.testing.assert_close(mean, torch.zeros(4, g), rtol=0, atol=2e-3)


def test_weights_are_bilinear() -> None:
    theta = ShakeField(grid=(2, 3)).sample(torch.zeros(1, 1, 5, 9), generator=generator())
    weight = theta["weight"][0].unflatten(0, (2, 3))
    # At the control points one kernel alone, half way between two of them half of both.
    assert float(weight[0, 0, 0, 0]) == 1
    assert float(weight[1, 1, 4, 4]) == 1
    assert weight[:, :, 0, 2].tolist() == [[0.5, 0.5, 0], [0, 0, 0]]
    assert weight[:, :, 2, 8].tolist() == [[0, 0, 0.5], [0, 0, 0.5]]


# ---------------------------------------------------------------- things that move


@pytest.mark.parametrize("size", [(1, 1), (40, 60), (96, 96)])
@pytest.mark.parametrize("count", [(1, 1), (1, 3), (2, 5)])
def test_fields_of_moving_objects_are_sound(size: tuple[int, int], count: tuple[int, int]) -> None:
    x = torch.zeros(5, 3, *size)
    sampler = MovingObjects(count)
    theta = sampler.sample(x, generator=generator())
    BlurField().check(theta)
    assert theta["kernel"].shape == (5, 1 + count[1], sampler.side, sampler.side)
    assert theta["weight"].shape == (5, 1 + count[1], *size)
    at = torch.arange(sampler.side) - sampler.side // 2
    for dim in (-1, -2):
        mean = (theta["kernel"].sum(dim=dim) * at).sum(dim=-1)
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=2e-3)


def test_as_many_things_as_drawn() -> None:
    x = torch.zeros(200, 1, 48, 48)
    weight = MovingObjects((1, 3), radius=(0.2, 0.2)).sample(x, generator=generator())["weight"]
    seen = (weight[:, 1:].amax(dim=(2, 3)) > 0).sum(dim=1)
    # A thing may be hidden behind another, but hardly ever the whole of it.
    counts = seen.bincount(minlength=4).tolist()
    assert counts[0] == 0
    assert min(counts[1:]) > 40


def test_regions_are_solid_with_smeared_edges() -> None:
    x = torch.zeros(50, 1, 96, 96)
    sampler = MovingObjects((1, 1), (9.0, 9.0), (1.0, 1.0), radius=(0.25, 0.25))
    theta = sampler.sample(x, generator=generator())
    weight = theta["weight"][:, 1]
    inside = weight > 0.99
    assert (inside.sum(dim=(1, 2)) > 100).all()
    for one in inside.numpy():
        assert scipy.ndimage.label(one)[1] == 1
    # Along a thing's way its edge is as wide as its motion is long, across it as sharp as drawn.
    steep = [(weight.diff(dim=dim).abs().amax(dim=(1, 2))) for dim in (1, 2)]
    assert torch.maximum(*steep).min() > 0.15
    still = MovingObjects((1, 1), (1.0, 1.0), (1.0, 1.0), radius=(0.25, 0.25))
    sharp = still.sample(x, generator=generator())["weight"][:, 1]

    def edges(masks: Tensor) -> float:
        return float(((masks > 0.02) & (masks < 0.98)).sum())

    assert edges(weight) > 2 * edges(sharp)


def test_things_move_evenly_and_the_camera_moves_them_too() -> None:
    x = torch.zeros(100, 1, 16, 16)
    alone = MovingObjects((2, 2), (15.0, 15.0), (1.0, 1.0)).sample(x, generator=generator())
    assert (alone["kernel"][:, 0].amax(dim=(1, 2)) == 1).all()  # a camera at rest
    # Straight lines, or nearly: they spread along their way and hardly across it.
    moving, at = alone["kernel"][:, 1:].flatten(0, 1), torch.arange(15.0) - 7
    place = torch.cartesian_prod(at, at)
    spread = torch.einsum("np,pi,pj->nij", moving.flatten(1), place, place)
    across, along = torch.linalg.eigvalsh(spread).unbind(dim=1)
    assert float((across / along).sqrt().median()) < 0.15
    assert along.min() > 5
    both = MovingObjects((2, 2), (1.0, 1.0), (9.0, 9.0)).sample(x, generator=generator())
    torch.testing.assert_close(both["kernel"][:, 1:], both["kernel"][:, :1].expand(-1, 2, -1, -1))


def test_ranges_refused() -> None:
    attempts: list[tuple[Any, dict[str, Any], str]] = [
        (ShakeField, {"size": (0.0, 3.0)}, "size of a shake"),
        (ShakeField, {"angle": (0.0, 20.0)}, r"angle of a shake.*<= 10"),
        (ShakeField, {"exposure": (0.0, 1.0)}, "exposure of a shake"),
        (ShakeField, {"grid": (0, 4)}, r"grid of a blur field.*\(0, 4\)"),
        (MovingObjects, {"count": (0, 3)}, "count of moving objects: expected 1 <="),
        (MovingObjects, {"size": (0.0, 3.0)}, "size of an object's motion"),
        (MovingObjects, {"camera": (5.0, 3.0)}, "size of a camera's motion"),
        (MovingObjects, {"radius": (-1.0, 3.0)}, "radius of a moving object"),
    ]
    for sampler, arguments, text in attempts:
        with pytest.raises(ThetaError, match=text):
            sampler(**arguments)
