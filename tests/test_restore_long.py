"""A photograph of twelve megapixels through the command, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pyvips

from tests.restore.small import small_weights, small_weights_that_deblur

MEASURE = """
import resource, subprocess, sys
status = subprocess.run([sys.executable, "-m", "physgan", *sys.argv[1:]]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(status, peak * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_twelve_megapixels_stay_under_two_gigabytes(tmp_path: Path) -> None:
    bands = [pyvips.Image.gaussnoise(4000, 3000, mean=128, sigma=40, seed=i) for i in range(3)]
    photograph = bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")
    photograph.write_to_file(str(tmp_path / "photograph.jpg"))
    argv = ["restore", str(tmp_path / "photograph.jpg"), "--task", "deblur-text"]
    argv += ["--output", str(tmp_path / "out"), "--device", "cpu"]
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, *argv], capture_output=True, text=True, check=True
    )
    status, peak = map(int, told.stdout.split())
    assert status == 0, told.stderr
    assert peak < 2e9
    back = pyvips.Image.new_from_file(str(tmp_path / "out" / "photograph.jpg"))
    assert (back.width, back.height) == (4000, 3000)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
@pytest.mark.parametrize(
    ("suffix", "made"),
    [(".png", small_weights), (".tif", small_weights), (".tif", small_weights_that_deblur)],
)
def test_memory_does_not_grow_with_the_picture(
    suffix: str, made: Callable[[Path], Path], tmp_path: Path
) -> None:
    """8 and 48 megapixels of 16 bits with transparency, a small network."""
    weights = made(tmp_path / "small.safetensors")
    peaks = []
    for width, height in ((4000, 2000), (6000, 8000)):
        bands = [pyvips.Image.gaussnoise(width, height, mean=30000, sigma=9000) for _ in range(4)]
        picture = bands[0].bandjoin(bands[1:]).cast("ushort").copy(interpretation="rgb16")
        path = tmp_path / f"{height}{suffix}"
        picture.write_to_file(str(path), **({"compression": 0} if suffix == ".png" else {}))
        argv = ["restore", str(path), "--weights", str(weights)]
        argv += ["--output", str(tmp_path / "out"), "--device", "cpu"]
        told = subprocess.run(
            [sys.executable, "-c", MEASURE, *argv], capture_output=True, text=True, check=True
        )
        status, peak = map(int, told.stdout.split())
        assert status == 0, told.stderr
        peaks.append(peak)
        back = pyvips.Image.new_from_file(str(tmp_path / "out" / path.name))
        assert (back.width, back.height, back.bands, back.format) == (width, height, 4, "ushort")
    # As tensors the pictures differ by 640 MB, and so do their results. What may grow: what a strip
    # takes, half as wide again (some copies of 56 MB), and the numbers of the result that libvips
    # maps from the disk, 320 MB.
    assert peaks[1] - peaks[0] < 320e6 + 420e6, peaks
