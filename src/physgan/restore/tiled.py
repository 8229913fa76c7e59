"""Restoring in tiles, so that memory does not grow with the image, and nothing shows it.

A tile is restored with a margin of what its pixels depend on, and the margin is cut away: the
result equals that of the whole image, with nothing blended. Where pixels also depend on statistics
or on a kernel of the whole image, these are found first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from physgan.errors import ShapeError
from physgan.restore.memory import device_of, given_back
from physgan.restore.progress import Progress, part_of, untold
from physgan.restore.statistics import gather
from physgan.restore.tiles import Sides, cut
from physgan.restore.whole import check_images, padded, padded_side
from physgan.types import Conditional, RestoreFn


def restore_tiled(
    fn: RestoreFn,
    y: Tensor,
    *,
    tile: Sides,
    progress: Progress = untold,
    result: Tensor | None = None,
) -> Tensor:
    """Restores images of any size in tiles, without gradients; equal to `restore_whole`.

    Args:
        fn: the restorer, on the device where it shall run; tiles are taken there one by one. With
            K global statistics it takes about K / 2 times as long as the whole would.
        y: N×C×h×w in [0, 1], floating, on any device.
        tile: side of a tile without its margin, or height and width, in pixels of `y`; rounded up
            to multiples of `fn.multiple_of`.
        progress: told after each tile what share of the image is done.
        result: what takes the result, from `room_for`; None makes it.

    Returns:
        N×C×(scale·h)×(scale·w) on the device of `y`, clamped to [0, 1].

    Raises:
        ShapeError: as `restore_whole`; or `fn` depends on the whole image without bounds, or by
            statistics that cannot be handed to it.
    """
    if fn.receptive_field is None:
        raise ShapeError(
            "restorer to be run in tiles",
            expected="one of bounded receptive field",
            got="one whose every pixel depends on the whole image",
            remedy="Restore the image whole.",
        )
    fn = conditioned_by(fn, y)
    height, width = y.shape[2:]
    whole = padded(fn, y)
    rows, columns = whole.shape[2:]
    tiles = cut(fn, rows, columns, tile=tile)
    first = 0.9 if fn.global_statistics else 0.0  # what the statistics take of the time
    known = gather(fn, whole, tiles, progress=part_of(progress, 0.0, first))
    told = part_of(progress, first, 1.0)
    result = room_for(fn, y) if result is None else result
    kept = 0
    for number, part in enumerate(tiles, start=1):
        window = part.window(whole)
        part.place(result, fn.scale).copy_(part.inner(known.restore(fn, window), window))
        kept += window.shape[0] * window.shape[2] * window.shape[3]
        if kept >= _KEPT and device_of(fn).type == "cpu":
            given_back()
            kept = 0
        told(number / len(tiles))
    return result[:, :, : fn.scale * height, : fn.scale * width].clamp_(0, 1)


def room_for(fn: RestoreFn, y: Tensor) -> Tensor:
    """Memory for the result of `y` as `fn` pads it, where `y` is."""
    n, channels, *sides = y.shape
    return y.new_empty(n, channels, *(fn.scale * padded_side(s, fn.multiple_of) for s in sides))


def conditioned_by(fn: RestoreFn, y: Tensor) -> RestoreFn:
    """`fn`, or, where it is `Conditional` on the whole image, the restorer of `y` and its parts.

    Raises:
        ShapeError: as `restore_whole`.
    """
    check_images(fn, y)
    if not (fn.global_statistics and isinstance(fn, Conditional)):
        return fn
    with torch.inference_mode():
        return fn.conditioned(padded(fn, y))


PIXELS = 3 << 20
"""Pixels of a tile, margin included, where memory does not ask for less.

Three million of them take the default network half a gigabyte in bf16, one that deconvolves not
twice that; a quarter of the work goes into margins, half of it for a network that deconvolves. Half
as many took the latter a third longer, and memory a third less.
"""


_KEPT = 1 << 20
"""pixels of tiles after which unused memory is given back; that takes up to a tenth of a second"""


def tile_side(fn: RestoreFn, *, pixels: int = PIXELS) -> int:
    """A side for tiles that, margin included, hold about `pixels` pixels of `y`.

    Not below twice the reach: smaller tiles hardly take less memory, and many times the work.
    """
    reach = (fn.receptive_field or 0) // 2
    return max(fn.multiple_of, 2 * reach, int(pixels**0.5) - 2 * reach)
