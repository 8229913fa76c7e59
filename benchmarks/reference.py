"""The training step in the manner of the paper's release, written plainly, to time ours against.

fp32 in contiguous NCHW; blur by a loop over images and channels; discriminators that gather
gradients while the generator moves, and judge real and fake one after the other; the default Adam.
Networks, objective, pools and data are those of the step that it is compared with, so that both
compute the same numbers (`tests/test_benchmarks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.profiler import record_function

from physgan.physics.blur import Blur
from physgan.physics.compose import Degradation
from physgan.physics.sensor import saturated
from physgan.training.step import CLEAR, OBSERVATION


def blur_plainly(x: Tensor, kernel: Tensor, boundary: str) -> Tensor:
    """N×C×H×W by N×k×l: one convolution for each channel of each image."""
    mode = "constant" if boundary == "zero" else boundary
    images = []
    for image, k in zip(x, kernel.flip(-2, -1), strict=True):
        down, across = k.shape[0] // 2, k.shape[1] // 2
        channels = []
        for channel in image:
            padded = F.pad(channel[None, None], (across, across, down, down), mode=mode)
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
        networks: `generator`, and `clear` and `observation` where they have weight, as built, on
            their device.
        degradation: one stage, a blur, and a sensor.
        weights: gamma, lambda, mu, and those of the two adversarial terms; what has no weight is
            not computed.
        lr: of all three.
        betas: of all three.
        clip: greatest norm of the generator's gradient, if there is one.
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
        clip: float | None,
        pool: int,
        seed: int,
    ) -> None:
        operators = degradation.operator.operators
        if len(operators) != 1 or not all(isinstance(o, Blur) for o in operators.values()):
            raise ValueError("the reference knows one physics, a blur")
        ((self.stage, blur),) = operators.items()
        self.boundary = blur.boundary  # type: ignore[attr-defined]
        self.saturates = getattr(degradation.sensor, "saturates", False)
        self.degradation, self.weights, self.clip = degradation, weights, clip
        self.networks = {name: network.train() for name, network in networks.items()}
        self.optimisers = {
            name: Adam(network.parameters(), lr=lr, betas=betas)
            for name, network in networks.items()
        }
        device = next(networks["generator"].parameters()).device
        choices = Generator().manual_seed(seed + 3)
        self.pools = {name: Pool(pool, choices) for name in networks}
        self.synthesis = Generator(device).manual_seed(seed + 1)

    def step(self, crops: Tensor) -> dict[str, Tensor]:
        """One step on clear crops, uint8 N×C×S×S; the terms by name."""
        g = self.networks["generator"]
        gamma, lam, mu, clear_weight, observation_weight = self.weights
        with record_function("synthesis"), torch.no_grad():
            x = crops.float() / 255
            theta = self.degradation.sample(x, generator=self.synthesis)
            kernel = theta[self.stage]["kernel"]
            y = blur_plainly(x, kernel, self.boundary)
            y = self.degradation.sense(y, theta, generator=self.synthesis)
        # What finds kernels by edges is shown the clear images, and their places in the batch.
        shown: tuple[Any, ...] = ()
        if getattr(g, "guided", False):
            shown = (x, [(i + 0.5) / len(x) for i in range(len(x))])
        with record_function("restore"):
            x_hat = g(y, *shown)
        with record_function("degrade again"):
            y_hat = x_hat2 = x_hat
            if gamma or mu or observation_weight:
                y_hat = blur_plainly(x_hat, kernel, self.boundary)
                y_hat = saturated(y_hat) if self.saturates else y_hat
        with record_function("restore again"):
            if mu:
                x_hat2 = g(y_hat, *shown)
        with record_function("objective"):
            terms = {}
            if gamma:
                terms["physics"] = gamma, (y_hat - y).abs().mean()
            if lam:
                terms["content"] = lam, (x_hat - x).abs().mean()
            if mu:
                terms["second_content"] = mu, (x_hat2 - x).abs().mean()
            if clear_weight:
                judged = self.networks[CLEAR](x_hat)
                terms["adversarial_clear"] = clear_weight, (judged - 1).square().mean()
            if observation_weight:
                judged = self.networks[OBSERVATION](y_hat)
                terms["adversarial_observation"] = observation_weight, (judged - 1).square().mean()
            total = torch.stack([weight * term for weight, term in terms.values()]).sum()
        with record_function("backward"):
            self.optimisers["generator"].zero_grad()
            total.backward()
            if self.clip is not None:
                nn.utils.clip_grad_norm_(g.parameters(), self.clip)
        with record_function("optimiser"):
            self.optimisers["generator"].step()
        told = {name: term.detach() for name, (_, term) in terms.items()}
        with record_function("discriminators"):
            for name, real, fake in ((CLEAR, x, x_hat), (OBSERVATION, y, y_hat)):
                if name not in self.networks:
                    continue
                self.optimisers[name].zero_grad()
                judged = self.networks[name](rounded(real))
                invented = self.networks[name](self.pools[name].exchange(fake))
                loss = 0.5 * ((judged - 1).square().mean() + invented.square().mean())
                loss.backward()
                self.optimisers[name].step()
                told[f"d_{name}"] = loss.detach()
        return told
