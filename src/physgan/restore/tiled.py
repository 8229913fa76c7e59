"""Restoring in tiles, so that memory does not grow with the image, and nothing shows it.

A tile is restored with a margin of what its pixels depend on, and the margin is cut away: the
result equals that of the whole image, with nothing blended. That is possible for restorers of
bounded receptive field alone.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from physgan.errors import ShapeError
from physgan.restore.whole import check_images, padded, restore_padded
from physgan.types import RestoreFn


def restore_tiled(
    fn: RestoreFn,
    y: Tensor,
    *,
    tile: int,
    progress: Callable[[float], object] | None = None,
) -> Tensor:
    """Restores images of any size in tiles, without gradients; equal to `restore_whole`.

    Args:
        fn: the restorer, on the device where it shall run; tiles are taken there one by one.
        y: N×C×h×w in [0, 1], floating, on any device.
        tile: side of a tile without its margin, in pixels of `y`; rounded up to a multiple of
            `fn.multiple_of`.
        progress: told after each tile what share of the image is done.

    Returns:
        N×C×(scale·h)×(scale·w) on the device of `y`, clamped to [0, 1].

    Raises:
        ShapeError: as `restore_whole`; or `fn` depends on the whole image.
    """
    if fn.global_statistics or fn.receptive_field is None:
        raise ShapeError(
            "restorer to be run in tiles",
            expected="one of bounded receptive field",
            got="one whose every pixel depends on the whole image",
            remedy="Restore the image whole.",
        )
    check_images(fn, y)
    height, width = y.shape[2:]
    whole = padded(fn, y)
    step = -(-tile // fn.multiple_of) * fn.multiple_of
    # The receptive field reaches half its side to each hand; tiles must keep to the grid.
    reach = fn.receptive_field // 2
    margin = -(-reach // fn.multiple_of) * fn.multiple_of
    rows, columns = whole.shape[2:]
    scale = fn.scale
    result = y.new_empty(y.shape[0], y.shape[1], scale * rows, scale * columns)
    for top in range(0, rows, step):
        for left in range(0, columns, step):
            bottom, right = min(top + step, rows), min(left + step, columns)
            above, before = max(0, top - margin), max(0, left - margin)
            window = whole[
                :, :, above : min(bottom + margin, rows), before : min(right + margin, columns)
            ]
            x_hat = restore_padded(fn, window)
            inner = x_hat[
                :,
                :,
                scale * (top - above) : scale * (bottom - above),
                scale * (left - before) : scale * (right - before),
            ]
            result[:, :, scale * top : scale * bottom, scale * left : scale * right] = inner
            if progress is not None:
                progress((top * columns + (bottom - top) * right) / (rows * columns))
    return result[:, :, : scale * height, : scale * width].clamp_(0, 1)


def tile_side(fn: RestoreFn, *, pixels: int = 1 << 19) -> int:
    """A side for tiles that, margin included, hold about `pixels` pixels of `y`.

    Half a million keep the features of the default network below a gigabyte, and waste less than
    half of the work on margins.
    """
    reach = (fn.receptive_field or 0) // 2
    return max(fn.multiple_of, int(pixels**0.5) - 2 * reach)
