"""What reading and writing of picture files share: pyvips, loaded late, and its faults in words."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

from physgan.errors import ImageError, KindError

FieldValue = int | str | bytes | tuple[int, ...] | tuple[float, ...]
"""What a field of libvips' metadata holds."""

FOREIGN: Final = {
    **dict.fromkeys(
        (
            *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef"),
            *(".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".sr2", ".srf", ".srw", ".x3f"),
        ),
        ("a camera's raw file", "Develop it to a 16-bit TIFF first."),
    ),
    ".pdf": ("a document, not a picture", "Render its pages to PNG or TIFF first."),
    ".svg": ("a drawing, not a picture", "Render it to PNG first."),
}
"""Suffixes of what holds pictures only by way of another program: name and remedy.

Raw files are refused by their names, since many are TIFF files whose first page is a thumbnail.
"""

UNTAKEN: Final = {
    **FOREIGN,
    **dict.fromkeys(
        (
            *(".bmp", ".dcm", ".exr", ".fit", ".fits", ".hdr", ".hif", ".jp2", ".jxl", ".pgm"),
            *(".ppm", ".psd", ".tga"),
        ),
        ("a kind that is not taken", "Convert it to PNG or TIFF first."),
    ),
}
"""Suffixes of every picture that is known and not taken: name and remedy."""

_CONVERT: Final = "Convert it to PNG or TIFF first."
_CONVERT_HEIC: Final = (
    "Convert it to PNG or TIFF first, as 'heif-convert IN.heic OUT.png' of libheif does."
)
CUT_SHORT: Final = "A copy or a download may have been cut short: fetch it again."
_FETCH: Final = "Convert it to PNG or TIFF first; if no viewer shows it, fetch it again."
_STORE: Final = "Store it with 8 or 16 bits or as 32-bit floating point, Lab with 16 bits."

# How raw files of Fujifilm, Panasonic, Olympus, Minolta and Sigma begin.
_RAW: Final = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"\0MRM", b"FOVb")

# Of numbers of 64 bits, and of Lab of 8 bits.
_UNREAD_TIFF: Final = ("samples out of range", "bad labq format")


def unfit(
    path: Path,
    *,
    expected: str,
    got: str,
    remedy: str = "",
    fault: type[ImageError] = ImageError,
) -> ImageError:
    """The error that says what is wrong with a picture file, in one line."""
    return fault(
        f"picture file '{path}'",
        expected=expected,
        got=" ".join(got.split()).rstrip(".") or "nothing that can be read",
        remedy=remedy,
    )


def require_vips(path: Path, *, remedy: str = "Install pyvips[binary].") -> Any:
    """The module pyvips, loaded on the first call.

    Raises:
        ImageError: pyvips, or the library below it, is not installed.
    """
    try:
        return _loaded()
    except (ImportError, OSError) as error:  # OSError: the package without its library
        raise unfit(
            path,
            expected="pyvips, which reads and writes picture files, to be installed",
            got=str(error).partition("\n")[0],
            remedy=remedy,
        ) from None


@cache
def _loaded() -> Any:
    # pyvips hands libvips' warnings to Python on libvips' own threads. A garbage collection that
    # falls into such a call frees images while libvips holds its locks, which aborts the process
    # (seen on truncated files). Faults come as exceptions all the same.
    os.environ.setdefault("VIPS_WARNING", "0")
    import pyvips

    remove = getattr(pyvips, "_remove_log_handler", None)
    if remove is not None:
        remove()
    return pyvips


def refuse_rare_kinds() -> None:
    """Lets libvips read nothing, in this whole process, but the kinds that are taken.

    For whoever reads files of strangers: its readers of rare kinds are tried less. Raw pixels are
    what `writing_strips` hands over; no file of a stranger is taken for them.
    """
    vips = require_vips(Path("any"))
    vips.operation_block_set("VipsForeignLoad", True)
    for kind in ("Png", "Jpeg", "Uhdr", "Tiff", "Nsgif", "Webp", "Heif", "Raw"):
        vips.operation_block_set(f"VipsForeignLoad{kind}", False)


def check_file(path: Path, *, expected: str) -> bytes:
    """Makes sure that a file is there and readable, and gives its first 64 bytes.

    Raises:
        ImageError: there is no such file, it is a folder, empty, or may not be read.
    """
    try:
        # Opening a pipe would wait for who writes to it.
        mode = path.stat().st_mode
        special = not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
        head = b"" if special else _head(path)
    except OSError as error:
        got = {
            errno.ENOENT: "nothing of that name",
            errno.EISDIR: "a folder",
            errno.EACCES: "a file, or a folder above it, that may not be read",
        }.get(error.errno or 0, error.strerror or str(error))
        raise unfit(path, expected=expected, got=got) from None
    except ValueError:  # a null byte
        raise unfit(path, expected=expected, got="a name that no file can have") from None
    if special:
        raise unfit(path, expected=expected, got="a pipe, a socket or a device")
    if not head:
        raise unfit(path, expected=expected, got="an empty file", remedy=CUT_SHORT)
    return head


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def name_of(path: Path) -> bytes:
    """A path as libvips takes it: as the system has it, be it UTF-8 or not."""
    return os.fsencode(path)


def open_vips(vips: Any, path: Path, **options: Any) -> Any:
    """A pyvips image of a file, whose pixels are yet to be read, from top to bottom.

    A fault found while they are read is an error: by default half a file passes for a picture,
    the rest of it grey.

    Raises:
        pyvips.Error: libvips cannot read the file.
    """
    # By name, libvips takes brackets for options, and may return what the file held before.
    source = vips.Source.new_from_file(name_of(path))
    return vips.Image.new_from_source(source, "", access="sequential", fail_on="error", **options)


def is_turned(image: Any) -> bool:
    """Whether the rows of an image from `open_vips` are not in the order in which they are seen."""
    return "orientation" in image.get_fields() and image.get("orientation") in range(3, 9)


def upright(image: Any) -> Any:
    """An image from `open_vips`, turned as its orientation asks for: in memory, where it has to be.

    Raises:
        pyvips.Error: it has to be read for that, and cannot be.
    """
    if "orientation" not in image.get_fields() or image.get("orientation") == 1:
        return image  # what turns nothing would keep the image for whoever might want it again
    return (image.copy_memory() if is_turned(image) else image).autorot()


_FORGETTING = Lock()


def forget_images(vips: Any) -> None:
    """Has libvips let go of the last images, which it keeps, with their files and their memory."""
    with _FORGETTING:  # or another thread would take the nothing of this one for what it was
        kept = vips.cache_get_max()
        vips.cache_set_max(0)
        vips.cache_set_max(kept)


def unread(path: Path, head: bytes, error: Exception, *, expected: str) -> ImageError:
    """What to say where libvips did not read a file that begins with `head`."""
    suffix = path.suffix.lower()
    fault: type[ImageError] = KindError
    if suffix in FOREIGN:
        got, remedy = FOREIGN[suffix]
    elif any(brand[:3] in (b"hei", b"hev") for brand in _brands(head)):
        got, remedy = "an HEIC file, which this libvips cannot decode", _CONVERT_HEIC
    elif head[4:12] == b"ftypavis":
        got, remedy = "an animated AVIF file, which libvips does not read", _CONVERT
    elif "not in a known format" in str(error):
        got, remedy = _unknown(head)
    elif any(words in str(error) for words in _UNREAD_TIFF):
        got, remedy = "TIFF of numbers that libvips does not read", _STORE
    else:
        why, fault = reason(error), ImageError
        got = "a file that libvips cannot read whole" + (f" ({why})" if why else "")
        remedy = CUT_SHORT
    return unfit(path, expected=expected, got=got, remedy=remedy, fault=fault)


def _brands(head: bytes) -> list[bytes]:
    """What the beginning of a file of the HEIF family says that it is; of others, nothing."""
    if head[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]


def _unknown(head: bytes) -> tuple[str, str]:
    """What content is that libvips does not know, as far as its beginning tells; and the remedy."""
    if head.startswith(_RAW) or head[8:10] == b"CR" or b"crx " in _brands(head):
        return FOREIGN[".raw"]
    head = head.removeprefix(b"\xef\xbb\xbf")
    text = head.decode("utf-8", errors="ignore")
    whole = len(text.encode()) >= len(head) - 3  # the last letter may be cut
    if text and whole and all(letter.isprintable() or letter.isspace() for letter in text):
        return (
            "text, not a picture",
            "A download may have left a page in place of the picture: fetch it again.",
        )
    return "no picture, or one of a kind that this libvips does not read", _FETCH


def refuse_foreign(path: Path, *, expected: str) -> None:
    """Refuses what libvips would read wrongly or as something else.

    Raises:
        KindError: by its suffix the file is a camera's raw file, a document or a drawing.
    """
    if path.suffix.lower() in FOREIGN:
        got, remedy = FOREIGN[path.suffix.lower()]
        raise unfit(path, expected=expected, got=got, remedy=remedy, fault=KindError)


def reason(error: Exception) -> str:
    """The line of libvips' message that says most, empty where none says anything."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if any(letter.isalpha() for letter in line)
        and not line.startswith(("unable to ", "system error"))
        and "bad seek" not in line
    ]
    return telling[-1].rstrip(".") if telling else ""


def with_fields(image: Any, fields: Iterable[tuple[str, FieldValue]]) -> Any:
    """A pyvips image with more fields of metadata, by their names."""
    from pyvips import GValue

    image = image.copy()
    for name, value in fields:
        if isinstance(value, tuple):
            whole = all(isinstance(number, int) for number in value)
            kind = GValue.array_int_type if whole else GValue.array_double_type
        elif isinstance(value, int):
            kind = GValue.gint_type
        else:
            kind = GValue.blob_type if isinstance(value, bytes) else GValue.gstr_type
        image.set_type(kind, name, list(value) if isinstance(value, tuple) else value)
    return image
