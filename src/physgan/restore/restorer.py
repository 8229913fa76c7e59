"""The restorer that people hold: weights, a device, and what can be done with them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from physgan.errors import ShapeError, UsageError, WeightsError
from physgan.networks import channels_last
from physgan.restore.device import Elsewhere
from physgan.restore.file import restore_file, taken
from physgan.restore.page import restore_images
from physgan.types import RestoreFn
from physgan.weights.file import WeightsInfo, load_weights
from physgan.weights.find import find_weights
from physgan.weights.hub import push, require_repository, save_folder

if TYPE_CHECKING:
    from physgan.restore.compare import Comparison

_FAR_ABOVE = 8.0
"""A value that no noise makes of [0, 1]."""


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
        """Loads weights by a shipped name, from a file or a folder, or from the Hugging Face hub.

        Args:
            source: such as `deblur-text`, `weights.safetensors`, `runs/first`, `graph.onnx`,
                `org/name` or `org/name@revision`; the first of these that there is.
            device: `auto` takes a GPU where there is one.

        Raises:
            WeightsError: there are no such weights, they are damaged, or the device is not there;
                the hub is not reached, and the cache does not hold them.
            UsageError: a graph without onnxruntime for the device, or a repository without
                huggingface_hub.
        """
        path = find_weights(source)
        if path.suffix.lower() == ".onnx":
            from physgan.weights.onnx import open_graph

            graph = open_graph(path, device=device)
            return cls(graph, graph.info)  # it takes and gives tensors of the CPU
        target = _device(device)
        network, info = load_weights(path, device=target)
        return cls(channels_last(network), info, device=target)

    def compare(
        self,
        y: Tensor | str | Path,
        x: Tensor | str | Path | None = None,
        *,
        strength: float = 1.0,
    ) -> Comparison:
        """Restores images for people to look at: a notebook shows before and after side by side.

        Args:
            y: a tensor N×C×H×W or C×H×W in [0, 1], or a picture file, whose first page is taken.
            x: the clear images, likewise, to measure before and after against.
            strength: as for tensors.

        Returns:
            The images with their scores; `.save(path)` writes them side by side.

        Raises:
            ImageError: a file cannot be read.
            ShapeError: tensors of another shape or type, or channels that the weights do not take.
        """
        from physgan.restore.compare import compared, images_of  # with Pillow, for this alone

        given = images_of(y, "images to compare")
        clear = None if x is None else images_of(x, "clear images x")
        return compared(given, self(given, strength=strength), clear)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes weights and card as a repository of the hub holds them.

        `from_pretrained(folder)` gives the same results, bit for bit.

        Args:
            folder: becomes `model.safetensors` and `README.md`; made where it is missing.
            overwrite: replaces the two files where they are there.

        Raises:
            UsageError: this is no network with a header, which alone can be saved.
            WeightsError: the files are there, or cannot be written.
        """
        self._save(Path(folder), overwrite=overwrite)

    def push_to_hub(
        self, name: str, *, private: bool | None = None, token: str | None = None
    ) -> str:
        """Uploads weights and card to the Hugging Face hub, and returns the address.

        What is there under the two names of files is replaced; the hub keeps its history.

        Args:
            name: `org/name`; made where it is missing.
            private: whether a new repository is; None leaves it to the settings of `org`.
            token: of the hub; that of `hf auth login` by default.

        Raises:
            UsageError: this is no network with a header, `name` is no `org/name`, or
                huggingface_hub is not installed.
            WeightsError: the hub is not reached, or refuses.
        """
        require_repository(name)
        with TemporaryDirectory(prefix="physgan-") as folder:
            self._save(Path(folder), name=name)
            return push(Path(folder), name, private=private, token=token)

    def _save(self, folder: Path, *, name: str = "", overwrite: bool = False) -> None:
        network = self.fn.fn
        if not isinstance(network, nn.Module) or self.info is None:
            raise UsageError(
                "restorer to save",
                expected="a network with a header, as from_pretrained loads it",
                got="one without a header" if isinstance(network, nn.Module) else "no network",
            )
        save_folder(folder, network.state_dict(), self.info, name=name, overwrite=overwrite)

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
            UsageError: values are of 0 to 255.
        """
        if not isinstance(y, Tensor):
            raise ShapeError(
                "images to restore",
                expected="a tensor N×C×H×W in [0, 1]",
                got=f"{type(y).__module__}.{type(y).__name__}",
                remedy="Of an array H×W×C: torch.from_numpy(array).permute(2, 0, 1)[None].",
            )
        if y.is_floating_point() and y.numel():
            _require_range(float(y.amax()))
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
        restore_file(self.fn, Path(source), target, strength=strength, overwrite=overwrite)

    def __repr__(self) -> str:
        fn, info = self.fn.fn, self.info
        kind = type(fn).__name__ if info is None else info.architecture
        parts = [f"{self.fn.channels} channels", f"scale {self.fn.scale}", f"on {self.device}"]
        if isinstance(fn, nn.Module):
            parts.insert(0, f"{sum(p.numel() for p in fn.parameters()):,} parameters")
        if info is None:
            return f"Restorer({', '.join([kind, *parts])}; no header)"
        name = f"{info.name}, " if info.name else ""
        experimental = "; experimental" if info.experimental else ""
        return f"Restorer({name}{', '.join([kind, *parts])}; licence: {info.terms}{experimental})"


def _require_range(greatest: float) -> None:
    """Raises UsageError where values are of 0 to 255; noise may leave [0, 1] by far less."""
    if greatest > _FAR_ABOVE:
        raise UsageError(
            "images to restore",
            expected="values in [0, 1]",
            got=f"up to {greatest:.4g}",
            remedy="Of 0 to 255: y / 255.",
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    remedy = ""
    try:
        device = torch.device(name)
    except RuntimeError:
        got = "no name of a device"
    else:
        try:
            torch.empty(0, device=device)
            return device
        except (RuntimeError, AssertionError) as error:
            got = f"'{str(error).splitlines()[0].rstrip('.')}' of torch"
            remedy = "This machine, or this build of torch, has none: --device cpu, or auto."
    raise WeightsError(
        f"device '{name}'",
        expected="auto, cpu, cuda or mps, as this machine has it",
        got=got,
        remedy=remedy,
    )
