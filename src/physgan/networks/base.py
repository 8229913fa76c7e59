"""What type checkers know of a restoring network: a module that is also a `RestoreFn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn


class RestorationNetwork(nn.Module):
    """A `torch.nn.Module` with the attributes of `physgan.types.RestoreFn`, and nothing else.

    It holds no code. A foreign network need not derive from it.
    """

    channels: int
    scale: int
    multiple_of: int
    receptive_field: int | None
    global_statistics: bool

    if TYPE_CHECKING:  # a method of its own would stand between the compiler and `forward`

        def __call__(self, y: Tensor, /) -> Tensor: ...
