"""Small pictures of picture files, for screens: upright, 8 bits, sRGB, on white."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from physgan.errors import ImageError
from physgan.images.picture import EXPECTED, Picture, read_picture
from physgan.images.vips import check_file, name_of, open_vips, require_vips, unread

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def read_preview(source: Path, *, longest: int) -> npt.NDArray[np.uint8]:
    """What a picture file looks like, H×W×3, as `write_preview` has it.

    Raises:
        ImageError: the file cannot be read.
    """
    vips = require_vips(source)
    head = check_file(source, expected=EXPECTED)
    try:
        image = _reduced(vips, source, longest, longest, exactly=False)
        pixels: npt.NDArray[np.uint8] = image.numpy()
    except vips.Error as error:
        raise unread(source, head, error, expected=EXPECTED) from None
    return pixels


def write_preview(
    source: Path, target: Path, *, longest: int, size: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Writes what a picture file looks like, as a JPEG file without metadata.

    A profile is applied, transparency laid on white; of several pages the first is shown. Large
    files are reduced while they are read and need little memory.

    Args:
        source: a picture file.
        target: the preview, ending in .jpg; replaced if it is there.
        longest: side in pixels that the preview has at most; small pictures are not enlarged.
        size: width and height that it shall have instead, whatever those of the picture.

    Returns:
        Width and height of the preview.

    Raises:
        ImageError: the file cannot be read, or the preview cannot be written.
    """
    vips = require_vips(source)
    head = check_file(source, expected=EXPECTED)
    width, height = size or (longest, longest)
    try:
        image = _reduced(vips, source, width, height, exactly=bool(size)).copy_memory()
    except vips.Error as error:
        raise unread(source, head, error, expected=EXPECTED) from None
    try:
        image.jpegsave(name_of(target), Q=90, keep="none")
    except vips.Error as error:
        raise ImageError(
            f"preview '{target}'",
            expected="a place that can be written",
            got=" ".join(str(error).split()),
        ) from None
    return image.width, image.height


def _as_restored(vips: Any, picture: Picture) -> Any:
    """The first page in 8 bits, with the values that restorers are given."""
    page = picture.pages[0]
    planes = page.colour if page.alpha is None else torch.cat([page.colour, page.alpha])
    rows = (planes.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    height, width, bands = rows.shape
    image = vips.Image.new_from_memory(rows.numpy().tobytes(), width, height, bands, "uchar")
    return image.copy(interpretation="b-w" if page.colour.shape[0] == 1 else "srgb")


def _reduced(vips: Any, source: Path, width: int, height: int, *, exactly: bool) -> Any:
    """An image of 8 bits within a width and a height, or of exactly these."""
    options = {"height": height, "size": "force" if exactly else "down", "output_profile": "srgb"}
    if open_vips(vips, source).format in ("uchar", "ushort"):
        stream = vips.Source.new_from_file(name_of(source))
        image = vips.Image.thumbnail_source(stream, width, fail_on="error", **options)
    else:  # numbers of any range, which libvips would take for those of its own
        image = _as_restored(vips, read_picture(source)).thumbnail_image(width, **options)
    if image.hasalpha():
        image = image.flatten(background=[255.0])
    return image.colourspace("srgb").cast("uchar")
