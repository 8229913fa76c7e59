"""Adapters for DeepInverse, by stand-ins with its methods: it asks for torchvision itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from physgan.data.synthesis import synthesise
from physgan.errors import ThetaError
from physgan.physics.blur import Blur, DiscKernels
from physgan.physics.compose import Degradation, Stage
from physgan.physics.deepinverse import FromDeepInverse, FromGenerator, ToDeepInverse
from physgan.physics.haze import DepthHaze, HazyScenes
from physgan.physics.sensor import Noise, SensorChain
from physgan.types import Operator, Sampler


class Masks(nn.Module):
    """As its Inpainting is: a mask that is an argument or, left out, the one it was made with."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(1))

    def A(self, x: Tensor, mask: Tensor | None = None, **_: Any) -> Tensor:
        if mask is not None:
            self.mask = mask
        return x * self.mask


class MaskGenerator:
    """As its generators are: a random state of its own, seeded by `step`."""

    def __init__(self) -> None:
        self.rng = Generator()

    def step(self, batch_size: int = 1, seed: int | None = None, **_: Any) -> dict[str, Tensor]:
        if seed is not None:
            self.rng.manual_seed(seed)
        return {"mask": (torch.rand(batch_size, 1, 8, 8, generator=self.rng) > 0.5).float()}


class SharedGenerator(MaskGenerator):
    def step(self, batch_size: int = 1, seed: int | None = None, **_: Any) -> dict[str, Tensor]:
        return {"sigma": torch.tensor(0.1)}


def test_its_physics_is_an_operator_and_its_generator_a_sampler() -> None:
    operator, sampler = FromDeepInverse(Masks()), FromGenerator(MaskGenerator())
    assert isinstance(operator, Operator)
    assert isinstance(sampler, Sampler)
    chain = Degradation({"masks": Stage(operator, sampler)})
    x = torch.rand(3, 2, 8, 8)
    first = synthesise(x, chain, generator=Generator().manual_seed(1))
    again = synthesise(x, chain, generator=Generator().manual_seed(1))
    other = synthesise(x, chain, generator=Generator().manual_seed(2))
    assert torch.equal(first.y, x * first.theta["masks"]["mask"])
    assert torch.equal(first.y, again.y)
    assert not torch.equal(first.y, other.y)


def test_parameters_that_all_images_share_are_refused() -> None:
    sampler = FromGenerator(SharedGenerator())
    with pytest.raises(ThetaError, match=r"parameter 'sigma'.*3 images"):
        sampler.sample(torch.rand(3, 1, 4, 4), generator=Generator())


def test_our_operator_is_a_physics() -> None:
    x = torch.rand(2, 3, 12, 14, dtype=torch.float64)
    theta = DiscKernels((1.0, 2.0)).sample(x, generator=Generator().manual_seed(0))
    physics = ToDeepInverse(Blur(), theta)
    y = Blur()(x, theta)
    assert torch.equal(physics(x), y)
    assert torch.equal(physics.A(x), y)
    v = torch.rand_like(y)
    torch.testing.assert_close((physics.A(x) * v).sum(), (x * physics.A_adjoint(v)).sum())
    torch.testing.assert_close(physics.A_vjp(x, v), physics.A_adjoint(v))
    torch.testing.assert_close(physics.A_adjoint_A(x), physics.A_adjoint(y))
    torch.testing.assert_close(physics.A_A_adjoint(v), physics.A(physics.A_adjoint(v)))
    # Landweber's iteration, as its algorithms do it, explains the observation.
    x_hat = physics.A_adjoint(y)
    before = (physics.A(x_hat) - y).norm()
    for _ in range(50):
        x_hat = x_hat - 0.5 * physics.A_adjoint(physics.A(x_hat) - y)
    assert (physics.A(x_hat) - y).norm() < 0.5 * before


def test_parameters_can_be_replaced() -> None:
    x = torch.rand(1, 1, 9, 9)
    first, second = torch.zeros(2, 1, 3, 3)
    first[:, 1, 1], second[:, 1, 2] = 1, 1
    physics = ToDeepInverse(Blur(), {"kernel": first})
    assert torch.equal(physics(x), x)
    shifted = Blur()(x, {"kernel": second})
    assert torch.equal(physics(x, kernel=second), shifted)
    assert torch.equal(physics(x), x)
    physics.update_parameters(kernel=second)
    assert torch.equal(physics(x), shifted)
    with pytest.raises(ThetaError, match="one of kernel, got 'kernle'"):
        physics.update_parameters(kernle=second)
    assert physics.double().theta()["kernel"].dtype == torch.float64


class _Halves:
    scale = 2

    def __call__(self, x: Tensor, theta: Any) -> Tensor:
        return F.avg_pool2d(x, 2)


class _Loses:
    """Takes one row away, which its scale cannot tell."""

    scale = 1

    def __call__(self, x: Tensor, theta: Any) -> Tensor:
        return x[..., 1:, :]


def test_the_adjoint_is_of_the_size_of_x() -> None:
    y = torch.rand(1, 1, 4, 5)
    assert ToDeepInverse(_Halves(), {}).A_adjoint(y).shape == (1, 1, 8, 10)
    assert ToDeepInverse(_Loses(), {}, size=(1, 5, 5)).A_adjoint(y).shape == (1, 1, 5, 5)
    with pytest.raises(ThetaError, match="size=\\(C, H, W\\)"):
        ToDeepInverse(_Loses(), {}).A_adjoint(y)


def test_a_chain_is_a_physics() -> None:
    chain = Degradation(
        {
            "haze": Stage(DepthHaze(), HazyScenes()),
            "blur": Stage(Blur(), DiscKernels((1.0, 2.0))),
        },
        SensorChain([Noise()]),
    )
    x = torch.rand(2, 3, 12, 12)
    theta = chain.sample(x, generator=Generator().manual_seed(0))
    physics = ToDeepInverse(chain.operator, theta)
    assert torch.equal(physics.A(x), chain.operator(x, theta))
    clear = {"haze.beta": torch.zeros(2)}
    wanted = Blur()(x, theta["blur"])
    torch.testing.assert_close(physics.A(x, **clear), wanted)
    physics.update_parameters(**clear)
    torch.testing.assert_close(physics(x), wanted)
    assert physics.A_vjp(x, torch.ones_like(x)).shape == x.shape
