"""Bicubic down-sampling: MATLAB's definition, where pixels lie, and the number of the papers."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

from physgan.errors import ShapeError, ThetaError
from physgan.metrics.protocol import protocol, scores
from physgan.metrics.quantise import to_8bit
from physgan.physics.downsample import Bicubic
from physgan.physics.draw import Nothing
from physgan.resize import bicubic
from physgan.types import Following, Sampler
from tests.imresize import imresize

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PHYSGAN_DATA", ROOT.parent / "shared" / "data"))


def images(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_is_matlabs_imresize(scale: int, size: tuple[int, int]) -> None:
    x = images(2, 3, scale * size[0], scale * size[1])
    y = Bicubic(scale)(x, {})
    assert y.shape == (2, 3, *size)
    for image, result in zip(x.flatten(0, 1), y.flatten(0, 1), strict=True):
        wanted = imresize(image.numpy(), Fraction(1, scale))
        np.testing.assert_allclose(result.numpy(), wanted, rtol=0, atol=1e-13)


def test_a_pixel_is_centred_on_its_square() -> None:
    rows = torch.arange(64, dtype=torch.float64)[:, None].expand(1, 1, 64, 64)
    y = Bicubic(4)(rows, {})[0, 0, :, 5]
    torch.testing.assert_close(y[2:-2], torch.arange(16, dtype=torch.float64)[2:-2] * 4 + 1.5)


def test_a_cut_on_the_grid_is_that_of_the_result() -> None:
    x = images(1, 1, 48, 64)
    y = Bicubic(4)(x, {})
    part = Bicubic(4)(x[..., 8:40, 12:60], {})
    # The margin is 6 of the input's pixels, two of the result's.
    torch.testing.assert_close(part[..., 2:-2, 2:-2], y[..., 4:8, 5:13], rtol=0, atol=1e-14)
    assert not torch.allclose(part[..., 1, 2:-2], y[..., 3, 5:13])


@pytest.mark.parametrize("scale", range(1, 9))
def test_margin_is_the_reach(scale: int) -> None:
    x = images(1, 1, 9 * scale, 9 * scale).requires_grad_()
    (gradient,) = torch.autograd.grad(Bicubic(scale)(x, {})[0, 0, 4, 4], x)
    touched = (gradient[0, 0].abs() > 1e-12).nonzero()
    assert 4 * scale - int(touched.min()) == Bicubic(scale).margin({})
    assert int(touched.max()) - (5 * scale - 1) == Bicubic(scale).margin({})


@pytest.mark.parametrize("scale", [2, 4])
def test_overshoot_is_the_negative_share_of_the_kernel(scale: int) -> None:
    """The worst picture there is: white where the kernel of one pixel is positive."""
    x = images(1, 1, 9 * scale, 9 * scale).requires_grad_()
    (kernel,) = torch.autograd.grad(Bicubic(scale)(x, {})[0, 0, 4, 4], x)
    y = Bicubic(scale)((kernel > 0).double(), {})
    assert float(y[0, 0, 4, 4]) == pytest.approx({2: 1.205078125, 4: 1.1866455078125}[scale])
    assert float(y.max()) == float(y[0, 0, 4, 4])


def test_flat_pictures_stay_and_tell_their_type() -> None:
    for dtype in (torch.float16, torch.float32, torch.float64):
        y = Bicubic()(torch.full((1, 2, 16, 8), 0.7, dtype=dtype), {})
        assert y.shape == (1, 2, 4, 2)
        assert y.dtype == dtype
        torch.testing.assert_close(y, torch.full_like(y, 0.7))


@pytest.mark.parametrize(
    ("h", "w", "remedy"), [(14, 16, "12×16"), (16, 21, "16×20"), (3, 8, "lar")]
)
def test_sides_that_are_no_multiples(h: int, w: int, remedy: str) -> None:
    with pytest.raises(ShapeError, match=rf"multiples of 4, got {h}×{w}.*{remedy}"):
        Bicubic(4)(torch.zeros(1, 3, h, w), {})


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="N×C×H×W"):
        Bicubic(4)(torch.zeros(3, 8, 8), {})
    with pytest.raises(ThetaError, match="scale of a down-sampling: expected at least 1, got 0"):
        Bicubic(0)


def test_nothing_is_drawn() -> None:
    own = Generator().manual_seed(3)
    before = own.get_state()
    assert Nothing().sample(images(2, 3, 8, 8), generator=own) == {}
    assert torch.equal(own.get_state(), before)
    assert isinstance(Nothing(), Sampler)
    assert isinstance(Bicubic(), Following)


def test_set14_by_4_is_the_papers_number() -> None:
    """Bicubic down and up again, over luminance: 26.09 dB on this copy, 26.00 as published."""
    files = sorted((DATA / "Set14").glob("*.png"))
    if len(files) != 14:
        pytest.skip(f"no Set14 in {DATA}")
    found = []
    for file in files:
        pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB")))
        x = pixels.permute(2, 0, 1)[None].float() / 255
        x = x[..., : x.shape[2] // 4 * 4, : x.shape[3] // 4 * 4]
        y = to_8bit(Bicubic(4)(x, {}))
        found.append(scores(bicubic(y, up=4), x, protocol("y", scale=4))["psnr"])
    assert np.mean(found) == pytest.approx(26.09, abs=0.01)
