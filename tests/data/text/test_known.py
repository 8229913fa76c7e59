"""Pages whose text is known: what is drawn is what is told."""

from __future__ import annotations

import shutil
from random import Random

import pytest
import torch

from physgan.data.text.known import render_known_page


def test_a_seed_is_a_page() -> None:
    (a, text), (b, again), (c, other) = (
        render_known_page(200, Random(seed)) for seed in ("1", "1", "2")
    )
    assert torch.equal(a, b)
    assert text == again
    assert text != other
    assert not torch.equal(a, c)
    assert (a.dtype, a.shape) == (torch.uint8, (3, 200, 200))


def test_no_line_runs_over_the_edge() -> None:
    for seed in range(20):
        page, text = render_known_page(200, Random(seed))
        for edge in (page[:, :4], page[:, -4:], page[:, :, :4], page[:, :, -4:]):
            assert edge.min() == 255
        assert text.count("\n") >= 4
        dark = (page[0] < 128).any(dim=1).float().mean()
        assert 0.3 < dark < 0.95


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_the_text_can_be_read() -> None:
    from physgan.evaluation.reading import read_text
    from physgan.metrics.text import character_error_rate

    for seed in range(2):
        page, text = render_known_page(320, Random(f"read {seed}"))
        assert character_error_rate(read_text(page[None].float() / 255), text) < 0.03
