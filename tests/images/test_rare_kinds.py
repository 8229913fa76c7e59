"""What is left of libvips where files of strangers are read: the kinds that are taken, whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

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
        ".avif taken ",
        ".gif taken ",
        ".jpg taken in strips, too",
        ".png taken in strips, too",
        ".ppm refused: True",
        ".svg2 refused: True",
        ".tif taken in strips, too",
        ".webp taken in strips, too",
    ], ended.stderr
