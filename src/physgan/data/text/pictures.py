"""Rendered pages as a set of pictures to train on."""

from __future__ import annotations

from random import Random

from torch import Tensor

from physgan.data.text.page import render_page
from physgan.errors import ImageError


class TextPages:
    """Windows of pages, each drawn when it is asked for; page `i` depends on seed and `i` alone.

    Args:
        count: pages in the set.
        side: of a window in pixels; crops are cut from it.
        seed: decides all pages.
    """

    licence = "Apache-2.0 (trained on pages that the project draws)"

    def __init__(self, count: int = 100_000, side: int = 160, seed: int = 0) -> None:
        if count < 1 or side < 16:
            raise ImageError(
                "set of rendered pages",
                expected="at least one page, of at least 16 pixels",
                got=f"{count} of {side}",
            )
        self.count, self.side, self.seed = count, side, seed

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Tensor:
        """uint8, 3×side×side."""
        return render_page(self.side, Random(f"{self.seed}/{index}"))

    def origin(self, index: int) -> int:
        return index

    def identity(self) -> str:
        return f"{self.count} text pages of {self.side} px, seed {self.seed}"
