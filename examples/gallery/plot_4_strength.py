"""
Strength, and what a clear picture loses
========================================

A restorer changes what it is given, whether something was wrong with it or not. `strength` mixes
the picture as it was with what the network makes of it.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data
from torch import Generator

import physgan
from physgan.data.synthesis import synthesise
from physgan.images.read import read_8bit
from physgan.metrics.protocol import protocol, scores
from physgan.recipes.build import build_degradation

whole = read_8bit(Path(skimage.data.__file__).parent / "rocket.jpg")
clear = whole[None, :, 100:356, 200:456].float() / 255
haze = "{name: hazy_scenes, arguments: {beta: [1.2, 1.2], airlight: [0.85, 0.85]}}"
recipe = physgan.load_recipe("dehaze", [f"--physics.stages.haze.sampler={haze}"])
x, y, theta = synthesise(
    clear, build_degradation(recipe.physics), generator=Generator().manual_seed(1)
)

# %%
# One picture in haze, and the same with nothing wrong
# ----------------------------------------------------

restorer = physgan.Restorer.from_pretrained("dehaze")
given = {"in haze": y, "clear": x}
strengths = [0, 0.25, 0.5, 0.75, 1]
figure, axes = plt.subplots(2, len(strengths), figsize=(11, 5), layout="constrained")
for row, (name, picture) in zip(axes, given.items(), strict=True):
    for axis, strength in zip(row, strengths, strict=True):
        answer = restorer(picture, strength=strength)
        db = scores(answer, x, protocol("rgb"))["psnr"]
        print(f"{name:8} strength {strength:4}: {db:6.2f} dB")
        axis.imshow(answer[0].permute(1, 2, 0))
        axis.set_title(f"{name}, {strength}\n{db:.1f} dB")
        axis.set_axis_off()

# %%
# At strength 0 the clear picture is untouched, which the protocol counts as 100 dB. What it loses
# at strength 1 is what the network takes for haze in it. The card of the weights tells this number
# for all clear pictures of the check set.
