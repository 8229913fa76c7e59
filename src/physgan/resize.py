"""Bicubic resizing as MATLAB's imresize does it, which papers on super-resolution mean by the word.

Conventions, pinned by tests:

* the kernel is that of Keys (1981) with a = -1/2; where the picture shrinks, it is stretched by the
  factor, so that nothing aliases. Its weights are made to sum to one.
* pictures cover the same area before and after: the centre of pixel i of a picture resized by f
  lies at (i + 1/2) / f - 1/2 of the other's pixels.
* beyond an edge lies the picture's mirror image, edge row included.
* nothing is rounded or clamped, also not between the two directions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from physgan.errors import ShapeError

# Rows of the result that one product makes: bounds its matrix, and the work on long sides.
_CHUNK = 512


def bicubic(x: Tensor, *, up: int = 1, down: int = 1) -> Tensor:
    """Resizes images by the factor `up / down`, antialiased where they shrink.

    Linear and differentiable in `x`; computed in at least float32, also under autocast. Values may
    leave the range of `x`, since the kernel has negative lobes.

    Args:
        x: images, N×C×H×W, floating.
        up: numerator of the factor.
        down: its denominator.

    Returns:
        N×C×⌈H·up/down⌉×⌈W·up/down⌉, of the type of `x`.

    Raises:
        ShapeError: `x` has another rank or type, nothing would be left of it, or the factor is
            none.
    """
    factor: dict[str, object] = {"up": up, "down": down}
    for name, value in factor.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ShapeError(
                f"'{name}' of a resize", expected="an integer of at least 1", got=repr(value)
            )
    if x.ndim != 4 or not x.is_floating_point():
        raise ShapeError(
            "images to resize",
            expected="N×C×H×W of floating numbers",
            got=f"shape {tuple(x.shape)} of {x.dtype}",
        )
    if min(x.shape[2], x.shape[3]) * up < down:
        raise ShapeError(
            f"images to resize by {up}/{down}",
            expected=f"sides of at least {-(-down // up)} px, of which a pixel remains",
            got=f"{x.shape[2]}×{x.shape[3]}",
        )
    if up == down:
        return x
    wide = x if x.dtype == torch.float64 else x.float()
    # Autocast would take the products in half precision.
    with torch.autocast(x.device.type, enabled=False):
        return _columns(_columns(wide, up, down).mT, up, down).mT.to(x.dtype)


def _columns(x: Tensor, up: int, down: int) -> Tensor:
    """Resizes along the rows' direction: N×C×H×W to N×C×⌈H·up/down⌉×W."""
    n = x.shape[2]
    length = -(-n * up // down)
    # An exported graph serves every size, so it cannot count chunks.
    step = length if torch.compiler.is_compiling() else _CHUNK
    if length <= step:
        return _weights(x, (0, length), (0, n), up, down) @ x
    reach = 2 * -(-max(up, down) // up) + 1
    parts = []
    for first in range(0, length, step):
        last = min(first + step, length)
        # The input that these rows depend on; what a mirror adds lies within it.
        low, high = max(0, first * down // up - reach), min(n, -(-last * down // up) + reach)
        parts.append(_weights(x, (first, last), (low, high), up, down) @ x[:, :, low:high])
    return torch.cat(parts, dim=2)


def _weights(
    x: Tensor, rows: tuple[int, int], columns: tuple[int, int], up: int, down: int
) -> Tensor:
    """How much the input's rows `columns` count in the result's rows `rows`, one row summing to 1.

    Distances are whole multiples of 1 / (2 up): taken as such, they are exact for any size.
    """
    n = x.shape[2]
    i = torch.arange(*rows, device=x.device)[:, None]
    j = torch.arange(*columns, device=x.device)
    # Where pixel j lies in the picture and in its mirror images to both sides; the kernel reaches
    # no farther, for a picture of which at least one pixel remains.
    there = torch.stack([j, -1 - j, 2 * n - 1 - j, j - 2 * n, j + 2 * n])[:, None]
    distance = (2 * up * there + up - (2 * i + 1) * down).abs().to(x.dtype) / (2 * max(up, down))
    weights = _keys(distance).sum(dim=0)
    return weights / weights.sum(dim=1, keepdim=True)


def _keys(t: Tensor) -> Tensor:
    """The cubic convolution kernel of Keys, a = -1/2, at distances t of at least 0."""
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))
