"""A start that does not wait for what it does not need."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from physgan.cli.starting import starting
from tests.restore.small import small_weights
from tests.training.tiny import write_picture

CODE = """
import sys
from physgan.cli import main
status = main(["restore", *sys.argv[1:], "--device", "cpu"])
print(status, sorted({"PIL", "physgan.weights.onnx", "torch._dynamo"} & sys.modules.keys()))
"""


def fails() -> None:
    with starting():
        assert not gc.isenabled()
        raise KeyError


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_looked_for_as_before(collecting: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(KeyError):
            fails()
        assert gc.isenabled() == collecting
        assert (gc.get_freeze_count() > 0) == collecting
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()


def test_restoring_a_picture_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", torch.rand(3, 20, 20))
    weights = small_weights(tmp_path / "w.safetensors")
    given = [str(tmp_path / "a.png"), "--weights", str(weights), "--output", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, "-c", CODE, *given], capture_output=True, text=True, check=False
    )
    assert ended.stdout == "0 []\n", ended.stderr
