"""Reading picture files as 8-bit tensors, the form that training and checking work on.

Only reading a file loads pyvips: training from packed shards works where it is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

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

    Hidden files and folders are left out: what systems put there is named like a picture but is
    none.

    Raises:
        ImageError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ImageError(
            f"folder of pictures '{folder}'",
            expected="a folder that exists",
            got="a file" if folder.exists() else "nothing of that name",
        )
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
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
    white. Nothing of the file but its pixels is kept, and a colour profile is not applied. Of
    several pages or frames the first is read.

    Raises:
        ImageError: the file is not a picture of 8 or 16 bits that can be read whole, `channels` is
            neither 1 nor 3, or pyvips is not installed.
    """
    if channels not in _INTERPRETATION:
        raise ImageError(
            "channels of a picture file", expected="1 (grey) or 3 (colour)", got=str(channels)
        )
    if not path.is_file():
        raise _unfit(path, "a folder" if path.is_dir() else "nothing of that name")
    try:
        import pyvips
    except (ImportError, OSError) as error:  # OSError: the package without its library
        raise ImageError(
            f"picture file '{path}'",
            expected="pyvips, which reads picture files, to be installed",
            got=str(error).partition("\n")[0],
            remedy="Install pyvips[binary], or train from shards made by `physgan pack`.",
        ) from None
    try:
        # By default half a file passes for a picture, the rest of it grey.
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="error")
        if image.format not in ("uchar", "ushort"):
            raise _unfit(path, f"values of type {image.format}")
        image = image.autorot()
        if image.hasalpha():
            white = [65535.0] if image.format == "ushort" else [255.0]
            image = image.flatten(background=white)
        image = image.colourspace(_INTERPRETATION[channels])
        if image.bands != channels or image.format != "uchar":
            raise _unfit(path, f"{image.bands} bands of type {image.format}")
        pixels = image.write_to_memory()
    except pyvips.Error as error:
        reason = str(error).strip().splitlines()
        raise _unfit(path, reason[-1].strip() if reason else "an unreadable file") from None
    tensor = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
    return tensor.reshape(image.height, image.width, image.bands).permute(2, 0, 1).contiguous()


def _unfit(path: Path, got: str) -> ImageError:
    return ImageError(
        f"picture file '{path}'",
        expected="a whole picture of 8 or 16 bits as PNG, JPEG, TIFF, WebP or GIF",
        got=got.rstrip("."),
    )
