"""Shake of a hand: what its motions and their kernels have to look like, measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.io
import scipy.ndimage
import torch
from torch import Generator, Tensor

from physgan.errors import ThetaError
from physgan.physics.blur import check_kernel, fitted, trace
from physgan.physics.shake import ShakeKernels, hand_motion, paths_at
from tests.data.files import DATA

REAL = DATA / "levin09"


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def motions(exposure: float, n: int = 400, seed: int = 0) -> Tensor:
    return hand_motion(torch.full((n,), exposure), generator=generator(seed))


def winding(path: Tensor) -> Tensor:
    """How many times longer than wide paths N×T×2 are."""
    length = path.diff(dim=1).norm(dim=-1).sum(dim=1)
    times: Tensor = length / (path.amax(dim=1) - path.amin(dim=1)).amax(dim=1)
    return times


def thickness(kernel: np.ndarray) -> float:
    """Samples of more than 5 % of the brightest, by the longer side of what they cover."""
    rows, columns = np.nonzero(kernel > 0.05 * kernel.max())
    return float(len(rows) / (max(np.ptp(rows), np.ptp(columns)) + 1))


@pytest.mark.parametrize("size", [(9.0, 25.0), (1.0, 4.5), (13.0, 13.0)])
def test_kernels(size: tuple[float, float]) -> None:
    sampler = ShakeKernels(size)
    kernel = sampler.sample(torch.rand(50, 1, 1, 1), generator=generator())["kernel"]
    assert kernel.shape == (50, sampler.side, sampler.side)
    assert sampler.side % 2 == 1
    assert size[1] <= sampler.side < size[1] + 2
    check_kernel(kernel)
    at = torch.arange(sampler.side) - sampler.side // 2
    for dim in (1, 2):
        mean = (kernel.sum(dim) * at).sum(dim=1)
        torch.testing.assert_close(mean, torch.zeros(50), rtol=0, atol=1e-3)


def test_kernels_fill_their_sizes() -> None:
    kernel = ShakeKernels((9.0, 25.0)).sample(torch.rand(300, 1, 1, 1), generator=generator())
    at = (torch.arange(25) - 12).abs()
    lit = kernel["kernel"] > 0
    reach = torch.maximum((lit.any(1) * at).amax(1), (lit.any(2) * at).amax(1))
    assert 4 <= reach.min() <= 5
    assert reach.max() == 12
    assert 7 <= float(reach.float().mean()) <= 10


def test_a_share_is_not_shaken() -> None:
    x = torch.rand(200, 1, 1, 1)
    kernel = ShakeKernels((9, 15), still=0.3).sample(x, generator=generator())["kernel"]
    still = kernel[:, 7, 7] == 1
    assert 0.2 < still.float().mean() < 0.4
    assert torch.equal(still, (kernel > 0).sum(dim=(1, 2)) == 1)
    with pytest.raises(ThetaError, match="without shake"):
        ShakeKernels(still=1.5)


def test_kernels_are_thin_connected_and_uneven() -> None:
    kernel = ShakeKernels((25.0, 25.0)).sample(torch.rand(300, 1, 1, 1), generator=generator())
    kernels = kernel["kernel"].numpy()
    for one in kernels:
        _, pieces = scipy.ndimage.label(one > 0, structure=np.ones((3, 3)))
        assert pieces == 1
    # A line of one pixel's width has a thickness of 1 to 2, a disc of 25 px one of 20.
    thick = np.array([thickness(one) for one in kernels])
    assert 2 < np.median(thick) < 3.5
    assert np.quantile(thick, 0.95) < 5
    # Hands rest and hurry: the brightest sample is several times as bright as the usual one.
    uneven = np.array([one.max() / np.median(one[one > 0]) for one in kernels])
    assert np.median(uneven) > 4


def test_kernels_are_like_real_ones() -> None:
    if not REAL.is_dir():
        pytest.skip(f"no measured kernels in {REAL}")
    real = [scipy.io.loadmat(path)["f"] for path in sorted(REAL.glob("im01_*.mat"))]
    ours = ShakeKernels((15.0, 25.0)).sample(torch.rand(300, 1, 1, 1), generator=generator())
    drawn = np.array([thickness(one) for one in ours["kernel"].numpy()])
    low, high = np.quantile(drawn, [0.05, 0.98])
    within = [low <= thickness(one) <= high for one in real]
    assert sum(within) >= len(real) - 1


def test_no_direction_is_favoured() -> None:
    shift = motions(1.0, n=1000)[..., :2]
    rows, columns = (fitted(shift, torch.ones(1000)) ** 2).mean(dim=(0, 1))
    assert float(rows / columns) == pytest.approx(1, abs=0.15)
    # But each hand has its own: the spread across its direction is less than that along it.
    values = torch.linalg.eigvalsh(shift.mT @ shift)
    assert float((values[:, 0] / values[:, 1]).sqrt().median()) < 0.5


def test_longer_exposures_wind_more() -> None:
    medians = [float(winding(motions(e)[..., :2]).median()) for e in (0.05, 0.2, 0.5, 1.0)]
    assert medians == sorted(medians)
    assert medians[0] < 1.2
    assert medians[-1] < 4


def test_motion_is_smooth() -> None:
    """A mass does not change its velocity at once: from one moment to the next it stays alike."""
    velocity = motions(1.0)[..., :2].diff(dim=1)
    before, after = velocity[:, :-1].flatten(), velocity[:, 1:].flatten()
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.98


def test_there_are_jerks() -> None:
    """Velocities have heavier tails than a Gaussian process would give them (kurtosis 3)."""
    velocity = motions(1.0, n=2000)[:, ::8, 2].diff(dim=1)
    kurtosis = (velocity**4).mean() / (velocity**2).mean() ** 2
    assert float(kurtosis) > 4


def test_motions_are_about_their_mean() -> None:
    motion = motions(0.6)
    far = motion.abs().amax(dim=(1, 2))
    assert float((motion.mean(dim=1).abs().amax(dim=1) / far).max()) < 1e-4


def test_turning_is_no_matter_of_shifting() -> None:
    motion = motions(1.0, n=1000)
    products = motion[..., :2] * motion[..., 2:]
    size = motion.norm(dim=1)
    correlation = products.sum(dim=1) / (size[:, :2] * size[:, 2:])
    assert correlation.mean(dim=0).abs().max() < 0.08


def test_paths_at() -> None:
    shift = torch.tensor([[[0.5, 0.0], [0.0, 0.0]]])
    turn = torch.tensor([[0.0, 0.1]])
    place = torch.tensor([[0.0, 0.0], [0.0, 10.0], [10.0, 0.0]])
    paths = paths_at(shift, turn, place)
    assert paths.shape == (1, 3, 2, 2)
    # Shifted down by half a pixel everywhere, then turned clockwise: what is right of the middle
    # goes down and a little to the left, what is below it goes left and a little up.
    far, back = 10 * math.sin(0.1), 10 * (math.cos(0.1) - 1)
    wanted = torch.tensor([[[0.5, 0], [0, 0]], [[0.5, 0], [far, back]], [[0.5, 0], [back, -far]]])
    torch.testing.assert_close(paths[0], wanted - wanted.mean(dim=1, keepdim=True))


def test_the_kernel_is_the_trace_of_the_motion() -> None:
    kernel = ShakeKernels((11.0, 11.0), (0.5, 0.5)).sample(
        torch.rand(3, 1, 1, 1), generator=generator()
    )
    same = generator()
    for _ in range(2):  # size and exposure, known here
        torch.rand(3, generator=same)
    motion = hand_motion(torch.full((3,), 0.5), generator=same)
    wanted = trace(fitted(motion[..., :2], torch.full((3,), 5.0)), 11)
    assert torch.equal(kernel["kernel"], wanted)


@pytest.mark.parametrize("exposure", [(0.0, 1.0), (0.5, 0.4), (0.5, 1.5), (0.5, math.nan)])
def test_bad_exposures(exposure: tuple[float, float]) -> None:
    with pytest.raises(ThetaError, match=r"exposure of a shake: expected 0.01 <= least"):
        ShakeKernels(exposure=exposure)


def test_bad_sizes() -> None:
    with pytest.raises(ThetaError, match="size of a shake kernel: expected 1 <= least"):
        ShakeKernels((0.0, 9.0))
