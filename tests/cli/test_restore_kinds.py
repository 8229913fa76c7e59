"""`physgan restore` on every kind of picture, read again by other libraries, and on bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from physgan.cli import main
from physgan.weights.file import load_weights
from tests.restore.small import small_weights
from tests.training.tiny import finish, start, write_picture

Array = npt.NDArray[Any]
H, W = 20, 28
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def ramp(channels: int, dtype: str = "uint8") -> Array:
    """Slow changes that use every bit of a number."""
    rows, columns = np.mgrid[0:H, 0:W]
    waves = [0.5 + 0.4 * np.sin(rows / 9 + k) * np.cos(columns / 11 - k) for k in range(channels)]
    values = np.stack(waves, axis=-1)
    if dtype == "float32":
        return values.astype(np.float32)
    whole: Array = np.rint(values * np.iinfo(dtype).max).astype(dtype)
    return whole


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def draw(folder: Path) -> None:
    """One picture of each kind that people bring."""
    colour, four = Image.fromarray(ramp(3)), Image.fromarray(ramp(4), "RGBA")
    colour.save(folder / "colour.png", dpi=(300, 300), icc_profile=SRGB)
    Image.fromarray(ramp(1)[..., 0]).save(folder / "grey.png")
    four.save(folder / "alpha.png")
    colour.quantize(9).save(folder / "palette.png")
    Image.fromarray(ramp(1, "uint16")[..., 0]).save(folder / "grey16.png")
    colour.save(folder / "turned.jpg", exif=exif(6), dpi=(240, 240), icc_profile=SRGB, quality=95)
    Image.fromarray(ramp(4), "CMYK").save(folder / "inks.jpg", quality=95)
    colour.save(folder / "photo.webp", quality=95)
    four.save(folder / "lossless.webp", lossless=True)
    colour.quantize(16).save(folder / "old.gif")
    colour.save(folder / "new.avif", quality=95)
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None}
    tifffile.imwrite(
        folder / "colour16.tif",
        ramp(3, "uint16"),
        resolution=(600, 600),
        resolutionunit=2,
        **options,
    )
    tifffile.imwrite(folder / "float.tif", ramp(3, "float32"), **options)
    alpha16 = {"extrasamples": ["unassalpha"], **options}
    tifffile.imwrite(folder / "alpha16.tif", ramp(4, "uint16"), **alpha16)
    with tifffile.TiffWriter(folder / "pages.tif") as file:
        for page in range(3):
            file.write(np.roll(ramp(3, "uint16"), page, axis=0), **options)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds, restored by one command."""
    ground = tmp_path_factory.mktemp("kinds")
    (ground / "in" / "tiefer" / "Ünï 写真").mkdir(parents=True)
    draw(ground / "in")
    write_picture(ground / "in" / "tiefer" / "Ünï 写真" / "größe.png", torch.rand(3, 1, 1))
    small_weights(ground / "w.safetensors")
    status, _, err = finish(
        start("restore", ground / "in", "--weights", ground / "w.safetensors", "--recursive",
              "--output", ground / "out")
    )  # fmt: skip
    assert status == 0, err
    return ground


def opened(ground: Path, name: str) -> tuple[Image.Image, Image.Image]:
    """A picture before and after, by Pillow."""
    with Image.open(ground / "in" / name) as before, Image.open(ground / "out" / name) as after:
        before.load()
        after.load()
        return before, after


def test_every_picture_comes_back_under_its_name(ground: Path) -> None:
    def names(folder: Path) -> set[str]:
        return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}

    assert names(ground / "out") == names(ground / "in")
    assert len(names(ground / "in")) == 16


@pytest.mark.parametrize(
    "name",
    [
        *("colour.png", "grey.png", "alpha.png", "grey16.png", "inks.jpg", "photo.webp"),
        *("lossless.webp", "old.gif", "new.avif"),
    ],
)
def test_kind_depth_channels_and_size_stay(ground: Path, name: str) -> None:
    before, after = opened(ground, name)
    assert (after.format, after.mode, after.size) == (before.format, before.mode, before.size)
    assert not np.array_equal(np.asarray(after), np.asarray(before))  # it was restored


def test_a_palette_becomes_the_colours_that_it_stood_for(ground: Path) -> None:
    before, after = opened(ground, "palette.png")
    assert (before.mode, after.mode, after.size) == ("P", "RGB", before.size)


@pytest.mark.parametrize("name", ["alpha.png", "lossless.webp"])
def test_transparency_is_untouched(ground: Path, name: str) -> None:
    before, after = opened(ground, name)
    assert np.array_equal(np.asarray(after)[..., 3], np.asarray(before)[..., 3])


def test_orientation_is_applied_once(ground: Path) -> None:
    before, after = opened(ground, "turned.jpg")
    assert after.size == before.size[::-1]
    assert after.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(("name", "dpi"), [("colour.png", 300), ("turned.jpg", 240)])
def test_dpi_and_profile_stay(ground: Path, name: str, dpi: int) -> None:
    _, after = opened(ground, name)
    assert after.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)
    assert after.info["icc_profile"] == SRGB


def restored(ground: Path, values: Array) -> Array:
    """What the network makes of an array H×W×3 in [0, 1], without any file."""
    network, _ = load_weights(ground / "w.safetensors")
    y = torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        x_hat: Array = network(y)[0].permute(1, 2, 0).numpy()
    return x_hat


@pytest.mark.parametrize("name", ["colour16.tif", "alpha16.tif"])
def test_sixteen_bits_are_never_eight(ground: Path, name: str) -> None:
    before, after = (tifffile.imread(ground / place / name) for place in ("in", "out"))
    assert (str(after.dtype), after.shape) == ("uint16", before.shape)
    wanted = restored(ground, before[..., :3] / 65535)
    assert np.abs(after[..., :3] / 65535 - wanted).max() < 2 / 65535
    assert len(np.unique(after[..., :3] % 257)) > 200  # of values spread from 8 bits, one
    if before.shape[-1] == 4:
        assert np.array_equal(after[..., 3], before[..., 3])
    with tifffile.TiffFile(ground / "out" / "colour16.tif") as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        top, bottom = page.tags["XResolution"].value
        unit = {2: 1.0, 3: 2.54}[int(page.tags["ResolutionUnit"].value)]
        assert top / bottom * unit == pytest.approx(600, abs=0.5)


def test_floats_stay_floats(ground: Path) -> None:
    before, after = (tifffile.imread(ground / place / "float.tif") for place in ("in", "out"))
    assert (str(after.dtype), after.shape) == ("float32", before.shape)
    assert np.abs(after - restored(ground, before)).max() < 1e-6


def test_every_page_comes_back(ground: Path) -> None:
    with tifffile.TiffFile(ground / "out" / "pages.tif") as file:
        pages = [page.asarray() for page in file.pages]
    assert len(pages) == 3
    for number, page in enumerate(pages):
        wanted = restored(ground, np.roll(ramp(3, "uint16"), number, axis=0) / 65535)
        assert np.abs(page / 65535 - wanted).max() < 2 / 65535


def test_grey_stays_grey_where_a_network_sees_colour(ground: Path) -> None:
    before, after = opened(ground, "grey.png")
    wanted = restored(ground, np.repeat(np.asarray(before)[..., None] / 255, 3, axis=-1))
    assert np.abs(np.asarray(after) / 255 - wanted.mean(axis=-1)).max() <= 0.51 / 255


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 90), (70, 2), (3, 5), (33, 31)])
def test_any_size(tmp_path: Path, height: int, width: int) -> None:
    write_picture(tmp_path / "a.png", torch.rand(3, height, width))
    weights = small_weights(tmp_path / "w.safetensors")
    argv = ["restore", str(tmp_path / "a.png"), "--weights", str(weights), "--device", "cpu"]
    assert main([*argv, "--output", str(tmp_path / "out"), "--tile", "16"]) == 0
    with Image.open(tmp_path / "out" / "a.png") as after:
        assert after.size == (width, height)


# ---------------------------------------------------------------- bad input


def spoil_nothing(path: Path) -> None:
    path.write_bytes(b"")


def spoil_zeros(path: Path) -> None:
    path.write_bytes(bytes(4000))


def spoil_text(path: Path) -> None:
    path.write_text("no picture at all\n" * 20, encoding="utf-8")


def spoil_half(path: Path) -> None:
    write_picture(path, torch.rand(3, 60, 60))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def spoil_folder(path: Path) -> None:
    path.mkdir()


def spoil_heic(path: Path) -> None:
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))


def spoil_raw(path: Path) -> None:
    path.with_suffix(".CR2").write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(200))


def spoil_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone.png"))


def spoil_pipe(path: Path) -> None:
    os.mkfifo(path)


def spoil_unreadable(path: Path) -> None:
    """A file whose reading fails for everybody, root included."""
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize(
    "spoil",
    [
        *(spoil_nothing, spoil_zeros, spoil_text, spoil_half, spoil_folder, spoil_heic),
        *(spoil_raw, spoil_dangling, spoil_pipe, spoil_unreadable),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_one_bad_picture_is_one_line_and_costs_no_other(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    named: bool,
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "z.png"):
        write_picture(tmp_path / "in" / name, torch.rand(3, 9, 8))
    if sys.platform != "linux" and spoil in (spoil_pipe, spoil_unreadable):
        pytest.skip("Linux has such files")
    spoil(tmp_path / "in" / "bad.png")
    small_weights(tmp_path / "w.safetensors")
    paths = sorted((tmp_path / "in").iterdir()) if named else [tmp_path / "in"]
    argv = ["restore", *map(str, paths), "--weights", str(tmp_path / "w.safetensors")]
    status = main([*argv, "--output", str(tmp_path / "out"), "--device", "cpu"])
    err = capsys.readouterr().err
    faults = [line for line in err.splitlines() if line.startswith("physgan: ")]
    if spoil is spoil_folder and not named:
        assert (status, faults) == (0, [])  # a folder within is not asked for
    else:
        assert status == 1
        assert len(faults) == 1
        assert "bad" in faults[0]
        assert "expected" in faults[0]
        assert spoil is not spoil_pipe or "a pipe, a socket or a device" in faults[0]
    assert "Traceback" not in err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux takes names that are no text")
def test_names_that_are_no_text_are_told(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"\xff.png")
    Path(os.fsdecode(name)).write_bytes(b"")
    argv = ["restore", os.fsdecode(name), "--task", "derain", "--output", "out", "--dry-run"]
    told = subprocess.run(
        [sys.executable, "-m", "physgan", *argv, "--json"],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert b"Traceback" not in told.stderr
    assert b"udcff.png" in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["restore", "in", "--output", "out"], "--task NAME or --weights FILE"),
        (["restore", "in", "--output", "out", "--task", "deblur-tekst"], "deblur-text"),
        (["restore", "in", "--output", "w.safetensors", "--weights", "w.safetensors"], "a folder"),
        (["restore", "in", "--output", "out", "--weihgts", "w"], "--weights"),
        (["train", "deblur-text", "--output", "run", "--training.bacht", "2"], "'batch'"),
        (["evaluate", "--task", "x", "--degraded", "in", "--clean", "in", "--output", "o"], "'x'"),
        (["tasks", "deblur-tekst"], "deblur-text"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    write_picture(Path("in/a.png"), torch.rand(3, 9, 8))
    small_weights(Path("w.safetensors"))
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert part in err
    assert not Path("out").exists()


def test_a_folder_without_pictures_beside_a_good_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    write_picture(tmp_path / "a.png", torch.rand(3, 9, 8))
    weights = small_weights(tmp_path / "w.safetensors")
    paths = [str(tmp_path / "empty"), str(tmp_path / "a.png")]
    options = ["--weights", str(weights), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["restore", *paths, *options]) == 1
    err = capsys.readouterr().err
    assert sum("expected pictures in it" in line for line in err.splitlines()) == 1
    assert (tmp_path / "out" / "a.png").is_file()
