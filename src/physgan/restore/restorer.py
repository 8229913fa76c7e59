"""The restorer that people hold: weights, a device, and what can be done with them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from physgan.errors import ShapeError, WeightsError
from physgan.networks import channels_last
from physgan.restore.device import Elsewhere
from physgan.restore.file import restore_file, taken
from physgan.restore.page import restore_images
from physgan.types import RestoreFn
from physgan.weights.catalogue import find_weights
from physgan.weights.file import WeightsInfo, load_weights


class Restorer:
    """A trained network, ready to restore tensors and files.

    Args:
        fn: the network or another `RestoreFn`, on `device`.
        info: the header of its weights, if it has one.
        device: where `fn` runs; pictures stay where they are, and go there tile by tile.
    """

    def __init__(
        self, fn: RestoreFn, info: WeightsInfo | None = None, *, device: str | torch.device = "cpu"
    ) -> None:
        self.fn = Elsewhere(fn, torch.device(device))
        self.info = info
        parameters = fn.parameters() if isinstance(fn, nn.Module) else iter(())
        self._dtype: torch.dtype = next((p.dtype for p in parameters), torch.float32)

    @classmethod
    def from_pretrained(cls, source: str | Path, *, device: str = "auto") -> Restorer:
        """Loads weights by a shipped name, from a file, or from the folder of a run.

        Args:
            source: such as `deblur-text`, `weights.safetensors`, `runs/first` or `graph.onnx`.
            device: `auto` takes a GPU where there is one.

        Raises:
            WeightsError: there are no such weights, they are damaged, or the device is not there.
            UsageError: a graph, without onnxruntime for the device.
        """
        path = find_weights(source)
        if path.suffix.lower() == ".onnx":
            from physgan.weights.onnx import OnnxRestorer

            graph = OnnxRestorer(path, device=device)
            return cls(graph, graph.info)  # it takes and gives tensors of the CPU
        target = _device(device)
        network, info = load_weights(path, device=target)
        return cls(channels_last(network), info, device=target)

    @property
    def device(self) -> torch.device:
        """Where the network runs: the CPU, once a GPU's memory has run out."""
        return self.fn.device

    def __call__(self, y: Tensor, *, strength: float = 1.0) -> Tensor:
        """Restores a batch of any height and width.

        Args:
            y: N×C×H×W in [0, 1], floating; computed in the type of the weights, whatever its own.
            strength: 0 gives `y` back, 1 what the network makes of it.

        Returns:
            As `y`, `scale` times as large, in [0, 1], on the device and of the type of `y`.

        Raises:
            ShapeError: no tensor, or wrong rank, type or channels.
        """
        if not isinstance(y, Tensor):
            raise ShapeError(
                "images to restore",
                expected="a tensor N×C×H×W in [0, 1]",
                got=f"{type(y).__module__}.{type(y).__name__}",
                remedy="Of an array H×W×C: torch.from_numpy(array).permute(2, 0, 1)[None].",
            )
        if not y.is_floating_point() or y.dtype == self._dtype:
            return restore_images(self.fn, y, strength=strength)
        return restore_images(self.fn, y.to(self._dtype), strength=strength).to(y.dtype)

    def restore_file(
        self,
        source: str | Path,
        target: str | Path,
        *,
        strength: float = 1.0,
        overwrite: bool = False,
    ) -> None:
        """Restores a picture file with all of its pages and metadata.

        Args:
            source: a picture file.
            target: the file that it shall become; its ending chooses the kind.
            strength: as for tensors.
            overwrite: replaces a target that is there, the source itself too.

        Raises:
            ImageError: the source cannot be read, or the target is there or cannot be written.
        """
        target = Path(target)
        if target.exists() and not overwrite:
            raise taken(target, remedy="Replace it with overwrite=True.")
        restore_file(self.fn, Path(source), target, strength=strength)

    def __repr__(self) -> str:
        name = self.info.architecture if self.info is not None else "no header"
        scale = f", ×{self.fn.scale}" if self.fn.scale != 1 else ""
        return f"Restorer({name}, {self.fn.channels} channels{scale}, on {self.device})"


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise WeightsError(
            f"device '{name}'",
            expected="auto, cpu, cuda or mps, as this machine has it",
            got=str(error).splitlines()[0],
        ) from None
    return device
