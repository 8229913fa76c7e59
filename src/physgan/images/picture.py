"""Picture files as tensors in [0, 1], with all of the file that has to come back.

Colour is what the file holds, divided by its white: encoded values, to which a colour profile is
kept but not applied. Inks (CMYK) and Lab are no colours that a restorer knows; they become sRGB
here and go back on writing. Nothing passes through fewer bits than the file has.

Number formats and what 0 and 1 stand for:

========================  ==========================================================
8 and 16 bits, unsigned   0 and 255, 0 and 65535; 1, 2 and 4 bits are spread over 8
all others                as they are where all lie in [0, 1]; otherwise 0, or the smallest value
                          where it is below 0, and the largest value of the picture
========================  ==========================================================

What libvips does not carry over is lost: maker notes of EXIF (which hold positions in the old
file), tags of TIFF other than description, resolution, profile, XMP and IPTC, comments of JPEG and
GIF, the second picture of an MPO file and the gain map of an HDR photograph. A preview in EXIF is
dropped: it shows the old picture.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from physgan.errors import KindError
from physgan.images.colour import INKS, LAB, PROFILE, bands_of, of_inks, to_rgb16
from physgan.images.vips import (
    FieldValue,
    check_file,
    name_of,
    open_vips,
    refuse_foreign,
    require_vips,
    unfit,
    unread,
    upright,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

EXPECTED: Final = "a whole picture as PNG, JPEG, TIFF, WebP, GIF or AVIF"

PER_MILLIMETRE: Final = 1 / 25.4
"""Pixels per millimetre at one pixel per inch, the unit of `Form.xres`."""

KINDS: Final = {
    ".png": "png",
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    ".webp": "webp",
    ".gif": "gif",
    **dict.fromkeys((".avif", ".heif"), "avif"),
    ".heic": "heic",
}
"""The kind of file that each suffix, in lower case, stands for."""

_LOADED: Final = {
    "pngload": "png",
    "jpegload": "jpeg",
    "uhdrload": "jpeg",
    "tiffload": "tiff",
    "gifload": "gif",
    "webpload": "webp",
    "heifload": "avif",
}
"""What libvips reads a file with, and our name of the kind."""

WHITE: Final = {"uchar": 255.0, "ushort": 65535.0}
NUMPY: Final = {
    "uchar": "uint8",
    "char": "int8",
    "ushort": "uint16",
    "short": "int16",
    "uint": "uint32",
    "int": "int32",
    "float": "float32",
    "double": "float64",
}
"""Formats of a number by libvips' and by NumPy's name."""

# Metadata that libvips carries from file to file. EXIF is a block and a field for each tag: a tag
# without its field is left out on writing.
_KEPT: Final = frozenset(
    {
        *("exif-data", "xmp-data", "iptc-data", PROFILE),
        *("image-description", "resolution-unit", "delay", "loop", "background"),
    }
)
_EXIF_FIELD: Final = "exif-ifd"
_EXIF_NOT_KEPT: Final = ("-MakerNote", "exif-ifd1-")  # the latter describe the preview

# Chunks of PNG that libvips drops or, as it does with text that is not ASCII, damages.
_PNG_CHUNKS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM", b"sRGB", b"cICP"})
PNG_XMP: Final = b"XML:com.adobe.xmp\0"
"""Keyword of the text chunk that holds XMP, which libvips reads."""
_PNG_EXIF: Final = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
"""Those of EXIF as older programs wrote it, with the orientation that the file had."""
_ACROSS: Final = (5, 6, 7, 8)
"""Orientations of pictures that lie on their side."""


@dataclass(frozen=True)
class Form:
    """What a picture file is besides its pixels.

    Args:
        kind: of file: png, jpeg, tiff, gif, webp, avif or heic.
        number: format of a number as libvips names it: uchar, ushort, float, ...
        bits: of a number in the file: 1, 2, 4, 8, 10, 12, 16, 32 or 64.
        space: of the file's colours as libvips names it: b-w, srgb, rgb16, cmyk, labs, ...
        channels: of `Page.colour`: 1 or 3.
        black: the number that 0 stands for.
        white: the number that 1 stands for.
        opaque: the number that alpha 1 stands for; alpha 0 is 0.
        lossless: whether the file held its pixels exactly.
        xres: pixels per millimetre, from left to right.
        yres: pixels per millimetre, from top to bottom.
        fields: metadata by libvips' names: profile, EXIF, XMP, IPTC, description, animation.
        chunks: of a PNG file, the text and colour chunks as they stand there.
    """

    kind: str
    number: str
    bits: int
    space: str
    channels: int
    black: float
    white: float
    opaque: float
    lossless: bool
    xres: float
    yres: float
    fields: tuple[tuple[str, FieldValue], ...] = ()
    chunks: bytes = b""

    @property
    def profile(self) -> bytes | None:
        """The ICC profile that the file embeds."""
        profile = dict(self.fields).get(PROFILE)
        return profile if isinstance(profile, bytes) else None

    @property
    def animated(self) -> bool:
        """Whether pages are shown one after the other."""
        return any(name == "delay" for name, _ in self.fields)


@dataclass(frozen=True)
class Page:
    """One page or frame, upright.

    Args:
        colour: C×H×W float32 in [0, 1], C 1 (grey) or 3 (red, green, blue), encoded values.
        alpha: 1×H×W float32 in [0, 1], 1 opaque; None where the file has none. Colour is not
            multiplied with it.
    """

    colour: Tensor
    alpha: Tensor | None = None


@dataclass(frozen=True)
class Picture:
    """A picture file in memory: its pages, all of one size, and its form."""

    pages: tuple[Page, ...]
    form: Form


def read_picture(path: Path, *, before_page: Callable[[], object] = lambda: None) -> Picture:
    """Reads a picture file whole: every page upright, with its transparency and its form.

    PNG, JPEG, TIFF, WebP, GIF and AVIF, and HEIC where libvips decodes it.

    Args:
        path: of the file.
        before_page: called before each page is read; what it raises ends the reading.

    Raises:
        ImageError: there is no such file, it may not be read, is no picture, is cut short or
            damaged, is of a kind that libvips does not read or would read in part, holds
            colours other than grey, RGB, CMYK and Lab, values that are no numbers, or pages of
            unlike size or kind; or pyvips is not installed.
    """
    vips = require_vips(path)
    head = check_file(path, expected=EXPECTED)
    refuse_foreign(path, expected=EXPECTED)
    try:
        kind, images = open_pages(vips, path)
        picture = _picture(path, kind, images, before_page)
    except (vips.Error, UnicodeError) as error:
        raise unread(path, head, error, expected=EXPECTED) from None
    if kind == "gif" and not _whole_gif(path):  # libvips leaves out the frame that is cut short
        raise unfit(path, expected=EXPECTED, got="a file that is cut short")
    return picture


@dataclass(frozen=True)
class Glance:
    """What the head of a picture file tells, before any of its pixels is read.

    Args:
        kind: of file: png, jpeg, tiff, gif, webp, avif or heic.
        pixels: of all pages together, taken to be as large as the first.
        pages: or frames.
    """

    kind: str
    pixels: int
    pages: int


def glance_at(path: Path) -> Glance:
    """Looks at the head of a picture file, as whoever has to refuse the largest ones does.

    Raises:
        ImageError: as `read_picture`, as far as the head of the file tells.
    """
    vips = require_vips(path)
    head = check_file(path, expected=EXPECTED)
    refuse_foreign(path, expected=EXPECTED)
    try:
        first = open_vips(vips, path)
        kind, _ = _kind_of(path, first)
        pages = _pages_of(first)
    except (vips.Error, UnicodeError) as error:
        raise unread(path, head, error, expected=EXPECTED) from None
    return Glance(kind, first.width * first.height * pages, pages)


def open_pages(vips: Any, path: Path) -> tuple[str, list[Any]]:
    """The kind of a file, and an upright image for each of its pages."""
    first = open_vips(vips, path)
    kind, loader = _kind_of(path, first)
    if loader == "uhdrload":  # a JPEG file with a gain map: the picture that all programs show
        source = vips.Source.new_from_file(name_of(path))
        first = vips.Image.jpegload_source(source, access="sequential", fail_on="error")
    if kind == "tiff" and _ycbcr_tiff(path):
        raise unfit(
            path,
            expected="grey, RGB, CMYK or Lab in a TIFF file",
            got="YCbCr that is not compressed as JPEG, which libvips takes for RGB",
            remedy="Convert it to RGB first.",
        )
    count = _pages_of(first)
    if count == 1:
        images = [first]
    elif kind in ("gif", "webp"):  # a frame is drawn upon those before it
        roll = open_vips(vips, path, n=-1).copy_memory()
        height = roll.height // count
        images = [roll.crop(0, height * page, roll.width, height) for page in range(count)]
    else:  # each with an orientation of its own
        images = [open_vips(vips, path, page=page) for page in range(count)]
    # Before any of them is turned, which takes memory.
    like = {_what_it_is(image) for image in images}
    if len(like) > 1:
        sizes = sorted({f"{width}×{height}" for width, height, *_ in like})
        raise unfit(
            path,
            expected="pages of one size and one kind",
            got=f"{count} pages of {' and '.join(sizes) if len(sizes) > 1 else 'several kinds'}",
            remedy="Split it into one file for each page.",
        )
    return kind, [upright(image) for image in images]


def _what_it_is(image: Any) -> tuple[int, int, int, str, str]:
    """Width and height once upright, bands, format and space."""
    width, height = image.width, image.height
    if _field(image, "orientation") in _ACROSS:
        width, height = height, width
    return width, height, image.bands, image.format, image.interpretation


def _kind_of(path: Path, first: Any) -> tuple[str, str]:
    """The kind of a file by what is in it, and what libvips reads it with."""
    loader = first.get("vips-loader").removesuffix("_source")
    kind = _LOADED.get(loader)
    if kind is None:
        raise unfit(
            path,
            expected=EXPECTED,
            got=f"a file of another kind, read by libvips' {loader}",
            remedy="Convert it to PNG or TIFF first.",
            fault=KindError,
        )
    if kind == "avif" and _field(first, "heif-compression") == "hevc":
        kind = "heic"
    return kind, loader


def _pages_of(first: Any) -> int:
    return int(first.get("n-pages")) if "n-pages" in first.get_fields() else 1


def _picture(
    path: Path, kind: str, images: Sequence[Any], before_page: Callable[[], object]
) -> Picture:
    """The picture that upright images of one kind make."""
    first = images[0]
    number, space = first.format, first.interpretation
    alphas = int(first.hasalpha())
    converted = space == INKS or space in LAB
    if (
        first.bands - alphas != bands_of(space)
        or number not in NUMPY
        or (space == INKS and number not in WHITE)
        or (space in LAB and alphas)
    ):
        raise unfit(
            path,
            expected="grey, RGB or CMYK, with or without transparency, or Lab",
            got=f"{first.bands} bands of type {number} in the space '{space}'",
        )
    bits = max(bits_of(image, kind, alphas) for image in images)

    def read() -> Iterator[Any]:
        for image in images:
            before_page()
            yield image

    if converted or number in WHITE:
        black, opaque = 0.0, WHITE.get(number, 1.0)
        white = opaque
        largest = largest_of(bits, white)
        # One page after the other: no more than one is in memory twice.
        pages = tuple(
            _converted(image, alphas, opaque)
            if converted
            else page_of(_array(image), alphas, black, largest, largest)
            for image in read()
        )
    else:
        arrays = [_array(image) for image in read()]
        black, white = _range(path, [array[..., : first.bands - alphas] for array in arrays])
        opaque = _range(path, [array[..., -1] for array in arrays])[1] if alphas else 1.0
        pages = tuple(page_of(array, alphas, black, white, opaque) for array in arrays)
    form = form_of(
        path,
        kind,
        first,
        bits=bits,
        channels=pages[0].colour.shape[0],
        black=black,
        white=white,
        opaque=opaque,
    )
    return Picture(pages, form)


def form_of(
    path: Path,
    kind: str,
    first: Any,
    *,
    bits: int,
    channels: int,
    black: float,
    white: float,
    opaque: float,
) -> Form:
    """The form of a file whose first page is an upright libvips image."""
    xres, yres = first.xres, first.yres
    fields = {name: _kept(first, name) for name in first.get_fields()}
    profile = fields.get(PROFILE)
    if first.interpretation == INKS and isinstance(profile, bytes) and not of_inks(profile):
        del fields[PROFILE]  # nobody could print by it, nor read it back
    if xres == yres == 1.0 and kind not in ("png", "jpeg"):
        # libvips' way of saying that the file states none. It cannot be left out in writing: what
        # libvips takes in PNG and JPEG, and EXIF too, is 72 per inch.
        xres = yres = 72 * PER_MILLIMETRE
        fields["resolution-unit"] = "in"
    return Form(
        kind=kind,
        number=first.format,
        bits=bits,
        space=first.interpretation,
        channels=channels,
        black=black,
        white=white,
        opaque=opaque,
        lossless=kind in ("png", "tiff", "gif") or (kind == "webp" and _lossless_webp(path)),
        xres=xres,
        yres=yres,
        fields=tuple((name, value) for name, value in fields.items() if value is not None),
        chunks=_png_chunks(path, exif="exif-data" in fields) if kind == "png" else b"",
    )


def largest_of(bits: int, white: float) -> float:
    """The number of white in a file of so many bits, whose type has `white` as its largest."""
    return float(2**bits - 1 << 16 - bits) if 8 < bits < 16 else white  # as libvips widens


def bits_of(image: Any, kind: str, alphas: int) -> int:
    """Bits of a number in the file, as it will be written: a palette's entries have 8."""
    numbers: int = 8 * {"uchar": 1, "char": 1, "ushort": 2, "short": 2, "double": 8}.get(
        image.format, 4
    )
    stated = _field(image, "bits-per-sample")
    if kind in ("avif", "heic"):
        return int(stated or numbers)
    grey = image.interpretation == "b-w" and image.format == "uchar" and not alphas
    return int(stated) if stated in (1, 2, 4) and grey and kind in ("png", "tiff") else numbers


def _converted(image: Any, alphas: int, opaque: float) -> Page:
    """A page of inks or Lab, as sRGB."""
    if not alphas:
        return page_of(_array(to_rgb16(image)), 0, 0.0, 65535.0, 1.0)
    image = image.copy_memory()  # read once, used twice
    space, bands = image.interpretation, image.bands - 1
    colour = image.extract_band(0, n=bands).copy(interpretation=space)
    alpha = _plane(_array(image[bands])[..., 0], 0.0, opaque)
    return Page(page_of(_array(to_rgb16(colour)), 0, 0.0, 65535.0, 1.0).colour, alpha[None])


def _array(image: Any) -> npt.NDArray[np.generic]:
    """The numbers of an image, H×W×bands; reading happens here."""
    import numpy as np

    numbers = np.frombuffer(image.write_to_memory(), dtype=NUMPY[image.format])
    return numbers.reshape(image.height, image.width, image.bands)


def page_of(
    array: npt.NDArray[np.generic], alphas: int, black: float, white: float, opaque: float
) -> Page:
    """A page of an array H×W×bands whose last band is alpha where `alphas` is 1."""
    height, width, bands = array.shape
    colour = torch.empty(bands - alphas, height, width)
    for band, plane in enumerate(colour):
        plane.copy_(_plane(array[..., band], black, white))
    return Page(colour, _plane(array[..., -1], 0.0, opaque)[None] if alphas else None)


def _plane(array: npt.NDArray[np.generic], black: float, white: float) -> Tensor:
    """One band, H×W, as float32 with `black` at 0 and `white` at 1."""
    import numpy as np

    if black == 0 and (white == 1 or array.dtype.itemsize < 4):
        plane = np.divide(array, white, dtype=np.float32, casting="unsafe")
    else:  # float32 would round before the difference is taken
        plane = ((array.astype(np.float64) - black) / (white - black)).astype(np.float32)
    return torch.from_numpy(plane)


def _range(path: Path, arrays: Sequence[npt.NDArray[np.generic]]) -> tuple[float, float]:
    """What 0 and 1 stand for in a picture of numbers that have no white of their own."""
    import numpy as np

    low = float(np.min([array.min() for array in arrays]))
    high = float(np.max([array.max() for array in arrays]))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise unfit(
            path,
            expected="a number in every pixel",
            got="values that are infinite or no number (NaN)",
            remedy="Replace them by numbers first.",
        )
    if low >= 0:
        return 0.0, high if high > 1 else 1.0
    return low, high if high > low else low + 1


def _field(image: Any, name: str) -> Any:
    return image.get(name) if name in image.get_fields() else None


def _kept(image: Any, name: str) -> FieldValue | None:
    """The value of a field that has to come back, None of another."""
    if name not in _KEPT and not name.startswith(_EXIF_FIELD):
        return None
    if any(part in name for part in _EXIF_NOT_KEPT):
        return None
    try:
        value = image.get(name)
    except UnicodeDecodeError:
        return None
    if name == "image-description" and value.startswith('{"shape"'):
        return None  # tifffile's note of the size that the array had
    if isinstance(value, list):
        return tuple(value)
    if name == "exif-data":
        return _without_preview(value)
    known: FieldValue = value
    return known


def _without_preview(exif: bytes) -> bytes:
    """EXIF without its second directory, which is that of the preview."""
    start = 6 if exif.startswith(b"Exif") else 0
    order = ">" if exif[start : start + 2] == b"MM" else "<"
    changed = bytearray(exif)
    try:
        at = start + struct.unpack_from(order + "L", exif, start + 4)[0]
        at += 2 + 12 * struct.unpack_from(order + "H", exif, at)[0]
        struct.pack_into(order + "L", changed, at, 0)  # there is no next directory
    except struct.error:  # libvips will make what it can of it
        return exif
    return bytes(changed)


def _png_chunks(path: Path, *, exif: bool) -> bytes:
    """Of a whole PNG file, the chunks that libvips would lose.

    Args:
        path: of the file.
        exif: whether libvips has read EXIF in it; else text that holds some is the only one.

    Raises:
        ImageError: the file is an animation, of which libvips reads the first frame only.
    """
    kept, left = [], (PNG_XMP, *_PNG_EXIF) if exif else (PNG_XMP,)
    with path.open("rb") as file:
        file.seek(8)  # the signature
        name = b""
        while name != b"IEND" and len(start := file.read(8)) == 8:
            length, name = struct.unpack(">L4s", start)
            if name == b"acTL":
                raise unfit(
                    path,
                    expected="one picture in a PNG file",
                    got="an animation, of which libvips reads only the first frame",
                    remedy="Convert it to WebP or GIF first.",
                )
            if name in _PNG_CHUNKS:
                content = file.read(length + 4)  # with its checksum
                if len(content) < length + 4:  # cut short
                    break
                if zlib.crc32(name + content[:-4]) != int.from_bytes(content[-4:], "big"):
                    continue  # damaged
                if not content.startswith(left):
                    kept.append(start + content)
            else:
                file.seek(length + 4, 1)
    return b"".join(kept)


def _lossless_webp(path: Path) -> bool:
    """Whether a WebP file holds its pixels exactly; of frames, whether all do."""
    with path.open("rb") as file:
        names = set(_riff_names(file))
    return b"VP8L" in names and b"VP8 " not in names


def _riff_names(file: Any) -> Iterator[bytes]:
    """The names of a RIFF file's chunks, those within frames of an animation included."""
    end = 8 + int.from_bytes(file.read(8)[4:], "little")
    start = 12
    while start + 8 <= end:
        file.seek(start)
        if len(head := file.read(8)) < 8:
            return
        name, length = struct.unpack("<4sL", head)
        yield name
        # Of a frame, the chunks in it come next, behind sixteen bytes of its own.
        start += 8 + (16 if name == b"ANMF" else length + length % 2)


def _ycbcr_tiff(path: Path) -> bool:
    """Whether a page of a TIFF file is YCbCr, and not by way of JPEG."""
    compression, photometric = 259, 262
    with path.open("rb") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        if head[2:4] in (b"+\0", b"\0+"):  # BigTIFF
            counted, placed, entry, first = "Q", "Q", 20, head[8:16]
        else:
            counted, placed, entry, first = "H", "L", 12, head[4:8]
        seen = set[int]()
        try:
            (place,) = struct.unpack(order + placed, first)
            while place and place not in seen:
                seen.add(place)
                file.seek(place)
                (count,) = struct.unpack(
                    order + counted, file.read(struct.calcsize(order + counted))
                )
                content = file.read(min(count, 1 << 16) * entry)
                tags: dict[int, int] = {}
                for at in range(0, len(content), entry):
                    value = at + entry - struct.calcsize(order + placed)
                    (tag,) = struct.unpack_from(order + "H", content, at)
                    (tags[tag],) = struct.unpack_from(order + "H", content, value)
                if tags.get(photometric) == 6 and tags.get(compression) not in (6, 7):
                    return True
                (place,) = struct.unpack(order + placed, file.read(struct.calcsize(order + placed)))
        except struct.error:  # cut short: libvips will say so
            pass
    return False


def _whole_gif(path: Path) -> bool:
    """Whether the blocks of a GIF file go on to its end mark."""

    def palette(flags: int) -> int:
        return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0

    with path.open("rb") as file:
        start = file.read(13)
        file.seek(palette(start[10]), 1)
        while (mark := file.read(1)) and mark != b";":
            if mark == b",":
                place = file.read(9)
                if len(place) < 9:
                    return False
                file.seek(palette(place[8]), 1)
            file.seek(1, 1)  # smallest code of an image, label of an extension
            while (length := file.read(1)) and length != b"\0":
                file.seek(length[0], 1)
        return mark == b";"
