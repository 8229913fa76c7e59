import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physgan.errors import ShapeError
from physgan.networks import GENERATORS, ResNetGenerator, init_normal
from physgan.resize import bicubic
from physgan.restore.page import enlarged
from physgan.restore.whole import restore_whole
from physgan.types import RestoreFn
from physgan.weights import WeightsInfo, load_weights, save_weights
from tests.networks.cyclegan import CycleGan, parameters_in_order, randomise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**arguments: int) -> ResNetGenerator:
    return init_normal(
        ResNetGenerator(**{"width": 4, "blocks": 2, **arguments}), generator=seeded(), std=0.2
    )


def images(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(seed))


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_table_1() -> None:
    assert count(ResNetGenerator()) == 11_378_179


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("blocks", [0, 3, 9])
def test_arguments_change_what_they_name(channels: int, blocks: int) -> None:
    width = 6
    network = ResNetGenerator(channels=channels, width=width, blocks=blocks)
    block = 2 * (4 * width * 4 * width * 9 + 4 * width)
    outer = channels * width * 49 + width + width * channels * 49 + channels
    down = (width * 2 * width * 9 + 2 * width) + (2 * width * 4 * width * 9 + 4 * width)
    up = (4 * width * 2 * width * 9 + 2 * width) + (2 * width * width * 9 + width)
    assert count(network) == outer + down + blocks * block + up


def test_is_a_restorer() -> None:
    network: RestoreFn = small(channels=2, scale=3)
    assert isinstance(network, RestoreFn)
    assert (network.channels, network.scale, network.multiple_of) == (2, 3, 4)
    assert network.receptive_field is not None  # besides its statistics
    assert network.global_statistics


@pytest.mark.parametrize(("channels", "width", "blocks"), [(3, 8, 9), (1, 5, 2), (3, 4, 0)])
def test_equals_cyclegan(channels: int, width: int, blocks: int) -> None:
    reference = CycleGan(channels=channels, width=width, blocks=blocks).double()
    randomise(reference, seed=3)
    network = ResNetGenerator(channels=channels, width=width, blocks=blocks).double()
    ours, theirs = parameters_in_order(network), parameters_in_order(reference)
    for mine, other in zip(ours, theirs, strict=True):
        mine.copy_(other)
    y = images(2, channels, 24, 36).double()
    torch.testing.assert_close(network(y), reference.restore(y), rtol=0, atol=1e-12)


@given(
    height=st.integers(2, 8),
    width=st.integers(2, 8),
    scale=st.integers(1, 3),
    channels=st.integers(1, 4),
    n=st.integers(1, 3),
)
def test_any_multiple_of_four(height: int, width: int, scale: int, channels: int, n: int) -> None:
    network = ResNetGenerator(channels=channels, width=2, blocks=1, scale=scale)
    init_normal(network, generator=seeded(), std=0.5)
    with torch.no_grad():
        x_hat = network(images(n, channels, 4 * height, 4 * width))
    assert x_hat.shape == (n, channels, 4 * height * scale, 4 * width * scale)
    assert x_hat.dtype == torch.float32
    assert 0 <= x_hat.min() < x_hat.max() <= 1


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 6, 8, 12])
def test_multiple_of_is_no_larger_than_the_enlarged_needs(scale: int) -> None:
    network = small(scale=scale)
    step = network.multiple_of
    # The least multiple of which the enlarged is one of 4.
    assert step == min(n for n in range(1, 5) if n * scale % 4 == 0)
    side = step * math.ceil(8 / scale / step)
    shape = (1, 3, side * scale, side * scale)
    assert network(images(1, 3, side, side)).shape == shape
    for wrong in {side - step, side + 1} - {side + step}:
        with pytest.raises(ShapeError, match="size of the images"):
            network(images(1, 3, side, max(wrong, 0)))


def test_output_stays_in_range_at_saturation() -> None:
    network = init_normal(ResNetGenerator(width=4, blocks=1), generator=seeded(), std=20)
    x_hat = network(images(1, 3, 16, 16))
    assert x_hat.min() == 0
    assert x_hat.max() == 1


def test_by_4_it_is_the_plain_network_on_the_enlarged_picture() -> None:
    """The paper's super-resolution; the picture is what the result is measured against."""
    large, plain = small(scale=4), small(scale=1)
    y = images(2, 3, 9, 13).round()  # edges overshoot
    assert bicubic(y, up=4).min() < 0
    torch.testing.assert_close(large(y), plain(enlarged(y, 4)), rtol=0, atol=0)
    # No side is padded, so the statistics are those of the picture.
    torch.testing.assert_close(
        restore_whole(large, images(1, 3, 17, 19)), large(images(1, 3, 17, 19))
    )


def test_by_4_it_comes_back_from_a_file(tmp_path: Path) -> None:
    network, path = small(scale=4), tmp_path / "w.safetensors"
    arguments = {"channels": 3, "width": 4, "blocks": 2, "scale": 4}
    info = WeightsInfo(
        architecture="resnet9",
        arguments=arguments,
        channels=3,
        scale=4,
        recipe={},
        commit="0123abc",
        data="random numbers",
        licence="CC0-1.0",
        measured=[],
    )
    save_weights(path, network.state_dict(), info, dtype=None)
    loaded, read = load_weights(path)
    assert read == info
    y = images(1, 3, 6, 7)
    assert torch.equal(loaded(y), network(y))
    attributes = (loaded.scale, loaded.multiple_of, loaded.receptive_field)
    assert attributes == (4, 1, network.receptive_field)
    assert loaded.global_statistics
    # Enlargement has no weights: those of a network that does not enlarge fit.
    assert small(scale=1).state_dict().keys() == loaded.state_dict().keys()


def test_gradients_pass_the_enlargement() -> None:
    y = images(1, 3, 4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(small(scale=4)(y).square().sum(), y)
    assert (gradient != 0).all()


def test_images_do_not_feel_each_other() -> None:
    network = small().double()
    y = images(3, 3, 16, 20).double()
    alone = torch.cat([network(image[None]) for image in y])
    torch.testing.assert_close(network(y), alone, rtol=0, atol=1e-12)


def test_evaluation_and_training_agree() -> None:
    network, y = small(), images(2, 3, 16, 16)
    torch.testing.assert_close(network.train()(y), network.eval()(y), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((3, 16, 16), "dimensions"),
        ((1, 1, 16, 16), "channels"),
        ((1, 3, 16, 18), "size"),
        ((1, 3, 15, 16), "size"),
        ((1, 3, 4, 16), "size"),
        ((1, 3, 16, 0), "size"),
    ],
)
def test_wrong_shapes_are_named(shape: tuple[int, ...], part: str) -> None:
    with pytest.raises(ShapeError, match=part):
        small()(torch.zeros(shape))


def test_integers_are_refused() -> None:
    with pytest.raises(ShapeError, match="uint8"):
        small()(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


@pytest.mark.parametrize("name", ["channels", "width", "blocks", "scale"])
@pytest.mark.parametrize("value", [-1, 2.0, True])
def test_wrong_arguments_are_named(name: str, value: int) -> None:
    with pytest.raises(ShapeError, match=name):
        ResNetGenerator(**{name: value})


def test_bf16_autocast_is_close() -> None:
    network, y = small(), images(2, 3, 32, 32)
    exact = network(y)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(y)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert (rough - exact).abs().mean() < 0.01


@pytest.mark.parametrize("scale", [1, 4])
def test_compiles_in_one_graph_for_any_size(scale: int) -> None:
    network = small(scale=scale)
    compiled = torch.compile(network, backend="eager", fullgraph=True, dynamic=True)
    for side in (16, 24, 20):
        y = images(1, 3, side, 16)
        torch.testing.assert_close(compiled(y), network(y))


def test_gradients_reach_every_weight() -> None:
    network = small()
    network(images(1, 3, 16, 16)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # A bias before instance normalisation is taken away again.
        assert name.endswith("bias") or parameter.grad.abs().max() > 0, name


def test_the_table_names_it() -> None:
    assert GENERATORS["resnet9"] is ResNetGenerator
    with pytest.raises(TypeError):
        GENERATORS["mine"] = ResNetGenerator  # type: ignore[index]
