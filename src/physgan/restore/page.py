"""Restoring one page of a picture: channels and alpha made to fit, and strength."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from physgan.images.picture import Page
from physgan.resize import bicubic
from physgan.restore.tiled import restore_tiled, tile_side
from physgan.restore.whole import restore_whole
from physgan.types import RestoreFn


def restore_page(
    fn: RestoreFn,
    page: Page,
    *,
    strength: float = 1.0,
    tile: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Page:
    """Restores colour or grey, whatever the restorer was made for, and keeps alpha.

    A restorer of three channels gives grey back for grey, the mean of what it makes of three equal
    channels; one of a single channel restores each colour by itself. Transparency is kept, enlarged
    with the picture.

    Args:
        fn: the restorer.
        page: colour and alpha.
        strength: 0 leaves the page as it is (enlarged bicubically where the restorer enlarges), 1
            is what the restorer makes of it; between, a mixture of both.
        tile: side of the tiles that a large page is cut into; None chooses. The result does not
            depend on it. Restorers with global statistics take pages whole.
        progress: told now and then what share of the page is done.

    Returns:
        The page restored, `fn.scale` times as large.
    """
    x_hat = restore_images(fn, page.colour[None], strength=strength, tile=tile, progress=progress)
    alpha = None if page.alpha is None else enlarged(page.alpha[None], fn.scale)[0]
    return Page(x_hat[0], alpha)


def restore_images(
    fn: RestoreFn,
    y: Tensor,
    *,
    strength: float = 1.0,
    tile: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Tensor:
    """As `restore_page`, for images N×C×h×w in [0, 1] of 1 or 3 channels, or of the restorer's.

    Raises:
        ShapeError: wrong rank, type or channels.
    """
    x_hat = _in_its_channels(fn, y, tile, progress or _untold)
    return x_hat if strength == 1.0 else torch.lerp(enlarged(y, fn.scale), x_hat, strength)


def _untold(share: float) -> None:
    pass


def _in_its_channels(
    fn: RestoreFn, y: Tensor, tile: int | None, progress: Callable[[float], object]
) -> Tensor:
    channels = y.shape[1] if y.ndim == 4 else 0
    if channels == 1 and fn.channels != 1:
        colour = _run(fn, y.expand(-1, fn.channels, -1, -1), tile, progress)
        return colour.mean(dim=1, keepdim=True)
    if fn.channels == 1 and channels > 1:
        planes = []
        for done, plane in enumerate(y.split(1, dim=1)):

            def told(share: float, done: int = done) -> None:
                progress((done + share) / channels)

            planes.append(_run(fn, plane, tile, told))
        return torch.cat(planes, dim=1)
    return _run(fn, y, tile, progress)  # where it does not fit, its own refusal says so


def _run(fn: RestoreFn, y: Tensor, tile: int | None, progress: Callable[[float], object]) -> Tensor:
    if fn.global_statistics or fn.receptive_field is None:
        return restore_whole(fn, y)
    side = tile if tile is not None else tile_side(fn)
    return restore_tiled(fn, y, tile=side, progress=progress)


def enlarged(image: Tensor, scale: int) -> Tensor:
    """Images N×C×h×w in [0, 1], `scale` times as large by `physgan.resize.bicubic`, clamped.

    What a restorer that enlarges is mixed with, and measured against.
    """
    return image if scale == 1 else bicubic(image, up=scale).clamp(0, 1)
