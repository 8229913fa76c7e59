"""Reading picture files as 8-bit tensors, the form that training and checking work on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyvips
import torch
from torch import Tensor

from physgan.errors import ImageError

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm", ".gif"}
)
"""Endings, in lower case, of the files that a folder of pictures is made of."""

_INTERPRETATION: Final = {1: "b-w", 3: "srgb"}


def list_images(folder: Path) -> list[Path]:
    """All picture files below a folder, in the order of their relative names.

    Raises:
        ImageError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ImageError(
            f"folder of pictures '{folder}'",
            expected="a folder that exists",
            got="a file" if folder.exists() else "nothing of that name",
        )
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ImageError(
            f"folder of pictures '{folder}'",
            expected=f"files ending in {', '.join(sorted(SUFFIXES))}",
            got="none, here or further down",
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_8bit(path: Path, *, channels: int = 3) -> Tensor:
    """Reads a picture upright as uint8, C×H×W.

    Colour becomes sRGB or grey as `channels` asks, 16 bits become 8, transparency is laid on
    white. Nothing of the file but its pixels is kept.

    Raises:
        ImageError: the file is not a picture that can be read, or `channels` is neither 1 nor 3.
    """
    if channels not in _INTERPRETATION:
        raise ImageError(
            "channels of a picture file", expected="1 (grey) or 3 (colour)", got=str(channels)
        )
    try:
        image = pyvips.Image.new_from_file(str(path), access="sequential").autorot()
        if image.hasalpha():
            white = [65535.0] if image.format == "ushort" else [255.0]
            image = image.flatten(background=white)
        image = image.colourspace(_INTERPRETATION[channels]).cast("uchar")
        pixels = image.write_to_memory()
    except pyvips.Error as error:
        reason = str(error).strip().splitlines()
        raise ImageError(
            f"picture file '{path}'",
            expected="a whole picture in a format that libvips reads",
            got=reason[-1] if reason else "an unreadable file",
        ) from None
    tensor = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
    return tensor.reshape(image.height, image.width, image.bands).permute(2, 0, 1).contiguous()
