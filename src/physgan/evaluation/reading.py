"""Reading the text of images with tesseract, which is asked for only where it is there."""

from __future__ import annotations

import shutil

from torch import Tensor
from torch.nn import functional as F

from physgan.errors import UsageError, install
from physgan.metrics.quantise import to_8bit
from physgan.metrics.text import character_error_rate

ENLARGED = 3
"""Images are enlarged bicubically by this before they are read, as tesseract wants 300 dpi."""


def read_text(image: Tensor) -> str:
    """The text that tesseract reads in one image, 1×C×H×W in [0, 1], as one block (`--psm 6`).

    Raises:
        UsageError: tesseract or pytesseract is not installed.
    """
    require_tesseract()
    import pytesseract
    from PIL import Image

    larger = F.interpolate(
        to_8bit(image), scale_factor=ENLARGED, mode="bicubic", align_corners=False
    )
    pixels = larger[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    return str(pytesseract.image_to_string(picture, config="--psm 6"))


def text_error(image: Tensor, x: Tensor) -> float:
    """Character error rate of what is read in an image against what is read in the clear one.

    Raises:
        UsageError: as `read_text`.
    """
    return character_error_rate(read_text(image), read_text(x))


def require_tesseract() -> None:
    """Raises UsageError unless text can be read here."""
    try:
        import pytesseract  # noqa: F401
    except ImportError:
        raise UsageError(
            "text error",
            expected="the package pytesseract",
            got="none",
            remedy=install("eval"),
        ) from None
    if shutil.which("tesseract") is None:
        raise UsageError(
            "text error",
            expected="the program tesseract",
            got="none on the path",
            remedy="On Debian: apt-get install tesseract-ocr.",
        )
