"""Pictures back into files, in the form in which they came."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from physgan.errors import ImageError, ShapeError
from physgan.files import replacing, write_bytes
from physgan.images.colour import INKS, LAB, from_rgb16
from physgan.images.picture import KINDS, NUMPY, PNG_XMP, Form, Picture
from physgan.images.vips import name_of, reason, require_vips, unfit, with_fields

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_QUALITY: Final = 95
_NUMBERS: Final = {
    "png": ("uchar", "ushort"),
    "jpeg": ("uchar",),
    "webp": ("uchar",),
    "gif": ("uchar",),
    "avif": ("uchar", "ushort"),
    "heic": ("uchar", "ushort"),
}
"""Numbers that a kind of file holds; TIFF holds all."""
_HEIF: Final = {"avif": "av1", "heic": "hevc"}
_AVIF_BITS: Final = 12
_SEEN_TWICE: Final = 1 << 22
"""Pixels of a JPEG up to which it is made as small as it can be."""
_LONGEST: Final = {"jpeg": 65500, "webp": 16383, "avif": 16384, "heic": 16384, "gif": 65535}
"""Pixels to a side that libvips writes at most."""
_BIG_TIFF: Final = 2**31  # bytes of pixels, well below what offsets of 32 bits reach
_PNG_HEADER: Final = 33  # bytes: signature and first chunk, IHDR


def write_picture(path: Path, picture: Picture, *, overwrite: bool = True) -> None:
    """Writes a picture in the form in which it was read, upright, whole or not at all.

    The suffix chooses the kind of file; bits, transparency, pages, profile, metadata and pixels
    per inch are those of `picture.form`. Pages may have another size than they had. Pixels per
    inch stay as they are then, too: four times the pixels print four times as wide, and a program
    that lays out by size must be told anew.

    Values are clamped to [0, 1] and rounded to the nearest number of the file. Kinds that lose
    (JPEG, AVIF, HEIC, and WebP where the file was not lossless) are written at quality 95 with
    colour at full resolution. GIF gets new palettes of 256 colours for each frame.

    Args:
        path: of the file.
        picture: what is written.
        overwrite: whether a file that is there, at whatever moment, is replaced.

    Raises:
        ImageError: the suffix is of no kind that can be written, the kind cannot hold the
            picture, a value is no number, or the file cannot be written, or is there.
        ShapeError: pages are not of one size, or not as `picture.form` says.
    """
    form = picture.form
    check_pages(picture)
    kind = kind_of_picture(path, picture)
    bits = bits_for(kind, form)
    vips = require_vips(path)
    with telling(path):
        save(path, _image(vips, picture, bits), kind, form, bits, overwrite=overwrite)


def kind_for(
    path: Path, form: Form, *, size: tuple[int, int], pages: int, transparent: bool
) -> str:
    """The kind of file that a path asks for.

    Args:
        path: of the file.
        form: of the picture.
        size: height and width of its pages.
        pages: how many there are.
        transparent: whether they have alpha.

    Raises:
        ImageError: there is none such, or it cannot hold the picture.
    """
    suffix = path.suffix.lower()
    kind = form.kind if suffix == ".heif" and form.kind == "heic" else KINDS.get(suffix)
    if kind is None:
        raise ImageError(
            f"picture file '{path}'",
            expected=f"a name ending in {', '.join(KINDS)}",
            got=f"'{path.suffix}'" if suffix else "a name without an ending",
        )
    longest = _LONGEST.get(kind, max(size))
    if max(size) > longest:
        raise ImageError(
            f"picture file '{path}'",
            expected=f"at most {longest} px to a side, as {kind.upper()} holds them",
            got=f"{size[1]}×{size[0]}",
            remedy="Write it as PNG or TIFF.",
        )
    obstacle = _obstacle(kind, form, pages, transparent)
    if obstacle:
        raise ImageError(
            f"picture file '{path}'",
            expected="a kind of file that can hold the picture",
            got=f"{kind.upper()} for {obstacle}",
            remedy="Write it as it came, or as TIFF." if kind != "tiff" else "Write it as it came.",
        )
    return kind


def kind_of_picture(path: Path, picture: Picture, *, scale: int = 1) -> str:
    """As `kind_for`, of a picture enlarged `scale` times."""
    first = picture.pages[0]
    height, width = first.colour.shape[1:]
    return kind_for(
        path,
        picture.form,
        size=(scale * height, scale * width),
        pages=len(picture.pages),
        transparent=first.alpha is not None,
    )


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a picture file is written into an ImageError."""
    vips = require_vips(path)
    if not path.parent.is_dir():
        raise _unwritten(path, f"no folder '{path.parent}'")
    try:
        yield
    except vips.Error as error:
        raise _refused(path, error) from None
    except FileExistsError:
        raise unfit(path, expected="no file of that name", got="one") from None
    except OSError as error:
        raise _unwritten(path, error.strerror or str(error)) from None


def save(
    path: Path, image: Any, kind: str, form: Form, bits: int, *, overwrite: bool = True
) -> None:
    """Writes a libvips image as a kind of file, with the chunks that libvips would lose."""
    with replacing(path, overwrite=overwrite) as beside:
        _save(image, beside, kind, form, bits)
        if kind == "png":
            _splice(beside, form.chunks + _xmp_chunk(form))


def write_8bit(path: Path, pixels: Tensor) -> None:
    """Writes uint8 pixels, C×H×W of 1 (grey) or 3 (colour) channels, as a picture of 8 bits.

    The counterpart of `read_8bit`; the suffix chooses the kind of file. Whole or not at all.

    Raises:
        ImageError: the file cannot be written, or pyvips is not installed.
    """
    vips = require_vips(path)
    channels, height, width = pixels.shape
    rows = pixels.permute(1, 2, 0).contiguous().numpy()
    image = vips.Image.new_from_memory(rows.tobytes(), width, height, channels, "uchar")
    image = image.copy(interpretation="b-w" if channels == 1 else "srgb")
    try:
        write_bytes(path, image.write_to_buffer(path.suffix))
    except vips.Error as error:
        raise _refused(path, error) from None
    except OSError as error:
        raise _unwritten(path, error.strerror or str(error)) from None


def check_pages(picture: Picture) -> None:
    """Makes sure that a picture's pages are of one size and as its form says.

    Raises:
        ShapeError: there is no page or no pixel, or pages differ in size or in having alpha.
        ImageError: a value is infinite or no number.
    """
    if not picture.pages:
        raise ShapeError("pages of a picture", expected="at least one", got="none")
    first = picture.pages[0]
    height, width = first.colour.shape[-2:]
    wanted = (picture.form.channels, height, width)
    for number, page in enumerate(picture.pages):
        for name, tensor, shape in (
            ("colour", page.colour, wanted),
            ("alpha", page.alpha, (1, height, width)),
        ):
            if tensor is None:
                continue
            if tensor.shape != shape or not tensor.is_floating_point() or not tensor.numel():
                raise ShapeError(
                    f"{name} of page {number}",
                    expected=f"{'×'.join(map(str, shape))}, floating",
                    got=f"{'×'.join(map(str, tensor.shape))}, {tensor.dtype}",
                )
            if not torch.isfinite(tensor).all():
                raise ImageError(
                    f"{name} of page {number}",
                    expected="a number in every pixel",
                    got="values that are infinite or no number (NaN)",
                )
        if (page.alpha is None) != (first.alpha is None):
            raise ShapeError(
                f"alpha of page {number}",
                expected="transparency in all pages or in none",
                got="another choice than in page 0",
            )


def _obstacle(kind: str, form: Form, pages: int, transparent: bool) -> str:
    """What of a picture a kind of file cannot hold, empty where it holds all."""
    if form.space == INKS and kind not in ("jpeg", "tiff"):
        return "colours as four inks (CMYK)"
    if form.space in LAB and kind != "tiff":
        return "Lab colours"
    if form.number not in _NUMBERS.get(kind, NUMPY):
        return f"numbers of type {NUMPY[form.number]}"
    if kind in _HEIF and form.bits > _AVIF_BITS:
        return f"{form.bits} bits"
    if kind == "gif" and form.kind != "gif":
        return "more than 256 colours"
    if kind == "jpeg" and transparent:
        return "transparency"
    if pages > 1 and kind in ("png", "jpeg"):
        return f"{pages} pages"
    if pages > 1 and (kind in ("gif", "webp")) != form.animated:
        return "an animation" if form.animated else f"{pages} pages that are no animation"
    return ""


def bits_for(kind: str, form: Form) -> int:
    """How many bits of a number a kind of file is to keep."""
    if form.number == "uchar":
        return form.bits if kind in ("png", "tiff") else 8
    if form.number == "ushort":
        return form.bits if kind in _HEIF else 16
    return form.bits


def _image(vips: Any, picture: Picture, bits: int) -> Any:
    """A pyvips image of all pages, one below the other, with the file's metadata."""
    form, pages = picture.form, picture.pages
    colour = [page.colour for page in pages]
    alpha = [page.alpha for page in pages if page.alpha is not None]
    if form.space == INKS or form.space in LAB:
        rgb = _wrap(vips, [numbers_for(colour, "ushort", 16, 0.0, 65535.0)], "ushort", "rgb16")
        image = from_rgb16(
            rgb, form.space, depth=8 if form.number == "uchar" else 16, profile=form.profile
        )
        if alpha:
            opacity = numbers_for(alpha, form.number, bits, 0.0, form.opaque)
            image = image.bandjoin(_wrap(vips, [opacity], form.number, "b-w"))
            image = image.copy(interpretation=form.space)
    else:
        numbers = [numbers_for(colour, form.number, bits, form.black, form.white)]
        if alpha:
            numbers.append(numbers_for(alpha, form.number, bits, 0.0, form.opaque))
        image = _wrap(vips, numbers, form.number, form.space)
    image = dressed(image, form)
    height = pages[0].colour.shape[1]
    return with_fields(image, [("page-height", height)]) if len(pages) > 1 else image


def dressed(image: Any, form: Form) -> Any:
    """A libvips image with the resolution and the metadata of a form, upright."""
    image = image.copy(xres=form.xres, yres=form.yres)
    return with_fields(image, [*form.fields, ("orientation", 1)])


def numbers_for(
    planes: Sequence[Tensor], number: str, bits: int, black: float, white: float
) -> npt.NDArray[Any]:
    """What a file holds for C×H×W in [0, 1] of each page, one below the other: (P·H)×W×C."""
    import numpy as np

    channels, height, width = planes[0].shape
    numbers = np.empty((len(planes) * height, width, channels), NUMPY[number])
    for page, plane in enumerate(planes):
        rows = numbers[page * height : (page + 1) * height]
        for channel in range(channels):  # one at a time: less memory
            x = plane[channel].detach().float().cpu().clamp(0, 1).numpy()
            if number in ("uchar", "ushort"):
                largest = 2**bits - 1
                step = 255 // largest if number == "uchar" else 2 ** (16 - bits)
                rows[..., channel] = np.rint(x * largest) * step
            elif numbers.dtype.kind == "f":
                exact = black == 0 and white == 1
                rows[..., channel] = x if exact else _spread(x, black, white)
            else:
                rows[..., channel] = np.rint(_spread(x, black, white))
    return numbers


def _spread(x: npt.NDArray[Any], black: float, white: float) -> npt.NDArray[np.float64]:
    import numpy as np

    return x.astype(np.float64) * (white - black) + black


def _wrap(vips: Any, numbers: Sequence[npt.NDArray[Any]], number: str, space: str) -> Any:
    """A pyvips image on the memory of arrays H×W×bands, whose bands are joined."""
    parts = [
        vips.Image.new_from_memory(array, array.shape[1], array.shape[0], array.shape[2], number)
        for array in numbers
    ]
    image = parts[0] if len(parts) == 1 else parts[0].bandjoin(parts[1:])
    return image.copy(interpretation=space)


def _save(image: Any, path: Path, kind: str, form: Form, bits: int) -> None:
    """Writes an image as a kind of file, whatever the path is called."""
    name = name_of(path)
    keep = {"exif", "xmp", "iptc", "icc", "other"}
    if kind == "png":
        keep.remove("xmp")  # libvips compresses it, and then few programs find it
    if kind != "jpeg" and "exif-data" not in dict(form.fields):
        keep.remove("exif")  # libvips would make one; in JPEG it holds the resolution
    options: dict[str, Any] = {"keep": "|".join(sorted(keep))}
    if kind == "png":
        if bits < 8:
            options["bitdepth"] = bits
        image.pngsave(name, **options)
    elif kind == "jpeg":
        # Better tables take a second look at all coefficients, which are kept for that.
        better = image.width * image.height <= _SEEN_TWICE
        options |= {"subsample_mode": "off", "optimize_coding": better}
        image.jpegsave(name, Q=_QUALITY, **options)
    elif kind == "tiff":
        if bits < 8:
            options["bitdepth"] = bits
        floating = form.number in ("float", "double")
        image.tiffsave(
            name,
            compression="ccittfax4" if bits == 1 else "deflate",
            predictor="none" if bits < 8 or floating else "horizontal",
            bigtiff=image.width * image.height * image.bands * bits > 8 * _BIG_TIFF,
            **options,
        )
    elif kind == "gif":
        image.gifsave(name, interpalette_maxerror=0, keep_duplicate_frames=True, **options)
    elif kind == "webp":
        if form.lossless:
            image.webpsave(name, lossless=True, exact=True, **options)
        else:
            image.webpsave(name, Q=_QUALITY, smart_subsample=True, **options)
    else:
        image.heifsave(
            name,
            compression=_HEIF[kind],
            Q=_QUALITY,
            bitdepth=bits,
            subsample_mode="off",
            **options,
        )


def _splice(path: Path, chunks: bytes) -> None:
    """Puts chunks into a PNG file, behind its header."""
    if not chunks:
        return
    with path.open("rb") as file, replacing(path) as beside, beside.open("wb") as whole:
        whole.write(file.read(_PNG_HEADER))
        whole.write(chunks)
        shutil.copyfileobj(file, whole)


def _xmp_chunk(form: Form) -> bytes:
    """XMP as PNG wants it: text of that keyword, neither compressed nor of a language."""
    xmp = dict(form.fields).get("xmp-data")
    if not isinstance(xmp, bytes):
        return b""
    body = b"iTXt" + PNG_XMP + bytes(4) + xmp
    return struct.pack(">L", len(body) - 4) + body + struct.pack(">L", zlib.crc32(body))


def _unwritten(path: Path, got: str) -> ImageError:
    return unfit(path, expected="a place where it can be written whole", got=got)


def _refused(path: Path, error: Exception) -> ImageError:
    """What to say where libvips did not write a file."""
    if "Unsupported compression" in str(error):  # for AVIF it has the encoder
        return unfit(
            path,
            expected="a kind of file that this libvips writes",
            got="HEIC",
            remedy="Name it .avif, which is written in its place; or, where only the name says "
            "HEIC, by the kind that it is, such as .jpg.",
        )
    return _unwritten(path, reason(error) or "a fault of libvips")
