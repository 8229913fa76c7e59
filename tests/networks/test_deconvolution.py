"""Blind deconvolution: what the kernel and its inverse are worth, and the network around them."""

import math
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.errors import WeightsError
from physgan.export.onnx import export_onnx
from physgan.networks import BlindDeconvolution, UNet, deconvolution
from physgan.networks.deconvolution import blur_by_edges, deconvolved, kernel_by_looks, unexplained
from physgan.networks.estimation import centred, estimated_kernel
from physgan.networks.grid import without_grid
from physgan.networks.window import steepest
from physgan.physics.blur import blur
from physgan.physics.shake import ShakeKernels
from physgan.restore.page import restore_images
from physgan.restore.restorer import Restorer
from physgan.restore.strips import by_window
from physgan.restore.tiled import restore_tiled
from physgan.restore.whole import restore_whole
from physgan.types import Conditional, RestoreFn
from physgan.weights.file import WeightsInfo
from physgan.weights.onnx import open_graph

TINY: dict[str, Any] = {"widths": (4, 6), "blocks": (1, 1), "side": 9}


def strokes(n: int, size: int, seed: int = 0) -> Tensor:
    """Black on white: N×3×size×size with edges of all directions."""
    draws = Generator().manual_seed(seed)
    noise = F.avg_pool2d(torch.randn(n, 1, size + 4, size + 4, generator=draws), 5, 1)
    return (noise > 0.1).float().expand(-1, 3, -1, -1).contiguous()


def shaken(x: Tensor, *, noise: float = 0.005, size: int = 13) -> tuple[Tensor, Tensor]:
    draws = Generator().manual_seed(5)
    kernel = ShakeKernels(size=(size, size)).sample(x, generator=draws)["kernel"]
    y = blur(x, kernel, boundary="reflect")
    return (y + noise * torch.randn(y.shape, generator=draws)).clamp(0, 1), kernel


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * math.log10(float((a - b).square().mean()))


def network(**changes: Any) -> BlindDeconvolution:
    """A small network with weights that let every pixel of its receptive field matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = BlindDeconvolution(**(TINY | changes)).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.normal_(0, 0.2)
    return made


def gentle(made: BlindDeconvolution, share: float = 0.02) -> BlindDeconvolution:
    """With looks that have something to do with the picture, so that a kernel explains it."""
    with torch.no_grad():
        for head in (made.head, made.trust, made.doubt, made.first.head):
            for parameter in head.parameters():
                parameter.mul_(share)
    return made


def header(**arguments: Any) -> WeightsInfo:
    return WeightsInfo(
        architecture="blind_deconvolution",
        arguments=arguments,
        channels=3,
        scale=1,
        recipe={"name": "small"},
        commit="none",
        data="nothing",
        licence="CC0-1.0",
        measured={},
    )


# ---------------------------------------------------------------- the kernel


def test_the_kernel_is_found_from_the_clear_picture() -> None:
    x = strokes(3, 96)
    y, kernel = shaken(x)
    found = estimated_kernel(x, y, side=21)
    assert found.shape == (3, 21, 21)
    assert torch.allclose(found.sum(dim=(1, 2)), torch.ones(3))
    assert float(found.min()) >= 0
    rest = (21 - kernel.shape[-1]) // 2
    wanted = F.pad(kernel, (rest,) * 4)
    assert float((found - wanted).norm() / wanted.norm()) < 0.15


def test_what_is_sharp_has_a_kernel_that_changes_nothing() -> None:
    x = strokes(2, 80)
    found = estimated_kernel(x, x, side=15)
    assert float(found[:, 7, 7].min()) > 0.99


@pytest.mark.parametrize("size", [8, 29, 64])
def test_where_nothing_can_be_told_the_kernel_changes_nothing(size: int) -> None:
    y = torch.full((2, 3, size, size), 0.4)
    found = estimated_kernel(y, y, side=15)
    assert torch.equal(found.sum(dim=(1, 2)), torch.ones(2))
    assert torch.equal(found[:, 7, 7], torch.ones(2))


def test_the_middle_of_a_kernels_light_is_moved_to_the_middle() -> None:
    draws = Generator().manual_seed(2)
    kernel = torch.rand(4, 15, 15, generator=draws)
    kernel[2] = F.pad(torch.ones(1, 1), (3, 11, 12, 2))
    kernel[3] = F.pad(torch.ones(1, 1), (7, 7, 7, 7))
    kernel /= kernel.sum(dim=(1, 2), keepdim=True)
    found, at = centred(kernel), torch.arange(15) - 7.0
    assert torch.allclose(found.sum(dim=(1, 2)), torch.ones(4))
    # Whole pixels leave all samples as they were.
    assert torch.allclose(found[2], kernel[3], atol=1e-5)
    assert torch.equal(found[3], kernel[3])
    blob = F.pad(kernel[:2, 4:9, 4:9], (4, 6, 7, 3))
    blob /= blob.sum(dim=(1, 2), keepdim=True)
    for dim in (1, 2):
        assert float((centred(blob).sum(dim=dim) * at).sum(dim=1).abs().max()) < 1e-4


def test_what_is_restored_stands_where_it_was_seen() -> None:
    x = strokes(2, 96)
    y, _ = shaken(x)
    beside = x.roll(2, -1)
    at = torch.arange(15) - 7.0
    drifted = estimated_kernel(beside, y, side=15).sum(dim=1) @ at
    assert float(drifted.abs().min()) > 1
    kernel = kernel_by_looks(y, beside, lambda kernel: beside, side=15)
    assert float((kernel.sum(dim=1) @ at).abs().max()) < 0.2


def test_each_picture_has_its_own() -> None:
    x = strokes(3, 64)
    y, _ = shaken(x)
    together = estimated_kernel(x, y, side=15)
    apart = torch.cat([estimated_kernel(x[i : i + 1], y[i : i + 1], side=15) for i in range(3)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(27, 40), (31, 29), (48, 48)])
def test_the_kernel_is_that_of_the_written_out_regression(height: int, width: int) -> None:
    """Nothing that wraps around in the transforms counts; the steps suffice."""
    x = strokes(1, 48)[..., :height, :width]
    y, _ = shaken(x, size=5)
    found = estimated_kernel(x, y, side=9)[0]
    assert float((found - _regression(x, y, 9)).abs().max()) < 2e-3


def _regression(x: Tensor, y: Tensor, side: int) -> Tensor:
    """What `estimated_kernel` promises, with a column for each sample of the kernel."""
    reach = side // 2
    clear, seen = (
        [grey[1:, :-1] - grey[:-1, :-1], grey[:-1, 1:] - grey[:-1, :-1]]
        for grey in (u[0].double().mean(dim=0) for u in (x, y))
    )
    rows, columns = seen[0].shape
    lags = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]

    def under(slopes: list[Tensor], i: int, j: int) -> Tensor:
        row, column = slice(reach - i, rows - reach - i), slice(reach - j, columns - reach - j)
        return torch.cat([slope[row, column].flatten() for slope in slopes])

    design = torch.stack([under(clear, i, j) for i, j in lags], dim=1)
    ridge = 3e-3 * under(clear, 0, 0).square().sum() * torch.eye(side * side, dtype=torch.float64)
    normal = design.T @ design + ridge
    kernel: Tensor = torch.linalg.solve(normal, design.T @ under(seen, 0, 0))
    kernel = kernel.reshape(side, side)
    kernel = kernel * (2 * kernel / (0.05 * kernel.max()) - 1).clamp(0, 1)
    return (kernel / kernel.sum()).float()


# ---------------------------------------------------------------- its inverse


def test_the_inverse_sharpens() -> None:
    x = strokes(3, 128)
    y, kernel = shaken(x)
    z = deconvolved(y, kernel)
    assert z.shape == (3, 6, 128, 128)
    inner = (..., slice(32, -32), slice(32, -32))
    assert psnr(z[:, :3][inner].clamp(0, 1), x[inner]) > psnr(y[inner], x[inner]) + 3
    assert psnr(z[:, 3:][inner].clamp(0, 1), x[inner]) > psnr(y[inner], x[inner]) + 1


def test_what_is_sharp_stays() -> None:
    x = strokes(1, 64)
    kernel = F.pad(torch.ones(1, 1, 1), (4,) * 4)
    smooth = F.avg_pool2d(F.pad(x, (3,) * 4, mode="reflect"), 7, 1)
    assert psnr(deconvolved(smooth, kernel)[:, :3], smooth) > 40


def test_light_is_kept() -> None:
    _, kernel = shaken(strokes(1, 40))
    grey = torch.full((1, 3, 40, 40), 0.3)
    assert torch.allclose(deconvolved(grey, kernel), torch.tensor(0.3), atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (16, 200)])
def test_pictures_smaller_than_the_filter(height: int, width: int) -> None:
    kernel = torch.full((1, 9, 9), 1 / 81)
    assert deconvolved(torch.rand(1, 3, height, width), kernel).shape == (1, 6, height, width)


# ---------------------------------------------------------------- what it leaves unexplained

TIE = (0.1, 1e4)


def test_what_explains_the_observation_is_nearer_to_the_clear_picture() -> None:
    x = strokes(3, 128)
    y, kernel = shaken(x, noise=0.002)
    near = F.avg_pool2d(F.pad(x, (1,) * 4, mode="reflect"), 3, 1)
    found = near + unexplained(near, y, kernel, torch.full((3,), 0.002), tie=TIE)
    inner = (..., slice(32, -32), slice(32, -32))
    assert psnr(found[inner].clamp(0, 1), x[inner]) > psnr(near[inner], x[inner]) + 1
    rest, left = ((y - blur(u, kernel, boundary="reflect"))[inner] for u in (near, found))
    assert float(left.square().mean()) < 0.5 * float(rest.square().mean())


@pytest.mark.parametrize(
    ("tie", "noise", "share"),
    [(TIE, 0.0, 0.06), (TIE, 0.02, 4e-3), ((0.3, 3e4), 0.0, 0.02), ((3.0, 0.0), 0.0, 3e-3)],
)
def test_it_is_the_least_squares_move(tie: tuple[float, float], noise: float, share: float) -> None:
    y, kernel = shaken(strokes(2, 240), size=25)
    kernel = F.pad(kernel, (3,) * 4)
    x = F.avg_pool2d(F.pad(strokes(2, 240), (2,) * 4, mode="reflect"), 5, 1).double()
    move = unexplained(x, y.double(), kernel, torch.full((2,), noise), tie=tie)

    def slope(move: Tensor) -> Tensor:
        rest = blur(x + move, kernel, boundary="reflect") - y
        back = blur(rest, kernel.flip(1, 2), boundary="reflect")
        return (back + max(tie[0], tie[1] * noise**2) * move)[..., 90:-90, 90:-90]

    # But for where the filter is cut, which tells the more the less is asked of it.
    assert float(slope(move).std()) < share * float(slope(torch.zeros_like(move)).std())


def test_what_explains_it_already_stays() -> None:
    x = strokes(2, 120)
    _, kernel = shaken(strokes(2, 40))
    moves = {
        boundary: unexplained(
            x, blur(x, kernel, boundary=boundary), kernel, torch.zeros(2), tie=TIE
        )
        for boundary in ("reflect", "replicate", "circular")
    }
    assert float(moves["reflect"].abs().max()) < 1e-5
    inner = (..., slice(40, -40), slice(40, -40))
    for boundary in ("replicate", "circular"):  # what is beyond is not what was thought
        assert float(moves[boundary][inner].std()) < 5e-3
        assert float(moves[boundary].std()) < 0.025


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (16, 200)])
def test_moves_of_pictures_smaller_than_the_filter(height: int, width: int) -> None:
    x, y = torch.rand(2, 1, 3, height, width, generator=Generator().manual_seed(1))
    move = unexplained(x, y, torch.full((1, 9, 9), 1 / 81), torch.zeros(1), tie=TIE)
    assert move.shape == x.shape
    assert bool(torch.isfinite(move).all())


def test_the_rim_counts_by_how_much_of_the_kernel_lies_inside() -> None:
    kernel = torch.rand(2, 5, 5, generator=Generator().manual_seed(1)).double()
    y = torch.zeros(2, 3, 7, 12).double()
    weights = kernel.flip(1, 2)[:, None]  # since convolution turns them
    for i in range(2):
        expected = F.conv2d(F.pad(y[i : i + 1, :1] + 1, (2,) * 4), weights[i : i + 1])
        found = deconvolution._inside(kernel[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(found, expected)


def test_its_blur_is_that_of_the_physics() -> None:
    x = strokes(2, 60).double()
    _, kernel = shaken(x)
    expected = blur(x, kernel, boundary="reflect")
    found = deconvolution._filtered(x, kernel[:, None], kernel.shape[-1] // 2)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_the_more_noise_the_nearer_it_stays() -> None:
    y, kernel = shaken(strokes(1, 100), noise=0.05)
    none, some, much = (
        float(unexplained(y, y, kernel, torch.full((1,), noise), tie=TIE).std())
        for noise in (0.0, 0.01, 0.05)
    )
    assert none > some > 5 * much > 0


def test_a_move_has_a_gradient_by_what_it_is_near_to() -> None:
    y, kernel = shaken(strokes(2, 12))
    kernel = kernel[:, 4:9, 4:9] / kernel[:, 4:9, 4:9].sum(dim=(1, 2), keepdim=True)
    x = (0.25 + 0.5 * y[:, :1]).double().requires_grad_()

    def found(u: Tensor) -> Tensor:
        return unexplained(u, y[:, :1].double(), kernel, torch.zeros(2), tie=TIE)

    assert torch.autograd.gradcheck(found, (x,))


# ---------------------------------------------------------------- the network


def test_it_can_ship() -> None:
    made = BlindDeconvolution()
    assert sum(p.numel() for p in made.parameters()) * 2 <= 8_000_000
    assert isinstance(made, RestoreFn)
    assert isinstance(made, Conditional)


def test_starts_as_the_identity() -> None:
    y, _ = shaken(strokes(2, 64))
    # Its kernel is that of no blur, to what the ridge of its least squares leaves.
    assert torch.allclose(BlindDeconvolution(**TINY).eval()(y), y, atol=2e-3)


def test_begins_where_a_network_of_one_look_stood() -> None:
    y, _ = shaken(strokes(1, 64))
    one = UNet(widths=(4, 6), blocks=(1, 1)).eval()
    torch.nn.init.normal_(one.head.weight, std=0.2)
    two = BlindDeconvolution(**TINY).eval()
    two.first.load_state_dict(one.state_dict())
    with torch.no_grad():
        kernel, noise = two.blur_of(y)
        x_hat, look, second = two.looks(y, kernel, noise)
        assert torch.equal(look, one.look(y))
        assert torch.equal(second, look)
        tie = deconvolution._TIE
        moved = second + unexplained(second, y, kernel, noise, tie=tie)
    assert torch.equal(x_hat, moved.clamp(0, 1))
    assert torch.equal(two(y), x_hat)


@pytest.mark.parametrize("edges", [False, True])
def test_where_the_kernel_is_doubted_the_second_look_stays(edges: bool) -> None:
    y, _ = shaken(strokes(2, 144))
    made = gentle(network(edges=edges))
    with torch.no_grad():
        weight, bias = made.doubt.parameters()
        weight.zero_()
        bias.fill_(1)
        x_hat, _, second = made.looks(y, *made.blur_of(y))
        assert torch.equal(x_hat, second.clamp(0, 1))
        bias.zero_()
        assert float((made(y) - x_hat).abs().max()) > 1e-3


@pytest.mark.parametrize("bf16", [False, True])
def test_all_weights_learn(bf16: bool) -> None:
    made = network().train()
    y, _ = shaken(strokes(2, 64))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        x_hat = made(y)
    x_hat.square().mean().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_in_training_its_kernels_come_of_the_clear_picture_too() -> None:
    made = gentle(network(edges=True)).train()
    x = strokes(2, 96)
    y, _ = shaken(x)
    assert made.guided
    assert not network().guided
    places = (0.25, 0.75)
    with torch.no_grad():
        wanted = estimated_kernel(x, y, side=9)
        far = [
            float((made._of_edges(made.first.look(y), y, clear, places)[0] - wanted)[1].norm())
            for clear in (x, y)
        ]
        assert far[0] < far[1]
        assert not torch.equal(made.forward(y, x, places), made.forward(y, y, places))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_in_training_half_of_the_kernels_are_those_that_there_will_be(n: int) -> None:
    made = gentle(network(edges=True)).train()
    x = strokes(n, 144)
    y, _ = shaken(x)
    places = [(i + 0.5) / n for i in range(n)]
    with torch.no_grad():
        look = made.first.look(y)
        together, noise = made._of_edges(look, y, x, places)
        half = -(-n // 2)
        found, measured = deconvolution.blur_by_edges(y, side=9)
        torch.testing.assert_close(together[:half], found[:half], atol=1e-3, rtol=1e-2)
        assert not torch.allclose(together[half:], found[half:], atol=1e-2) or half == n
        torch.testing.assert_close(noise, measured)
        for i in range(n):  # in parts as together
            one = slice(i, i + 1)
            apart, of_it = made._of_edges(look[one], y[one], x[one], places[one])
            torch.testing.assert_close(of_it, noise[one])
            torch.testing.assert_close(apart, together[one], atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("edges", [False, True])
def test_a_batch_is_its_pictures(edges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deconvolution, "_ENOUGH", 0)
    made = gentle(network(edges=edges, gridless=edges))
    y, _ = shaken(strokes(3, 64))
    with torch.inference_mode():
        apart = torch.cat([made(one[None]) for one in y])
        assert float((made(y) - apart).abs().max()) < 1e-4


@settings(max_examples=8)
@given(height=st.integers(40, 200), width=st.integers(40, 200), n=st.integers(1, 2))
def test_tiles_equal_the_whole(height: int, width: int, n: int) -> None:
    fn = network().double()
    fn.window = 72  # beyond it the kernel is that of a part
    y = shaken(strokes(n, 200))[0].double()[:, :, :height, :width]
    whole, tiled = restore_whole(fn, y), restore_tiled(fn, y, tile=32)
    # The kernel is found in single precision, of one window on both ways.
    assert float((tiled - whole).abs().max()) < 1e-6
    assert float((whole - y).abs().max()) > 1e-2


@pytest.mark.parametrize("gridless", [False, True])
def test_tiles_equal_the_whole_by_strong_edges_too(gridless: bool) -> None:
    fn = network(edges=True, gridless=gridless).double()
    fn.window = 72
    y = shaken(strokes(2, 200))[0].double()[..., :150]
    assert float((restore_tiled(fn, y, tile=32) - restore_whole(fn, y)).abs().max()) < 1e-6


@pytest.mark.parametrize("gridless", [False, True])
def test_the_declared_receptive_field_is_the_measured_one(gridless: bool) -> None:
    fn = network(edges=True, gridless=gridless).double()
    y = shaken(strokes(1, 256))[0].double().requires_grad_()
    conditioned = fn.conditioned(y)
    with torch.no_grad():
        for parameter in fn.parameters():
            parameter.abs_()  # so that no way through the network is cut off
    fn.train()  # without clamping
    farthest = 0
    for at in range(128, 136):
        (slope,) = torch.autograd.grad(conditioned(y)[0, :, at, at].sum(), y)
        there = slope.abs().amax(dim=(0, 1)) > 1e-11 * float(slope.abs().max())
        for dim in (0, 1):
            reached = there.any(dim=dim).nonzero()
            farthest = max(farthest, at - int(reached.min()), int(reached.max()) - at)
    assert fn.receptive_field is not None
    assert 0.7 * (fn.receptive_field // 2) <= farthest <= fn.receptive_field // 2


def test_a_margin_too_small_would_show() -> None:
    fn = network().double()
    y = shaken(strokes(1, 200))[0].double()
    whole = restore_whole(fn, y)
    fn.receptive_field = 25
    assert float((restore_tiled(fn, y, tile=32) - whole).abs().max()) > 1e-4


def test_restorers_cut_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("physgan.restore.device.has_bf16", lambda device: False)
    y = shaken(strokes(1, 160))[0]
    fn = gentle(network())
    fn.window = 72
    restorer = Restorer(fn, None, device="cpu")
    whole = restorer(y)
    monkeypatch.setattr("physgan.restore.page.SMALL", 0)
    monkeypatch.setattr("physgan.restore.page.surely_fits", lambda fn, pixels: False)
    monkeypatch.setattr("physgan.restore.page.pixels_at_once", lambda fn: 120 * 120)
    assert float((restorer(y) - whole).abs().max()) < 1e-4


@pytest.mark.parametrize("size", [(200, 184), (24, 200), (200, 24)])
@pytest.mark.parametrize("edges", [False, True])
def test_what_is_taken_of_the_whole_is_in_its_window(edges: bool, size: tuple[int, int]) -> None:
    fn = gentle(network(edges=edges))
    fn.window = 152
    y = shaken(strokes(1, 200))[0][..., : size[0], : size[1]]
    window = steepest(y, fn.window)
    assert window.shape != y.shape
    assert torch.equal(fn.conditioned(window)(y), fn.conditioned(y)(y))


def test_a_grid_is_taken_out_of_the_result_if_wanted() -> None:
    made = gentle(network(edges=True))
    y, _ = shaken(strokes(1, 144))
    with torch.no_grad():
        kernel, noise = made.blur_of(y)
        look = made.first.look(y)
        second, holds = made._second(y, look, kernel, noise)
        made.gridless = True
        wanted = without_grid(second), 1 - without_grid(1 - holds)
        torch.testing.assert_close(made._second(y, look, kernel, noise), wanted)


def test_the_more_noise_the_less_is_inverted() -> None:
    x = 0.4 + 0.2 * strokes(1, 160)  # as faint as the slopes of photographs
    y, kernel = shaken(x, noise=0.08)
    blind, aware = (
        deconvolved(y, kernel, noise) for noise in (None, torch.tensor([0.08 / 3**0.5]))
    )
    for one, other in zip(blind.split(3, dim=1), aware.split(3, dim=1), strict=True):
        assert psnr(other, x) > psnr(one, x) + 1
    slight = deconvolved(y, kernel, torch.zeros(1))
    assert torch.equal(slight, blind)


def test_small_pictures_have_too_few_edges() -> None:
    y, _ = shaken(strokes(2, 160))
    kernel = blur_by_edges(y[..., :96, :120], side=9)[0]
    assert torch.equal(kernel[:, 4, 4], torch.ones(2))
    assert torch.equal(kernel.sum(dim=(1, 2)), torch.ones(2))
    assert float(blur_by_edges(y, side=9)[0][:, 4, 4].max()) < 0.9
    assert blur_by_edges(y[..., :1, :1], side=9)[0].shape == (2, 9, 9)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("edges", [False, True])
def test_graphs_are_given_kernels(tmp_path: Path, edges: bool, half: bool) -> None:
    made = gentle(network(edges=edges, gridless=edges), 0.004)  # or kernels turn on the last digit
    info = header(widths=[4, 6], blocks=[1, 1], edges=edges, gridless=edges)
    export_onnx(made, info, tmp_path / "graph.onnx", half=half)  # raises unless it agrees
    y = shaken(strokes(1, 200))[0]
    whole = restore_whole(made, y)
    graph = open_graph(tmp_path / "graph.onnx")
    assert by_window(graph, 3) == made.window  # large files in strips
    for tile in (None, 64):
        restored = restore_images(graph, y, tile=tile)
        assert float((restored - whole).abs().max()) < (1e-2 if half else 1e-4)
    assert float((whole - y).abs().mean()) > 1e-3

    earlier = onnx.load(tmp_path / "graph.onnx")
    earlier.graph.output.pop()
    onnx.save(earlier, tmp_path / "earlier.onnx")
    with pytest.raises(WeightsError, match="Export the weights again"):
        open_graph(tmp_path / "earlier.onnx")
