"""Measuring a restorer on pairs while it is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.data.pairs import Pair
from physgan.metrics.grey import grey
from physgan.metrics.psnr import psnr
from physgan.metrics.quantise import to_8bit
from physgan.metrics.ssim import ssim
from physgan.restore.whole import restore_whole
from physgan.types import RestoreFn


def validate(
    restorer: RestoreFn, pairs: Sequence[Pair], *, device: torch.device
) -> tuple[dict[str, float], list[tuple[str, Tensor]]]:
    """Means over the pairs, protocol rgb: PSNR over colour, SSIM over grey, after 8-bit rounding.

    Returns:
        `psnr`, `ssim`, `input_psnr`, `input_ssim`, `worst_gain` (least PSNR gain of any pair), `n`;
        and input, restored and clear side by side for the first four pairs.
    """
    rows: list[Tensor] = []
    pictures: list[tuple[str, Tensor]] = []
    for pair in pairs:
        x_hat = restore_whole(restorer, pair.y.to(device)).cpu()
        y = _enlarged(pair.y, pair.x)
        scores = [score for image in (x_hat, y) for score in _scores(image, pair.x)]
        rows.append(torch.stack(scores))
        if len(pictures) < 4:
            pictures.append((pair.name, torch.cat([y, x_hat, pair.x], dim=-1)[0]))
    table = torch.stack(rows)
    means = table.mean(dim=0).tolist()
    names = ("psnr", "ssim", "input_psnr", "input_ssim")
    numbers = dict(zip(names, means, strict=True))
    numbers["worst_gain"] = float((table[:, 0] - table[:, 2]).min())
    numbers["n"] = float(len(pairs))
    return numbers, pictures


def _scores(image: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = to_8bit(image), to_8bit(x)
    if x.shape[1] == 3:
        grey_a, grey_b = grey(a), grey(b)
    else:
        grey_a, grey_b = a, b
    # Identical pictures have no finite PSNR; 100 dB keeps means finite.
    return (
        psnr(a, b, data_range=1.0)[0].clamp(max=100.0),
        ssim(grey_a, grey_b, data_range=1.0)[0],
    )


def _enlarged(y: Tensor, x: Tensor) -> Tensor:
    """The observation at the size of the clear image, for the input's own score."""
    if y.shape == x.shape:
        return y
    size = [int(side) for side in x.shape[-2:]]
    return F.interpolate(y, size, mode="bicubic", align_corners=False).clamp(0, 1)
