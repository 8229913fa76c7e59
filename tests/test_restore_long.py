"""A photograph of twelve megapixels through the command, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import pyvips

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
