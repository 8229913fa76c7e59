"""The training step in the manner of the paper's release, written plainly, to time ours against.

fp32 in contiguous NCHW; blur by a loop over images and channels; discriminators that gather
gradients while the generator moves, and judge real and fake one after the other; the default Adam.
Networks, objective, pools and data are those of the step that it is compared with, so that both
compute the same numbers (`tests/test_benchmarks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.profiler import record_function

from physgan.physics.blur import Blur
from physgan.physics.compose import Degradation
from physgan.training.step import CLEAR, OBSERVATION


def blur_plainly(x: Tensor, kernel: Tensor) -> Tensor:
    """N×C×H×W by N×k×l, mirrored at the edges: one convolution for each channel of each image."""
    images = []
    for image, k in zip(x, kernel.flip(-2, -1), strict=True):
        down, across = k.shape[0] // 2, k.shape[1] // 2
        channels = []
        for channel in image:
            padded = F.pad(channel[None, None], (across, across, down, down), mode="reflect")
            channels.append(F.conv2d(padded, k[None, None])[0, 0])
        images.append(torch.stack(channels))
    return torch.stack(images)


@dataclass
class Pool:
    """The last images of a generator, one by one."""

    capacity: int
    generator: Generator
    images: list[Tensor] = field(default_factory=list)

    def exchange(self, fakes: Tensor) -> Tensor:
        given = []
        for fake in rounded(fakes):
            if len(self.images) < self.capacity:
                self.images.append(fake)
                given.append(fake)
            elif torch.rand((), generator=self.generator) < 0.5:
                slot = int(torch.randint(self.capacity, (), generator=self.generator))
                given.append(self.images[slot])
                self.images[slot] = fake
            else:
                given.append(fake)
        return torch.stack(given)


def rounded(image: Tensor) -> Tensor:
    return image.detach().mul(255).round().clamp(0, 255) / 255


class Reference:
    """Players and their step.

    Args:
        networks: `generator`, `clear` and `observation`, as built, on their device.
        degradation: one stage, `blur`, with mirrored edges, and a sensor.
        weights: gamma, lambda, mu, and those of the two adversarial terms.
        lr: of all three.
        betas: of all three.
        pool: images that each discriminator remembers.
        seed: of the pools and of synthesis.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        degradation: Degradation,
        *,
        weights: tuple[float, float, float, float, float],
        lr: float,
        betas: tuple[float, float],
        pool: int,
        seed: int,
    ) -> None:
        operators = degradation.operator.operators
        blurs = [o for o in operators.values() if isinstance(o, Blur) and o.boundary == "reflect"]
        if len(blurs) != len(operators) or len(blurs) != 1:
            raise ValueError("the reference knows one physics, a blur that mirrors at the edges")
        (self.stage,) = operators
        self.degradation, self.weights = degradation, weights
        self.networks = {name: network.train() for name, network in networks.items()}
        self.optimisers = {
            name: Adam(network.parameters(), lr=lr, betas=betas)
            for name, network in networks.items()
        }
        device = next(networks["generator"].parameters()).device
        choices = Generator().manual_seed(seed + 3)
        self.pools = {name: Pool(pool, choices) for name in (CLEAR, OBSERVATION)}
        self.synthesis = Generator(device).manual_seed(seed + 1)

    def step(self, crops: Tensor) -> dict[str, Tensor]:
        """One step on clear crops, uint8 N×C×S×S; the terms by name."""
        g = self.networks["generator"]
        gamma, lam, mu, clear_weight, observation_weight = self.weights
        with record_function("synthesis"), torch.no_grad():
            x = crops.float() / 255
            theta = self.degradation.sample(x, generator=self.synthesis)
            kernel = theta[self.stage]["kernel"]
            y = self.degradation.sense(blur_plainly(x, kernel), theta, generator=self.synthesis)
        with record_function("restore"):
            x_hat = g(y)
        with record_function("degrade again"):
            y_hat = blur_plainly(x_hat, kernel)
        with record_function("restore again"):
            x_hat2 = g(y_hat)
        with record_function("objective"):
            terms = {
                "physics": (y_hat - y).abs().mean(),
                "content": (x_hat - x).abs().mean(),
                "second_content": (x_hat2 - x).abs().mean(),
                "adversarial_clear": (self.networks[CLEAR](x_hat) - 1).square().mean(),
                "adversarial_observation": (self.networks[OBSERVATION](y_hat) - 1).square().mean(),
            }
            total = gamma * terms["physics"] + lam * terms["content"]
            total = total + mu * terms["second_content"]
            total = total + clear_weight * terms["adversarial_clear"]
            total = total + observation_weight * terms["adversarial_observation"]
        with record_function("backward"):
            self.optimisers["generator"].zero_grad()
            total.backward()
        with record_function("optimiser"):
            self.optimisers["generator"].step()
        with record_function("discriminators"):
            for name, real, fake in ((CLEAR, x, x_hat), (OBSERVATION, y, y_hat)):
                self.optimisers[name].zero_grad()
                judged = self.networks[name](rounded(real))
                invented = self.networks[name](self.pools[name].exchange(fake))
                loss = 0.5 * ((judged - 1).square().mean() + invented.square().mean())
                loss.backward()
                self.optimisers[name].step()
                terms[f"d_{name}"] = loss
        return {name: term.detach() for name, term in terms.items()}
