"""Haze inverted: exact where thickness and airlight are right, local, and nothing without haze."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from physgan.errors import ShapeError
from physgan.export.onnx import export_onnx
from physgan.networks import HazeInversion
from physgan.networks.haze_inversion import _means
from physgan.physics.haze import depth_haze
from physgan.restore.page import restore_images
from physgan.restore.tiled import restore_tiled
from physgan.restore.whole import restore_whole
from physgan.types import RestoreFn
from physgan.weights.catalogue import shipped_file
from physgan.weights.file import JSON, read_info
from physgan.weights.onnx import open_graph

TINY: dict[str, Any] = {"widths": (4, 6), "blocks": (1, 1), "shrink": 2}
"""multiple_of 8"""


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(seed), dtype=dtype)


def bias_of(made: HazeInversion) -> Tensor:
    """Of the maps: thickness by colour, thickness, airlight; four numbers for each."""
    return made.get_parameter("small.head.bias")


def network(std: float = 0.1, **changes: Any) -> HazeInversion:
    """A small network that sees haze everywhere."""
    made = HazeInversion(**(TINY | changes)).eval()
    draws = Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draws), alpha=std)
        bias_of(made)[made.channels * 4 :][:4] += 0.8
    return made


def test_is_a_restore_fn() -> None:
    fn: RestoreFn = network(channels=1)
    assert isinstance(fn, RestoreFn)
    assert (fn.channels, fn.scale, fn.multiple_of, fn.global_statistics) == (1, 1, 8, False)
    assert fn(images(2, 1, 16, 24)).shape == (2, 1, 16, 24)


def test_ships_in_half_precision() -> None:
    made = HazeInversion()
    assert sum(p.numel() for p in made.parameters()) <= 4_000_000


def test_keeps_the_type() -> None:
    y = images(1, 3, 16, 16)
    whole = network(std=0.05)
    half = network(std=0.05).bfloat16()(y.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - whole(y)).abs().mean() < 0.2 * (whole(y) - y).abs().mean()


@pytest.mark.parametrize("training", [True, False])
def test_starts_as_the_identity(training: bool) -> None:
    y = images(2, 3, 32, 64)
    assert torch.equal(HazeInversion().train(training)(y), y)


def test_what_seems_clearer_than_clear_stays_as_it_is() -> None:
    made = HazeInversion(**TINY)
    with torch.no_grad():
        bias_of(made)[12:16] = -1.0
    y = images(1, 3, 16, 16)
    assert torch.equal(made.eval()(y), y)
    assert not torch.equal(made.train()(y), y)


@pytest.mark.parametrize("thickness", [0.0, 0.5, 2.0])
def test_undoes_the_haze_of_the_physics(thickness: float) -> None:
    x = images(2, 3, 16, 16, dtype=torch.float64)
    depth = torch.ones(2, 1, 16, 16, dtype=torch.float64)
    airlight = torch.tensor([[0.9, 0.8, 0.7]], dtype=torch.float64).expand(2, -1)
    beta = torch.full((2,), thickness, dtype=torch.float64)
    y = depth_haze(x, depth, beta, airlight)
    made = HazeInversion(**TINY).double().eval()
    with torch.no_grad():
        bias = bias_of(made)
        bias[12:16] = thickness
        for channel in range(3):
            bias[16 + 4 * channel : 20 + 4 * channel] = airlight[0, channel] - 0.8
    torch.testing.assert_close(made(y), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 8])
def test_means_leave_nothing_of_a_grid(side: int) -> None:
    grid = images(1, 2, side, side).repeat(1, 1, 6, 6)
    inner = _means(grid, side)[..., side:-side, side:-side]
    torch.testing.assert_close(inner, grid.mean((2, 3), keepdim=True).expand_as(inner))
    slope = torch.arange(40.0).expand(1, 1, 40, -1)
    torch.testing.assert_close(_means(slope, side)[..., 8:-8], slope[..., 8:-8])


def test_learns_a_haze() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = HazeInversion(**TINY).train()
    x = images(4, 3, 32, 32)
    y = depth_haze(x, torch.ones(4, 1, 32, 32), torch.full((4,), 0.7), torch.full((4, 3), 0.9))
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = (made(y) - x).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_every_parameter_learns() -> None:
    made = network().train()
    made(images(1, 3, 32, 32)).square().mean().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@given(n=st.integers(2, 4), h=st.integers(1, 4), w=st.integers(1, 4))
def test_images_of_a_batch_do_not_touch(n: int, h: int, w: int) -> None:
    made = network().double()
    y = images(n, 3, 8 * h, 8 * w, dtype=torch.float64)
    together = made(y)
    for i in range(n):
        torch.testing.assert_close(together[i : i + 1], made(y[i : i + 1]), rtol=0, atol=1e-12)


def test_bf16_is_close() -> None:
    made = network(std=0.05)
    y = images(1, 3, 32, 32)
    full = made(y)
    with torch.autocast("cpu", torch.bfloat16):
        half = made(y)
    assert half.dtype == torch.float32
    assert (full - y).abs().mean() > 0.05
    assert (half - full).abs().mean() < 0.01


@pytest.mark.parametrize("arguments", [{}, {"shrink": 4}, {"shrink": 1, "unshuffle": 1}])
def test_sees_as_far_as_it_says(arguments: dict[str, Any]) -> None:
    made = network(std=0.3, **arguments).double().train()
    with torch.no_grad():  # neither thickness nor airlight at the end of its range
        made.small.head.weight.mul_(0.02)
        bias_of(made).mul_(0.02)
    assert made.receptive_field is not None
    step, reach = made.multiple_of, made.receptive_field // 2
    side = -(-(2 * reach + 4 * step) // step) * step
    y = images(1, 3, side, side, dtype=torch.float64).requires_grad_()
    x_hat = made(y)
    farthest = 0
    for place in range(side // 2 // step * step, side // 2 // step * step + step):
        (gradient,) = torch.autograd.grad(x_hat[0, 0, place, place], y, retain_graph=True)
        touched = gradient[0].abs().amax(dim=(0, 1)).nonzero()
        assert int(touched.min()) > 0
        assert int(touched.max()) < side - 1
        farthest = max(farthest, place - int(touched.min()), int(touched.max()) - place)
    assert farthest <= reach
    assert farthest >= 0.6 * reach


@settings(max_examples=10, deadline=None)
@given(h=st.integers(60, 200), w=st.integers(60, 200), tile=st.integers(48, 96))
def test_tiles_are_the_whole(h: int, w: int, tile: int) -> None:
    made = network(std=0.2)
    y = images(1, 3, h, w, seed=h * w)
    with torch.no_grad():
        whole = restore_whole(made, y)
        tiled = restore_tiled(made, y, tile=tile)
    assert (whole - y).abs().max() > 0.1
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-4)


def test_its_graph_agrees(tmp_path: Path) -> None:
    made = network()
    arguments: dict[str, JSON] = {"widths": [4, 6], "blocks": [1, 1], "shrink": 2}
    info = dataclasses.replace(read_info(shipped_file("dehaze")), arguments=arguments)
    path = tmp_path / "small.onnx"
    export_onnx(made, info, path)
    y = images(1, 3, 43, 48)
    restored = restore_images(open_graph(path), y)
    torch.testing.assert_close(restored, restore_whole(made, y), rtol=0, atol=1e-4)


@pytest.mark.parametrize("arguments", [{"shrink": 0}, {"channels": 0}, {"shrink": 1.5}])
def test_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ShapeError):
        HazeInversion(**(TINY | arguments))


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 12, 16), (1, 3, 0, 0)])
def test_images_it_cannot_take(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        network()(torch.zeros(shape))
