"""
A blurred page
==============

A page of text is drawn, degraded by a known physics, and restored by weights that know nothing of
how it was degraded.
"""

# %%
# The page
# --------
# `render_known_page` draws a page that no training saw and tells what it says. The recipe of the
# weights holds the physics; its sampler is narrowed here to a middling blur.

from random import Random

import matplotlib.pyplot as plt
from torch import Generator

import physgan
from physgan.data.synthesis import synthesise
from physgan.data.text.known import render_known_page
from physgan.metrics.protocol import protocol, scores
from physgan.recipes.build import build_degradation

blur = "{name: defocus_motion, arguments: {radius: [3, 4], size: [15, 21], strength: [0.3, 0.3]}}"
recipe = physgan.load_recipe("deblur-text", [f"--physics.stages.blur.sampler={blur}"])
degradation = build_degradation(recipe.physics)

page, text = render_known_page(256, Random("demo/4"))
x, y, theta = synthesise(page[None], degradation, generator=Generator().manual_seed(4))
print(text)

# %%
# Restored
# --------
# The restorer gets `y` and nothing else: neither the kernel nor the noise.

restorer = physgan.Restorer.from_pretrained("deblur-text")
x_hat = restorer(y)

figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
for axis, (title, image) in zip(
    axes, {"observed y": y, "restored G(y)": x_hat, "original x": x}.items(), strict=True
):
    axis.imshow(image[0].permute(1, 2, 0))
    axis.set_title(f"{title}\n{scores(image, x, protocol('rgb'))['psnr']:.1f} dB")
    axis.set_axis_off()

# %%
# Identical pictures have an infinite PSNR; the protocol counts them as 100 dB, so that means stay
# finite. What comes back looks certain even where the network guessed: trust no digit that the
# blurred page does not show, and keep that page beside the restored one.
