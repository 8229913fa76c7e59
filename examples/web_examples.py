"""The pictures that the web page offers to try: one for each task, with what is wrong in it.

    python examples/web_examples.py

They go to src/physgan/web/examples; each is made as the pictures of the demo are (demo.py), of a
page that we draw or a photograph that comes with scikit-image, and stands in NOTICE.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import resources
from pathlib import Path
from random import Random

from PIL import Image

from demo import SCENES, TEXT, degrade, load, photograph
from physgan.data.text.known import render_known_page
from physgan.metrics.quantise import to_levels

SIDE = 384


def main() -> int:
    target = Path(str(resources.files("physgan.web"))) / "examples"
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        page, _ = render_known_page(SIDE, Random("demo/3"))
        sampler = {"radius": [3, 4], "size": [15, 21], "strength": [0.3, 0.3]}
        changed = {"blur.sampler": {"name": "defocus_motion", "arguments": sampler}}
        degrade(page, folder / TEXT, TEXT, changed, seed=3)
        for task in SCENES:
            photograph(task, folder)
        for task in (TEXT, *SCENES):
            y = load(folder / task / "observed" / f"{task}.png")
            pixels = to_levels(y[0]).permute(1, 2, 0).numpy()
            path = target / f"{task}.jpg"
            Image.fromarray(pixels).save(path, quality=95)
            print(path.name, path.stat().st_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
