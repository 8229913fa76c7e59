import pytest
import torch
from torch import Generator, Tensor

from physgan.data.synthesis import synthesise
from physgan.physics.blur import Blur, DefocusMotionKernels
from physgan.physics.compose import Degradation, Stage
from physgan.physics.haze import DepthHaze, HazyScenes
from physgan.physics.sensor import Clip, Noise, Round, SensorChain


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pictures(n: int = 3) -> Tensor:
    return torch.randint(0, 256, (n, 3, 24, 24), generator=generator(9), dtype=torch.uint8)


DEGRADATION = Degradation(
    {
        "haze": Stage(DepthHaze(), HazyScenes()),
        "blur": Stage(Blur(), DefocusMotionKernels((0.0, 2.0), (5.0, 9.0))),
    },
    SensorChain([Noise(), Clip(), Round()]),
)


def test_is_the_way_from_x_to_y() -> None:
    x, y, theta = synthesise(pictures(), DEGRADATION, generator=generator())
    assert x.dtype == y.dtype == torch.float32
    assert torch.equal(x, pictures().float() / 255)
    own = generator()
    wanted = DEGRADATION.sample(x, generator=own)
    assert theta.keys() == {"haze", "blur", "sensor"}
    for stage, part in wanted.items():
        assert all(torch.equal(theta[stage][name], tensor) for name, tensor in part.items())
    clean = Blur()(DepthHaze()(x, theta["haze"]), theta["blur"])
    assert torch.equal(y, DEGRADATION.sense(clean, theta, generator=own))
    assert y.min() >= 0
    assert y.max() <= 1


def test_8_bit_and_floating_pictures_are_the_same() -> None:
    from_bytes = synthesise(pictures(), DEGRADATION, generator=generator())
    from_floats = synthesise(pictures().float() / 255, DEGRADATION, generator=generator())
    assert torch.equal(from_bytes.x, from_floats.x)
    assert torch.equal(from_bytes.y, from_floats.y)


def test_the_generator_is_the_only_randomness() -> None:
    state = torch.get_rng_state()
    own = generator()
    first = synthesise(pictures(), DEGRADATION, generator=own)
    second = synthesise(pictures(), DEGRADATION, generator=own)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first.y, second.y)
    torch.rand(5)
    again = synthesise(pictures(), DEGRADATION, generator=generator())
    assert torch.equal(first.y, again.y)
    torch.set_rng_state(state)


@pytest.mark.parametrize("n", [1, 4])
def test_no_gradient_is_kept(n: int) -> None:
    x = torch.rand(n, 3, 16, 16).requires_grad_()
    batch = synthesise(x, DEGRADATION, generator=generator())
    assert not batch.y.requires_grad
    assert not any(t.requires_grad for part in batch.theta.values() for t in part.values())
    assert len(batch.y) == n
