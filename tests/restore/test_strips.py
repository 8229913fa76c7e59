"""Large pictures in strips: the file is that of the whole picture, to the last byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import pyvips
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from physgan.errors import ImageError, OutOfMemory, ShapeError
from physgan.export.onnx import export_onnx
from physgan.images.picture import read_picture
from physgan.images.strips import Strips, open_strips, writing_strips
from physgan.networks.window import steepest
from physgan.restore import file
from physgan.restore.device import Elsewhere
from physgan.restore.file import restore_file
from physgan.restore.strips import restore_strips
from physgan.types import RestoreFn
from physgan.weights.onnx import open_graph
from tests.networks.test_deconvolution import gentle, header, network, shaken, strokes

RGB = np.random.default_rng(0).integers(0, 65536, (97, 61, 4)).astype("uint16")


class Brightest:
    """The largest of 9×9 pixels, enlarged by repetition: looks around itself, without rounding."""

    multiple_of = 4
    receptive_field: int | None = 9
    global_statistics = False

    def __init__(self, channels: int = 3, scale: int = 1) -> None:
        self.channels, self.scale = channels, scale
        self.rows: list[int] = []

    def __call__(self, y: Tensor) -> Tensor:
        self.rows.append(y.shape[2])
        x = F.max_pool2d(y, 9, stride=1, padding=4)
        return x.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


class Levelled(Brightest):
    """Less a pixel of what has the steepest slopes: looks at a part of the whole first."""

    receptive_field: int | None = 1
    global_statistics = True
    window: int | None = 32

    def conditioned(self, y: Tensor) -> RestoreFn:
        assert self.window is not None
        # A corner of the window tells which one it is, and no sum rounds in another order.
        return _Level(self, steepest(y, self.window)[:, :, :1, :1])

    def __call__(self, y: Tensor) -> Tensor:
        self.rows.append(y.shape[2])
        return self.conditioned(y)(y)


class _Level(Brightest):
    receptive_field: int | None = 1

    def __init__(self, fn: Brightest, level: Tensor) -> None:
        super().__init__(fn.channels, fn.scale)
        self.rows, self.level = fn.rows, level

    def __call__(self, y: Tensor) -> Tensor:
        self.rows.append(y.shape[2])
        x = (0.5 + y - self.level).clamp(0, 1)
        return x.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


def vips(array: Any, **fields: Any) -> Any:
    image = pyvips.Image.new_from_array(array)
    space = {("b-w", 1): "grey16", ("srgb", 1): "rgb16"}
    wide = int(image.format == "ushort")
    grey = "b-w" if image.bands < 3 else "srgb"
    image = image.copy(interpretation=space.get((grey, wide), grey), xres=5.0, yres=4.0)
    for name, value in fields.items():
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, name, value)
    return image


def eight(bands: int) -> Any:
    return vips((RGB[..., :bands] >> 8).astype("uint8"))


def sixteen(bands: int) -> Any:
    return vips(RGB[..., :bands])


def turned(orientation: int) -> Any:
    return vips((RGB[..., :3] >> 8).astype("uint8"), orientation=orientation)


KINDS: dict[str, Callable[[Path], None]] = {
    "rgb.png": lambda path: eight(3).pngsave(str(path)),
    "rgba.png": lambda path: eight(4).pngsave(str(path)),
    "grey.png": lambda path: eight(1).pngsave(str(path)),
    "grey-alpha.png": lambda path: eight(2).pngsave(str(path)),
    "rgb16.png": lambda path: sixteen(3).pngsave(str(path)),
    "rgba16.png": lambda path: sixteen(4).pngsave(str(path)),
    "interlaced.png": lambda path: eight(3).pngsave(str(path), interlace=True),
    "palette.png": lambda path: eight(3).pngsave(str(path), palette=True),
    "bits.png": lambda path: (eight(1) > 100).pngsave(str(path), bitdepth=1),
    "rgb.jpg": lambda path: eight(3).jpegsave(str(path), Q=90, profile="srgb"),
    "grey.jpg": lambda path: eight(1).jpegsave(str(path), Q=90),
    "rgb.tif": lambda path: eight(3).tiffsave(str(path), compression="lzw"),
    "tiles.tif": lambda path: sixteen(3).tiffsave(str(path), tile=True, tile_width=16),
    "rgba16.tif": lambda path: sixteen(4).tiffsave(str(path), compression="deflate"),
    "turned.jpg": lambda path: turned(6).jpegsave(str(path), Q=90),
    "mirrored.jpg": lambda path: turned(2).jpegsave(str(path), Q=90),
    "upside-down.tif": lambda path: turned(3).tiffsave(str(path)),
    "decoded-at-once.avif": lambda path: eight(3).heifsave(str(path), compression="av1"),
    "lossless.webp": lambda path: eight(4).webpsave(str(path), lossless=True),
}


def both_ways(
    monkeypatch: pytest.MonkeyPatch, source: Path, fn: Brightest, **options: Any
) -> tuple[Path, Path]:
    """The picture restored whole, and in strips."""
    results = []
    for name, limit in (("whole", 1 << 60), ("strips", 0)):
        monkeypatch.setattr(file, "STREAMED", limit)
        target = source.parent / name / source.name
        fn.rows.clear()
        restore_file(fn, source, target, **options)
        results.append(target)
    return results[0], results[1]


@pytest.mark.parametrize("name", KINDS)
def test_strips_give_the_file_of_the_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    KINDS[name](tmp_path / name)
    fn, shares = Brightest(), list[float]()
    whole, strips = both_ways(monkeypatch, tmp_path / name, fn, tile=16, progress=shares.append)
    assert strips.read_bytes() == whole.read_bytes()
    assert max(fn.rows) <= 16 + 2 * 16  # a strip and its margins, not the picture
    assert shares[-1] == pytest.approx(1)
    assert sorted(os.listdir(strips.parent)) == [name]
    before, after = read_picture(tmp_path / name), read_picture(strips)
    assert (before.form.bits, before.form.number) == (after.form.bits, after.form.number)


@pytest.mark.parametrize("name", KINDS)
def test_what_looks_at_a_part_first_does_so_strip_by_strip(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("physgan.restore.strips._ROWS", 16)
    KINDS[name](tmp_path / name)
    fn, shares = Levelled(), list[float]()
    whole, strips = both_ways(monkeypatch, tmp_path / name, fn, tile=16, progress=shares.append)
    assert strips.read_bytes() == whole.read_bytes()
    if name != "bits.png":  # black and white at half the brightness are what they were
        assert strips.read_bytes() != (tmp_path / name).read_bytes()
    assert max(fn.rows) <= 16 + 2 * 16
    told = shares[shares.index(1.0) + 1 :]
    assert told == sorted(told)
    assert shares[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("window", "channels", "name", "apart"),
    [
        (32, 3, "rgb.png", True),
        (32, 3, "grey.png", True),
        (32, 1, "grey.png", True),
        (32, 1, "rgb.png", False),  # each colour has a level of its own
        (None, 3, "rgb.png", False),
    ],
)
def test_what_looks_at_all_of_it_has_it_in_memory(
    window: int | None,
    channels: int,
    name: str,
    apart: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    KINDS[name](tmp_path / name)
    fn = Levelled(channels)
    fn.window = window
    opened = file.open_file(fn, tmp_path / name)
    assert isinstance(opened, Strips) == apart
    around = file.open_file(Elsewhere(fn, torch.device("cpu")), tmp_path / name)
    assert isinstance(around, Strips) == apart


def test_a_file_that_changes_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    KINDS["rgb.png"](tmp_path / "p.png")
    fn = Levelled()
    opened = file.open_file(fn, tmp_path / "p.png")
    vips((RGB[::-1, :, :3] >> 8).astype("uint8")).pngsave(str(tmp_path / "p.png"))
    with pytest.raises(ImageError, match="written since"):
        file.restore_opened(fn, opened, tmp_path / "out" / "p.png")
    assert os.listdir(tmp_path / "out") == []


def shaken_page(height: int, width: int, bands: int) -> Any:
    """Strokes that were shaken, below a plain part: windows of it differ."""
    x = strokes(1, 200)[..., :height, :width].clone()
    x[..., : height // 2, :] = 0.5
    y = shaken(x)[0][0].permute(1, 2, 0).numpy()
    rgba = np.concatenate([y, np.linspace(0.2, 1, y.size // 3).reshape(*y.shape[:2], 1)], axis=2)
    return vips(np.ascontiguousarray((rgba[..., :bands] * 65535).round().astype("uint16")))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> RestoreFn:
    path = tmp_path_factory.mktemp("graph") / "graph.onnx"
    info = header(widths=[4, 6], blocks=[1, 1], edges=True, gridless=True, side=9)
    export_onnx(gentle(network(edges=True, gridless=True), 0.004), info, path)
    return open_graph(path)


@settings(max_examples=16, deadline=None)
@given(
    height=st.integers(60, 200),
    width=st.integers(40, 200),
    tile=st.one_of(st.none(), st.integers(8, 80)),
    rows=st.integers(16, 60),
    bands=st.integers(1, 4),
    strength=st.sampled_from((1.0, 0.5)),
    kind=st.sampled_from(("looks", "edges", "graph")),
)
def test_what_deblurs_in_strips(
    tmp_path_factory: pytest.TempPathFactory,
    graph: RestoreFn,
    height: int,
    width: int,
    tile: int | None,
    rows: int,
    bands: int,
    strength: float,
    kind: str,
) -> None:
    folder = tmp_path_factory.mktemp("strips")
    source, edges = folder / "p.png", kind != "looks"
    shaken_page(height, width, bands).pngsave(str(source))
    fn = graph if kind == "graph" else gentle(network(edges=edges, gridless=edges))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("physgan.restore.strips._ROWS", rows)
        patch.setattr("physgan.restore.page.SMALL", 0)
        patch.setattr("physgan.networks.deconvolution._ENOUGH", 16)
        patch.setattr(fn, "window", 40)
        pictures = []
        for name, limit in (("whole", 1 << 60), ("strips", 0)):
            patch.setattr(file, "STREAMED", limit)
            target = folder / name / "p.png"
            restore_file(fn, source, target, tile=tile, strength=strength)
            pictures.append(pyvips.Image.new_from_file(str(target)).numpy().astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 65535 * 1e-4 + 1
    assert np.abs(pictures[0] - pyvips.Image.new_from_file(str(source)).numpy()).max() > 256


def test_what_finds_no_memory_for_a_kernel_goes_on_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    KINDS["rgb.png"](tmp_path / "p.png")

    class Full(Levelled):
        full = "kernel"

        def conditioned(self, y: Tensor) -> RestoreFn:
            if self.full == "kernel" and y.device.type != "cpu":
                raise torch.OutOfMemoryError("no room for a kernel")
            return super().conditioned(y)

    fn = Elsewhere(Full(), torch.device("meta"))
    restore_file(fn, tmp_path / "p.png", tmp_path / "q.png", tile=16)
    assert fn.device.type == "cpu"
    assert [record.message for record in caplog.records] == [
        "memory of meta ran out; going on on the CPU"
    ]
    restore_file(Full(), tmp_path / "p.png", tmp_path / "r.png", tile=16)
    assert (tmp_path / "q.png").read_bytes() == (tmp_path / "r.png").read_bytes()


def test_what_is_moved_with_its_kernel_takes_along_what_finds_kernels() -> None:
    full = torch.device("meta")
    fn = Elsewhere(Levelled(), torch.device("cpu"))
    known = fn.conditioned(torch.rand(1, 3, 32, 32))
    assert isinstance(known, Elsewhere)
    assert known is not fn
    fn.move(full)
    known.move(full)
    assert known.fall_back(full)
    assert fn.device.type == known.device.type == "cpu"


def test_what_another_thread_moves_meanwhile_keeps_its_place_for_the_picture_at_hand() -> None:
    place, elsewhere = torch.device("cpu"), torch.device("meta")

    class Moving(Levelled):
        def conditioned(self, y: Tensor) -> RestoreFn:
            fn.move(elsewhere)
            return super().conditioned(y)

    fn = Elsewhere(Moving(), place)
    known = fn.conditioned(torch.rand(1, 3, 32, 32))
    assert isinstance(known, Elsewhere)
    assert (fn.device, known.device) == (elsewhere, place)


def test_no_memory_for_a_kernel_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    KINDS["rgb.png"](tmp_path / "p.png")
    fn = Levelled()
    monkeypatch.setattr(fn, "conditioned", Mock(side_effect=MemoryError))
    with pytest.raises(OutOfMemory, match=r"p\.png"):
        restore_file(fn, tmp_path / "p.png", tmp_path / "out" / "q.png")
    assert os.listdir(tmp_path / "out") == []


def test_a_target_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    KINDS["rgb.png"](tmp_path / "p.png")
    shares = list[float]()
    with pytest.raises(ImageError, match="bmp"):
        restore_file(Levelled(), tmp_path / "p.png", tmp_path / "q.bmp", progress=shares.append)
    assert shares == []


def test_statistics_of_the_whole_are_not_taken_of_strips(tmp_path: Path) -> None:
    KINDS["rgb.png"](tmp_path / "p.png")
    strips = open_strips(tmp_path / "p.png")
    assert strips is not None
    fn = Brightest()
    fn.global_statistics = True
    with pytest.raises(ShapeError, match="Read the picture whole"):
        restore_strips(fn, strips, tmp_path / "q.png")


def test_precision_is_settled_by_the_middle_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("physgan.restore.device._SMALL_PIECE", 16)
    monkeypatch.setattr("physgan.restore.device._LEAST", 1)
    monkeypatch.setattr("physgan.restore.device.has_bf16", lambda device: True)
    seen = list[Tensor]()
    monkeypatch.setattr("physgan.restore.device.bf16_serves", lambda fn, y: seen.append(y))
    KINDS["rgb.png"](tmp_path / "p.png")

    class Module(Levelled, torch.nn.Module):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            Levelled.__init__(self)

    for limit in (1 << 60, 0):
        monkeypatch.setattr(file, "STREAMED", limit)
        fn = Elsewhere(Module(), torch.device("cpu"))
        restore_file(fn, tmp_path / "p.png", tmp_path / str(limit) / "q.png")
    assert seen[0].shape[2:] == (24, 24)
    assert torch.equal(seen[0], seen[1])


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 40),
    tile=st.integers(1, 40),
    scale=st.sampled_from((1, 2, 3)),
    bands=st.integers(1, 4),
    strength=st.sampled_from((1.0, 0.5)),
)
def test_any_size_and_scale(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    tile: int,
    scale: int,
    bands: int,
    strength: float,
) -> None:
    source = tmp_path_factory.mktemp("strips") / "p.png"
    vips(np.ascontiguousarray(RGB[:height, :width, :bands])).pngsave(str(source))
    with pytest.MonkeyPatch.context() as patch:
        fn = Brightest(scale=scale)
        whole, strips = both_ways(patch, source, fn, tile=tile, strength=strength)
    a, b = (pyvips.Image.new_from_file(str(path)).numpy().astype(int) for path in (whole, strips))
    assert a.shape == b.shape
    # Enlarging what is mixed in rounds its sums in another order.
    assert np.abs(a - b).max() <= (0 if strength == 1 and bands in (1, 3) else 1)


@pytest.mark.parametrize("name", ["pages.tif", "inks.jpg", "float.tif", "anim.gif", "lab.tif"])
def test_what_has_to_be_read_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "pages.tif":
        roll = eight(3).join(eight(3), "vertical").copy()
        roll.set_type(pyvips.GValue.gint_type, "page-height", 97)
        roll.tiffsave(str(path))
    elif name == "inks.jpg":
        eight(3).colourspace("cmyk").jpegsave(str(path))
    elif name == "float.tif":
        (eight(3) / 255).tiffsave(str(path))
    elif name == "anim.gif":
        eight(3).gifsave(str(path))
    else:
        eight(3).colourspace("lab").tiffsave(str(path))
    assert open_strips(path) is None
    brightest = Brightest()
    restore_file(brightest, path, tmp_path / "out" / name)
    assert (tmp_path / "out" / name).exists()


@pytest.mark.parametrize("name", ["rgb.png", "rgb.jpg", "rgb.tif"])
def test_a_file_cut_short_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    path = tmp_path / name
    KINDS[name](path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ImageError, match=name):
        restore_file(Brightest(), path, tmp_path / "out" / name, tile=16)
    out = tmp_path / "out"
    assert not out.exists() or not os.listdir(out)


def test_a_restorer_that_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    KINDS["rgb.png"](tmp_path / "p.png")

    class Fails(Brightest):
        def __call__(self, y: Tensor) -> Tensor:
            x = super().__call__(y)
            return x * torch.nan if len(self.rows) > 3 else x

    with pytest.raises(ImageError, match="a number in every pixel"):
        restore_file(Fails(), tmp_path / "p.png", tmp_path / "out" / "p.png", tile=16)
    assert os.listdir(tmp_path / "out") == []


def test_missing_rows_are_no_picture(tmp_path: Path) -> None:
    KINDS["rgb.png"](tmp_path / "p.png")
    strips = open_strips(tmp_path / "p.png")
    assert strips is not None
    target = tmp_path / "q.png"
    with (
        pytest.raises(ImageError, match="97 rows"),
        writing_strips(target, strips.form, height=97, width=61, transparent=False) as take,
    ):
        take(strips.read(40))
    assert not target.exists()


class Mean(Brightest):
    """The mean of 5×5 pixels, with nothing beyond the picture: mirrored rows show."""

    multiple_of = 1
    receptive_field: int | None = 5

    def __call__(self, y: Tensor) -> Tensor:
        return F.avg_pool2d(y, 5, stride=1, padding=2)


def test_the_last_strip_is_not_padded_where_the_whole_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vips(np.full((99, 40, 3), 200, "uint8")).pngsave(str(tmp_path / "p.png"))
    whole, strips = both_ways(monkeypatch, tmp_path / "p.png", Mean(), tile=32)
    assert strips.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("fn", [Brightest(), Levelled()])
def test_a_file_that_is_replaced_meanwhile_is_told(
    fn: Brightest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    source = tmp_path / "p.png"
    KINDS["rgb.png"](source)

    def changes(share: float) -> None:
        if share > 0.5 and not (tmp_path / "other.png").exists():
            KINDS["grey.png"](tmp_path / "other.png")
            source.write_bytes((tmp_path / "other.png").read_bytes())

    with pytest.raises(ImageError, match="written since"):
        restore_file(fn, source, tmp_path / "out" / "q.png", tile=16, progress=changes)
    assert os.listdir(tmp_path / "out") == []


def test_what_found_no_room_is_not_tried_again_in_every_strip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    vips(np.zeros((800, 300, 3), "uint8")).pngsave(str(tmp_path / "p.png"))

    class Limited(Brightest):
        def __call__(self, y: Tensor) -> Tensor:
            if y.shape[2] * y.shape[3] > 150 * 150:
                raise MemoryError
            return super().__call__(y)

    restore_file(Limited(), tmp_path / "p.png", tmp_path / "q.png", tile=160)
    assert len(caplog.records) == 1


def test_all_strips_are_in_one_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decided by the middle, though what stands on top is too plain to tell."""
    monkeypatch.setattr(file, "STREAMED", 0)
    array = np.full((600, 128, 3), 200, "uint8")
    array[200:] = np.random.default_rng(0).integers(60, 200, (400, 128, 3))
    vips(array).pngsave(str(tmp_path / "p.png"))
    seen: list[bool] = []

    class Plain(nn.Module):
        channels, scale, multiple_of, receptive_field, global_statistics = 3, 1, 1, 1, False

        def forward(self, y: Tensor) -> Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return y * 0.987

    monkeypatch.setattr("physgan.restore.device.has_bf16", lambda device: True)
    fn = Elsewhere(Plain(), torch.device("cpu"))
    restore_file(fn, tmp_path / "p.png", tmp_path / "q.png", tile=64)
    assert fn.settled
    assert len(set(seen[2:])) == 1  # the first two compare
    assert seen[2] == (fn.precision == "bf16")


def test_what_is_turned_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "turned.jpg"
    KINDS["turned.jpg"](path)
    strips = open_strips(path)
    assert strips is not None
    with monkeypatch.context() as patch:
        patch.setattr("physgan.images.strips.open_pages", Mock(side_effect=AssertionError))
        again = strips.again()
    assert torch.equal(again.read(61).colour, strips.read(61).colour)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ImageError, match="written since"):
        strips.again()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nothing tells of open files here")
def test_nothing_holds_the_numbers_of_a_result_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlinked() -> int:
        links = (Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        return sum(os.readlink(link).endswith("(deleted)") for link in links if link.is_symlink())

    monkeypatch.setattr(file, "STREAMED", 0)
    KINDS["rgb.png"](tmp_path / "a.png")
    before = unlinked()
    for number in range(4):
        restore_file(Brightest(), tmp_path / "a.png", tmp_path / "out" / f"{number}.png", tile=16)
    assert unlinked() == before


@pytest.mark.parametrize("rows", [160, 164, 180, 190, 192, 200])
def test_little_more_than_a_strip_is_not_restored_twice(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "STREAMED", 0)
    monkeypatch.setattr("physgan.restore.strips.chosen_side", lambda fn: 160)
    array = np.random.default_rng(0).integers(0, 256, (rows, 40, 3)).astype("uint8")
    vips(array).pngsave(str(tmp_path / "a.png"))
    fn = Brightest()
    restore_file(fn, tmp_path / "a.png", tmp_path / "out" / "a.png")
    assert sum(fn.rows) <= -(-rows // 4) * 4 + 2 * 16  # the margins of one seam at most
    monkeypatch.setattr(file, "STREAMED", 1 << 60)
    restore_file(fn, tmp_path / "a.png", tmp_path / "whole" / "a.png")
    assert (tmp_path / "out" / "a.png").read_bytes() == (tmp_path / "whole" / "a.png").read_bytes()


@pytest.mark.parametrize("scale", [1, 2])
def test_the_wider_a_picture_and_its_result_the_lower_its_strips(
    scale: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("physgan.restore.strips._VALUES", 64 * 61 * 4)
    KINDS["rgb.png"](tmp_path / "rgb.png")
    fn = Brightest(scale=scale)
    whole, strips = both_ways(monkeypatch, tmp_path / "rgb.png", fn)
    assert strips.read_bytes() == whole.read_bytes()
    assert (max(fn.rows) < 97) == (scale == 2)
