"""Picture files that tests write, in the layouts of published sets, and where real ones may lie."""

import os
from pathlib import Path

import torch
from PIL import Image

from tests.data.sets import picture

DATA = Path(os.environ.get("PHYSGAN_DATA", Path(__file__).parents[3] / "shared" / "data"))
"""Real images for checks; a test that wants them skips where they are not."""


def save(path: Path, h: int = 6, w: int = 8, *, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Writes a picture and returns what a file of its kind gives back, uint8 C×H×W."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = picture(h, w, channels=channels, seed=seed)
    array = pixels.permute(1, 2, 0).numpy() if channels == 3 else pixels[0].numpy()
    lossy = {"quality": 95, "subsampling": 0} if path.suffix.lower() == ".jpg" else {}
    Image.fromarray(array).save(path, **lossy)  # type: ignore[arg-type]
    return pixels


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two pictures, in [0, 1] or 0 to 255 alike, are the same but for JPEG."""
    scale = 255 if b.dtype == torch.uint8 and a.is_floating_point() else 1
    limit = 255 if a.dtype == torch.uint8 else 1
    return float((a.double() - b.double() / scale).abs().mean()) < 0.02 * limit
