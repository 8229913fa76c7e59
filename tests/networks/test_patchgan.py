import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from physgan.errors import ShapeError
from physgan.networks import DISCRIMINATORS, InstanceNorm, PatchDiscriminator, init_normal
from tests.networks.cyclegan import parameters_in_order, randomise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(**arguments: int) -> PatchDiscriminator:
    return init_normal(PatchDiscriminator(**{"width": 4, **arguments}), generator=seeded(), std=0.2)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=seeded(1))


def test_parameters_of_table_1() -> None:
    network = PatchDiscriminator()
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_764_737


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_sequence_of_isola(channels: int) -> None:
    w = 4
    reference = nn.Sequential(
        *(nn.Conv2d(channels, w, 4, 2, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(w, 2 * w, 4, 2, 1), nn.InstanceNorm2d(2 * w), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(2 * w, 4 * w, 4, 2, 1), nn.InstanceNorm2d(4 * w), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(4 * w, 8 * w, 4, 1, 1), nn.InstanceNorm2d(8 * w), nn.LeakyReLU(0.2)),
        nn.Conv2d(8 * w, 1, 4, 1, 1),
    ).double()
    randomise(reference, seed=4)
    network = PatchDiscriminator(channels=channels, width=w).double()
    ours, theirs = parameters_in_order(network), parameters_in_order(reference)
    for mine, other in zip(ours, theirs, strict=True):
        mine.copy_(other)
    x = images(2, channels, 40, 50).double()
    torch.testing.assert_close(network(x), reference(2 * x - 1), rtol=0, atol=1e-12)


def test_receptive_field_is_70() -> None:
    network = small().double()
    # Instance normalisation spreads over the whole image; what is measured is the convolutions.
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, InstanceNorm):
                setattr(module, name, nn.Identity())
    x = images(1, 3, 144, 144).double().requires_grad_()
    scores = network(x)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert x.grad is not None
    felt = x.grad.abs().amax(dim=(0, 1)) > 0
    for along in (0, 1):
        at = felt.any(dim=along).nonzero().flatten()
        assert int(at[-1] - at[0]) + 1 == 70


@given(height=st.integers(24, 60), width=st.integers(24, 60), n=st.integers(1, 3))
def test_shape_of_the_scores(height: int, width: int, n: int) -> None:
    scores = small(width=2)(images(n, 3, height, width))
    assert scores.shape == (n, 1, height // 8 - 2, width // 8 - 2)


def test_scores_are_unbounded() -> None:
    scores = init_normal(PatchDiscriminator(width=4), generator=seeded(), std=2)(
        images(1, 3, 64, 64)
    )
    assert scores.min() < -1
    assert scores.max() > 1


def test_images_do_not_feel_each_other() -> None:
    network, x = small().double(), images(3, 3, 32, 40).double()
    alone = torch.cat([network(image[None]) for image in x])
    torch.testing.assert_close(network(x), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((3, 64, 64), "dimensions"),
        ((1, 1, 64, 64), "channels"),
        ((1, 3, 23, 64), "size"),
        ((1, 3, 64, 23), "size"),
    ],
)
def test_wrong_shapes_are_named(shape: tuple[int, ...], part: str) -> None:
    with pytest.raises(ShapeError, match=part):
        small()(torch.zeros(shape))


@pytest.mark.parametrize("name", ["channels", "width"])
def test_wrong_arguments_are_named(name: str) -> None:
    with pytest.raises(ShapeError, match=name):
        PatchDiscriminator(**{name: 0})


def test_bf16_autocast_is_close() -> None:
    network, x = small(), images(2, 3, 64, 64)
    exact = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_compiles_in_one_graph() -> None:
    network, x = small(), images(1, 3, 32, 32)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))


def test_the_table_names_it() -> None:
    assert DISCRIMINATORS["patchgan"] is PatchDiscriminator
