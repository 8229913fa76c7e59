"""The training step written out once more, in numpy and float64, by the equations alone.

Nothing here comes from physgan or from torch's autograd: gradients are taken by complex steps,
f'(w) = Im f(w + ih) / h, which are exact to rounding. Every function is therefore written so that
it is analytic in its argument, with branches decided by the real part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = dict[str, Array]

STEP = 1e-30


def conv(x: Array, weight: Array, bias: Array, *, stride: int, padding: int) -> Array:
    padded = np.pad(x, [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2])
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[-2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    result: Array = np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]
    return result


def generator(p: Parameters, y: Array) -> Array:
    inner = np.tanh(conv(2 * y - 1, p["first.weight"], p["first.bias"], stride=1, padding=1))
    outer = conv(inner, p["second.weight"], p["second.bias"], stride=1, padding=1)
    result: Array = (np.tanh(outer) + 1) / 2
    return result


def discriminator(p: Parameters, image: Array) -> Array:
    inner = conv(2 * image - 1, p["first.weight"], p["first.bias"], stride=2, padding=1)
    inner = np.where(inner.real > 0, inner, 0.2 * inner)
    return conv(inner, p["second.weight"], p["second.bias"], stride=1, padding=1)


def blur(x: Array, kernel: Array) -> Array:
    """True convolution, mirrored without repeating the edge: sums over shifted pictures."""
    n, _, h, w = x.shape
    k, l = kernel.shape[-2:]  # noqa: E741
    padded = np.pad(x, [(0, 0), (0, 0), (k // 2,) * 2, (l // 2,) * 2], mode="reflect")
    result = np.zeros_like(x)
    for image in range(n):
        for i in range(k):
            for j in range(l):
                # y[r, c] takes x[r - (i - centre), c - (j - centre)].
                top, left = k - 1 - i, l - 1 - j
                shifted = padded[image, :, top : top + h, left : left + w]
                result[image] += kernel[image, i, j] * shifted
    return result


def haze(x: Array, transmission: Array, airlight: Array) -> Array:
    result: Array = x * transmission + airlight[:, :, None, None] * (1 - transmission)
    return result


def sense(y: Array, sigma: Array, noise: Array) -> Array:
    """Noise, clipping, rounding to 8 bits with the gradient of the identity."""
    noisy = y + sigma[:, None, None, None] * noise
    clipped = np.where(noisy.real < 0, 0, np.where(noisy.real > 1, 1, noisy))
    result: Array = np.round(clipped.real * 255) / 255 + 1j * clipped.imag
    return result


def l1(a: Array, b: Array) -> Any:
    difference = a - b
    return np.mean(np.where(difference.real < 0, -difference, difference))


def to_levels(image: Array) -> Array:
    result: Array = np.clip(np.round(image.real * 255), 0, 255) / 255
    return result


def gradient(loss: Callable[[Parameters], Any], p: Parameters) -> Parameters:
    result = {}
    for name, value in p.items():
        slopes = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[index] += 1j * STEP
            slopes[index] = np.imag(loss({**p, name: moved})) / STEP
        result[name] = slopes
    return result


@dataclass
class Adam:
    lr: float
    betas: tuple[float, float]
    t: int = 0
    m: Parameters = field(default_factory=dict)
    v: Parameters = field(default_factory=dict)

    def step(self, p: Parameters, g: Parameters, factor: float = 1.0) -> Parameters:
        self.t += 1
        b1, b2 = self.betas
        moved = {}
        for name, slope in g.items():
            self.m[name] = b1 * self.m.get(name, np.zeros_like(slope)) + (1 - b1) * slope
            self.v[name] = b2 * self.v.get(name, np.zeros_like(slope)) + (1 - b2) * slope**2
            m_hat = self.m[name] / (1 - b1**self.t)
            v_hat = self.v[name] / (1 - b2**self.t)
            moved[name] = p[name] - self.lr * factor * m_hat / (np.sqrt(v_hat) + 1e-8)
        return moved


@dataclass
class Pool:
    """Keeps and exchanges images; `decide` gives a number in [0, 1), `choose` a slot."""

    capacity: int
    decide: Callable[[], float]
    choose: Callable[[], int]
    images: list[Array] = field(default_factory=list)

    def exchange(self, fakes: Array) -> Array:
        given = []
        for fake in to_levels(fakes):
            if len(self.images) < self.capacity:
                self.images.append(fake)
                given.append(fake)
            elif self.decide() < 0.5:
                slot = self.choose()
                given.append(self.images[slot])
                self.images[slot] = fake
            else:
                given.append(fake)
        return np.stack(given)


@dataclass
class Reference:
    """The paper's players and one step of their game."""

    generator: Parameters
    clear: Parameters
    observation: Parameters
    weights: Mapping[str, float]
    degrade: Callable[[Array, Mapping[str, Array]], Array]
    pools: Mapping[str, Pool]
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    adam: dict[str, Adam] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.adam = {n: Adam(self.lr, self.betas) for n in ("generator", "clear", "observation")}

    def step(
        self,
        x: Array,
        y: Array,
        theta: Mapping[str, Array],
        *,
        noise: Array | None,
        sigma: Array | None,
        factor: float = 1.0,
    ) -> tuple[dict[str, float], dict[str, Parameters]]:
        """Eq. 8-12 and the three moves; returns the terms and the gradients that were used."""

        def seen(y_hat: Array) -> Array:
            return y_hat if noise is None or sigma is None else sense(y_hat, sigma, noise)

        def terms(p: Parameters) -> dict[str, Any]:
            x_hat = generator(p, y)
            y_hat = self.degrade(x_hat, theta)
            x_hat2 = generator(p, y_hat)
            return {
                "physics": l1(y_hat, y),
                "content": l1(x_hat, x),
                "second_content": l1(x_hat2, x),
                "adversarial_clear": np.mean((discriminator(self.clear, x_hat) - 1) ** 2),
                "adversarial_observation": np.mean(
                    (discriminator(self.observation, seen(y_hat)) - 1) ** 2
                ),
            }

        def total(p: Parameters) -> Any:
            return sum(self.weights[name] * value for name, value in terms(p).items())

        numbers = {name: float(np.real(value)) for name, value in terms(self.generator).items()}
        numbers["total"] = float(np.real(total(self.generator)))
        x_hat = generator(self.generator, y)
        fakes = {"clear": x_hat, "observation": seen(self.degrade(x_hat, theta))}
        reals = {"clear": x, "observation": y}
        gradients = {"generator": gradient(total, self.generator)}
        self.generator = self.adam["generator"].step(self.generator, gradients["generator"], factor)
        for name in ("clear", "observation"):
            made = self.pools[name].exchange(fakes[name])
            real = to_levels(reals[name])

            def loss(p: Parameters, real: Array = real, made: Array = made) -> Any:
                on_real = np.mean((discriminator(p, real) - 1) ** 2)
                return 0.5 * (on_real + np.mean(discriminator(p, made) ** 2))

            player: Parameters = getattr(self, name)
            numbers[f"d_{name}"] = float(np.real(loss(player)))
            gradients[name] = gradient(loss, player)
            setattr(self, name, self.adam[name].step(player, gradients[name], factor))
        return numbers, gradients
