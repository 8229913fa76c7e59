"""Our reading of files that Pillow wrote, compared with Pillow's own."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageOps

from physgan.errors import ImageError
from physgan.images.read import SUFFIXES, list_images, read_8bit
from physgan.images.write import write_8bit

# Larger than what a loader reads in one go, and of unequal sides.
H, W = 300, 420


def noise(channels: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    shape = (H, W) if channels == 1 else (H, W, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(channels: int) -> npt.NDArray[np.uint8]:
    """What JPEG keeps well."""
    row, column = np.mgrid[0:H, 0:W] / 40
    waves = [np.sin(row + k) * np.cos(column - k) for k in range(channels)]
    return (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def read(path: Path, channels: int = 3) -> npt.NDArray[np.int64]:
    """H×W×C of a file, checked for what every result must be."""
    tensor = read_8bit(path, channels=channels)
    assert str(tensor.dtype) == "torch.uint8"
    assert tensor.is_contiguous()
    assert tensor.shape[0] == channels
    return tensor.permute(1, 2, 0).numpy().astype(np.int64)


def assert_same(a: npt.NDArray[np.int64], b: npt.ArrayLike, within: int = 0) -> None:
    b = np.asarray(b).astype(np.int64)
    if b.ndim == 2:
        b = np.repeat(b[..., None], a.shape[-1], axis=-1)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= within


def pillow(path: Path, mode: str | None = None) -> npt.NDArray[np.generic]:
    """Pillow's reading of a file, upright, in a mode."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        return np.asarray(picture if mode is None else picture.convert(mode))


LOSSLESS: dict[str, dict[str, Any]] = {
    "png": {},
    "tif": {},
    "tiff": {"compression": "tiff_lzw"},
    "webp": {"lossless": True},
}


# ---------------------------------------------------------------- kinds of files


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_colour(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(3)).save(path, **LOSSLESS[suffix])
    assert_same(read(path), noise(3))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(1)).save(path)
    assert_same(read(path, channels), noise(1))


def test_colour_to_grey_is_luminance(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(smooth(3)).save(path)
    grey = read(path, channels=1)
    # libvips weighs linear light, Pillow encoded values: near each other, not the same.
    wanted = pillow(path, "L").astype(np.int64)[..., None]
    assert np.abs(grey - wanted).mean() < 12
    assert np.corrcoef(grey.ravel(), wanted.ravel())[0, 1] > 0.95
    white_and_black = np.zeros((2, 2, 3), np.uint8)
    white_and_black[0] = 255
    Image.fromarray(white_and_black).save(path)
    assert_same(read(path, channels=1), [[255, 255], [0, 0]])


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_is_laid_on_white(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    picture = Image.fromarray(noise(4))
    picture.save(path, exact=True, **LOSSLESS[suffix])
    white = Image.new("RGBA", (W, H), "white")
    white.alpha_composite(picture)
    assert_same(read(path), np.asarray(white.convert("RGB")), within=1)
    clear = noise(4)[..., 3] == 0
    assert (read(path)[clear] == 255).all()
    opaque = noise(4)[..., 3] == 255
    assert (read(path)[opaque] == noise(4)[opaque][:, :3]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_transparency(tmp_path: Path, suffix: str) -> None:
    # Pillow knows no 16-bit colour: written by libvips, out of values that we know.
    import pyvips

    path = tmp_path / f"a.{suffix}"
    values = noise(4).astype(np.uint16) * 257
    picture = pyvips.Image.new_from_memory(values.tobytes(), W, H, 4, "ushort")
    picture.copy(interpretation="rgb16").write_to_file(str(path))
    colour, alpha = noise(4)[..., :3].astype(float), noise(4)[..., 3:] / 255
    assert_same(read(path), np.round(colour * alpha + 255 * (1 - alpha)), within=1)
    assert (read(path)[noise(4)[..., 3] == 0] == 255).all()


def test_transparent_grey(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = Image.merge("LA", [Image.fromarray(noise(1)), Image.fromarray(noise(1, seed=1))])
    picture.save(path)
    value, alpha = noise(1).astype(float), noise(1, seed=1) / 255
    for channels in (1, 3):
        assert_same(read(path, channels), np.round(value * alpha + 255 * (1 - alpha)), within=1)


@pytest.mark.parametrize("suffix", ["png", "gif", "tif"])
def test_palette(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    picture = Image.fromarray(smooth(3)).quantize(60)
    picture.save(path)
    assert_same(read(path), pillow(path, "RGB"))


def test_transparent_palette(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = Image.new("P", (4, 2))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2, 0, 1, 2, 0, 1])
    picture.save(path, transparency=1)
    red, white, blue = [255, 0, 0], [255, 255, 255], [0, 0, 255]
    assert read(path).tolist() == [[red, white, blue, red], [white, blue, red, white]]


def test_one_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(1)).convert("1", dither=Image.Dither.NONE).save(path)
    assert_same(read(path, channels=1), np.where(noise(1) > 127, 255, 0))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"a.{suffix}"
    values = np.random.default_rng(0).integers(0, 65536, (H, W), dtype=np.uint16)
    values[0, :3] = [0, 65535, 257 * 100]
    Image.fromarray(values).save(path)
    assert pillow(path).dtype == np.uint16
    got = read(path, channels)
    assert np.abs(got - (pillow(path).astype(np.float64) / 257)[..., None]).max() < 1
    assert got[0, :3, 0].tolist() == [0, 255, 100]
    # 8 bits widened to 16 come back as they were.
    Image.fromarray(noise(1).astype(np.uint16) * 257).save(path)
    assert_same(read(path, channels), noise(1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_stands_upright(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth(3)).save(path, exif=exif, quality=95)
    wanted = pillow(path).astype(np.int64)
    assert wanted.shape == ((H, W, 3) if orientation < 5 else (W, H, 3))
    assert_same(read(path), wanted, within=3)  # decoders round and enlarge chroma differently
    assert np.abs(read(path) - wanted).mean() < 0.5


def test_grey_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpeg"
    Image.fromarray(smooth(1)[..., 0]).save(path, quality=95)
    for channels in (1, 3):
        assert_same(read(path, channels), pillow(path), within=1)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    blocks = np.zeros((H, W, 3), np.uint8)
    blocks[:, W // 2 :] = 255
    Image.fromarray(blocks).convert("CMYK").save(path, quality=95)
    assert pillow(path).shape == (H, W, 4)
    got = read(path)
    # Inks are not lights, and black of one ink is no full black; but white is paper.
    assert got[:, W // 2 + 8 :].min() > 245
    assert got[:, : W // 2 - 8].max() < 90


def test_of_several_frames_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.fromarray(smooth(3)).quantize(16), Image.new("P", (W, H))]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert_same(read(path), pillow(path, "RGB"))


@pytest.mark.parametrize("name", ["straße 雪 é.png", "a[1].png", "a b%20'\"&.png", ".hidden.png"])
def test_names(tmp_path: Path, name: str) -> None:
    Image.fromarray(noise(3)).save(tmp_path / name)
    assert_same(read(tmp_path / name), noise(3))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_small_pictures(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(noise(3)[: size[0], : size[1]]).save(tmp_path / "a.png")
    assert_same(read(tmp_path / "a.png"), noise(3)[: size[0], : size[1]])


# ---------------------------------------------------------------- what is refused


def refused(path: Path, *parts: str, channels: int = 3) -> None:
    with pytest.raises(ImageError) as raised:
        read_8bit(path, channels=channels)
    message = str(raised.value)
    for part in (path.name, *parts):
        assert part in message
    # One sentence: it stands in a list of failed files.
    assert "\n" not in message
    assert message.endswith(".")
    assert ".." not in message


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_files(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(3)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, "a whole picture")


def test_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(3)).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(path, "a whole picture")


@pytest.mark.parametrize("content", [b"", b"hello there\n", b"\x89PNG\r\n\x1a\n", bytes(200)])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_what_is_no_picture(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    refused(path, "PNG, JPEG, TIFF")


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.png", "nothing of that name")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "a folder")


def test_values_that_8_bits_cannot_hold(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((5, 5), np.float32)).save(tmp_path / "f.tif")
    refused(tmp_path / "f.tif", "values of type float")
    Image.fromarray(np.arange(25, dtype=np.int32).reshape(5, 5)).save(tmp_path / "i.tif")
    refused(tmp_path / "i.tif", "values of type int")


def test_more_bands_than_colours(tmp_path: Path) -> None:
    import pyvips

    for bands in (5, 7):
        path = tmp_path / f"{bands}.tif"
        pyvips.Image.black(6, 6, bands=bands).write_to_file(str(path))
        refused(path, "bands")
        refused(path, "bands", channels=1)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_channels(tmp_path: Path, channels: int) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=rf"1 \(grey\) or 3 \(colour\), got {channels}"):
        read_8bit(tmp_path / "a.png", channels=channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_written_is_read_back(tmp_path: Path, channels: int) -> None:
    pixels = torch.from_numpy(noise(channels).reshape(H, W, channels)).permute(2, 0, 1)
    write_8bit(tmp_path / "a.png", pixels.contiguous())
    assert torch.equal(read_8bit(tmp_path / "a.png", channels=channels), pixels)


# ---------------------------------------------------------------- folders


def test_list_is_in_the_order_of_relative_names(tmp_path: Path) -> None:
    names = ["b.png", "a/z.JPG", "a/b/c.tiff", "ä/雪.webp", "a.gif", "B.jpeg", "a10.png", "a2.TIF"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == sorted(
        names
    )


def test_list_leaves_out_what_is_no_picture(tmp_path: Path) -> None:
    for name in [
        "a.png",
        "notes.txt",
        "Thumbs.db",
        "png",
        "a.png.part",
        ".hidden.png",
        "._a.png",
        ".trash/b.png",
        "sub/.c.png",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "b.png").touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a.png", "folder.png/b.png"]


def test_a_folder_below_a_hidden_one_is_read(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "pictures"
    folder.mkdir(parents=True)
    (folder / "a.png").touch()
    assert list_images(folder) == [folder / "a.png"]


def test_all_suffixes_are_listed(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        (tmp_path / f"a{suffix.upper()}").touch()
    assert {path.suffix.lower() for path in list_images(tmp_path)} == SUFFIXES


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"files ending in .*\.jpg.*got none"):
        list_images(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(ImageError, match="got none"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="got nothing of that name"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(ImageError, match=r"'.*a\.txt'.*got a file"):
        list_images(tmp_path / "a.txt")
