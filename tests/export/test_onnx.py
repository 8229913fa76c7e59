"""Exported graphs compute what their networks do, at every size, and restore like weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Generator, Tensor, nn

from physgan.cli import main
from physgan.errors import ShapeError, UsageError, WeightsError
from physgan.export.onnx import export_onnx
from physgan.images.read import read_8bit
from physgan.networks.resnet9 import ResNetGenerator
from physgan.restore.restorer import Restorer
from physgan.weights.catalogue import SHIPPED, shipped_file
from physgan.weights.file import load_weights, read_info
from physgan.weights.onnx import OnnxRestorer
from tests.restore.small import small_weights
from tests.training.tiny import write_picture


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(1))


@pytest.mark.parametrize("task", sorted(SHIPPED))
def test_every_shipped_file_exports_and_agrees(task: str, tmp_path: Path) -> None:
    network, info = load_weights(shipped_file(task))
    found = export_onnx(network, info, tmp_path / "graph.onnx")
    assert len({each.shape for each in found}) == 3
    assert max(each.difference for each in found) < 1e-4
    graph = Restorer.from_pretrained(tmp_path / "graph.onnx", device="cpu")
    assert graph.info == info
    # Sides that no multiple of anything fits.
    y = noise(2, 3, 33, 50)
    assert torch.allclose(graph(y), Restorer(network)(y), atol=1e-4)


def test_the_lines_of_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, info = load_weights(shipped_file("derain"))
    export_onnx(network, info, tmp_path / "derain.onnx")
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {}
    exec(code, given)
    y = noise(2, 3, 33, 50)
    x_hat = torch.from_numpy(given["restored"](y.numpy()))
    assert torch.allclose(x_hat, Restorer(network)(y), atol=1e-4)


def test_half_precision_is_half_the_size(tmp_path: Path) -> None:
    network, info = load_weights(shipped_file("sr4"))
    export_onnx(network, info, tmp_path / "whole.onnx")
    found = export_onnx(network, info, tmp_path / "half.onnx", half=True)
    assert 0 < max(each.difference for each in found) <= 1 / 255
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.55 * sizes[1]
    assert next(network.parameters()).dtype == torch.float32


def test_large_pictures_go_through_a_graph_in_tiles(tmp_path: Path) -> None:
    network, info = load_weights(small_weights(tmp_path / "w.safetensors"))
    export_onnx(network, info, tmp_path / "g.onnx")
    write_picture(tmp_path / "in.png", noise(3, 150, 180))
    for source, out in (("w.safetensors", "a"), ("g.onnx", "b")):
        argv = ["restore", str(tmp_path / "in.png"), "--weights", str(tmp_path / source)]
        more = ["--output", str(tmp_path / out), "--device", "cpu", "--tile", "64"]
        assert main([*argv, *more]) == 0
    a, b = (read_8bit(tmp_path / out / "in.png").int() for out in "ab")
    assert (a - b).abs().max() <= 1


def test_statistics_of_the_whole_image_are_never_taken_from_tiles(tmp_path: Path) -> None:
    _, info = load_weights(small_weights(tmp_path / "w.safetensors"))
    network = ResNetGenerator(width=4, blocks=1).eval()
    export_onnx(network, info, tmp_path / "g.onnx")
    graph = Restorer.from_pretrained(tmp_path / "g.onnx", device="cpu")
    y = noise(1, 3, 40, 44)
    assert torch.allclose(graph(y), Restorer(network)(y), atol=1e-4)
    write_picture(tmp_path / "in.png", noise(3, 90, 90))
    argv = ["restore", str(tmp_path / "in.png"), "--weights", str(tmp_path / "g.onnx")]
    more = ["--output", str(tmp_path / "out"), "--tile", "32", "--device", "cpu"]
    assert main([*argv, *more]) == 1
    assert not (tmp_path / "out" / "in.png").exists()


def test_a_folder_goes_through_a_graph(tmp_path: Path) -> None:
    network, info = load_weights(small_weights(tmp_path / "w.safetensors"))
    export_onnx(network, info, tmp_path / "G.ONNX")
    (tmp_path / "in").mkdir()
    for number, sides in enumerate([(20, 30), (33, 20), (20, 30), (20, 30), (8, 9)]):
        write_picture(tmp_path / "in" / f"{number}.png", noise(3, *sides))
    for source, out in (("w.safetensors", "a"), ("G.ONNX", "b")):
        argv = ["restore", str(tmp_path / "in"), "--weights", str(tmp_path / source)]
        assert main([*argv, "--output", str(tmp_path / out), "--device", "cpu"]) == 0
    for number in range(5):
        a, b = (read_8bit(tmp_path / out / f"{number}.png").int() for out in "ab")
        assert (a - b).abs().max() <= 1


def test_what_onnxruntime_says_becomes_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, info = load_weights(small_weights(tmp_path / "w.safetensors"))
    export_onnx(network, info, tmp_path / "g.onnx")
    graph = OnnxRestorer(tmp_path / "g.onnx", device="auto")
    with pytest.raises(ShapeError, match="multiples of 4"):
        graph(noise(1, 3, 17, 16))
    with pytest.raises(ShapeError, match="N×3×h×w"):
        graph(noise(1, 1, 16, 16))

    class Session:
        def __init__(self, text: str) -> None:
            self.text = text

        def run(self, *_: object) -> None:
            raise Exception(self.text)

    for text, kind in (("Failed to allocate memory", MemoryError), ("no kernel", WeightsError)):
        monkeypatch.setattr(graph, "_session", Session(text))
        with pytest.raises(kind, match=text):
            graph(noise(1, 3, 16, 16))


class _Drifts(nn.Module):
    """Adds how often it was called: no graph does that."""

    channels, scale, multiple_of, receptive_field, global_statistics = 3, 1, 1, 1, False

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, y: Tensor) -> Tensor:
        self.calls += 1
        return y + 0.01 * self.calls


def test_a_graph_that_differs_is_refused_and_not_kept(tmp_path: Path) -> None:
    info = read_info(small_weights(tmp_path / "w.safetensors"))
    with pytest.raises(WeightsError, match="the network's values"):
        export_onnx(_Drifts(), info, tmp_path / "g.onnx")  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_weights(tmp_path / "w.safetensors")
    target = tmp_path / "g.onnx"
    argv = ["export", "--weights", str(tmp_path / "w.safetensors"), "--output", str(target)]
    assert main([*argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["graph"] == str(target)
    assert all(each["difference"] <= 1e-3 for each in told["compared"])
    assert main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*argv, "--overwrite", "--half"]) == 0
    assert "off by" in capsys.readouterr().out
    folder = tmp_path / "f.onnx"
    folder.mkdir()
    assert main([*argv[:-1], str(folder), "--overwrite"]) == 2
    assert "got a folder" in capsys.readouterr().err
    assert main(["export", "--weights", str(target), "--output", str(tmp_path / "h.onnx")]) == 2
    assert "expected no graph" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["g.pt", "nowhere/g.onnx"])
def test_an_output_that_cannot_be(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_weights(tmp_path / "w.safetensors")
    argv = ["export", "--weights", str(tmp_path / "w.safetensors")]
    assert main([*argv, "--output", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_files_that_are_no_graphs_of_ours(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    with pytest.raises(WeightsError, match="an ONNX file"):
        Restorer.from_pretrained(broken, device="cpu")
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("x_hat", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["y"], ["x_hat"])], "g", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(WeightsError, match="'physgan export' wrote"):
        Restorer.from_pretrained(tmp_path / "foreign.onnx", device="cpu")
    with pytest.raises(UsageError, match="device 'mps'"):
        OnnxRestorer(tmp_path / "foreign.onnx", device="mps")
    with pytest.raises(ShapeError):
        Restorer.from_pretrained("sr4", device="cpu")(noise(1, 2, 16, 16))


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel": []},
        {"kernel": {"side": 9}},
        {"kernel": {"side": (1 << 40) + 1, "edges": True}},
        {"kernel": {"side": 9, "edges": 1}},
        {"receptive_field": -100},
        {"kernel": {"side": 8, "edges": True}},
        {"scale": 0},
        {"channels": True},
        {"multiple_of": -8},
    ],
)
def test_metadata_that_make_no_sense(changed: dict[str, object], tmp_path: Path) -> None:
    small_weights(tmp_path / "w.safetensors")
    network, info = load_weights(tmp_path / "w.safetensors")
    export_onnx(network, info, tmp_path / "g.onnx")
    model = onnx.load(tmp_path / "g.onnx")
    (told,) = (each for each in model.metadata_props if each.key == "restorer")
    told.value = json.dumps(json.loads(told.value) | changed)
    onnx.save(model, tmp_path / "g.onnx")
    with pytest.raises(WeightsError, match="'physgan export' wrote"):
        Restorer.from_pretrained(tmp_path / "g.onnx", device="cpu")
