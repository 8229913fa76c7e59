"""What is left of libvips where files of strangers are read: the kinds that are taken, whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from physgan.errors import ImageError
from physgan.images.picture import read_picture
from physgan.images.preview import read_preview

SCRIPT = """
import sys
from pathlib import Path
from physgan.errors import KindError
from physgan.images.picture import read_picture
from physgan.images.strips import open_strips, writing_strips
from physgan.images.vips import refuse_rare_kinds
from physgan.images.write import write_picture

refuse_rare_kinds()
folder = Path(sys.argv[1])
for path in sorted(folder.glob("a.*")):
    try:
        write_picture(path.with_stem("b"), read_picture(path))
    except KindError as error:
        print(path.suffix, "refused:", "not" in str(error))
        continue
    strips = open_strips(path)
    if strips is not None:
        target = path.with_stem("c")
        size = {"height": strips.height, "width": strips.width}
        with writing_strips(target, strips.form, **size, transparent=False) as take:
            take(strips.read(strips.height))
    print(path.suffix, "taken", "in strips, too" if strips is not None else "")
"""


def test_every_kind_that_is_taken_and_no_other(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for suffix in (".png", ".jpg", ".tif", ".webp", ".gif", ".avif", ".ppm"):
        image.save(tmp_path / f"a{suffix}")
    (tmp_path / "a.svg2").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines() == [
        ".avif taken in strips, too",
        ".gif taken ",
        ".jpg taken in strips, too",
        ".png taken in strips, too",
        ".ppm refused: True",
        ".svg2 refused: True",
        ".tif taken in strips, too",
        ".webp taken in strips, too",
    ], ended.stderr


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_ycbcr_tiff_is_refused_rather_than_taken_for_rgb(
    tmp_path: Path, compression: str | None
) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "a.tif"
    Image.fromarray(colours).convert("YCbCr").save(path, compression=compression)
    with pytest.raises(ImageError, match=r"YCbCr.*Convert it to RGB"):
        read_picture(path)
    Image.fromarray(colours).save(path, compression="jpeg", quality=95)  # YCbCr that libvips knows
    assert read_picture(path).pages[0].colour.shape == (3, 20, 30)


@pytest.mark.parametrize("kind", ["float32", "float16", "int16", "uint32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_previews_of_numbers_of_any_range(tmp_path: Path, kind: str, channels: int) -> None:
    values = np.tile(np.linspace(0, 1 if "float" in kind else 30000, 64), (40, 1))[..., None]
    values = np.repeat(values, channels, axis=2).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if channels == 3 else None)
    shown = read_preview(tmp_path / "a.tif", longest=64)
    assert shown.shape == (40, 64, 3)
    wanted = read_picture(tmp_path / "a.tif").pages[0].colour[0, 0].numpy() * 255
    assert wanted[-1] - wanted[0] > 100
    assert np.abs(shown[5, :, 0] - wanted).max() < 3
