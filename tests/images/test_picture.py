"""Picture files, written by Pillow, tifffile or by hand, read and written by us, read by them."""

import io
import itertools
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, IptcImagePlugin, PngImagePlugin
from torch.nn import functional as F

from physgan.errors import ImageError, ShapeError
from physgan.images.picture import Page, Picture, read_picture
from physgan.images.read import read_8bit
from physgan.images.write import write_picture

Array = npt.NDArray[Any]

H, W = 60, 90
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# The first would change every colour, had it been applied: red and green change places.
SWAPPED = SRGB.replace(b"rXYZ", b"tmp ").replace(b"gXYZ", b"rXYZ").replace(b"tmp ", b"gXYZ")
GREY = SRGB[:16] + b"GRAY" + SRGB[20:].replace(b"rTRC", b"kTRC")
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'</x:xmpmeta><?xpacket end="w"?>'
)


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return generator.random(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def smooth(height: int = H, width: int = W, channels: int = 3) -> Array:
    """What lossy formats keep well."""
    row, column = np.mgrid[0:height, 0:width] / 30
    waves = [np.sin(row + k) * np.cos(column - k) for k in range(channels)]
    return np.rint(127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def there_and_back(path: Path, suffix: str | None = None) -> Path:
    """Reads a file and writes what was read to another, beside which nothing may be left."""
    target = path.parent / "back" / f"b{suffix or path.suffix}"
    target.parent.mkdir(exist_ok=True)
    write_picture(target, read_picture(path))
    assert list(target.parent.iterdir()) == [target]
    return target


# ---------------------------------------------------------------- PNG by hand: Pillow has no RGB16


COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">L", len(content))
        + name
        + content
        + struct.pack(">L", zlib.crc32(name + content))
    )


def png(array: Array, *extra: bytes) -> bytes:
    """A PNG file of an array H×W×C of 8 or 16 bits."""
    height, width, channels = array.shape
    depth = 8 * array.dtype.itemsize
    header = struct.pack(">LLBBBBB", width, height, depth, COLOUR_TYPE[channels], 0, 0, 0)
    rows = array.astype(array.dtype.newbyteorder(">")).reshape(height, -1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *extra,
            chunk(b"IDAT", zlib.compress(lines)),
            chunk(b"IEND", b""),
        ]
    )


def chunks_of(path: Path) -> list[tuple[bytes, bytes]]:
    content, start, found = path.read_bytes(), 8, []
    while start < len(content):
        length, name = struct.unpack_from(">L4s", content, start)
        body = content[start + 8 : start + 8 + length]
        (checksum,) = struct.unpack_from(">L", content, start + 8 + length)
        assert checksum == zlib.crc32(name + body)
        found.append((name, body))
        start += 12 + length
    return found


def unpng(path: Path) -> Array:
    """The numbers of a PNG file of whole bytes without filters or interlacing, H×W×C."""
    found = chunks_of(path)
    width, height, depth, colour, _, _, interlace = struct.unpack(">LLBBBBB", found[0][1])
    channels = {colour: channels for channels, colour in COLOUR_TYPE.items()}[colour]
    assert interlace == 0
    lines = zlib.decompress(b"".join(body for name, body in found if name == b"IDAT"))
    table = np.frombuffer(lines, np.uint8).reshape(height, -1)
    assert not table[:, 0].any()
    numbers = table[:, 1:].tobytes()
    return np.frombuffer(numbers, f">u{depth // 8}").reshape(height, width, channels)


# ---------------------------------------------------------------- what comes back number by number


def tiff_bytes(array: Array, **options: Any) -> bytes:
    channels = array.shape[-1]
    options = {
        "photometric": "rgb" if channels > 2 else "minisblack",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
        "metadata": None,
        **options,
    }
    file = io.BytesIO()
    tifffile.imwrite(file, array if channels > 1 else array[..., 0], **options)
    return file.getvalue()


def untiff(path: Path) -> Array:
    array = np.asarray(tifffile.imread(path))
    return array if array.ndim == 3 else array[..., None]


def first_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    page = file.pages[0]
    assert isinstance(page, tifffile.TiffPage)
    return page


def webp_bytes(array: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "webp", lossless=True, exact=True)
    return file.getvalue()


def pillow(path: Path) -> Array:
    with Image.open(path) as opened:
        array = np.asarray(opened)
    return array if array.ndim == 3 else array[..., None]


EXACT: dict[str, tuple[str, tuple[str, ...], tuple[int, ...], Any, Callable[[Path], Array]]] = {
    "png": (".png", ("uint8", "uint16"), (1, 2, 3, 4), png, unpng),
    "tiff": (".tif", ("uint8", "uint16", "float32"), (1, 2, 3, 4), tiff_bytes, untiff),
    "tiff-integers": (".tiff", ("int8", "int16"), (1, 3), tiff_bytes, untiff),
    "webp": (".webp", ("uint8",), (3, 4), webp_bytes, pillow),
}
SIZES = st.one_of(
    st.sampled_from([(1, 1), (1, 2), (2, 1), (1, 300), (300, 1)]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)


@pytest.mark.parametrize(
    ("kind", "dtype", "channels"),
    [
        (kind, dtype, channels)
        for kind, (_, dtypes, all_channels, _, _) in EXACT.items()
        for dtype, channels in itertools.product(dtypes, all_channels)
    ],
)
@settings(max_examples=8)
@given(size=SIZES, seed=st.integers(0, 99))
def test_lossless_kinds_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    dtype: str,
    channels: int,
    size: tuple[int, int],
    seed: int,
) -> None:
    suffix, _, _, write, read = EXACT[kind]
    path = tmp_path_factory.mktemp("a") / f"a{suffix}"
    values = noise((*size, channels), dtype, seed)
    path.write_bytes(write(values))
    assert np.array_equal(read(path), values)  # the other library agrees with itself
    picture = read_picture(path)
    (page,) = picture.pages
    assert page.colour.shape == (1 if channels < 3 else 3, *size)
    assert page.colour.dtype == torch.float32
    assert page.colour.is_contiguous()
    assert page.colour.min() >= 0
    assert page.colour.max() <= 1
    assert (page.alpha is not None) == (channels in (2, 4))
    if dtype.startswith("u"):
        largest = np.iinfo(dtype).max
        wanted = torch.from_numpy(values.astype(np.float64) / largest).permute(2, 0, 1)
        assert torch.allclose(page.colour.double(), wanted[: len(page.colour)], atol=1e-7, rtol=0)
        if page.alpha is not None:
            assert page.alpha.shape == (1, *size)
            assert torch.allclose(page.alpha.double(), wanted[-1:], atol=1e-7, rtol=0)
    back = read(there_and_back(path))
    assert back.dtype.newbyteorder("=") == values.dtype
    assert np.array_equal(back, values)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float32", 0, 1000),
        ("float32", -0.25, 1.5),
        ("float32", -3000, -1000),
        ("float32", 1e6, 1e6 + 100),
        ("uint32", 0, 2**32 - 1),
        ("int32", -(2**31), 2**31 - 1),
        ("uint32", 0, 9),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_numbers_of_any_range(
    tmp_path: Path, dtype: str, low: float, high: float, channels: int
) -> None:
    generator = np.random.default_rng(0)
    values = (low + (high - low) * generator.random((20, 30, channels))).astype(dtype)
    if channels == 4:
        values[..., 3] = generator.integers(0, 2, (20, 30))
    (tmp_path / "a.tif").write_bytes(tiff_bytes(values))
    page = read_picture(tmp_path / "a.tif").pages[0]
    assert page.colour.min() >= 0
    assert page.colour.max() == 1
    back = untiff(there_and_back(tmp_path / "a.tif"))
    assert back.dtype == values.dtype
    assert np.abs(back.astype(float) - values).max() <= 1e-6 * max(abs(low), abs(high))
    if channels == 4:
        assert np.array_equal(back[..., 3], values[..., 3])


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint32"])
@pytest.mark.parametrize("value", [0, 1, 7])
def test_one_value_everywhere(tmp_path: Path, dtype: str, value: int) -> None:
    values = np.full((3, 4, 1), value, dtype)
    (tmp_path / "a.tif").write_bytes(tiff_bytes(values))
    assert np.array_equal(untiff(there_and_back(tmp_path / "a.tif")), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_few_bits(tmp_path: Path, suffix: str, bits: int) -> None:
    import pyvips

    levels = noise((H, W)) >> (8 - bits)
    values = levels * (255 // (2**bits - 1))
    path = tmp_path / f"a{suffix}"
    if bits == 1:
        Image.fromarray(values).convert("1").save(path)
    else:  # neither Pillow 12 nor tifffile packs them without help
        image = pyvips.Image.new_from_memory(values.copy(), W, H, 1, "uchar")
        image = image.copy(interpretation="b-w")
        if suffix == ".png":
            image.pngsave(str(path), bitdepth=bits)
        else:
            image.tiffsave(str(path), bitdepth=bits, predictor="none")
    back = there_and_back(path)
    with Image.open(back) as opened:
        assert np.array_equal(np.asarray(opened.convert("L")), values)
        if suffix == ".png":
            assert back.read_bytes()[24:26] == bytes([bits, 0])
        else:
            assert isinstance(opened.tag_v2[258], tuple)  # type: ignore[attr-defined]
            assert opened.tag_v2[258] == (bits,)  # type: ignore[attr-defined]


def test_few_bits_are_rounded_to_their_nearest(tmp_path: Path) -> None:
    Image.fromarray(noise((4, 5))).convert("1").save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    grey = torch.tensor([0.0, 0.49, 0.51, 1.0, 0.3]).expand(1, 4, 5)
    write_picture(tmp_path / "b.png", Picture((Page(grey),), picture.form))
    with Image.open(tmp_path / "b.png") as opened:
        assert opened.mode == "1"
        assert np.asarray(opened)[0].tolist() == [False, False, True, True, False]


@pytest.mark.parametrize(("dtype", "largest"), [("uint8", 255), ("uint16", 65535)])
def test_values_are_clamped_and_rounded_to_nearest(
    tmp_path: Path, dtype: str, largest: int
) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_bytes(np.zeros((1, 6, 1), dtype)))
    form = read_picture(tmp_path / "a.tif").form
    values = torch.tensor([-1.0, 7.45, 7.55, largest - 0.6, largest + 0.4, 3.0 * largest])
    write_picture(tmp_path / "b.tif", Picture((Page(values.reshape(1, 1, 6) / largest),), form))
    wanted = [0, 7, 8, largest - 1, largest, largest]
    assert untiff(tmp_path / "b.tif").ravel().tolist() == wanted


# ---------------------------------------------------------------- palettes, JPEG, AVIF


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_png_comes_back_as_colour(tmp_path: Path, transparent: bool) -> None:
    picture = Image.fromarray(smooth()).quantize(11)
    picture.save(tmp_path / "a.png", transparency=3 if transparent else None)
    back = there_and_back(tmp_path / "a.png")
    mode = "RGBA" if transparent else "RGB"
    with Image.open(tmp_path / "a.png") as before, Image.open(back) as after:
        assert after.mode == mode
        assert np.array_equal(np.asarray(after), np.asarray(before.convert(mode)))


@pytest.mark.parametrize("colours", [2, 40, 256])
def test_gif(tmp_path: Path, colours: int) -> None:
    Image.fromarray(smooth()).quantize(colours).save(tmp_path / "a.gif")
    with (
        Image.open(tmp_path / "a.gif") as before,
        Image.open(there_and_back(tmp_path / "a.gif")) as after,
    ):
        assert after.format == "GIF"
        assert np.array_equal(np.asarray(after.convert("RGB")), np.asarray(before.convert("RGB")))


def test_gif_of_new_colours(tmp_path: Path) -> None:
    Image.fromarray(smooth()).quantize(8).save(tmp_path / "a.gif")
    picture = read_picture(tmp_path / "a.gif")
    new = torch.from_numpy(smooth()).permute(2, 0, 1) / 255
    alpha = picture.pages[0].alpha
    write_picture(tmp_path / "b.gif", Picture((Page(new, alpha),), picture.form))
    with Image.open(tmp_path / "b.gif") as opened:
        got = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(got - smooth()).mean() < 6  # of 256 colours
    assert len(np.unique(got.reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg(tmp_path: Path, channels: int, subsampling: int) -> None:
    values = smooth(channels=channels)
    Image.fromarray(values.squeeze()).save(tmp_path / "a.jpg", subsampling=subsampling, quality=95)
    assert read_picture(tmp_path / "a.jpg").pages[0].colour.shape == (channels, H, W)
    back = there_and_back(tmp_path / "a.jpg")
    assert np.abs(pillow(back).astype(int) - pillow(tmp_path / "a.jpg")).mean() < 1
    with Image.open(back) as opened:
        assert opened.mode == ("L" if channels == 1 else "RGB")
        tables = opened.quantization  # type: ignore[attr-defined]
        layers = opened.layer  # type: ignore[attr-defined]
    assert np.mean(tables[0]) < 8  # of quality 95
    assert {layer[1:3] for layer in layers} == {(1, 1)}  # colour at full resolution


def test_jpeg_with_a_gain_map_is_the_picture_below_it(tmp_path: Path) -> None:
    import pyvips

    values = smooth(64, 64).astype(np.float32) / 128  # brighter than white
    image = pyvips.Image.new_from_memory(values, 64, 64, 3, "float").copy(interpretation="scrgb")
    image.uhdrsave(str(tmp_path / "a.jpg"))
    assert pyvips.Image.new_from_file(str(tmp_path / "a.jpg")).get("vips-loader") == "uhdrload"
    back = there_and_back(tmp_path / "a.jpg")
    assert pyvips.Image.new_from_file(str(back)).get("vips-loader") == "jpegload"
    assert np.abs(pillow(back).astype(int) - pillow(tmp_path / "a.jpg")).mean() < 2


def test_lossy_webp_stays_lossy(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.webp", quality=80)
    back = there_and_back(tmp_path / "a.webp")
    assert b"VP8 " in back.read_bytes()
    assert np.abs(pillow(back).astype(int) - pillow(tmp_path / "a.webp")).mean() < 2


def test_lossless_webp_stays_lossless_at_the_end_of_an_extended_file(tmp_path: Path) -> None:
    # A profile makes the file of several chunks.
    Image.fromarray(noise((H, W, 3))).save(tmp_path / "a.webp", lossless=True, icc_profile=SRGB)
    assert np.array_equal(pillow(there_and_back(tmp_path / "a.webp")), noise((H, W, 3)))


@pytest.mark.parametrize("suffix", [".avif", ".heif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_avif(tmp_path: Path, suffix: str, channels: int) -> None:
    Image.fromarray(smooth(channels=channels)).save(tmp_path / "a.avif", quality=100)
    back = there_and_back(tmp_path / "a.avif", suffix)
    with Image.open(back, formats=["AVIF"]) as opened:
        assert opened.mode == ("RGBA" if channels == 4 else "RGB")
        assert np.abs(np.asarray(opened).astype(int) - smooth(channels=channels)).mean() < 3


@pytest.mark.parametrize("bits", [10, 12])
def test_avif_of_more_bits(tmp_path: Path, bits: int) -> None:
    import pyvips

    largest = 2**bits - 1
    values = np.rint(np.linspace(0, largest, W * H * 3)).astype(np.uint16).reshape(H, W, 3)
    image = pyvips.Image.new_from_memory(values << (16 - bits), W, H, 3, "ushort")
    image = image.copy(interpretation="rgb16")
    image.heifsave(str(tmp_path / "a.avif"), compression="av1", lossless=True, bitdepth=bits)
    picture = read_picture(tmp_path / "a.avif")
    colour = picture.pages[0].colour
    assert colour.max() == 1
    assert colour.min() == 0
    assert (
        colour.permute(1, 2, 0) * largest - torch.from_numpy(values.astype(int))
    ).abs().max() < 1
    back = there_and_back(tmp_path / "a.avif")
    # The bits stand in the AV1 configuration: high_bitdepth and twelve_bit.
    content = back.read_bytes()
    flags = content[content.index(b"av1C") + 6]
    assert (flags >> 6 & 1, flags >> 5 & 1) == (1, int(bits == 12))
    again = read_picture(back).pages[0].colour
    assert (again - colour).abs().mean() < 3 / 255
    # In PNG, white is the largest number of 16 bits.
    write_picture(tmp_path / "b.png", picture)
    assert unpng(tmp_path / "b.png").max() == 65535


# ---------------------------------------------------------------- inks and Lab


def cmyk_profile() -> bytes:
    import pyvips

    profile = pyvips.Operation.call("profile_load", "cmyk")
    assert isinstance(profile, bytes)
    return profile


def inks(dtype: str = "uint8") -> Array:
    """Colours as a separation makes them: out of sRGB, by a profile."""
    source = Image.fromarray(smooth())
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile())),
        "RGB",
        "CMYK",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    separated = ImageCms.applyTransform(source, transform)
    assert separated is not None
    values = np.asarray(separated)
    return values if dtype == "uint8" else values.astype(dtype) * 257


def look(values: Array) -> Array:
    """What inks of 8 bits look like, in sRGB."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile())),
        ImageCms.createProfile("sRGB"),
        "CMYK",
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    seen = ImageCms.applyTransform(Image.fromarray(values, "CMYK"), transform)
    assert seen is not None
    return np.asarray(seen).astype(int)


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(tmp_path: Path, suffix: str, profile: bool) -> None:
    options: dict[str, Any] = {"icc_profile": cmyk_profile()} if profile else {}
    if suffix == ".jpg":
        options |= {"quality": 100}
    path = tmp_path / f"a{suffix}"
    Image.fromarray(inks(), "CMYK").save(path, **options)
    colour = read_picture(path).pages[0].colour
    seen = look(pillow(path))
    assert np.abs(colour.permute(1, 2, 0).numpy() * 255 - seen).max() < 4
    with Image.open(there_and_back(path)) as after:
        assert after.mode == "CMYK"
        assert after.size == (W, H)
        assert after.info.get("icc_profile") == (cmyk_profile() if profile else None)
        assert np.abs(look(np.asarray(after)) - seen).mean() < 3


@pytest.mark.parametrize("profile", [b"no profile at all", SWAPPED])
def test_a_profile_that_is_not_of_inks_is_none(tmp_path: Path, profile: bytes) -> None:
    path, plain = tmp_path / "a.jpg", tmp_path / "plain.jpg"
    Image.fromarray(inks(), "CMYK").save(path, icc_profile=profile, quality=100)
    Image.fromarray(inks(), "CMYK").save(plain, quality=100)
    assert torch.equal(read_picture(path).pages[0].colour, read_picture(plain).pages[0].colour)
    with Image.open(there_and_back(path)) as after:
        assert after.mode == "CMYK"
        assert "icc_profile" not in after.info


@pytest.mark.parametrize("alpha", [False, True])
def test_16_bit_cmyk(tmp_path: Path, alpha: bool) -> None:
    values = inks("uint16")
    if alpha:
        values = np.concatenate([values, noise((H, W, 1), "uint16")], axis=-1)
    extra = ["unassalpha"] if alpha else None
    (tmp_path / "a.tif").write_bytes(
        tiff_bytes(values, photometric="separated", extrasamples=extra)
    )
    (page,) = read_picture(tmp_path / "a.tif").pages
    assert page.colour.shape == (3, H, W)
    # Not a multiple of 1/255: what was computed between has 16 bits.
    steps = page.colour * 255
    assert ((steps - steps.round()).abs() > 0.1).float().mean() > 0.5
    with tifffile.TiffFile(there_and_back(tmp_path / "a.tif")) as back:
        assert first_page(back).photometric == tifffile.PHOTOMETRIC.SEPARATED
        got = back.asarray()
    assert got.dtype == np.uint16
    assert got.shape == values.shape
    if alpha:
        assert np.array_equal(got[..., 4], values[..., 4])
    seen = look((got[..., :4] >> 8).astype(np.uint8))
    assert np.abs(seen - look(inks())).mean() < 3


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_lab(tmp_path: Path, dtype: str) -> None:
    # L in 0..100, a and b within what sRGB holds.
    lab = np.stack([np.linspace(30, 70, H * W), *np.linspace(-15, 15, 2 * H * W).reshape(2, -1)])
    lab = lab.T.reshape(H, W, 3)
    values = lab.astype(np.float32)
    if dtype == "uint16":
        values = np.rint(lab * [65535 / 100, 256, 256]).astype(np.int32)
        values = (values & 0xFFFF).astype(np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff_bytes(values, photometric="cielab"))
    picture = read_picture(tmp_path / "a.tif")
    from skimage.color import lab2rgb

    wanted = lab2rgb(lab, illuminant="D65")
    assert np.abs(picture.pages[0].colour.permute(1, 2, 0).numpy() - wanted).max() < 0.02
    with tifffile.TiffFile(there_and_back(tmp_path / "a.tif")) as back:
        assert first_page(back).photometric == tifffile.PHOTOMETRIC.CIELAB
        got = back.asarray()
    if dtype == "uint16":
        near = np.stack(
            [
                got[..., 0].view(np.uint16) / 655.35,
                *np.moveaxis(got[..., 1:].view(np.int16), -1, 0) / 256,
            ],
            axis=-1,
        )
    else:
        near = got
    assert np.abs(near - lab).max() < 0.1


# ---------------------------------------------------------------- orientation, resolution, profile


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
def test_pictures_stand_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    options: dict[str, Any] = {".webp": {"lossless": True}, ".tif": {}, ".png": {}}.get(
        suffix, {"quality": 95}
    )
    if suffix == ".tif":
        (path).write_bytes(tiff_bytes(smooth(), extratags=[(274, 3, 1, orientation, True)]))
    else:
        Image.fromarray(smooth()).save(path, exif=exif, **options)
    with Image.open(path) as opened:
        wanted = np.asarray(ImageOps.exif_transpose(opened)).astype(int)
    assert wanted.shape == ((H, W, 3) if orientation < 5 else (W, H, 3))
    lossy = suffix in (".jpg", ".avif")
    colour = read_picture(path).pages[0].colour.permute(1, 2, 0).numpy() * 255
    assert np.abs(colour - wanted).mean() < (1 if lossy else 0.01)
    back = there_and_back(path)
    with Image.open(back) as opened:
        assert opened.getexif().get(0x0112, 1) == 1
        assert opened.size == (wanted.shape[1], wanted.shape[0])
        got = np.asarray(opened).astype(int)
    assert np.abs(got - wanted).mean() < (2 if lossy else 0.01)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_large_pictures_stand_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Of more rows than libvips keeps while it reads from top to bottom."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(smooth(900, 1200)).save(path, exif=exif)
    with Image.open(path) as opened:
        wanted = np.asarray(ImageOps.exif_transpose(opened)).astype(int)
    colour = read_picture(path).pages[0].colour.permute(1, 2, 0).numpy() * 255
    assert np.abs(colour - wanted).mean() < (1 if suffix == ".jpg" else 0.01)
    assert np.abs(read_8bit(path).permute(1, 2, 0).numpy() - wanted).mean() < 1


@pytest.mark.parametrize("dpi", [(300, 300), (72, 72), (600, 150), (96, 96)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_resolution(tmp_path: Path, suffix: str, dpi: tuple[int, int]) -> None:
    Image.fromarray(smooth()).save(tmp_path / f"a{suffix}", dpi=dpi)
    with Image.open(there_and_back(tmp_path / f"a{suffix}")) as opened:
        got = opened.info["dpi"]
        if suffix == ".jpg":  # stands in EXIF, of which Pillow tells the first number twice
            tags = opened.getexif()
            assert tags[0x0128] == 2  # inches
            got = (tags[0x011A], tags[0x011B])
    assert got == pytest.approx(dpi, abs=0.02)


def test_resolution_in_centimetres(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_bytes(smooth(), resolution=(118, 59), resolutionunit=3))
    with tifffile.TiffFile(there_and_back(tmp_path / "a.tif")) as back:
        tags = first_page(back).tags
        assert tags["ResolutionUnit"].value == 3
        for name, wanted in (("XResolution", 118), ("YResolution", 59)):
            top, bottom = tags[name].value
            assert top / bottom == pytest.approx(wanted)


def test_exif_that_is_text_alone_is_kept(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    raw = exif.tobytes()
    told = f"\nexif\n{len(raw):8d}\n{raw.hex()}\n"
    info.add_text("Raw profile type exif", told, zip=True)
    Image.fromarray(smooth()).save(tmp_path / "a.png", pnginfo=info)
    with Image.open(there_and_back(tmp_path / "a.png")) as opened:
        opened.load()
        assert opened.info["Raw profile type exif"] == told
        assert opened.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_no_resolution_becomes_72(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(smooth()).save(tmp_path / f"a{suffix}")
    with Image.open(there_and_back(tmp_path / f"a{suffix}")) as opened:
        assert opened.info["dpi"] == pytest.approx((72, 72), abs=0.02)


@pytest.mark.parametrize(
    ("suffix", "grey"),
    [
        *itertools.product([".png", ".jpg", ".tif"], [False, True]),
        *((suffix, False) for suffix in (".webp", ".avif")),  # they know no grey
    ],
)
def test_profile_is_kept_and_not_applied(tmp_path: Path, suffix: str, grey: bool) -> None:
    profile = GREY if grey else SWAPPED
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    values = smooth()[..., 0] if grey else smooth()
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values).save(path, icc_profile=profile, **options)
    assert read_picture(path).form.profile == profile
    back = there_and_back(path)
    with Image.open(back) as opened:
        assert opened.info["icc_profile"] == profile
        assert np.abs(np.asarray(opened).astype(int) - values).mean() < 3


def test_no_profile_stays_none(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").form.profile is None
    with Image.open(there_and_back(tmp_path / "a.png")) as opened:
        assert "icc_profile" not in opened.info
        assert "exif" not in opened.info


# ---------------------------------------------------------------- metadata


def exif_with_preview(preview: bytes) -> bytes:
    """EXIF of a camera: a description, an exposure, a place, and the old picture."""
    exif = Image.Exif()
    exif[0x010E] = "a page"
    exif[0x010F] = "Maker"
    exif[0x0112] = 6
    details = exif.get_ifd(0x8769)
    details[0x9003] = "2020:01:02 03:04:05"
    details[0x8827] = 400
    details[0x9286] = b"ASCII\0\0\0a comment"
    place = exif.get_ifd(0x8825)
    place[1], place[2] = "N", (48.0, 12.0, 30.5)
    first = exif.tobytes()
    # The second directory, which Pillow does not write: a JPEG preview behind everything.
    body = bytearray(first[6:])
    order = ">" if body[:2] == b"MM" else "<"
    (start,) = struct.unpack_from(order + "L", body, 4)
    (count,) = struct.unpack_from(order + "H", body, start)
    at = len(body)
    struct.pack_into(order + "L", body, start + 2 + 12 * count, at)
    body += struct.pack(order + "H", 3)
    body += struct.pack(order + "HHLHH", 0x0103, 3, 1, 6, 0)
    body += struct.pack(order + "HHLL", 0x0201, 4, 1, at + 2 + 3 * 12 + 4)
    body += struct.pack(order + "HHLL", 0x0202, 4, 1, len(preview))
    body += struct.pack(order + "L", 0) + preview
    return first[:6] + bytes(body)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif(tmp_path: Path, suffix: str) -> None:
    preview = io.BytesIO()
    Image.fromarray(smooth(8, 12)).save(preview, "jpeg")
    exif = exif_with_preview(preview.getvalue())
    path = tmp_path / f"a{suffix}"
    Image.fromarray(smooth()).save(path, exif=exif)
    assert preview.getvalue() in path.read_bytes()
    back = there_and_back(path)
    with Image.open(back) as opened:
        tags = opened.getexif()
        details, place = tags.get_ifd(0x8769), tags.get_ifd(0x8825)
        assert opened.size == (H, W)
    assert (tags[0x010E], tags[0x010F], tags[0x0112]) == ("a page", "Maker", 1)
    assert (details[0x9003], details[0x8827]) == ("2020:01:02 03:04:05", 400)
    assert details[0x9286] == b"ASCII\0\0\0a comment"
    assert (details[0xA002], details[0xA003]) == (H, W)  # the size that it has now
    assert (place[1], place[2]) == ("N", (48.0, 12.0, 30.5))
    assert preview.getvalue()[:40] not in back.read_bytes()
    assert not tags.get_ifd(1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_xmp(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        Image.fromarray(smooth()).save(path, pnginfo=text)
    elif suffix == ".tif":
        path.write_bytes(tiff_bytes(smooth(), extratags=[(700, 1, len(XMP), XMP, True)]))
    else:
        Image.fromarray(smooth()).save(path, xmp=XMP)
    back = there_and_back(path)
    if suffix == ".png":
        assert back.read_bytes().count(XMP) == 1
        assert back.read_bytes().count(b"XML:com.adobe.xmp") == 1
    with Image.open(back) as opened:
        assert opened.info["xmp"] == XMP


def test_iptc(tmp_path: Path) -> None:
    record = b"\x1c\x02\x78" + struct.pack(">H", 9) + b"a caption"
    block = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">L", len(record)) + record
    content = b"Photoshop 3.0\0" + block + b"\0" * (len(record) % 2)
    file = io.BytesIO()
    Image.fromarray(smooth()).save(file, "jpeg")
    whole = file.getvalue()
    segment = b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
    (tmp_path / "a.jpg").write_bytes(whole[:2] + segment + whole[2:])
    for path in (tmp_path / "a.jpg", there_and_back(tmp_path / "a.jpg")):
        with Image.open(path) as opened:
            info = IptcImagePlugin.getiptcinfo(opened)
        assert info is not None
        assert info[2, 120] == b"a caption"


def test_png_text_and_gamma(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "naïve")
    text.add_itxt("Title", "雪の日", "ja", "題")
    text.add_text("Author", "nobody " * 20, zip=True)
    text.add(b"gAMA", struct.pack(">L", 45455))
    Image.fromarray(noise((H, W, 3))).save(tmp_path / "a.png", pnginfo=text, dpi=(300, 300))
    back = there_and_back(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as before, Image.open(back) as after:
        assert after.text == before.text  # type: ignore[attr-defined]
        assert after.info["gamma"] == before.info["gamma"] == 0.45455
        assert after.info["dpi"] == before.info["dpi"]
        assert np.array_equal(np.asarray(after), np.asarray(before))
    names = [name for name, _ in chunks_of(back)]
    assert all(names.count(name) == 1 for name in names if name not in (b"tEXt", b"IDAT"))


def test_png_text_behind_the_pixels(tmp_path: Path) -> None:
    whole = png(noise((3, 4, 3)))
    end = chunk(b"IEND", b"")
    comment = chunk(b"tEXt", b"Comment\0late")
    (tmp_path / "a.png").write_bytes(whole.removesuffix(end) + comment + end)
    with Image.open(there_and_back(tmp_path / "a.png")) as opened:
        opened.load()
        assert opened.text == {"Comment": "late"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("extra", [b"behind", b"damaged", b"short", b"zeros"])
def test_png_chunks_that_are_none_are_left(tmp_path: Path, extra: bytes) -> None:
    whole = png(noise((H, W, 3)))
    text = chunk(b"tEXt", b"Comment\0hello")
    content = {
        b"behind": whole + b"\xff\xff\xff\xf0tEXtComment\0hi",
        b"damaged": whole[:33] + text[:-1] + bytes([text[-1] ^ 1]) + whole[33:],
        b"short": whole[:-12] + text[:-6],
        # Cut short behind a head that promises more, with nothing or zeros where the sum would be.
        b"zeros": whole[:-12] + struct.pack(">L", 90) + b"tEXtComment\0" + bytes(8),
    }[extra]
    (tmp_path / "a.png").write_bytes(content)
    try:
        picture = read_picture(tmp_path / "a.png")
    except ImageError:
        return
    assert picture.form.chunks == b""
    write_picture(tmp_path / "b.png", picture)
    with Image.open(tmp_path / "b.png") as opened:
        opened.load()


def test_frames_within_frames_are_not_followed_for_ever(tmp_path: Path) -> None:
    count = 3000
    within = [b"ANMF" + struct.pack("<L", 24 * (count - k)) + bytes(16) for k in range(count)]
    (tmp_path / "a.webp").write_bytes(webp_bytes(noise((H, W, 3))) + b"".join(within))
    assert read_picture(tmp_path / "a.webp").pages[0].colour.shape == (3, H, W)


def test_tiff_description(tmp_path: Path) -> None:
    description = "Größe: 雪".encode()
    (tmp_path / "a.tif").write_bytes(tiff_bytes(smooth(), description=description))
    with tifffile.TiffFile(there_and_back(tmp_path / "a.tif")) as back:
        assert first_page(back).description == "Größe: 雪"


def test_a_note_of_the_shape_is_not_kept(tmp_path: Path) -> None:
    # tifffile would believe it of a picture that has grown.
    tifffile.imwrite(tmp_path / "a.tif", smooth())
    assert b'{"shape"' in (tmp_path / "a.tif").read_bytes()
    picture = enlarged(read_picture(tmp_path / "a.tif"), 4)
    write_picture(tmp_path / "b.tif", picture)
    assert tifffile.imread(tmp_path / "b.tif").shape == (4 * H, 4 * W, 3)


# ---------------------------------------------------------------- pages


def test_pages_of_16_bits(tmp_path: Path) -> None:
    pages = noise((5, H, W), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    assert len(read_picture(tmp_path / "a.tif").pages) == 5
    with tifffile.TiffFile(there_and_back(tmp_path / "a.tif")) as back:
        assert len(back.pages) == 5
        got = np.stack([page.asarray() for page in back.pages])
    assert got.dtype == np.uint16
    assert np.array_equal(got, pages)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [3, 4])
def test_pages_of_colour(tmp_path: Path, dtype: str, channels: int) -> None:
    pages = noise((3, 7, 5, channels), dtype) * (1 if dtype == "uint8" else np.float32(100))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        extra = ["unassalpha"] if channels == 4 else None
        for page in pages:
            file.write(page, photometric="rgb", extrasamples=extra, metadata=None)
    with tifffile.TiffFile(there_and_back(tmp_path / "a.tif")) as back:
        got = np.stack([page.asarray() for page in back.pages])
    assert got.shape == pages.shape
    assert np.allclose(got, pages, rtol=1e-6, atol=1e-5)


def test_fax_of_two_pages(tmp_path: Path) -> None:
    pages = [Image.fromarray(noise((H, W), seed=seed)).convert("1") for seed in (0, 1)]
    pages[0].save(
        tmp_path / "a.tif",
        save_all=True,
        append_images=pages[1:],
        compression="group4",
        dpi=(204, 196),
    )
    with Image.open(there_and_back(tmp_path / "a.tif")) as opened:
        assert opened.n_frames == 2  # type: ignore[attr-defined]
        for number, page in enumerate(pages):
            opened.seek(number)
            assert opened.mode == "1"
            assert opened.info["dpi"] == pytest.approx((204, 196), abs=0.02)
            assert np.array_equal(np.asarray(opened), np.asarray(page))


def test_a_page_of_few_bits_does_not_take_those_of_others(tmp_path: Path) -> None:
    grey = noise((H, W))
    first = Image.fromarray(noise((H, W), seed=1)).convert("1")
    first.save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(grey)])
    with Image.open(there_and_back(tmp_path / "a.tif")) as opened:
        assert np.array_equal(np.asarray(opened.convert("L")), np.asarray(first.convert("L")))
        opened.seek(1)
        assert np.array_equal(np.asarray(opened), grey)


def test_pages_of_unlike_size_are_refused_before_any_is_turned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("physgan.images.picture.upright", Mock(side_effect=AssertionError))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size in ((H, W, 3), (2 * H, W, 3)):
            turned = [(274, 3, 1, 6, True)]
            file.write(noise(size), photometric="rgb", metadata=None, extratags=turned)
    with pytest.raises(ImageError, match="pages of one size"):
        read_picture(tmp_path / "a.tif")


def test_pages_turned_in_different_ways(tmp_path: Path) -> None:
    first, second = noise((H, W, 3)), noise((W, H, 3), seed=1)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(first, photometric="rgb", metadata=None)
        file.write(second, photometric="rgb", metadata=None, extratags=[(274, 3, 1, 6, True)])
    with tifffile.TiffFile(there_and_back(tmp_path / "a.tif")) as back:
        assert np.array_equal(back.pages[0].asarray(), first)
        assert np.array_equal(back.pages[1].asarray(), np.rot90(second, -1))


def animation(path: Path, transparent: bool, frames: int = 3) -> list[Array]:
    """An animation of so many frames, each as it is seen."""
    values = [noise((20, 30, 4), seed=seed) >> 5 << 5 for seed in range(frames)]
    for frame in values:
        frame[..., 3] = np.where(frame[..., 3] > 127, 255, 0) if transparent else 255
        frame[frame[..., 3] == 0] = 0
    pictures = [Image.fromarray(frame) for frame in values]
    durations = [100 * (1 + number) for number in range(frames)]
    options: dict[str, Any] = {"duration": durations, "loop": 3, "save_all": True}
    if path.suffix == ".webp":
        options |= {"lossless": True, "exact": True}
    else:
        pictures = [picture.quantize(64) for picture in pictures]
        options |= {"disposal": 2}
    if not transparent and path.suffix == ".webp":
        pictures = [picture.convert("RGB") for picture in pictures]
    pictures[0].save(path, append_images=pictures[1:], **options)
    return frames_of(path)[0]


def frames_of(path: Path) -> tuple[list[Array], list[int], int]:
    frames, durations = [], []
    with Image.open(path) as opened:
        for number in range(opened.n_frames):  # type: ignore[attr-defined]
            opened.seek(number)
            opened.load()
            frame = np.asarray(opened.convert("RGBA")).copy()
            frame[frame[..., 3] == 0] = 0
            frames.append(frame)
            durations.append(round(opened.info["duration"]))
        loop = opened.info["loop"]
    return frames, durations, loop


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("transparent", [False, True])
def test_animation(tmp_path: Path, suffix: str, transparent: bool) -> None:
    path = tmp_path / f"a{suffix}"
    frames = animation(path, transparent)
    picture = read_picture(path)
    assert len(picture.pages) == 3
    for page, frame in zip(picture.pages, frames, strict=True):
        alpha = torch.ones(1, 20, 30) if page.alpha is None else page.alpha
        seen = torch.cat([page.colour * alpha, alpha]).permute(1, 2, 0)
        assert torch.equal((seen * 255).round(), torch.from_numpy(frame).float())
    got, durations, loop = frames_of(there_and_back(path))
    assert durations == [100, 200, 300]
    assert loop == 3
    assert all(np.array_equal(a, b) for a, b in zip(got, frames, strict=True))


def test_endless_animation(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise((5, 5), seed=seed)) for seed in (0, 1)]
    for suffix in (".gif", ".webp"):
        path = tmp_path / f"a{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, loop=0)
        assert frames_of(there_and_back(path))[2] == 0
        (tmp_path / "back" / f"b{suffix}").unlink()


def test_frames_that_are_alike_are_all_kept(tmp_path: Path) -> None:
    import pyvips

    roll = np.concatenate([noise((9, 9, 3))] * 3)
    image = pyvips.Image.new_from_memory(roll >> 6 << 6, 9, 27, 3, "uchar")
    image = image.copy(interpretation="srgb")
    image.gifsave(str(tmp_path / "a.gif"), page_height=9, keep_duplicate_frames=True)
    with Image.open(there_and_back(tmp_path / "a.gif")) as opened:
        assert opened.n_frames == 3  # type: ignore[attr-defined]


# ---------------------------------------------------------------- another size, another kind


def enlarged(picture: Picture, factor: int) -> Picture:
    def larger(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x[None], scale_factor=factor, mode="nearest")[0]

    return Picture(
        tuple(
            Page(larger(page.colour), None if page.alpha is None else larger(page.alpha))
            for page in picture.pages
        ),
        picture.form,
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_four_times_the_size(tmp_path: Path, dtype: str) -> None:
    pages = noise((2, H, W, 4), dtype)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(
                page,
                photometric="rgb",
                extrasamples=["unassalpha"],
                resolution=(300, 300),
                resolutionunit=2,
                metadata=None,
            )
    write_picture(tmp_path / "b.tif", enlarged(read_picture(tmp_path / "a.tif"), 4))
    with tifffile.TiffFile(tmp_path / "b.tif") as back:
        got = np.stack([page.asarray() for page in back.pages])
        top, bottom = first_page(back).tags["XResolution"].value
    assert np.array_equal(got, pages.repeat(4, axis=1).repeat(4, axis=2))
    assert top / bottom == pytest.approx(300)


def test_enlarged_animation(tmp_path: Path) -> None:
    frames = animation(tmp_path / "a.gif", transparent=True)
    write_picture(tmp_path / "b.gif", enlarged(read_picture(tmp_path / "a.gif"), 4))
    got, durations, _ = frames_of(tmp_path / "b.gif")
    assert durations == [100, 200, 300]
    for frame, large in zip(frames, got, strict=True):
        assert np.array_equal(large, frame.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".webp"])
def test_another_kind_that_holds_all(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(noise((H, W, 4))).save(tmp_path / "a.png", icc_profile=SRGB)
    back = there_and_back(tmp_path / "a.png", suffix)
    assert np.array_equal(pillow(back), noise((H, W, 4)))
    with Image.open(back) as opened:
        assert opened.format == ("WEBP" if suffix == ".webp" else "TIFF")
        assert opened.info["icc_profile"] == SRGB


def test_the_content_decides_what_a_file_is(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png", format="jpeg", quality=95)
    assert read_picture(tmp_path / "a.png").form.kind == "jpeg"
    with Image.open(there_and_back(tmp_path / "a.png")) as opened:
        assert opened.format == "PNG"


def rgb16(path: Path) -> None:
    path.write_bytes(png(noise((H, W, 3), "uint16")))


def rgba(path: Path) -> None:
    Image.fromarray(noise((H, W, 4))).save(path)


def rgb(path: Path) -> None:
    Image.fromarray(noise((H, W, 3))).save(path)


def floats(path: Path) -> None:
    path.write_bytes(tiff_bytes(noise((H, W, 3), "float32")))


def pages(path: Path) -> None:
    tifffile.imwrite(path, noise((2, H, W)), photometric="minisblack")


def moving(path: Path) -> None:
    animation(path, transparent=False)


def cmyk(path: Path) -> None:
    Image.fromarray(inks(), "CMYK").save(path)


def lab(path: Path) -> None:
    path.write_bytes(tiff_bytes(np.full((4, 4, 3), 50, np.float32), photometric="cielab"))


OBSTACLES: list[tuple[Callable[[Path], None], str, str, str]] = [
    (rgb16, ".png", ".jpg", "uint16"),
    (rgb16, ".png", ".webp", "uint16"),
    (rgb16, ".png", ".avif", "16 bits"),
    (rgba, ".png", ".jpg", "transparency"),
    (rgb, ".png", ".gif", "256 colours"),
    (floats, ".tif", ".png", "float32"),
    (floats, ".tif", ".avif", "float32"),
    (pages, ".tif", ".png", "2 pages"),
    (pages, ".tif", ".jpg", "2 pages"),
    (pages, ".tif", ".webp", "no animation"),
    (moving, ".webp", ".tif", "an animation"),
    (moving, ".webp", ".png", "3 pages"),
    (cmyk, ".jpg", ".png", "CMYK"),
    (lab, ".tif", ".png", "Lab"),
    (rgb, ".png", ".bmp", r"ending in \.png"),
    (rgb, ".png", "", "without an ending"),
]


@pytest.mark.parametrize(("make", "suffix", "target", "words"), OBSTACLES)
def test_a_kind_that_cannot_hold_the_picture(
    tmp_path: Path, make: Callable[[Path], None], suffix: str, target: str, words: str
) -> None:
    make(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    (tmp_path / "out").mkdir()
    with pytest.raises(ImageError, match=words) as raised:
        write_picture(tmp_path / "out" / f"b{target}", picture)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "out").iterdir())


# ---------------------------------------------------------------- what cannot be written


def simple(tmp_path: Path) -> Picture:
    rgb(tmp_path / "a.png")
    return read_picture(tmp_path / "a.png")


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    picture = simple(tmp_path)
    write_picture(tmp_path / "a.png", picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert np.array_equal(pillow(tmp_path / "a.png"), noise((H, W, 3)))


@pytest.mark.parametrize("name", ["straße 雪 é.png", "a[1].png", "a b%20'\"&.PNG", "[x=1].png"])
def test_names(tmp_path: Path, name: str) -> None:
    rgb(tmp_path / "a.png")
    write_picture(tmp_path / name, read_picture(tmp_path / "a.png"))
    assert np.array_equal(pillow(tmp_path / name), noise((H, W, 3)))
    assert torch.equal(
        read_picture(tmp_path / name).pages[0].colour,
        read_picture(tmp_path / "a.png").pages[0].colour,
    )


def test_a_name_in_brackets_is_no_list_of_options(tmp_path: Path) -> None:
    Image.fromarray(noise((H, W, 3))).save(tmp_path / "a.png[x]", format="png")
    assert read_picture(tmp_path / "a.png[x]").pages[0].colour.shape == (3, H, W)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no folder"):
        write_picture(tmp_path / "nowhere" / "b.png", simple(tmp_path))


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    picture = simple(tmp_path)
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ImageError, match=r"b\.png"):
        write_picture(tmp_path / "b.png", picture)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("suffix", "size"), [(".jpg", (1, 66000)), (".webp", (17000, 1)), (".gif", (1, 66000))]
)
def test_larger_than_the_kind_allows(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    Image.fromarray(noise((3, 3))).save(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    before = (tmp_path / f"a{suffix}").read_bytes()
    alpha = None if picture.pages[0].alpha is None else torch.ones(1, *size)
    page = Page(torch.zeros(picture.form.channels, *size), alpha)
    with pytest.raises(ImageError, match=r"large|dimension") as raised:
        write_picture(tmp_path / f"a{suffix}", Picture((page,), picture.form))
    assert "\n" not in str(raised.value)
    # The file that was there is as it was.
    assert (tmp_path / f"a{suffix}").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = simple(tmp_path)
    before = (tmp_path / "a.png").read_bytes()

    def full(path: Path) -> tuple[Path, int]:
        beside = tmp_path / f".{path.name}.full"
        beside.symlink_to("/dev/full")
        return beside, 0o644

    # The place beside the file leads to a device on which every writing fails.
    monkeypatch.setattr("physgan.files._begun", full)
    with pytest.raises(ImageError, match=r"a\.png"):
        write_picture(tmp_path / "a.png", picture)
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda page: (), "at least one, got none"),
        (lambda page: (Page(page.colour[:1]),), "3×60×90"),
        (lambda page: (Page(page.colour[..., :0]),), "colour of page 0"),
        (lambda page: (Page((page.colour * 255).byte()),), "floating"),
        (lambda page: (page, Page(page.colour[:, :5])), "colour of page 1"),
        (lambda page: (Page(page.colour, page.colour[:1, :5]),), "alpha of page 0"),
        (lambda page: (page, Page(page.colour, page.colour[:1])), "transparency in all pages"),
    ],
)
def test_pages_that_do_not_fit(
    tmp_path: Path, change: Callable[[Page], tuple[Page, ...]], words: str
) -> None:
    picture = simple(tmp_path)
    with pytest.raises(ShapeError, match=re.escape(words)):
        write_picture(tmp_path / "b.tif", Picture(change(picture.pages[0]), picture.form))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    picture = simple(tmp_path)
    picture.pages[0].colour[1, 2, 3] = value
    with pytest.raises(ImageError, match="NaN"):
        write_picture(tmp_path / "b.png", picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# ---------------------------------------------------------------- what cannot be read


def refused(path: Path, *words: str) -> None:
    with pytest.raises(ImageError) as raised:
        read_picture(path)
    message = str(raised.value)
    for word in (path.name, "expected", *words):
        assert word in message
    # One line: it stands in a list of failed files.
    assert "\n" not in message
    assert message.endswith(".")
    assert ".." not in message


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".gif", ".avif"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise((300, 420, 3))).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path, "a whole picture")


def test_no_python_runs_on_libvips_threads(tmp_path: Path) -> None:
    """Garbage collected in pyvips' handler of warnings has aborted the process."""
    import pyvips

    path = tmp_path / "a.png"
    Image.fromarray(noise((30, 42, 3))).save(path)
    read_picture(path)
    assert pyvips._log_handler_id is None


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise((300, 420, 3))).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused(path, "a whole picture")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif"])
def test_truncated_in_a_later_page(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    frames = [Image.fromarray(noise((100, 100), seed=seed)) for seed in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    path.write_bytes(path.read_bytes()[:-5000])
    refused(path, "a whole picture")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".xyz"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello there\n", "got text, not a picture"),
        (bytes(300), "does not read"),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"\xff\xd8\xff\xe0", ""),
        (b"II*\0", ""),
    ],
)
def test_no_picture(tmp_path: Path, suffix: str, content: bytes, words: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    refused(tmp_path / f"a{suffix}", words)


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "a.png", "nothing of that name")
    (tmp_path / "b.png").mkdir()
    refused(tmp_path / "b.png", "got a folder")
    (tmp_path / "c.png").symlink_to(tmp_path / "d.png")
    refused(tmp_path / "c.png", "nothing of that name")
    (tmp_path / "e").write_bytes(b"")
    refused(tmp_path / "e" / "f.png", "got ")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_no_permission(tmp_path: Path) -> None:
    rgb(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    before = os.geteuid()
    if before == 0:  # who may read everything
        os.seteuid(65534)
    try:
        refused(tmp_path / "a.png", "may not be read")
        with pytest.raises(ImageError, match="may not be read"):
            read_8bit(tmp_path / "a.png")
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".ico", ".jp2"])
def test_kinds_that_libvips_does_not_read(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(noise((H, W, 3))).save(tmp_path / f"a{suffix}")
    try:
        import pyvips

        pyvips.Image.new_from_file(str(tmp_path / f"a{suffix}"))
    except pyvips.Error:
        refused(tmp_path / f"a{suffix}", "does not read", "Convert it to PNG or TIFF first")
    else:  # a libvips of more loaders than pyvips[binary] brings
        refused(tmp_path / f"a{suffix}", "another kind", "Convert it to PNG or TIFF first")


@pytest.mark.parametrize("suffix", [".dng", ".NEF", ".cr2", ".arw"])
def test_raw_files(tmp_path: Path, suffix: str) -> None:
    # As such files are: TIFF, and first a small preview.
    (tmp_path / f"a{suffix}").write_bytes(tiff_bytes(smooth(8, 12)))
    refused(tmp_path / f"a{suffix}", "raw file", "Develop it to a 16-bit TIFF")


def test_documents_and_drawings(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.pdf")
    refused(tmp_path / "a.pdf", "a document", "Render its pages")
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'
    (tmp_path / "a.svg").write_text(drawing, encoding="utf-8")
    refused(tmp_path / "a.svg", "a drawing")
    (tmp_path / "a.png").write_text(drawing, encoding="utf-8")
    refused(tmp_path / "a.png", "another kind", "svgload")


def test_heic_without_a_decoder(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    refused(tmp_path / "a.heic", "HEIC", "Convert it to PNG or TIFF", "heif-convert")
    # As some phones and libheif write them: what it is stands among the compatible brands.
    (tmp_path / "b.jpg").write_bytes(b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafheic" + bytes(100))
    refused(tmp_path / "b.jpg", "HEIC", "Convert it to PNG or TIFF")
    (tmp_path / "c.avif").write_bytes(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avifheic" + bytes(100))
    refused(tmp_path / "c.avif", "cannot read whole")


def test_heic_without_an_encoder(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.avif")
    picture = read_picture(tmp_path / "a.avif")
    try:
        import pyvips

        pyvips.Image.black(64, 64).heifsave_buffer(compression="hevc")
    except pyvips.Error:
        with pytest.raises(ImageError, match=r"that this libvips writes, got HEIC\. .* \.avif"):
            write_picture(tmp_path / "a.heic", picture)
        assert not (tmp_path / "a.heic").exists()
    else:  # a libvips of more encoders than pyvips[binary] brings
        write_picture(tmp_path / "a.heic", picture)
        assert read_picture(tmp_path / "a.heic").form.kind == "heic"


def test_text_is_not_to_be_converted(tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><html><body>404: nothing here</body></html> " * 3
    for name, content in (
        *(("a.png", page), ("b.jpg", b"x"), ("c.bmp", "Zeile für Zeile\r\n".encode() * 9)),
        ("d.tif", b"a" * 63 + "ü".encode()),  # a letter stands across the end of what is looked at
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "got text", "fetch it again")
    (tmp_path / "e.png").write_bytes(bytes(100))
    refused(
        tmp_path / "e.png", "no picture, or one of a kind", "if no viewer shows it, fetch it again"
    )
    (tmp_path / "f.bmp").write_bytes(b"BM" + bytes(range(128, 228)))
    refused(tmp_path / "f.bmp", "no picture, or one of a kind", "Convert it to PNG or TIFF")


@pytest.mark.parametrize(
    "head",
    [
        *(b"FUJIFILMCCD-RAW 0201", b"II*\0\x10\0\0\0CR\2\0", b"IIU\0\x18\0\0\0", b"IIRO\x08\0\0\0"),
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    ],
)
def test_raw_files_by_another_name(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.png").write_bytes(head + bytes(100))
    refused(tmp_path / "a.png", "a camera's raw file", "Develop it to a 16-bit TIFF")


def test_animations_that_would_lose_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(noise((9, 9, 3), seed=seed)) for seed in range(3)]
    for suffix in (".png", ".avif"):
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
        refused(tmp_path / f"a{suffix}", "anima")


def test_pages_unlike_each_other(tmp_path: Path) -> None:
    for number, (one, other, words) in enumerate(
        [
            (noise((8, 9, 3)), noise((4, 9, 3)), "9×4 and 9×8"),
            (noise((8, 9, 3)), noise((8, 9)), "2 pages of several kinds"),
            (noise((8, 9)), noise((8, 9), "uint16"), "2 pages of several kinds"),
        ]
    ):
        path = tmp_path / f"{number}.tif"
        with tifffile.TiffWriter(path) as file:
            for page in (one, other):
                kind = "rgb" if page.ndim == 3 else "minisblack"
                file.write(page, photometric=kind, metadata=None)
        refused(path, words, "Split it into one file for each page")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    values = noise((4, 5, 3), "float32")
    values[1, 2, 0] = value
    (tmp_path / "a.tif").write_bytes(tiff_bytes(values))
    refused(tmp_path / "a.tif", "NaN")


def test_numbers_and_bands_that_we_do_not_take(tmp_path: Path) -> None:
    lab = {"photometric": "cielab"}
    cases: list[tuple[Array, dict[str, Any], str]] = [
        (noise((4, 5, 3), "float64"), {"photometric": "rgb"}, "32-bit floating point"),
        (noise((4, 5, 3)), lab, "Lab with 16 bits"),
        (noise((4, 5, 5)), {}, "5 bands"),
        (noise((4, 5, 7), "uint16"), {}, "7 bands"),
        (noise((4, 5, 4), "float32"), {"photometric": "separated"}, "'cmyk'"),
    ]
    for number, (values, options, words) in enumerate(cases):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(
            path, values, planarconfig="contig", **{"photometric": "minisblack", **options}
        )
        refused(path, words)


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    for seed in (0, 1):
        Image.fromarray(noise((H, W, 3), seed=seed)).save(path, lossless=True)
        colour = read_picture(path).pages[0].colour
        assert np.array_equal((colour.permute(1, 2, 0) * 255).round(), noise((H, W, 3), seed=seed))
        bytes_ = read_8bit(path).permute(1, 2, 0)
        assert np.array_equal(bytes_, noise((H, W, 3), seed=seed))


def test_without_pyvips_the_remedy_is_named(tmp_path: Path) -> None:
    rgb(tmp_path / "a.png")
    code = (
        "import sys; sys.modules['pyvips'] = None\n"
        "from pathlib import Path\n"
        "from physgan.errors import ImageError\n"
        "from physgan.images.picture import read_picture\n"
        "try:\n    read_picture(Path(sys.argv[1]))\n"
        "except ImageError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Install pyvips[binary]." in done.stdout


def test_large_jpeg_files_are_written_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes little memory, and gives the same pixels."""
    picture = simple(tmp_path)
    write_picture(tmp_path / "small.jpg", picture)
    monkeypatch.setattr("physgan.images.write._SEEN_TWICE", 0)
    write_picture(tmp_path / "large.jpg", picture)
    one, other = (tmp_path / "small.jpg", tmp_path / "large.jpg")
    assert one.stat().st_size < other.stat().st_size
    colours = [read_picture(path).pages[0].colour for path in (one, other)]
    assert torch.equal(*colours)
