"""Picture files read and written from top to bottom, for those too large for memory.

One page of unsigned numbers of up to 16 bits, grey or RGB, with or without transparency: what large
pictures are. Others are read whole (picture.py). What comes back is the same either way, to the
last bit. A file whose rows are not in the order in which they are seen, or that is decoded at once,
is in memory as its own numbers, an eighth or less of what the whole takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physgan.errors import ImageError
from physgan.images.colour import bands_of
from physgan.images.picture import (
    EXPECTED,
    NUMPY,
    WHITE,
    Form,
    Page,
    bits_of,
    form_of,
    largest_of,
    open_pages,
    page_of,
)
from physgan.images.vips import (
    check_file,
    forget_images,
    is_turned,
    open_vips,
    refuse_foreign,
    require_vips,
    unread,
)
from physgan.images.write import bits_for, dressed, kind_for, numbers_for, save, telling

_SKIPPED = 256
"""rows that are gone past at a time"""


class Strips:
    """A picture file that is read a strip at a time; made by `open_strips`.

    Args:
        path: of the file.
        image: the libvips image that reads it from top to bottom.
        form: what the file is besides its pixels.
        alphas: 1 where it has transparency.
        state: of the file, from before it was opened.
        held: whether the image is in memory, and can be read more than once.
    """

    def __init__(
        self,
        path: Path,
        image: Any,
        form: Form,
        alphas: int,
        state: tuple[int, ...],
        *,
        held: bool = False,
    ) -> None:
        self.path, self.form, self.alphas = path, form, alphas
        self.height: int = image.height
        self.width: int = image.width
        self._image, self._row, self._state, self._held = image, 0, state, held
        self._region: Any = None

    def read(self, rows: int) -> Page:
        """The next rows, upright, as a page that is no higher.

        Raises:
            ImageError: the file is cut short or damaged there.
        """
        rows = min(rows, self.height - self._row)
        array = np.frombuffer(self._fetched(rows), NUMPY[self.form.number])
        array = array.reshape(rows, self.width, self._image.bands)
        largest = largest_of(self.form.bits, self.form.white)
        return page_of(array, self.alphas, 0.0, largest, largest)

    def skip(self, rows: int) -> None:
        """Goes past the next rows, as `read` does, without keeping them.

        Raises:
            ImageError: as `read`.
        """
        left = min(rows, self.height - self._row)
        while left:
            rows = min(left, _SKIPPED)
            self._fetched(rows)
            left -= rows

    def _fetched(self, rows: int) -> Any:
        vips = require_vips(self.path)
        if self._region is None:  # which belongs to the thread that reads
            self._region = vips.Region.new(self._image)
        try:
            content = self._region.fetch(0, self._row, self.width, rows)
        except vips.Error as error:
            raise unread(self.path, b"", error, expected=EXPECTED) from None
        self._row += rows
        return content

    def again(self) -> Strips:
        """The same file from its top, for those who have to see it twice.

        Raises:
            ImageError: it is no longer what it was.
        """
        if self._held:
            self.require_same()
            form, alphas = self.form, self.alphas
            return Strips(self.path, self._image, form, alphas, self._state, held=True)
        strips = open_strips(self.path)
        if strips is None or strips._state != self._state:
            raise self._changed()
        return strips

    def require_same(self) -> None:
        """Raises ImageError where the file is no longer what it was when it was opened."""
        try:
            same = _state(self.path) == self._state
        except OSError:
            same = False
        if not same:
            raise self._changed()

    def _changed(self) -> ImageError:
        return ImageError(
            f"picture file '{self.path}'",
            expected="the picture that it was when it was opened",
            got="one that was written since, or none",
            remedy="Leave it alone while it is restored.",
        )


def _state(path: Path) -> tuple[int, ...]:
    """What is another one when a file is another, or was written to."""
    told = path.stat()
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns


def open_strips(path: Path, *, above: int = 0) -> Strips | None:
    """Opens a picture file to be read a strip at a time; None where it has to be read whole.

    Args:
        path: of the file.
        above: None also for what has no more pixels than these.

    Raises:
        ImageError: as `read_picture`, as far as the head of the file tells.
    """
    vips = require_vips(path)
    head = check_file(path, expected=EXPECTED)
    refuse_foreign(path, expected=EXPECTED)
    state = _state(path)
    try:
        first = open_vips(vips, path)
        if first.width * first.height <= above:
            return None
        alphas = int(first.hasalpha())
        if (
            first.format not in WHITE
            or first.interpretation not in ("b-w", "srgb", "grey16", "rgb16")
            or first.bands - alphas != bands_of(first.interpretation)
        ):
            return None
        kind, images = open_pages(vips, path)
        image = images[0]
        if len(images) > 1 or kind == "gif":  # whose frames are read otherwise
            return None
        form = form_of(
            path,
            kind,
            image,
            bits=bits_of(image, kind, alphas),
            channels=image.bands - alphas,
            black=0.0,
            white=WHITE[image.format],
            opaque=WHITE[image.format],
        )
    except (vips.Error, UnicodeError) as error:
        raise unread(path, head, error, expected=EXPECTED) from None
    return Strips(path, image, form, alphas, state, held=is_turned(first))


@contextmanager
def writing_strips(
    path: Path,
    form: Form,
    *,
    height: int,
    width: int,
    transparent: bool,
    overwrite: bool = True,
) -> Iterator[Callable[[Page], None]]:
    """Writes a picture file from strips, whole or not at all; gives what takes the next strip.

    The strips' numbers wait in a file without a name beside `path`; when all are there, libvips
    makes the picture of them as `write_picture` does.

    Args:
        path: of the file; its suffix chooses the kind.
        form: as for `write_picture`, of up to 16 bits.
        height: of all strips together.
        width: of each.
        transparent: whether they have alpha.
        overwrite: as for `write_picture`.

    Raises:
        ImageError: as `write_picture`; or strips are missing at the end.
    """
    kind = kind_for(path, form, size=(height, width), pages=1, transparent=transparent)
    bits = bits_for(kind, form)
    vips = require_vips(path)
    bands = form.channels + transparent
    written = 0
    with ExitStack() as ended:
        ended.callback(forget_images, vips)
        ended.enter_context(telling(path))
        file, name = ended.enter_context(_nameless(path.parent))

        def take(page: Page) -> None:
            nonlocal written
            if not torch.isfinite(page.colour).all():
                raise ImageError(
                    f"rows from {written} of the result",
                    expected="a number in every pixel",
                    got="values that are infinite or no number (NaN)",
                )
            numbers = numbers_for([page.colour], form.number, bits, form.black, form.white)
            if page.alpha is not None:
                opacity = numbers_for([page.alpha], form.number, bits, 0.0, form.opaque)
                numbers = np.concatenate([numbers, opacity], axis=2)
            file.write(np.ascontiguousarray(numbers).data)
            written += numbers.shape[0]

        yield take
        if written != height:
            raise ImageError(
                f"picture file '{path}'", expected=f"{height} rows", got=f"{written} of them"
            )
        file.flush()
        # libvips remembers files by name, and this name may have been that of another.
        image = vips.Image.rawload(name, width, height, bands, format=form.number, revalidate=True)
        image = dressed(image.copy(interpretation=form.space), form)
        save(path, image, kind, form, bits, overwrite=overwrite)


@contextmanager
def _nameless(folder: Path) -> Iterator[tuple[Any, str]]:
    """A file that is gone when nobody holds it, killed processes included, and a way to open it."""
    with tempfile.TemporaryFile(dir=folder) as file:
        name = f"/proc/self/fd/{file.fileno()}"
        if Path(name).exists():
            yield file, name
            return
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part") as named:
        yield named, named.name
