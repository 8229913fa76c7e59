"""What memory allows: tiles where the whole does not fit, smaller ones where tiles did not."""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from physgan.errors import OutOfMemory
from physgan.networks import ResNetGenerator, UNet, channels_last
from physgan.restore import memory, page
from physgan.restore.device import Elsewhere
from physgan.restore.memory import (
    bytes_for_a_pixel,
    free_bytes,
    pixels_at_once,
    ran_out,
    surely_fits,
)
from physgan.restore.page import restore_images
from physgan.restore.tiled import restore_tiled
from physgan.restore.whole import restore_whole
from physgan.types import RestoreFn
from tests.restore.small import Inverts

CPU = torch.device("cpu")


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=Generator().manual_seed(0))


class Limited(Inverts):
    """Has room for so many pixels at a time."""

    def __init__(self, room: int, error: Exception, receptive_field: int | None = 1) -> None:
        super().__init__()
        self.room, self.error, self.receptive_field = room, error, receptive_field

    def __call__(self, y: Tensor) -> Tensor:
        if y.shape[2] * y.shape[3] > self.room:
            raise self.error
        return super().__call__(y)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
    RuntimeError("could not create a primitive"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.07 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("std::bad_alloc"),
]


@pytest.mark.parametrize("error", ERRORS)
def test_tiles_are_halved_until_they_fit(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    fn, y = Limited(100 * 100, error), picture(300, 280)
    with caplog.at_level(logging.WARNING):
        x_hat = restore_images(fn, y, tile=256)
    assert torch.equal(x_hat, 1 - y)
    assert [r.getMessage() for r in caplog.records] == [
        "memory ran out at tiles of 256×256 px; going on with 128×256",
        "memory ran out at tiles of 128×256 px; going on with 128×128",
        "memory ran out at tiles of 128×128 px; going on with 64×128",
    ]


@pytest.mark.parametrize("field", [1, None])
def test_what_never_fits_is_told(field: int | None) -> None:
    with pytest.raises(OutOfMemory, match="picture of 280×300") as told:
        restore_images(Limited(10, ERRORS[0], field), picture(300, 280))
    assert ("at once" in str(told.value)) == (field is None)


def test_other_faults_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        restore_images(Limited(10, RuntimeError("shapes differ")), picture(300, 280))
    assert not ran_out(ValueError("can't allocate memory"))


def test_a_gpu_without_room_hands_over_to_the_cpu(caplog: pytest.LogCaptureFixture) -> None:

    class Full(Elsewhere):
        """On a device that holds nothing, until it has moved."""

        def __call__(self, y: Tensor) -> Tensor:
            if self.device.type != "cpu":
                raise ERRORS[0]
            return super().__call__(y)

    y = picture(300, 280)
    with caplog.at_level(logging.WARNING):
        x_hat = restore_images(Full(Inverts(), torch.device("meta")), y, tile=64)
    assert torch.equal(x_hat, 1 - y)
    assert caplog.records[-1].getMessage() == "memory of meta ran out; going on on the CPU"


class Elsewhen(Limited):
    """On any device but the CPU there is room for nothing."""

    def __init__(self, receptive_field: int | None, *, global_statistics: bool = False) -> None:
        super().__init__(1 << 60, ERRORS[0], receptive_field)
        self.global_statistics = global_statistics

    def __call__(self, y: Tensor) -> Tensor:
        if y.device.type != "cpu":
            raise ERRORS[0]
        return super().__call__(y)


@pytest.mark.parametrize(
    ("field", "statistics"), [(None, False), (None, True), (9, True), (401, False)]
)
def test_what_moved_to_the_cpu_is_cut_as_memory_there_allows(
    field: int | None, statistics: bool
) -> None:
    fn, y = Elsewhen(field, global_statistics=statistics), picture(1000, 600)
    moved = Elsewhere(fn, torch.device("meta"))
    assert torch.equal(restore_images(moved, y), 1 - y)
    assert fn.sizes == [(1, 3, 1000, 600)]


class Kernelled(Elsewhen):
    """Takes a kernel of the whole, for which there is room on the CPU alone."""

    window: int | None = 32

    def __init__(self) -> None:
        super().__init__(9, global_statistics=True)
        self.tried = 0

    def conditioned(self, y: Tensor) -> RestoreFn:
        self.tried += 1
        if y.device.type != "cpu":
            raise ERRORS[0]
        return Limited(1 << 60, ERRORS[0])


def test_smaller_tiles_are_not_tried_where_there_is_no_room_for_a_kernel() -> None:
    fn, y = Kernelled(), picture(300, 280)
    moved = Elsewhere(fn, torch.device("meta"))
    assert torch.equal(restore_images(moved, y, tile=64), 1 - y)
    assert fn.tried == 2


def test_two_that_run_out_of_memory_at_once_both_go_on() -> None:
    both = threading.Barrier(2)

    class Together(Elsewhen):
        def __call__(self, y: Tensor) -> Tensor:
            if y.device.type != "cpu":
                both.wait(10)
            return super().__call__(y)

    fn, y = Elsewhere(Together(1), torch.device("meta")), picture(30, 28)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: restore_images(fn, y), range(2)))
    assert all(torch.equal(x_hat, 1 - y) for x_hat in results)


def test_a_network_moves_as_a_copy() -> None:
    network = UNet(widths=(4,), blocks=(1,)).eval()
    fn = Elsewhere(network, CPU)
    fn.move(torch.device("meta"))
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    assert isinstance(fn.fn, UNet)
    assert {p.device.type for p in fn.fn.parameters()} == {"meta"}
    inverts = Elsewhere(Inverts(), torch.device("meta"))
    inverts.move(CPU)
    assert inverts.precision == "fp32"
    assert inverts.settled


def test_statistics_are_taken_of_the_whole_while_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    fn, y = ResNetGenerator(width=2, blocks=0).eval(), picture(300, 280)
    whole = restore_whole(fn, y)
    shares: list[float] = []
    restore_images(fn, y, progress=shares.append)
    assert shares == [1.0]
    monkeypatch.setattr(page, "surely_fits", lambda fn, pixels: False)
    monkeypatch.setattr(page, "pixels_at_once", lambda fn: 128 * 128)
    shares.clear()
    tiled = restore_images(fn, y, progress=shares.append)
    assert len(shares) > 4
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-4)


def test_room_follows_memory_and_features(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 << 26 < free_bytes(CPU) < 1 << 50
    # The widest features: 48 at half the resolution, 64 at the whole, 4 bytes each.
    assert bytes_for_a_pixel(UNet().eval()) == pytest.approx(16 * 48, rel=0.3)
    assert bytes_for_a_pixel(ResNetGenerator(blocks=1).eval()) == pytest.approx(16 * 256, rel=0.3)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1 << 30)
    room = pixels_at_once(UNet().eval())
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1 << 28)
    assert pixels_at_once(UNet().eval()) == pytest.approx(room / 4, abs=1)
    assert pixels_at_once(Inverts()) == (1 << 26) // 4096
    assert surely_fits(Inverts(), (1 << 26) // 4096)
    assert not surely_fits(Inverts(), (1 << 26) // 4096 + 1)


def test_a_batch_shares_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    fn = ResNetGenerator(width=2, blocks=0).eval()
    monkeypatch.setattr(page, "surely_fits", lambda fn, pixels: False)
    monkeypatch.setattr(page, "pixels_at_once", lambda fn: 300 * 300)
    tiled: list[object] = []

    def counted(*images: Any, **options: Any) -> Tensor:
        tiled.append(options)
        return restore_tiled(*images, **options)

    monkeypatch.setattr(page, "restore_tiled", counted)
    restore_images(fn, picture(290, 300))
    assert not tiled
    restore_images(fn, picture(290, 300).expand(2, -1, -1, -1))
    assert len(tiled) == 1


def test_a_network_in_double_precision_and_a_large_picture() -> None:
    fn = UNet(widths=(4,), blocks=(1,)).double().eval()
    y = picture(300, 280).double()
    torch.testing.assert_close(restore_images(fn, y), restore_whole(fn, y))


def test_statistics_of_its_own_keep_a_picture_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of an exported graph, which nothing can be handed to."""

    class Own(Inverts):
        global_statistics = True

    monkeypatch.setattr(page, "pixels_at_once", lambda fn: 100)
    monkeypatch.setattr(page, "surely_fits", lambda fn, pixels: False)
    fn, y = Own(), picture(300, 280)
    assert torch.equal(restore_images(fn, y), 1 - y)
    assert fn.sizes[-1] == (1, 3, 300, 280)

    class Full(Limited):
        global_statistics = True

    with pytest.raises(OutOfMemory, match="at once"):
        restore_images(Full(100 * 100, ERRORS[0]), y)


def test_results_lie_as_pictures_do() -> None:
    fn = channels_last(ResNetGenerator(width=2, blocks=0).eval())
    assert restore_images(fn, picture(30, 28)).is_contiguous()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_what_nobody_uses_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    # Each second one goes, and what is between keeps the heap from shrinking by itself.
    pieces = [torch.ones(20_000) for _ in range(2_000)]
    del pieces[::2]
    before = resident()
    memory.given_back()
    assert before - resident() > 40e6


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_groups_around_the_process_count(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its own and of all above; where a container has it by the host's name, the root's."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    root = tmp_path / "memory" if version == 1 else tmp_path
    told = tmp_path / "cgroup"
    told.write_text("5:cpu,memory:/a/b\n3:devices:/x\n" if version == 1 else "0::/a/b\n")
    read = Path.read_text

    def redirected(path: Path, **how: Any) -> str:
        return read(told if path == Path("/proc/self/cgroup") else path, **how)

    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(Path, "read_text", redirected)
    unlimited = memory._left_to_the_group()
    assert unlimited > 1 << 60
    for folder, limit in (("", 900), ("a/b", 1000), ("a", 500)):
        place = root / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, value in zip(names, (limit, 100, 30), strict=True):
            text = f"{name} {value}" if "inactive" in name else str(value)
            (place / ("memory.stat" if "inactive" in name else name)).write_text(text)
        assert memory._left_to_the_group() == min(900, limit) - 100 + 30
    (root / "memory.stat").write_text("nothing")
    (root / names[0]).write_text("max")
    assert memory._left_to_the_group() == 430
