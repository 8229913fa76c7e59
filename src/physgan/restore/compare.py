"""An image before and after, side by side, with numbers where the clear one is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from physgan.errors import ImageError, ShapeError
from physgan.files import replacing
from physgan.images.picture import read_picture
from physgan.metrics.protocol import protocol, scores
from physgan.restore.file import taken
from physgan.restore.page import enlarged
from physgan.restore.panels import below, beside, line_of_text, to_image

_SHOWN = 8
"""images of a batch that are shown"""
_WIDEST = 1600
"""pixels of what a notebook shows"""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What was given and what it was restored to; a notebook shows them side by side.

    Args:
        y: N×C×h×w, as given.
        x_hat: N×C×H×W, restored.
        x: the clear images, N×C×H×W; None where they are not known.
    """

    y: Tensor
    x_hat: Tensor
    x: Tensor | None = None

    @property
    def scale(self) -> int:
        """How many times larger `x_hat` is than `y`."""
        return self.x_hat.shape[-1] // self.y.shape[-1]

    @cached_property
    def scores(self) -> dict[str, float]:
        """Means over the images of `psnr`, `ssim`, `input_psnr` and `input_ssim`, protocol `rgb`.

        As `physgan evaluate` measures them, where `y` is enlarged bicubically first if the restorer
        enlarges. Empty where `x` is not known.
        """
        if self.x is None:
            return {}
        how = protocol("rgb", scale=self.scale)
        before = enlarged(self.y, self.scale)
        found: dict[str, float] = {}
        for i in range(len(self.x)):
            x = self.x[i : i + 1]
            after = scores(self.x_hat[i : i + 1], x, how)
            given = scores(before[i : i + 1], x, how)
            for name, value in (*after.items(), *((f"input_{k}", v) for k, v in given.items())):
                found[name] = found.get(name, 0.0) + value / len(self.x)
        return found

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes before, after and, where it is known, clear side by side as a PNG file.

        Nothing is reduced; what the restorer enlarges is enlarged before by repeating pixels.

        Args:
            path: ends in `.png`.
            overwrite: replaces a file that is there.

        Raises:
            ImageError: the file is there, is not to be a PNG file, or cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ImageError(
                f"comparison '{path}'", expected="a name ending in .png", got=f"'{path.suffix}'"
            )
        if path.exists() and not overwrite:
            raise taken(path, remedy="Replace it with overwrite=True.")
        try:
            with replacing(path, overwrite=overwrite) as beside_it:
                self._panels(len(self.y)).save(beside_it, format="PNG")
        except OSError as error:
            raise ImageError(
                f"comparison '{path}'", expected="a place that can be written", got=str(error)
            ) from None

    def _panels(self, count: int) -> Image.Image:
        """A row for each of the first images: before, after, clear."""
        before = F.interpolate(self.y[:count].float(), scale_factor=self.scale, mode="nearest")
        columns = [before, self.x_hat[:count], *([] if self.x is None else [self.x[:count]])]
        return below([beside([to_image(x) for x in row]) for row in zip(*columns, strict=True)])

    def _repr_png_(self) -> bytes:
        image = self._panels(_SHOWN)
        if image.width > _WIDEST:
            image = image.resize((_WIDEST, max(1, image.height * _WIDEST // image.width)))
        titles = "before | after" + ("" if self.x is None else " | clear")
        numbers = f": {self._numbers()}" if self.x is not None else ""
        more = f"; the first {_SHOWN} of {len(self.y)}" if len(self.y) > _SHOWN else ""
        caption = line_of_text(titles + numbers + more)
        stream = BytesIO()
        below([image, caption]).save(stream, format="PNG")
        return stream.getvalue()

    def _numbers(self) -> str:
        try:
            found = self.scores
        except ShapeError:
            return "too small to be measured"
        gain = found["psnr"] - found["input_psnr"]
        return (
            f"PSNR {found['input_psnr']:.2f} -> {found['psnr']:.2f} dB ({gain:+.2f}), "
            f"SSIM {found['input_ssim']:.3f} -> {found['ssim']:.3f}"
        )

    def __repr__(self) -> str:
        number = f"{len(self.y)} image{'s' if len(self.y) != 1 else ''}"
        sizes = ["×".join(map(str, x.shape[1:])) for x in (self.y, self.x_hat)]
        size = sizes[0] if self.scale == 1 else " -> ".join(sizes)
        numbers = self._numbers() if self.x is not None else "the clear ones are not known"
        if self.x is None and len(self.y) == 1:
            numbers = "the clear one is not known"
        return f"Comparison({number} of {size}: {numbers})"


def images_of(what: object, name: str) -> Tensor:
    """Images N×C×H×W of a tensor N×C×H×W or C×H×W, or of the first page of a picture file.

    Raises:
        ImageError: the file cannot be read.
        ShapeError: a tensor of another rank, or no floating one.
    """
    if isinstance(what, str | Path):
        return read_picture(Path(what)).pages[0].colour[None]
    if not isinstance(what, Tensor) or what.ndim not in (3, 4) or not what.is_floating_point():
        raise ShapeError(
            name,
            expected="a file, or a floating tensor N×C×H×W or C×H×W in [0, 1]",
            got=f"{what.dtype} {'×'.join(map(str, what.shape))}"
            if isinstance(what, Tensor)
            else f"{type(what).__module__}.{type(what).__name__}",
        )
    return what.detach() if what.ndim == 4 else what.detach()[None]


def compared(y: Tensor, x_hat: Tensor, x: Tensor | None) -> Comparison:
    """A comparison of images N×C×H×W.

    Raises:
        ShapeError: the clear images are of another size than the restored ones.
    """
    if x is not None and x.shape != x_hat.shape:
        raise ShapeError(
            "clear images x",
            expected="×".join(map(str, x_hat.shape)),
            got="×".join(map(str, x.shape)),
            remedy="They have the size of the restored ones.",
        )
    if x is not None:
        x = x.to(x_hat)
    return Comparison(y, x_hat, x)
