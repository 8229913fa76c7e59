"""
One photograph, three physics, and their theta
==============================================

A degradation is an operator `H` and parameters `theta` that a sampler draws. Drawing and applying
are apart, so what was drawn can be looked at.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data
from torch import Generator

import physgan
from physgan.data.synthesis import synthesise
from physgan.images.read import read_8bit
from physgan.recipes.build import build_degradation

whole = read_8bit(Path(skimage.data.__file__).parent / "chelsea.png")
x = whole[None, :, 20:276, 100:356].float() / 255

# %%
# Theta of a chain is nested by stage; `sensor` is what the camera did at the end. Every tensor has
# the batch as its first dimension.

drawn = {}
for name, seed in {"deblur-natural": 4, "dehaze": 5, "derain": 0}.items():
    degradation = build_degradation(physgan.load_recipe(name).physics)
    drawn[name] = synthesise(x, degradation, generator=Generator().manual_seed(seed))
    for stage, parameters in drawn[name].theta.items():
        for parameter, values in parameters.items():
            print(f"{name:15} theta['{stage}']['{parameter}']: {tuple(values.shape)}")

# %%
# A kernel for the shaken camera, the depth of the scene for haze, streaks for rain. Depth is drawn,
# since a photograph does not tell it.

maps = {
    "deblur-natural": ("blur", "kernel"),
    "dehaze": ("haze", "depth"),
    "derain": ("rain", "streaks"),
}
figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
for (above, below), (name, (stage, parameter)) in zip(axes.T, maps.items(), strict=True):
    above.imshow(drawn[name].y[0].permute(1, 2, 0))
    above.set_title(f"y by the physics of {name}")
    below.imshow(drawn[name].theta[stage][parameter].squeeze(), cmap="gray")
    below.set_title(f"theta['{stage}']['{parameter}']")
    above.set_axis_off()
    below.set_axis_off()
