import math
from typing import Any, Literal, get_args

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.physics.blur import (
    Blur,
    Boundary,
    DefocusMotionKernels,
    DiscKernels,
    GaussianKernels,
    MotionKernels,
    blur,
    check_kernel,
    disc,
    fitted,
    gaussian,
    random_walks,
    trace,
)

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
METHODS: tuple[Literal["auto", "direct", "fft"], ...] = ("auto", "direct", "fft")
SCIPY = {"reflect": "mirror", "replicate": "nearest", "circular": "wrap", "zero": "constant"}

halves = st.integers(0, 6)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def randoms(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


def one(kernel: list[list[float]]) -> Tensor:
    return torch.tensor([kernel], dtype=torch.float64)


# ---------------------------------------------------------------- convolution


@given(
    half_k=halves,
    half_l=halves,
    more_h=st.integers(1, 12),
    more_w=st.integers(1, 12),
    boundary=st.sampled_from(BOUNDARIES),
    method=st.sampled_from(METHODS),
    n=st.integers(1, 3),
    c=st.integers(1, 3),
)
def test_is_scipys_convolution(
    half_k: int,
    half_l: int,
    more_h: int,
    more_w: int,
    boundary: Boundary,
    method: Literal["auto", "direct", "fft"],
    n: int,
    c: int,
) -> None:
    # The smallest pictures that a boundary allows are among them.
    h, w = more_h, more_w
    if boundary == "reflect":
        h, w = h + half_k, w + half_l
    elif boundary == "circular":
        h, w = max(h, half_k), max(w, half_l)
    x = randoms(n, c, h, w)
    kernel = randoms(n, 2 * half_k + 1, 2 * half_l + 1, seed=1) - 0.3
    y = blur(x, kernel, boundary=boundary, method=method)
    for i in range(n):
        for j in range(c):
            wanted = scipy.ndimage.convolve(
                x[i, j].numpy(), kernel[i].numpy(), mode=SCIPY[boundary], cval=0.0
            )
            np.testing.assert_allclose(y[i, j].numpy(), wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_is_the_textbooks_convolution(method: Literal["auto", "direct", "fft"]) -> None:
    x, kernel = randoms(1, 1, 23, 31), randoms(1, 7, 19, seed=1)
    wanted = scipy.signal.convolve2d(x[0, 0], kernel[0], mode="same", boundary="fill")
    y = blur(x, kernel, boundary="zero", method=method)
    np.testing.assert_allclose(y[0, 0].numpy(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("sides", [(1, 1), (3, 17), (17, 17), (17, 19), (29, 29), (41, 5)])
def test_methods_agree(boundary: Boundary, sides: tuple[int, int]) -> None:
    x, kernel = randoms(2, 3, 37, 30), randoms(2, *sides, seed=1)
    results = [blur(x, kernel, boundary=boundary, method=method) for method in METHODS]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-10)


def test_auto_takes_both_ways() -> None:
    x = torch.rand(1, 1, 40, 40, generator=generator())
    for side, method in ((3, METHODS[1]), (29, METHODS[2])):
        kernel = torch.rand(1, side, side, generator=generator(1))
        assert torch.equal(blur(x, kernel), blur(x, kernel, method=method))


@pytest.mark.parametrize("method", METHODS)
def test_mass_beside_the_centre_moves_the_picture_there(
    method: Literal["auto", "direct", "fft"],
) -> None:
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    x[0, 0, 2, 2] = 1
    right = blur(x, one([[0, 0, 0], [0, 0, 1], [0, 0, 0]]), boundary="zero", method=method)
    down = blur(x, one([[0, 0, 0], [0, 0, 0], [0, 1, 0]]), boundary="zero", method=method)
    torch.testing.assert_close(right, x.roll(1, dims=-1), rtol=0, atol=1e-15)
    torch.testing.assert_close(down, x.roll(1, dims=-2), rtol=0, atol=1e-15)


def test_boundaries() -> None:
    row = torch.tensor([[[[1.0, 2, 3, 4]]]])
    from_left = torch.tensor([[[0.0, 0, 0, 0, 1]]])  # y[i] = x[i - 2]
    wanted = {
        "reflect": [3.0, 2, 1, 2],
        "replicate": [1.0, 1, 1, 2],
        "circular": [3.0, 4, 1, 2],
        "zero": [0.0, 0, 1, 2],
    }
    for boundary in BOUNDARIES:
        assert blur(row, from_left, boundary=boundary).flatten().tolist() == wanted[boundary]
        assert Blur(boundary)(row, {"kernel": from_left}).flatten().tolist() == wanted[boundary]
    assert torch.equal(blur(row, from_left), blur(row, from_left, boundary="reflect"))
    assert torch.equal(Blur()(row, {"kernel": from_left}), blur(row, from_left))


@pytest.mark.parametrize("boundary", ["reflect", "replicate", "circular"])
def test_unit_sum_keeps_a_flat_picture(boundary: Boundary) -> None:
    kernel = DefocusMotionKernels().sample(torch.rand(2, 1, 1, 1), generator=generator())["kernel"]
    flat = torch.full((2, 3, 40, 40), 0.7)
    torch.testing.assert_close(blur(flat, kernel, boundary=boundary), flat, rtol=0, atol=1e-6)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("x", "kernel", "boundary", "parts"),
    [
        ((3, 8, 8), (3, 3, 3), "reflect", ["images to blur", "N×C×H×W", "(3, 8, 8)"]),
        ((2, 3, 8, 8), (1, 3, 3), "reflect", ["kernels", "each of 2 images", "(1, 3, 3)"]),
        ((2, 3, 8, 8), (3, 3), "reflect", ["kernels", "N×k×l", "(3, 3)"]),
        ((2, 3, 8, 8), (2, 1, 3, 3), "reflect", ["kernels", "(2, 1, 3, 3)"]),
        ((1, 3, 8, 8), (1, 4, 3), "zero", ["odd sides", "4×3", "Pad the kernel"]),
        ((1, 3, 8, 8), (1, 3, 4), "zero", ["odd sides", "3×4"]),
        ((1, 3, 4, 8), (1, 9, 3), "reflect", ["'reflect'", "9×3", "at least 5×2", "4×8"]),
        ((1, 3, 8, 4), (1, 3, 9), "reflect", ["at least 2×5", "8×4", "replicate"]),
        ((1, 3, 3, 8), (1, 9, 3), "circular", ["'circular'", "at least 4×1", "3×8"]),
        ((1, 3, 0, 8), (1, 3, 3), "replicate", ["'replicate'", "at least 1×1", "0×8"]),
        ((1, 3, 8, 0), (1, 3, 3), "zero", ["'zero'", "at least 1×1", "8×0"]),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_shapes_refused(
    x: tuple[int, ...],
    kernel: tuple[int, ...],
    boundary: Boundary,
    parts: list[str],
    method: Literal["auto", "direct", "fft"],
) -> None:
    with pytest.raises(ShapeError) as raised:
        blur(torch.zeros(x), torch.zeros(kernel), boundary=boundary, method=method)
    for part in parts:
        assert part in str(raised.value)


def test_smallest_pictures_are_taken() -> None:
    kernel = torch.ones(1, 9, 9) / 81
    least: dict[Boundary, int] = {"reflect": 5, "circular": 4, "replicate": 1, "zero": 1}
    for boundary, side in least.items():
        assert blur(torch.ones(1, 1, side, side), kernel, boundary=boundary).shape[-1] == side


def test_unknown_boundary() -> None:
    wrong: Any = "replcate"
    for attempt in (
        lambda: Blur(wrong),
        lambda: blur(torch.ones(1, 1, 5, 5), torch.ones(1, 3, 3), boundary=wrong),
    ):
        with pytest.raises(ThetaError, match=r"boundary of a blur.*Did you mean 'replicate'"):
            attempt()


def test_missing_kernel() -> None:
    with pytest.raises(ThetaError, match=r"theta of a blur.*'kernel'.*Did you mean 'kernels'"):
        Blur()(torch.ones(1, 1, 5, 5), {"kernels": torch.ones(1, 3, 3)})
    with pytest.raises(ThetaError, match="got parameters none"):
        Blur()(torch.ones(1, 1, 5, 5), {})


@pytest.mark.parametrize("bounds", [(-1.0, 4.0), (5.0, 4.0), (1.0, math.inf), (math.nan, 4.0)])
def test_bad_ranges(bounds: tuple[float, float]) -> None:
    with pytest.raises(ThetaError, match="radius of a disc: expected 0 <= least"):
        DiscKernels(bounds)
    with pytest.raises(ThetaError, match="size of a motion kernel: expected 1 <= least"):
        MotionKernels(bounds)
    with pytest.raises(ThetaError, match="radius"):
        DefocusMotionKernels(bounds)
    with pytest.raises(ThetaError, match="size"):
        DefocusMotionKernels(size=bounds)


def test_motion_smaller_than_a_pixel_is_refused() -> None:
    with pytest.raises(ThetaError, match=r"got 0.5 to 7"):
        MotionKernels((0.5, 7.0))


def test_check_kernel() -> None:
    good = torch.full((2, 3, 3), 1 / 9)
    check_kernel(good)
    check_kernel(good * 1.0009)
    for wrong, parts in (
        (good * 2, ["a sum of 1", "2.0000", "Divide"]),
        (good * torch.tensor([1.0, 0.9])[:, None, None], ["0.9000"]),
        (good.index_fill(2, torch.tensor(0), -0.1), ["at least 0"]),
        (good.index_fill(2, torch.tensor(0), math.nan), ["finite"]),
        (good.index_fill(2, torch.tensor(0), math.inf), ["finite"]),
    ):
        with pytest.raises(ThetaError) as raised:
            check_kernel(wrong)
        for part in ["kernel of a blur", *parts]:
            assert part in str(raised.value)


# ---------------------------------------------------------------- kernels


def centroid(kernel: Tensor) -> Tensor:
    """Mean row and column of kernels, from the middle sample, N×2."""
    at = torch.arange(kernel.shape[-1], dtype=kernel.dtype) - kernel.shape[-1] // 2
    return torch.stack([(kernel.sum(2) * at).sum(1), (kernel.sum(1) * at).sum(1)], dim=1)


def spread(kernel: Tensor) -> Tensor:
    """Second moment along rows and columns about the middle sample, N×2."""
    at = (torch.arange(kernel.shape[-1], dtype=kernel.dtype) - kernel.shape[-1] // 2) ** 2
    return torch.stack([(kernel.sum(2) * at).sum(1), (kernel.sum(1) * at).sum(1)], dim=1)


def extent(kernel: Tensor) -> tuple[int, int]:
    """Rows and columns between the first and the last that are not zero."""
    return tuple(int(i.max() - i.min()) + 1 for i in kernel.nonzero(as_tuple=True))  # type: ignore[return-value]


@given(radius=st.tuples(st.floats(0, 6), st.floats(0, 6)), seed=st.integers(0, 99))
def test_disc_kernels(radius: tuple[float, float], seed: int) -> None:
    sampler = DiscKernels((min(radius), max(radius)))
    kernel = sampler.sample(torch.rand(5, 1, 1, 1), generator=generator(seed))["kernel"]
    assert kernel.shape == (5, sampler.side, sampler.side)
    assert sampler.side % 2 == 1
    # The smallest odd square that the greatest disc fits in.
    assert sampler.side >= 2 * max(radius)
    assert sampler.side == 1 or sampler.side - 2 < 2 * max(radius)
    check_kernel(kernel)
    torch.testing.assert_close(kernel.sum((1, 2)), torch.ones(5), rtol=0, atol=1e-6)
    assert torch.equal(kernel, kernel.flip(1))
    assert torch.equal(kernel, kernel.flip(2))
    assert torch.equal(kernel, kernel.mT)


@given(
    size=st.tuples(st.floats(1, 25), st.floats(1, 25)),
    seed=st.integers(0, 99),
)
def test_motion_kernels(size: tuple[float, float], seed: int) -> None:
    least, greatest = min(size), max(size)
    sampler = MotionKernels((least, greatest))
    kernel = sampler.sample(torch.rand(5, 1, 1, 1), generator=generator(seed))["kernel"]
    assert kernel.shape == (5, sampler.side, sampler.side)
    assert sampler.side % 2 == 1
    assert greatest <= sampler.side < greatest + 2
    check_kernel(kernel)
    torch.testing.assert_close(kernel.sum((1, 2)), torch.ones(5), rtol=0, atol=1e-6)
    torch.testing.assert_close(centroid(kernel), torch.zeros(5, 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [1.0, 3.0, 5.0, 8.5, 21.0])
def test_motion_fits_its_size(size: float) -> None:
    # A window wider than the motion, so that what leaves the motion's own would be seen.
    sampler = MotionKernels((size, size))
    sampler.side = 31
    kernel = sampler.sample(torch.rand(30, 1, 1, 1), generator=generator())["kernel"]
    reach = math.ceil((size - 1) / 2 - 1e-6)
    for one in kernel:
        half = max(abs(int(i) - 15) for pair in one.nonzero() for i in pair)
        assert half <= reach
    # The trace goes to the edge of its window in at least one direction.
    far = (torch.arange(31) - 15).abs() > (size - 1) / 2 - 1
    assert ((kernel[:, far].sum((1, 2)) + kernel[:, :, far].sum((1, 2))) > 0).all()


def test_motion_is_connected_and_varied() -> None:
    kernel = MotionKernels().sample(torch.rand(40, 1, 1, 1), generator=generator())["kernel"]
    for one in kernel.numpy():
        _, pieces = scipy.ndimage.label(one > 0, structure=np.ones((3, 3)))
        assert pieces == 1
    # From nearly straight to bent back on itself: the spread across a trace, relative to along it.
    at = torch.arange(21.0) - 10
    rr, cc = spread(kernel).unbind(1)
    rc = (kernel * at[:, None] * at).sum((1, 2))
    root = ((rr - cc) ** 2 / 4 + rc**2).sqrt()
    slenderness = ((rr + cc) / 2 - root) / ((rr + cc) / 2 + root)
    assert slenderness.min() < 0.05
    assert slenderness.max() > 0.3
    # All directions alike: no axis is favoured by more than chance.
    assert 0.5 < float(rr.mean() / cc.mean()) < 2


def windings(memory: tuple[float, float]) -> Tensor:
    """How many times longer than wide random walks are, sorted."""
    size = torch.full((400,), 21.0)
    path = random_walks(size, memory=memory, generator=generator())
    length = path.diff(dim=1).norm(dim=-1).sum(dim=1)
    times: Tensor = length / (path.amax(dim=1) - path.amin(dim=1)).amax(dim=1)
    return times.sort().values


def test_motion_is_a_curve_and_no_tangle() -> None:
    curves, tangles = windings(MotionKernels().memory), windings((0.3, 0.8))
    # A straight line has 1, an arc of half a circle 1.6; real kernels have about 1 to 3.
    assert (curves >= 1).all()
    assert curves[20] < 1.3
    assert 1.6 < curves[200] < 2.2
    assert curves[380] < 3.5
    assert tangles[200] > 1.5 * curves[200]


def test_memory_straightens_motion() -> None:
    medians = [float(windings((m, m))[200]) for m in (0.3, 0.8, 0.95, 0.99)]
    assert medians == sorted(medians, reverse=True)
    # What the training blur of the paper draws from goes on reaching to tangles.
    assert DefocusMotionKernels().motion.memory == (0.3, 0.99)


@pytest.mark.parametrize("memory", [(-0.1, 0.5), (0.9, 0.8), (0.5, 1.1)])
def test_bad_memory(memory: tuple[float, float]) -> None:
    for sampler in (MotionKernels, DefocusMotionKernels):
        with pytest.raises(ThetaError, match="memory of a motion: expected 0 <= least"):
            sampler(memory=memory)


def test_fitted() -> None:
    path = torch.tensor([[[1.0, 5.0], [3.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    moved = fitted(path, torch.tensor([4.0, 4.0]))
    assert moved.tolist() == [[[-2, 4], [2, -4]], [[0, 0], [0, 0]]]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_defocus_motion_is_the_convolution_of_both(share: float) -> None:
    x = torch.rand(4, 1, 1, 1)
    sampler = DefocusMotionKernels((2.0, 2.0), (13.0, 13.0), (share, share))
    kernel = sampler.sample(x, generator=generator(3))["kernel"]
    same = generator(3)
    for _ in range(3):  # strength, radius and size, each known here
        torch.rand(4, generator=same)
    walks = random_walks(torch.full((4,), 1 + share * 12), memory=(0.3, 0.99), generator=same)
    motion, lens = trace(walks, 13), disc(torch.full((4,), share * 2), 5)
    assert kernel.shape[1:] == (sampler.side, sampler.side) == (17, 17)
    for i in range(4):
        wanted = scipy.signal.convolve2d(motion[i].numpy(), lens[i].numpy(), mode="full")
        np.testing.assert_allclose(kernel[i].numpy(), wanted, rtol=0, atol=1e-6)
    check_kernel(kernel)
    torch.testing.assert_close(centroid(kernel), torch.zeros(4, 2), rtol=0, atol=1e-4)


@given(
    sigma=st.tuples(st.floats(0, 4), st.floats(0, 4)),
    ratio=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 99),
)
def test_gaussian_kernels(
    sigma: tuple[float, float], ratio: tuple[float, float], seed: int
) -> None:
    sampler = GaussianKernels((min(sigma), max(sigma)), (min(ratio), max(ratio)))
    kernel = sampler.sample(torch.rand(5, 1, 1, 1), generator=generator(seed))["kernel"]
    assert kernel.shape == (5, sampler.side, sampler.side)
    assert sampler.side % 2 == 1
    assert 3 * max(sigma) <= sampler.side // 2 <= 3 * max(sigma) + 1
    check_kernel(kernel)
    torch.testing.assert_close(kernel, kernel.flip(1, 2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.7])
def test_round_gaussian_is_scipys(sigma: float) -> None:
    side = 2 * math.ceil(4 * sigma) + 1
    window = scipy.signal.windows.gaussian(side, sigma)
    wanted = np.outer(window, window) / window.sum() ** 2
    for angle in (0.0, 1.1):
        longer, turn = torch.tensor([[sigma], [angle]], dtype=torch.float64)
        kernel = gaussian(longer, longer, turn, side)
        np.testing.assert_allclose(kernel[0], wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", [0.0, 0.6, math.pi / 2, 2.5])
def test_long_gaussian_has_its_covariance(angle: float) -> None:
    longer, shorter, turn = torch.tensor([[2.5], [1.0], [angle]], dtype=torch.float64)
    kernel = gaussian(longer, shorter, turn, 41)
    at = torch.arange(41, dtype=torch.float64) - 20
    rr, cc = spread(kernel)[0]
    rc = (kernel * at[:, None] * at).sum()
    # The angle opens from left-to-right towards down: clockwise as seen.
    along = np.array([math.sin(angle), math.cos(angle)])  # row, column
    across = np.array([math.cos(angle), -math.sin(angle)])
    wanted = 2.5**2 * np.outer(along, along) + np.outer(across, across)
    np.testing.assert_allclose([[rr, rc], [rc, cc]], wanted, rtol=0, atol=1e-6)


def test_gaussian_of_nothing_is_the_delta() -> None:
    zero = torch.zeros(1)
    kernel = gaussian(zero, zero, zero, 5)[0]
    assert kernel[2, 2] == 1
    assert GaussianKernels((0, 0)).side == 1


def test_bad_gaussians() -> None:
    with pytest.raises(ThetaError, match="sigma of a Gaussian kernel: expected 0 <= least"):
        GaussianKernels((2.0, 1.0))
    with pytest.raises(ThetaError, match=r"ratio of the axes.*<= 1"):
        GaussianKernels(ratio=(0.5, 1.5))


def test_without_strength_nothing_is_blurred() -> None:
    sampler = DefocusMotionKernels(strength=(0.0, 0.0))
    kernel = sampler.sample(torch.rand(3, 1, 1, 1), generator=generator(0))["kernel"]
    delta = torch.zeros_like(kernel)
    delta[:, sampler.side // 2, sampler.side // 2] = 1
    torch.testing.assert_close(kernel, delta)


def test_samplers_promise_the_paper() -> None:
    assert MotionKernels().side == 21
    assert DiscKernels().side == 9
    assert DefocusMotionKernels().side == 29


@pytest.mark.parametrize("radius", [0.0, 1e-6, 0.01, 0.1, 0.4, 0.5])
@pytest.mark.parametrize("side", [1, 3, 9])
def test_a_disc_within_one_pixel_is_the_delta(radius: float, side: int) -> None:
    kernel = disc(torch.tensor([radius]), side)
    delta = torch.zeros(1, side, side)
    delta[0, side // 2, side // 2] = 1
    assert torch.equal(kernel, delta)


@pytest.mark.parametrize("radius", [1.3, 2.0, 2.5, 3.7, 6.0, 10.0])
def test_disc_has_the_area_and_the_spread_of_a_disc(radius: float) -> None:
    side = 2 * math.ceil(radius) + 1
    kernel = disc(torch.tensor([radius], dtype=torch.float64), side)[0]
    # The middle pixel is covered whole: its share of the light is one over the area.
    assert float(1 / kernel[side // 2, side // 2]) == pytest.approx(math.pi * radius**2, rel=0.04)
    # A disc spreads r²/4 along each axis; squares of one pixel add 1/12 to a wide one.
    for along in spread(kernel[None])[0].tolist():
        assert along == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.05)


@pytest.mark.parametrize("radius", [0.7, 1.0, 2.2, 3.9])
def test_disc_is_anti_aliased(radius: float) -> None:
    side, fine = 2 * math.ceil(radius) + 1, 200
    at = (np.arange(side * fine) + 0.5) / fine - side / 2
    covered = (at[:, None] ** 2 + at**2 <= radius**2).reshape(side, fine, side, fine).mean((1, 3))
    kernel = disc(torch.tensor([radius], dtype=torch.float64), side)[0]
    share = kernel * math.pi * radius**2
    np.testing.assert_allclose(share.numpy(), covered, rtol=0, atol=0.06)
    inside = ((covered > 0.1) & (covered < 0.9)).sum()
    assert inside >= 4
    assert ((share > 0.02) & (share < 0.98)).sum() >= inside


def test_discs_grow_with_their_radius() -> None:
    kernel = disc(torch.linspace(0.5, 4, 50), 9)
    widths = spread(kernel).mean(dim=1)
    assert (widths.diff() >= 0).all()
    assert widths.unique().numel() > 40


def test_trace() -> None:
    # A point at rest at row 1, column 0.25 right of the middle: shared by two columns.
    path = torch.tensor([[[1.0, 0.25]], [[0.0, 0.0]], [[-1.0, 1.0]]])
    kernel = trace(path, 3)
    assert kernel[0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0.75, 0.25]]
    assert kernel[1].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert kernel[2].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    # Light outside the window is lost, the rest sums to one.
    away = trace(torch.tensor([[[0.0, 0.0], [0.0, 5.0]]]), 3)
    assert away[0].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
