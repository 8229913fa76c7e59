"""
Does a restoration explain what the camera saw?
===============================================

What is restored, degraded again by the known physics, must give back the observation. χ²/N tells
how far it is from that, in units of what the sensor scatters: 1 is as far off as noise is.
"""

# %%
# A picture in rain, and four answers
# -----------------------------------
# The first answer takes the rain for part of the picture, the third is too smooth, and the last is
# the truth, which nobody has outside of a test.

from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data
from torch import Generator
from torch.nn import functional as F

import physgan
from physgan.data.synthesis import synthesise
from physgan.evaluation.consistency import consistency
from physgan.images.read import read_8bit
from physgan.metrics.protocol import protocol, scores
from physgan.recipes.build import build_degradation

whole = read_8bit(Path(skimage.data.__file__).parent / "chelsea.png")
clear = whole[None, :, 20:276, 100:356].float() / 255
noise = "[{name: noise, arguments: {sigma: [0.01, 0.01]}}, clip, round]"
rain = "{name: drawn_rain, arguments: {coverage: [0.3, 0.3], brightness: [0.15, 0.15]}}"
changed = [f"--physics.sensor={noise}", f"--physics.stages.rain.sampler={rain}"]
degradation = build_degradation(physgan.load_recipe("derain", changed).physics)
x, y, theta = synthesise(clear, degradation, generator=Generator().manual_seed(1))

x_hat = physgan.Restorer.from_pretrained("derain")(y)
smooth = F.avg_pool2d(x, 5, stride=1, padding=2)
answers = {"left as it is": y, "restored": x_hat, "too smooth": smooth, "the truth": x}

# %%
# Degraded again
# --------------

print(f"{'':13} {'PSNR':>8} {'chi2/N':>8} {'residual':>9}")
for name, answer in answers.items():
    told = consistency(answer, y, degradation, theta, generator=Generator().manual_seed(2))
    db = scores(answer, x, protocol("rgb"))["psnr"]
    print(f"{name:13} {db:5.1f} dB {told['chi2']:8.2f} {told['residual']:9.4f}")

# %%
# The truth gets 1, noise included. The others leave more than noise explains, and χ²/N says so
# without a clear picture to compare with: it takes `y` and `theta` alone. What the smooth picture
# lacks shows as its outlines below.
# `physgan evaluate --theta FOLDER` gives the same numbers for folders of pairs.

figure, axes = plt.subplots(2, 4, figsize=(11, 5.8), layout="constrained")
for (above, below), (name, answer) in zip(axes.T, answers.items(), strict=True):
    y_hat = degradation.operator(answer, theta)
    above.imshow(answer[0].permute(1, 2, 0))
    above.set_title(name)
    below.imshow((y_hat - y)[0].mean(0), cmap="coolwarm", vmin=-0.1, vmax=0.1)
    below.set_title("H(answer, theta) − y")
    above.set_axis_off()
    below.set_axis_off()
