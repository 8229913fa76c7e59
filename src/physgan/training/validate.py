"""Measuring a restorer on pairs while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

from physgan.data.pairs import Pair
from physgan.metrics.protocol import protocol, scores
from physgan.restore.page import enlarged
from physgan.restore.whole import restore_whole
from physgan.types import RestoreFn


def validate(
    restorer: RestoreFn, pairs: Sequence[Pair], *, device: torch.device
) -> tuple[dict[str, float], list[tuple[str, Tensor]]]:
    """Means over the pairs, protocol rgb: PSNR over colour, SSIM over grey, after 8-bit rounding.

    Returns:
        `psnr`, `ssim`, `input_psnr`, `input_ssim`, `worst_gain` and `median_gain` (PSNR gain of
        the worst and of the middle pair: where one has next to nothing wrong, a mean tells of it
        alone), `n`;
        and input, restored and clear side by side for the first four pairs.
    """
    how = protocol("rgb", scale=restorer.scale)
    rows: list[dict[str, float]] = []
    pictures: list[tuple[str, Tensor]] = []
    for pair in pairs:
        x_hat = restore_whole(restorer, pair.y.to(device)).cpu()
        y = enlarged(pair.y, restorer.scale)
        before = scores(y, pair.x, how)
        rows.append(scores(x_hat, pair.x, how) | {f"input_{k}": v for k, v in before.items()})
        if len(pictures) < 4:
            pictures.append((pair.name, torch.cat([y, x_hat, pair.x], dim=-1)[0]))
    names = ("psnr", "ssim", "input_psnr", "input_ssim")
    numbers = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    gains = [row["psnr"] - row["input_psnr"] for row in rows]
    numbers["worst_gain"], numbers["median_gain"] = min(gains), median(gains)
    numbers["n"] = float(len(pairs))
    return numbers, pictures
