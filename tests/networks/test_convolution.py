import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from physgan.networks import PatchDiscriminator, ResNetGenerator, UNet, channels_last, winograd
from physgan.networks.convolution import Conv2d, ConvTranspose2d


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@settings(max_examples=40)
@given(
    n=st.integers(1, 3),
    c=st.integers(1, 3),
    k=st.integers(1, 3),
    height=st.integers(3, 17),
    width=st.integers(3, 17),
    padding=st.integers(0, 2),
    at_once=st.integers(1, 9),
)
def test_winograd_is_convolution(
    n: int, c: int, k: int, height: int, width: int, padding: int, at_once: int
) -> None:
    x, weight = noise(n, c, height, width).requires_grad_(), noise(k, c, 3, 3).requires_grad_()
    expected = F.conv2d(x, weight, padding=padding)
    g = torch.cos(expected.detach() * 7)
    expected_x, expected_weight = torch.autograd.grad(expected, (x, weight), g)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(winograd, "_AT_ONCE", at_once)
        result = winograd.convolve(x, weight, padding)
        dx, dw = winograd.gradients(g, x, weight, padding, of_x=True, of_weight=True)
        only_x = winograd.gradients(g, x, weight, padding, of_x=True, of_weight=False)
        only_weight = winograd.gradients(g, x, weight, padding, of_x=False, of_weight=True)
    torch.testing.assert_close(result, expected.detach())
    torch.testing.assert_close(dx, expected_x)
    torch.testing.assert_close(dw, expected_weight)
    torch.testing.assert_close(only_x, (dx, None))
    torch.testing.assert_close(only_weight, (None, dw))


LAYERS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "winograd": ((64, 80, 3), {"padding": 1}),
    "winograd, mirrored": ((64, 64, 3), {"padding": 1, "padding_mode": "reflect"}),
    "winograd without bias": ((64, 70, 3), {"bias": False}),
    "strided": ((64, 64, 4), {"stride": 2, "padding": 1}),
    "uneven": ((64, 64, (1, 3)), {"stride": (1, 2), "padding": (0, 1)}),
    "pointwise": ((64, 96, 1), {}),
    "transposed": ((64, 64, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "narrow": ((48, 3, 3), {"padding": 1}),
    "groups": ((128, 128, 3), {"groups": 2}),
    "dilated": ((64, 64, 3), {"dilation": 2}),
    "same": ((64, 64, 3), {"padding": "same"}),
}


def made(layer: str) -> tuple[nn.Module, nn.Module]:
    """torch's layer, and ours with its weights and channels last."""
    arguments, options = LAYERS[layer]
    transposed = layer == "transposed"
    theirs = (nn.ConvTranspose2d if transposed else nn.Conv2d)(*arguments, **options)
    ours = (ConvTranspose2d if transposed else Conv2d)(*arguments, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, channels_last(ours)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("n", [1, 2])
def test_equals_the_library(layer: str, n: int) -> None:
    theirs, ours = made(layer)
    theirs.double()
    channels = next(ours.parameters()).shape[0 if isinstance(ours, ConvTranspose2d) else 1]
    channels *= getattr(ours, "groups", 1)
    x = noise(n, channels, 23, 26, dtype=torch.float32)  # 42 tiles of Winograd's way
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    wide = x.detach().double().requires_grad_()
    y, expected = ours(x), theirs(wide)
    g = torch.cos(expected.detach())
    found = torch.autograd.grad(y, (x, *ours.parameters()), g.float())
    sought = torch.autograd.grad(expected, (wide, *theirs.parameters()), g)
    assert y.is_contiguous(memory_format=torch.channels_last)
    for ours_is, theirs_is in zip((y, *found), (expected, *sought), strict=True):
        scale = theirs_is.square().mean().sqrt()
        torch.testing.assert_close(ours_is.double() / scale, theirs_is / scale, rtol=0, atol=6e-5)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), y.detach(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("layer", ["winograd", "strided", "transposed"])
def test_has_gradients_of_gradients(layer: str) -> None:
    theirs, ours = made(layer)
    x = noise(1, next(ours.parameters()).shape[0 if layer == "transposed" else 1], 23, 24).float()
    penalties = []
    for module in (theirs, ours):
        z = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        (slope,) = torch.autograd.grad(module(z).square().sum(), z, create_graph=True)
        slope.square().sum().backward()
        penalties.append([p.grad for p in module.parameters()])
    torch.testing.assert_close(penalties[1], penalties[0], rtol=1e-3, atol=1e-2)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet9": lambda: ResNetGenerator(width=16, blocks=2),
    "unet": lambda: UNet(widths=(64, 64), blocks=(1, 1)),
    "patchgan": lambda: PatchDiscriminator(width=16),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("n", [1, 2])
def test_a_network_has_the_gradients_that_it_has_in_double(network: str, n: int) -> None:
    # A single image with channels last once had false gradients, by a fault of torch's own
    # instance normalisation.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(n)
        ours = NETWORKS[network]()
        for p in ours.parameters():
            nn.init.normal_(p, std=0.05)
    exact = copy.deepcopy(ours).double()
    channels_last(ours)
    y = torch.rand(n, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    y = y.contiguous(memory_format=torch.channels_last)
    g = torch.cos(7 * exact(y.double()).detach())
    sought = torch.autograd.grad(exact(y.double()), list(exact.parameters()), g)
    found = torch.autograd.grad(ours(y), list(ours.parameters()), g.float())
    for (name, _), is_, should in zip(ours.named_parameters(), found, sought, strict=True):
        # A bias before normalisation has a gradient of nothing but rounding.
        scale = should.abs().max() + 1e-3 * max(s.abs().max() for s in sought)
        assert ((is_ - should).abs().max() / scale) < 2e-3, name


@pytest.mark.parametrize("layer", ["winograd", "strided", "transposed"])
@pytest.mark.parametrize("size", [(24, 24), (25, 22), (8, 8)])
def test_results_may_be_changed_in_place(layer: str, size: tuple[int, int]) -> None:
    theirs, ours = made(layer)
    x = noise(1, 64, *size).float().contiguous(memory_format=torch.channels_last)
    found = nn.Sequential(ours, nn.ReLU(inplace=True))(x)
    torch.testing.assert_close(found, F.relu(theirs(x)), rtol=0, atol=1e-4)
    found.sum().backward()
    assert next(ours.parameters()).grad is not None


def test_transforms_and_tracers_see_through() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = channels_last(ResNetGenerator(width=16, blocks=1).eval())
    y = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    y = y.contiguous(memory_format=torch.channels_last)
    weights: Mapping[str, Tensor] = dict(network.named_parameters())

    def loss(weights: Mapping[str, Tensor]) -> Tensor:
        result: Tensor = torch.func.functional_call(network, dict(weights), (y,)).square().sum()
        return result

    found = torch.func.grad(loss)(weights)
    sought = torch.autograd.grad(loss(weights), list(weights.values()))
    for name, expected in zip(weights, sought, strict=True):
        torch.testing.assert_close(found[name], expected, rtol=1e-2, atol=1e-2)
    back = torch.func.vjp(network, y)[1]
    assert back(torch.ones_like(y))[0].shape == y.shape


def test_inputs_that_are_too_small_or_none() -> None:
    _, layer = made("winograd without bias")
    with pytest.raises(RuntimeError, match=r"[Kk]ernel size"):
        layer(noise(1, 64, 2, 5).float().contiguous(memory_format=torch.channels_last))
    empty = layer(torch.zeros(0, 64, 5, 5).contiguous(memory_format=torch.channels_last))
    assert empty.shape == (0, 70, 3, 3)


def test_tracing_leaves_nothing_behind() -> None:
    winograd._made.clear()
    with FakeTensorMode():
        winograd.convolve(torch.rand(1, 2, 5, 5), torch.rand(3, 2, 3, 3))
    assert winograd.convolve(torch.rand(1, 2, 5, 5), torch.rand(3, 2, 3, 3)).shape == (1, 3, 3, 3)


def test_compiles_to_the_library() -> None:
    exported = torch.export.export(
        made("winograd")[1].eval(),
        (noise(1, 64, 24, 24).float().contiguous(memory_format=torch.channels_last),),
    )
    names = [str(node.target) for node in exported.graph.nodes]
    assert any("conv2d" in name for name in names)
    assert not any("bmm" in name for name in names)


@pytest.mark.parametrize(
    ("shape", "quick"),
    [
        ((1, 64, 24, 20), False),
        ((1, 64, 24, 21), True),
        ((8, 64, 8, 8), True),
        ((2, 64, 2, 2), False),
    ],
)
def test_winograd_s_way_needs_many_tiles(
    shape: tuple[int, ...], quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.Size] = []
    convolve = winograd.convolve

    def counted(x: Tensor, weight: Tensor, padding: int) -> Tensor:
        asked.append(x.shape)
        return convolve(x, weight, padding)

    monkeypatch.setattr(winograd, "convolve", counted)
    theirs, ours = made("winograd")
    x = noise(*shape).float().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-4)
    assert bool(asked) == quick
