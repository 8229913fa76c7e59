"""Reading picture files as 8-bit tensors, the form that training and checking work on.

Only reading a file loads pyvips: training from packed shards works where it is missing.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from physgan.errors import ImageError
from physgan.images.vips import (
    CUT_SHORT,
    check_file,
    open_vips,
    require_vips,
    unfit,
    unread,
    upright,
)

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm", ".gif"}
)
"""Endings, in lower case, of the files that a folder of pictures is made of."""

_INTERPRETATION: Final = {1: "b-w", 3: "srgb"}
_EXPECTED: Final = "a whole picture of 8 or 16 bits as PNG, JPEG, TIFF, WebP or GIF"


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
    found = list_files(folder, SUFFIXES)
    if not found:
        raise ImageError(
            f"folder of pictures '{folder}'",
            expected=f"files ending in {', '.join(sorted(SUFFIXES))}",
            got="none, here or further down",
        )
    return found


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """All files of some endings (in lower case) below a folder, in the order of their names.

    Hidden ones are left out as `list_images` leaves them; possibly none is left.
    """
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
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
    vips = _require(path, channels)
    start = check_file(path, expected=_EXPECTED)
    try:
        return _decoded(path, open_vips(vips, path), channels)
    except vips.Error as error:
        raise unread(path, start, error, expected=_EXPECTED) from None


def decode_8bit(content: bytes, name: Path, *, channels: int = 3) -> Tensor:
    """As `read_8bit`, of the content of a picture file that is called `name`.

    Raises:
        ImageError: as `read_8bit`.
    """
    vips = _require(name, channels)
    if not content:
        raise unfit(name, expected=_EXPECTED, got="an empty file", remedy=CUT_SHORT)
    try:
        source = vips.Source.new_from_memory(content)
        image = vips.Image.new_from_source(source, "", access="sequential", fail_on="error")
        return _decoded(name, image, channels)
    except vips.Error as error:
        raise unread(name, content[:64], error, expected=_EXPECTED) from None


def _require(path: Path, channels: int) -> Any:
    if channels not in _INTERPRETATION:
        raise ImageError(
            "channels of a picture file", expected="1 (grey) or 3 (colour)", got=str(channels)
        )
    return require_vips(
        path, remedy="Install pyvips[binary], or train from shards made by `physgan pack`."
    )


def _decoded(path: Path, image: Any, channels: int) -> Tensor:
    """The pixels of an image that libvips has opened."""
    if image.format not in ("uchar", "ushort"):
        raise unfit(path, expected=_EXPECTED, got=f"values of type {image.format}")
    image = upright(image)
    if image.hasalpha():
        white = [65535.0] if image.format == "ushort" else [255.0]
        image = image.flatten(background=white)
    image = image.colourspace(_INTERPRETATION[channels])
    if image.bands != channels or image.format != "uchar":
        got = f"{image.bands} bands of type {image.format}"
        raise unfit(path, expected=_EXPECTED, got=got)
    pixels = torch.frombuffer(bytearray(image.write_to_memory()), dtype=torch.uint8)
    return pixels.reshape(image.height, image.width, image.bands).permute(2, 0, 1).contiguous()
