"""
An operator of ten lines
========================

A physics of one's own is an operator and a sampler. Here a lens darkens the corners of a picture;
the package then tries whether the two keep to what training asks of them.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data
import torch
from torch import Generator

from physgan.data.synthesis import synthesise
from physgan.errors import RecipeError
from physgan.images.read import read_8bit
from physgan.physics.compose import Degradation, Stage
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from physgan.recipes.trial import try_physics

# %%
# The operator says what happens to light, the sampler draws how much of it.


class Vignette:
    """y = x (1 - darkness r²), r the distance from the middle, 1 in the corners."""

    scale = 1

    def __call__(self, x, theta):
        h, w = x.shape[-2:]
        down = torch.linspace(-1, 1, h, device=x.device)[:, None]
        right = torch.linspace(-1, 1, w, device=x.device)[None]
        r2 = (down**2 + right**2) / 2
        return (x * (1 - theta["darkness"][:, None, None, None] * r2)).to(x.dtype)


class Lenses:
    """Corners that lose 30 to 90 % of their light."""

    def sample(self, x, *, generator):
        return {"darkness": 0.3 + 0.6 * torch.rand(len(x), generator=generator, device=x.device)}


camera = SensorChain([Noise(sigma=(0.01, 0.01)), Clip(), Round()])
degradation = Degradation({"lens": Stage(Vignette(), Lenses())}, camera)

# %%
# What training would try before its first step
# ---------------------------------------------
# Finite numbers of the right size, the same from call to call, each image for itself, a gradient,
# and no randomness but the generator's. Silence means that all of it holds.

try_physics(degradation, crop=32, channels=3)

# %%
# An operator that writes into what it is given is refused, with its place.


class Hasty(Vignette):
    """The same, but in place."""

    def __call__(self, x, theta):
        x *= 1 - theta["darkness"][:, None, None, None]
        return x


try:
    try_physics(Degradation({"lens": Stage(Hasty(), Lenses())}, camera), crop=32, channels=3)
except RecipeError as error:
    print(error)

# %%
# Applied
# -------
# :doc:`The tutorial </add-a-physics>` goes on from here to a trained and measured restorer.

whole = read_8bit(Path(skimage.data.__file__).parent / "astronaut.png")
x = whole[None, :, :256, 96:352].float().expand(3, -1, -1, -1) / 255
x, y, theta = synthesise(x, degradation, generator=Generator().manual_seed(0))

figure, axes = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained")
titles = ["x", *(f"darkness {float(d):.2f}" for d in theta["lens"]["darkness"])]
for axis, title, image in zip(axes, titles, [x[0], *y], strict=True):
    axis.imshow(image.permute(1, 2, 0))
    axis.set_title(title)
    axis.set_axis_off()
