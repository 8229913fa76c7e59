"""A page restored: channels, alpha, strength, tiles."""

from __future__ import annotations

from fractions import Fraction
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Generator

from physgan.errors import OutOfMemory, ShapeError, UsageError
from physgan.images.picture import Page
from physgan.networks import ResNetGenerator
from physgan.restore.page import enlarged, restore_images, restore_page
from physgan.restore.whole import restore_whole
from tests.imresize import imresize
from tests.restore.small import Inverts


def page(channels: int, h: int = 9, w: int = 7, *, alpha: bool = False) -> Page:
    draws = Generator().manual_seed(channels)
    colour = torch.rand(channels, h, w, generator=draws)
    return Page(colour, torch.rand(1, h, w, generator=draws) if alpha else None)


@pytest.mark.parametrize("made_for", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 4])
def test_grey_stays_grey_and_colour_colour(made_for: int, channels: int, scale: int) -> None:
    y = page(channels)
    x_hat = restore_page(Inverts(made_for, scale), y)
    expected = 1 - y.colour.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    assert torch.allclose(x_hat.colour, expected, atol=1e-6)
    assert x_hat.alpha is None


def test_alpha_is_kept_and_enlarged() -> None:
    y = page(3, alpha=True)
    same = restore_page(Inverts(), y)
    assert same.alpha is not None
    assert y.alpha is not None
    assert torch.equal(same.alpha, y.alpha)
    larger = restore_page(Inverts(scale=2), y)
    assert larger.alpha is not None
    assert larger.alpha.shape == (1, 18, 14)
    assert float(larger.alpha.min()) >= 0
    assert float(larger.alpha.max()) <= 1


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_mixes(strength: float) -> None:
    y = page(3)
    x_hat = restore_page(Inverts(), y, strength=strength)
    expected = (1 - strength) * y.colour + strength * (1 - y.colour)
    assert torch.allclose(x_hat.colour, expected, atol=1e-6)


def test_what_a_restorer_is_measured_against_is_matlabs_bicubic() -> None:
    y = page(3).colour[None].round()
    assert torch.equal(enlarged(y, 1), y)
    planes = [imresize(plane.double().numpy(), Fraction(4)) for plane in y[0]]
    wanted = torch.from_numpy(np.stack(planes))[None]
    assert wanted.min() < 0
    torch.testing.assert_close(enlarged(y, 4), wanted.clamp(0, 1).float(), rtol=0, atol=1e-6)
    left_as_it_is = restore_images(Inverts(scale=4), y, strength=0.0)
    torch.testing.assert_close(left_as_it_is, enlarged(y, 4))


def test_large_pages_are_cut_into_tiles() -> None:
    fn = Inverts()
    restore_page(fn, page(3, 70, 50), tile=32)
    assert len(fn.sizes) == 6
    assert max(max(size[2:]) for size in fn.sizes) <= 32 + 8
    once = Inverts()
    restore_page(once, page(3, 70, 50))
    assert len(once.sizes) == 1


def test_networks_with_global_statistics_are_tiled_where_told() -> None:
    fn = ResNetGenerator(width=2, blocks=1).eval()
    y = page(3, 60, 52)
    tiled = restore_page(fn, y, tile=8).colour
    torch.testing.assert_close(tiled, restore_whole(fn, y.colour[None])[0], rtol=0, atol=1e-4)


def test_channels_that_fit_nothing_are_refused() -> None:
    with pytest.raises(ShapeError, match="N×3×h×w"):
        restore_images(Inverts(), torch.zeros(1, 5, 8, 8))
    with pytest.raises(ShapeError, match="N×3×h×w"):
        restore_images(Inverts(), torch.zeros(3, 8, 8))


@pytest.mark.parametrize(("network", "image"), [(3, 3), (3, 1), (1, 3), (1, 1)])
def test_progress_rises_to_the_whole(network: int, image: int) -> None:
    shares: list[float] = []
    y = torch.rand(1, image, 50, 70)
    restore_images(Inverts(channels=network), y, tile=16, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == pytest.approx(1)
    assert len(shares) == 4 * 5 * (3 if (network, image) == (1, 3) else 1)


@pytest.mark.parametrize("strength", [-0.5, 1.5, float("nan")])
def test_a_strength_that_is_none(strength: float) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        restore_page(Inverts(), page(3), strength=strength)


def test_a_mixture_is_a_picture_without_gradients() -> None:
    y = (2 * page(3).colour[None] - 0.5).requires_grad_()
    x_hat = restore_images(Inverts(), y, strength=0.5)
    assert not x_hat.requires_grad
    assert 0 <= float(x_hat.min()) <= float(x_hat.max()) <= 1


def test_smaller_tiles_are_not_tried_where_the_result_finds_no_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = Mock(side_effect=RuntimeError("can't allocate memory"))
    monkeypatch.setattr("physgan.restore.page.room_for", full)
    fn = Inverts()
    with pytest.raises(OutOfMemory, match="result of 70×90"):
        restore_images(fn, torch.rand(1, 3, 90, 70), tile=32)
    assert full.call_count == 1
    assert not fn.sizes
    assert not caplog.records
