"""Precision by measured error: bf16 where it gives what float32 gives, float32 elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from physgan.networks import ResNetGenerator, RestorationNetwork, UNet
from physgan.networks.deconvolution import blur_by_edges, no_blur
from physgan.restore import device
from physgan.restore.device import Elsewhere, bf16_serves
from physgan.restore.page import restore_images
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED
from tests.restore.small import Inverts

CPU = torch.device("cpu")


def picture(side: int = 96) -> Tensor:
    """A smooth one, on which steps would show."""
    ramp = torch.linspace(0.1, 0.9, side).expand(1, 3, side, side)
    draws = Generator().manual_seed(0)
    return (ramp + 0.02 * torch.randn(1, 3, side, side, generator=draws)).clamp(0, 1)


class Scaled(RestorationNetwork):
    """y + gain · conv(y), or that as bf16 holds it."""

    channels, scale, multiple_of, receptive_field, global_statistics = 3, 1, 1, 3, False

    def __init__(self, gain: float, *, added: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        nn.init.constant_(self.conv.weight, 1 / 27)
        self.gain, self.added = gain, added
        self.seen: list[bool] = []
        self.given: list[Tensor] = []

    def forward(self, y: Tensor) -> Tensor:
        self.given.append(y)
        self.seen.append(torch.is_autocast_enabled("cpu"))
        z: Tensor = self.conv(y)
        return y + self.gain * (z - z.mean()) if self.added else z.to(y.dtype)


@pytest.mark.parametrize(
    ("fn", "serves"),
    [(Scaled(0.1), True), (Scaled(30.0), False), (Scaled(1.0, added=False), False)],
    ids=["slightly", "errors enlarged", "rounded in the end"],
)
def test_serves_where_nobody_sees_it(fn: Scaled, serves: bool) -> None:
    assert bf16_serves(fn, picture()) == serves


@pytest.mark.parametrize("y", [torch.ones(1, 3, 96, 96), (picture() > 0.5).float()])
def test_pictures_that_are_too_plain_decide_nothing(
    y: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bf16_serves(Inverts(), y) is None
    monkeypatch.setattr(device, "has_bf16", lambda device: True)
    fn = Scaled(1.0, added=False)
    restorer = Restorer(fn)
    restorer(torch.ones(1, 3, 96, 96))
    restorer(picture())
    assert fn.seen == [False, False, True, False]


def test_no_memory_for_the_comparison_is_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Inverts):
        def __call__(self, y: Tensor) -> Tensor:
            if torch.is_autocast_enabled("cpu"):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(y)

    monkeypatch.setattr(device, "has_bf16", lambda device: True)
    y = picture()
    assert torch.equal(Restorer(Full())(y), 1 - y)


@pytest.mark.parametrize("gain", [0.1, 30.0])
def test_decided_once_on_the_first_picture(gain: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_bf16", lambda device: True)
    fn = Scaled(gain)
    restorer = Restorer(fn)
    restorer(picture(16))
    assert fn.seen == [False]  # too small to tell
    fine = picture()
    x_hat = restorer(fine)
    serves = gain < 1
    assert fn.seen[1:] == [False, True, serves]
    assert x_hat.dtype == torch.float32
    assert restorer.fn.precision == ("bf16" if serves else "fp32")
    restorer(fine)
    assert fn.seen[4:] == [serves]
    with torch.inference_mode():
        exact = fn(fine).clamp(0, 1)
    assert float((x_hat - exact).abs().quantile(0.999)) <= 1 / 255


@pytest.mark.parametrize(
    ("size", "piece"),
    [
        ((96, 96), (96, 96)),
        ((96, 400), (96, 171)),
        ((400, 96), (171, 96)),
        ((96, 140), (96, 140)),
        ((800, 300), (200, 200)),
        ((2000, 300), (256, 256)),
    ],
)
def test_compared_on_the_middle_of_the_first_picture(
    size: tuple[int, int], piece: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_bf16", lambda device: True)
    fn = Scaled(0.1)
    y = torch.rand(2, 3, *size, generator=Generator().manual_seed(1))
    Elsewhere(fn, CPU).settle(y)
    (top, left), (rows, columns) = [(a - b) // 2 for a, b in zip(size, piece, strict=True)], piece
    middle = y[:1, :, top : top + rows, left : left + columns]
    assert len(fn.given) == 2
    assert all(torch.equal(seen, middle) for seen in fn.given)


def test_the_piece_of_a_narrow_picture_tells_its_kernel_too() -> None:
    y = picture(400)[..., :96, :]
    kernel, _ = blur_by_edges(y, side=31)
    of_piece, _ = blur_by_edges(y[(..., *device.middle(*y.shape[2:]))], side=31)
    still = no_blur(y, side=31)
    assert not torch.equal(kernel, still)
    assert not torch.equal(of_piece, still)


def test_devices_without_units_stay_with_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_bf16", lambda device: False)
    fn = Scaled(0.1)
    Restorer(fn)(picture())
    assert fn.seen == [False]


def test_the_next_device_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_bf16", lambda device: device.type == "cpu")
    fn = Elsewhere(Scaled(0.1), torch.device("meta"))
    fn.move(CPU)
    restore_images(fn, picture())
    assert isinstance(fn.fn, Scaled)
    assert fn.fn.seen == [False, True, True]


@pytest.mark.parametrize("network", [UNet, ResNetGenerator])
def test_numbers_of_float64_are_not_rounded(
    network: type[UNet | ResNetGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_bf16", lambda device: True)
    fn = network().double().eval()
    y = picture(64).double()
    restorer = Restorer(fn)
    restorer.fn.settle(y)
    with torch.inference_mode():
        assert torch.equal(restorer(y), fn(y).clamp(0, 1))


# The kernel that deblur-text has of its own first look asks for more digits: that is in fp32.
@pytest.mark.parametrize("name", sorted(SHIPPED.keys() - {"deblur-text"}))
def test_shipped_weights_would_do_in_bf16(name: str) -> None:
    restorer = Restorer.from_pretrained(name, device="cpu")
    assert bf16_serves(restorer.fn.fn, picture(128))
