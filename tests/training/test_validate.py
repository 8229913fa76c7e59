"""Measuring on pairs, against scikit-image on the pictures as files would hold them."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Generator, Tensor
from torch.nn import functional as F

from physgan.data.pairs import Pair
from physgan.networks import UNet
from physgan.training.validate import validate
from tests.imresize import imresize


def network(channels: int, scale: int) -> UNet:
    """A small network that does something."""
    torch.manual_seed(1)
    made = UNet(channels=channels, scale=scale, widths=(4, 4), blocks=(1, 1)).eval()
    torch.nn.init.normal_(made.head.weight, std=0.1)
    return made


def pairs(channels: int, scale: int, count: int = 6) -> list[Pair]:
    generator = Generator().manual_seed(2)
    made = []
    for i in range(count):
        h, w = 16 + i, 20 + i  # sides that the network must pad
        coarse = torch.rand(1, channels, 5, 5, generator=generator)
        x = F.interpolate(coarse, (scale * h, scale * w), mode="bicubic").clamp(0, 1)
        y = F.interpolate(x, (h, w), mode="area")
        y = (y + 0.1 * torch.randn(y.shape, generator=generator)).clamp(0, 1)
        made.append(Pair(f"pair-{i}", y.mul(255).round() / 255, x.mul(255).round() / 255))
    return made


def as_file(image: Tensor) -> np.ndarray:
    """H×W×C, uint8, as it would be written."""
    return image[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()


def scores(image: Tensor, x: Tensor) -> tuple[float, float]:
    a, b = as_file(image), as_file(x)
    psnr = peak_signal_noise_ratio(b, a, data_range=255)  # type: ignore[no-untyped-call]
    weights = np.array([65.481, 128.553, 24.966]) / 219 if a.shape[2] == 3 else np.ones(1)
    grey_a, grey_b = a @ weights, b @ weights
    similarity = structural_similarity(  # type: ignore[no-untyped-call]
        grey_a,
        grey_b,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        win_size=11,
    )
    return float(psnr), float(similarity)


@pytest.mark.parametrize(("channels", "scale"), [(3, 1), (1, 1), (3, 4)])
def test_means_equal_scikit_image(channels: int, scale: int) -> None:
    restorer, chosen = network(channels, scale), pairs(channels, scale)
    numbers, pictures = validate(restorer, chosen, device=torch.device("cpu"))
    rows = []
    for pair in chosen:
        h, w = pair.y.shape[-2:]
        even = F.pad(pair.y, (0, w % 4 and 4 - w % 4, 0, h % 4 and 4 - h % 4), mode="reflect")
        x_hat = restorer(even).detach()[..., : scale * h, : scale * w]
        y = pair.y
        if scale > 1:
            planes = [imresize(plane.double().numpy(), Fraction(scale)) for plane in y[0]]
            y = torch.from_numpy(np.stack(planes))[None].float()
        border = scale if scale > 1 else 0  # as tests of super-resolution leave one out
        inner = (..., slice(border, -border or None), slice(border, -border or None))
        rows.append([*scores(x_hat[inner], pair.x[inner]), *scores(y[inner], pair.x[inner])])
    expected = np.mean(rows, axis=0)
    names = ("psnr", "ssim", "input_psnr", "input_ssim")
    for name, value, tolerance in zip(names, expected, (1e-3, 1e-3, 1e-3, 1e-3), strict=True):
        assert numbers[name] == pytest.approx(value, abs=tolerance), name
    assert numbers["n"] == len(chosen)
    gains = [row[0] - row[2] for row in rows]
    assert numbers["worst_gain"] == pytest.approx(min(gains), abs=1e-3)
    assert numbers["median_gain"] == pytest.approx(np.median(gains), abs=1e-3)
    assert numbers.keys() == {*names, "worst_gain", "median_gain", "n"}

    assert [name for name, _ in pictures] == ["pair-0", "pair-1", "pair-2", "pair-3"]
    for (_, picture), pair in zip(pictures, chosen, strict=False):
        side = pair.x.shape[-1]
        assert picture.shape == (channels, pair.x.shape[-2], 3 * side)
        assert torch.equal(picture[..., 2 * side :], pair.x[0])
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


def test_equal_pictures_have_a_finite_score() -> None:
    x = torch.rand(1, 3, 24, 24, generator=Generator().manual_seed(1)).mul(255).round() / 255
    torch.manual_seed(1)
    identity = UNet(widths=(4,), blocks=(1,)).eval()
    numbers, _ = validate(identity, [Pair("a", x, x)], device=torch.device("cpu"))
    assert numbers["psnr"] == numbers["input_psnr"] == 100
    assert numbers["ssim"] == pytest.approx(1)
    assert numbers["worst_gain"] == numbers["median_gain"] == 0


def test_it_leaves_the_network_as_it_was() -> None:
    restorer = network(3, 1)
    before = {name: t.clone() for name, t in restorer.state_dict().items()}
    state = torch.get_rng_state()
    validate(restorer, pairs(3, 1, 1), device=torch.device("cpu"))
    assert torch.equal(state, torch.get_rng_state())
    for name, tensor in restorer.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(p.grad is None for p in restorer.parameters())
