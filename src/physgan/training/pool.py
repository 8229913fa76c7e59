"""The history of generated images that a discriminator learns from (section 5.2 of the paper)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from physgan.metrics.quantise import from_levels, to_levels


class ImagePool:
    """Keeps the last images of a generator and mixes them into what the discriminator sees.

    Until the pool is full every image is stored and handed back. From then on each image is, with
    probability ½, exchanged for a random stored one and stored in its place. Images are kept and
    handed back rounded to 8 bits, and the step rounds what is real likewise: a discriminator cannot
    tell one from the other by values between the levels, and a checkpoint holds the pool exactly.

    Args:
        capacity: how many images are kept.
        generator: decides what is exchanged; a CPU generator, so that a choice never waits for
            the device.
    """

    def __init__(self, capacity: int, *, generator: Generator) -> None:
        self.capacity = capacity
        self.generator = generator
        self.images: Tensor | None = None
        self.count = 0

    def exchange(self, fake: Tensor, whole: Tensor | None = None) -> Tensor:
        """Takes new images N×C×H×W in [0, 1] and returns as many, new and old mixed, detached.

        Args:
            fake: the new images.
            whole: a truth value on their device. Where it is false the new images are worth
                nothing: what the pool holds stays, and a place that they would have been the
                first to take holds an older image once more, or black. What is returned is then
                worth nothing.
        """
        levels = to_levels(fake)
        if self.capacity == 0:
            return from_levels(levels, fake.dtype)
        if self.images is None:
            self.images = levels.new_zeros(self.capacity, *levels.shape[1:])
        if whole is not None:
            levels = torch.where(whole, levels, self.images[:1])
        result = levels.clone()
        for i in range(levels.shape[0]):
            if self.count < self.capacity:
                self.images[self.count] = levels[i]
                self.count += 1
            elif torch.rand((), generator=self.generator) < 0.5:
                slot = int(torch.randint(self.capacity, (), generator=self.generator))
                result[i] = self.images[slot]
                kept = self.images[slot]
                self.images[slot] = levels[i] if whole is None else levels[i].where(whole, kept)
        return from_levels(result, fake.dtype)

    def state(self) -> dict[str, Tensor]:
        """The stored images, uint8; empty before the first exchange."""
        return {} if self.images is None else {"images": self.images[: self.count]}

    def load(self, state: dict[str, Tensor], device: torch.device) -> None:
        """Takes back what `state` gave."""
        self.images, self.count = None, 0
        if "images" in state:
            kept = state["images"].to(device)
            self.images = kept.new_zeros(self.capacity, *kept.shape[1:])
            self.count = kept.shape[0]
            self.images[: self.count] = kept
