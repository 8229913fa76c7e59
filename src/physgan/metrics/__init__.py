"""Image quality: pure functions of a restored and a clear image, one number per image."""

from __future__ import annotations

from physgan.metrics.grey import grey
from physgan.metrics.psnr import psnr
from physgan.metrics.quantise import to_8bit
from physgan.metrics.ssim import ssim

__all__ = ["grey", "psnr", "ssim", "to_8bit"]
