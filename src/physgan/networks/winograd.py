"""3×3 convolution at stride 1 with a quarter of the multiplications: Winograd's F(4×4, 3×3).

After Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), equations 8 and
15 and the minimal filtering algorithm of Winograd (1980). The image is cut into tiles of 6×6 that
overlap by 2; each is taken to a space where the convolution is one product of 36 numbers with 36,
summed over channels; 4×4 results come back. The ways there and back are products with small
constant matrices, along columns and along rows, so that all of it, and its gradients, are matrix
products of the library.

In float32 the result differs from that of a direct convolution by some 3e-6 of its size (root mean
square, normal inputs), where the direct one in another order differs by some 3e-7.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_SIDE = 4
"""results of a tile, to a side; it sees two pixels more"""
_SEEN = _SIDE + 2
_AT_ONCE = 128
"""tiles in the making at one time: enough for quick products, few enough for the cache"""
_made: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor, Tensor]] = {}


def convolve(x: Tensor, weight: Tensor, padding: int = 0) -> Tensor:
    """Cross-correlation as in `F.conv2d`, at stride 1, of images padded with zeros.

    Args:
        x: N×C×H×W.
        weight: K×C×3×3, of the type of `x`.
        padding: pixels of zero on every side.

    Returns:
        N×K×(H + 2·padding − 2)×(W + 2·padding − 2), channels last in memory.
    """
    tiles = _Tiles(x.shape, padding)
    _, there, back = _matrices(x.dtype, x.device)
    k, c = weight.shape[:2]
    u = _of_weight(weight).transpose(1, 2)
    y = tiles.results(x, k)
    whole = tiles.whole
    grid = (y if whole else tiles.results(x, k, whole=True)).permute(0, 2, 3, 1)
    padded = tiles.padded(x)
    for chunk in tiles.chunks():
        v = _both_ways(there, tiles.gathered(padded, chunk)).view(_SEEN**2, -1, c)
        m = torch.bmm(v, u).view(_SEEN, _SEEN, -1)
        results = _both_ways(back, m).view(_SIDE, _SIDE, *tiles.extent(chunk), k)
        tiles.block(grid, chunk).copy_(results.permute(2, 3, 0, 4, 1, 5))
    # Not a view, so that whoever comes next may change it in place.
    return y if whole else y.copy_(grid[:, : tiles.height, : tiles.width].permute(0, 3, 1, 2))


def gradients(
    g: Tensor, x: Tensor, weight: Tensor, padding: int = 0, *, of_x: bool, of_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """What `convolve` hands back for a gradient `g` of its result.

    Args:
        g: as the result of `convolve`.
        x: as given to it.
        weight: as given to it.
        padding: as given to it.
        of_x: whether the gradient of `x` is wanted.
        of_weight: whether that of `weight` is.

    Returns:
        The gradients of `x` and of `weight`, None for one that is not wanted.
    """
    tiles = _Tiles(x.shape, padding)
    of_weights, there, back = _matrices(x.dtype, x.device)
    k, c = weight.shape[:2]
    u = _of_weight(weight) if of_x else None
    g = F.pad(
        g.permute(0, 2, 3, 1),
        (0, 0, 0, _SIDE * tiles.across - tiles.width, 0, _SIDE * tiles.down - tiles.height),
    )
    padded = tiles.padded(x) if of_weight else None
    dx = tiles.empty(c, x) if of_x else None
    du = None
    for chunk in tiles.chunks():
        blocks = tiles.block(g, chunk).permute(2, 4, 0, 1, 3, 5).reshape(_SIDE, _SIDE, -1)
        dm = _both_ways(back.T, blocks).view(_SEEN**2, -1, k)
        if padded is not None:
            v = _both_ways(there, tiles.gathered(padded, chunk)).view(_SEEN**2, -1, c)
            turned = dm.transpose(1, 2)
            du = torch.bmm(turned, v) if du is None else du.baddbmm_(turned, v)
        if dx is not None and u is not None:
            dv = torch.bmm(dm, u).view(_SEEN, _SEEN, -1)
            seen = _both_ways(there.T, dv).view(_SEEN, _SEEN, *tiles.extent(chunk), c)
            tiles.add(dx, chunk, seen.permute(2, 3, 0, 4, 1, 5))
    dw = None
    if du is not None:
        dw = _both_ways(of_weights.T, du.view(_SEEN, _SEEN, -1)).view(3, 3, k, c)
        dw = dw.permute(2, 3, 0, 1)
    return (None if dx is None else tiles.cut(dx)), dw


def count_tiles(shape: torch.Size, padding: int) -> int:
    """How many tiles `convolve` cuts images N×C×H×W into; none where they are below the kernel."""
    tiles = _Tiles(shape, padding)
    return tiles.images * max(0, tiles.down) * max(0, tiles.across)


class _Tiles:
    """How padded images are cut into tiles, and which of them are worked on together."""

    def __init__(self, shape: torch.Size, padding: int) -> None:
        self.images, _, h, w = shape
        self.h, self.w, self.padding = h, w, padding
        self.height, self.width = h + 2 * padding - 2, w + 2 * padding - 2
        self.down, self.across = -(-self.height // _SIDE), -(-self.width // _SIDE)

    @property
    def whole(self) -> bool:
        """Whether the results are covered by whole tiles."""
        return self.height % _SIDE == 0 and self.width % _SIDE == 0

    def results(self, like: Tensor, channels: int, *, whole: bool = False) -> Tensor:
        """Memory for results, channels last: of their size, or of that of whole tiles."""
        size = (_SIDE * self.down, _SIDE * self.across) if whole else (self.height, self.width)
        shape = (self.images, channels, *size)
        layout = torch.channels_last
        return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)

    def chunks(self) -> list[tuple[slice, slice]]:
        """Images and rows of tiles, some `_AT_ONCE` tiles each."""
        rows = min(self.down, max(1, _AT_ONCE // self.across))
        images = max(1, _AT_ONCE // (self.across * rows)) if rows == self.down else 1
        return [
            (slice(i, min(i + images, self.images)), slice(r, min(r + rows, self.down)))
            for i in range(0, self.images, images)
            for r in range(0, self.down, rows)
        ]

    def extent(self, chunk: tuple[slice, slice]) -> tuple[int, int, int]:
        """Images, rows and columns of tiles."""
        images, rows = chunk
        return images.stop - images.start, rows.stop - rows.start, self.across

    def padded(self, x: Tensor) -> Tensor:
        """`x` with its border and what the last tiles lack, N×H×W×C."""
        right = _SIDE * self.across + 2 - self.w - self.padding
        below = _SIDE * self.down + 2 - self.h - self.padding
        border = (0, 0, self.padding, right, self.padding, below)
        return F.pad(x.permute(0, 2, 3, 1), border).contiguous()

    def gathered(self, padded: Tensor, chunk: tuple[slice, slice]) -> Tensor:
        """The tiles' pixels, 6×6×the rest."""
        images, rows = chunk
        image, row, pixel, channel = padded.stride()
        view = padded.as_strided(
            (_SEEN, _SEEN, *self.extent(chunk), padded.shape[3]),
            (row, pixel, image, _SIDE * row, _SIDE * pixel, channel),
            padded.storage_offset() + images.start * image + rows.start * _SIDE * row,
        )
        return view.reshape(_SEEN, _SEEN, -1)

    def block(self, results: Tensor, chunk: tuple[slice, slice]) -> Tensor:
        """The tiles' part of N×H×W×K results, as images×rows×4×columns×4×K."""
        images, rows = chunk
        part = results[images, _SIDE * rows.start : _SIDE * rows.stop]
        n, r, a = self.extent(chunk)
        return part.view(n, r, _SIDE, a, _SIDE, -1)

    def empty(self, channels: int, like: Tensor) -> Tensor:
        """Zeros to add gradients of tiles to: padded images and two pixels more."""
        return like.new_zeros(
            self.images, _SIDE * (self.down + 1), _SIDE * (self.across + 1), channels
        )

    def add(self, dx: Tensor, chunk: tuple[slice, slice], seen: Tensor) -> None:
        """Adds tiles, images×rows×6×columns×6×C, where they came from.

        A tile reaches two pixels into its neighbours to the right and below: four sums, in none
        of which tiles meet.
        """
        images, rows = chunk
        n, r, a = self.extent(chunk)
        grid = dx[images, _SIDE * rows.start : _SIDE * (rows.stop + 1)]
        grid = grid.view(n, r + 1, _SIDE, a + 1, _SIDE, -1)
        grid[:, :-1, :, :-1].add_(seen[:, :, :_SIDE, :, :_SIDE])
        grid[:, 1:, :2, :-1].add_(seen[:, :, _SIDE:, :, :_SIDE])
        grid[:, :-1, :, 1:, :2].add_(seen[:, :, :_SIDE, :, _SIDE:])
        grid[:, 1:, :2, 1:, :2].add_(seen[:, :, _SIDE:, :, _SIDE:])

    def cut(self, dx: Tensor) -> Tensor:
        """The gradient of `x` out of that of the padded images."""
        p = self.padding
        return dx[:, p : p + self.h, p : p + self.w].permute(0, 3, 1, 2)


def _of_weight(weight: Tensor) -> Tensor:
    """Weights K×C×3×3 in the tiles' space, 36×K×C."""
    of_weights, _, _ = _matrices(weight.dtype, weight.device)
    k, c = weight.shape[:2]
    taps = weight.permute(2, 3, 0, 1).reshape(3, 3, -1)
    return _both_ways(of_weights, taps).view(_SEEN**2, k, c)


def _both_ways(matrix: Tensor, grid: Tensor) -> Tensor:
    """A p×q matrix along both sides of q×q×M, which come back swapped: p×p×M.

    On the way there and back they are swapped twice. Batches of small products use all cores,
    where one product with a Kronecker matrix, six times the work, would use one.
    """
    p, q = matrix.shape
    along = torch.bmm(matrix.expand(q, p, q), grid)
    return torch.bmm(matrix.expand(p, p, q), along.transpose(0, 1))


def _matrices(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Lavin and Gray's G (6×3), Bᵀ (6×6) and Aᵀ (4×6)."""
    g = [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
    b = [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
    a = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    key = dtype, device
    if key not in _made:
        with torch.inference_mode(False):
            of_weight, there, back = (
                torch.tensor(m, dtype=dtype, device=device) for m in (g, b, a)
            )
        if type(there) is not Tensor:  # a tracer's, of no use to anybody else
            return of_weight, there, back
        _made[key] = of_weight, there, back
    return _made[key]
