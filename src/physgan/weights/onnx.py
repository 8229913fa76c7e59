"""An exported graph as a `RestoreFn`, run by onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from physgan.errors import ShapeError, UsageError, WeightsError, install
from physgan.networks.deconvolution import blur_by_edges, kernel_by_looks, no_blur, noise_in
from physgan.networks.window import WINDOW, steepest
from physgan.types import RestoreFn
from physgan.weights.file import WeightsInfo, info_of

RESTORER = "restorer"
"""name of what `describe` tells, in the metadata of a graph"""
KERNEL = "kernel"
"""name, beside that, of the side of the kernels that a graph is given, and of their estimation"""
INPUTS, OUTPUTS = ["y", "kernel", "noise"], ["x_hat", "look", "second"]
"""names of what a graph takes and gives; of one that is given no kernels the first alone"""
_TOLD: Mapping[str, tuple[type, ...]] = {
    "channels": (int,),
    "scale": (int,),
    "multiple_of": (int,),
    "receptive_field": (int, type(None)),
    "global_statistics": (bool,),
}


_WIDEST = 1023
"""side of a kernel that a graph may ask for; 31 is usual"""


def describe(fn: RestoreFn) -> dict[str, Any]:
    """What a graph's metadata tell of the restorer, for `OnnxRestorer`."""
    return {name: getattr(fn, name) for name in _TOLD}


def open_graph(
    path: Path, *, device: str | torch.device = "cpu"
) -> OnnxRestorer | OnnxDeconvolution:
    """The graph in a file, whatever it is given beside pictures; see `OnnxRestorer`."""
    graph = OnnxRestorer(path, device=device)
    return graph if graph.kernel is None else OnnxDeconvolution(graph)


class OnnxRestorer:
    """A graph that `physgan export` wrote.

    One with global statistics takes them in its own way, so that it restores images whole, never
    in tiles.

    Args:
        path: the file.
        device: `cpu`, or `cuda` where onnxruntime's build has it; `auto` takes what it has.

    Raises:
        UsageError: onnxruntime is not installed, or not for the device.
        WeightsError: the file is not there, is broken, or was not written by physgan.
    """

    def __init__(self, path: Path, *, device: str | torch.device = "cpu") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(
                f"graph '{path}'",
                expected="onnxruntime installed",
                got="none",
                remedy=install("onnx"),
            ) from error
        provider = _provider(onnxruntime, str(device))
        if not path.is_file():
            raise WeightsError(f"graph '{path}'", expected="a file", got="none")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors: it warns of every constant that it folds
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # onnxruntime has a class for each fault, of no common kind
            raise WeightsError(
                f"graph '{path}'",
                expected="an ONNX file that onnxruntime runs",
                got=str(error).strip().splitlines()[0],
                remedy="It may be cut short: export it again.",
            ) from error
        if self._session.get_providers()[0] != provider[0]:
            raise UsageError(
                f"device '{device}' for an ONNX graph",
                expected=f"onnxruntime's {provider[0]} to start",
                got=", ".join(self._session.get_providers()),
                remedy="Its log says why; --device cpu does without.",
            )
        metadata = self._session.get_modelmeta().custom_metadata_map
        told = _restorer(metadata, path)
        self.channels: int = told["channels"]
        self.scale: int = told["scale"]
        self.multiple_of: int = told["multiple_of"]
        self.receptive_field: int | None = told["receptive_field"]
        self.global_statistics: bool = told["global_statistics"]
        self.kernel: Mapping[str, Any] | None = told.get(KERNEL)
        """of what `side` kernels are that the graph is to be given, whether by `edges`; or None"""
        _require_ends(self._session, self.kernel is not None, path)
        self.info: WeightsInfo = info_of(metadata, where=f"the metadata of {path}")
        """the header of the weights that it was exported from"""

    def __call__(self, y: Tensor) -> Tensor:
        """Restores `y`, N×C×h×w in [0, 1], on its device and of its type.

        Raises:
            ShapeError: wrong rank, channels or sides.
            MemoryError: there is none left.
            WeightsError: onnxruntime fails otherwise.
        """
        return self.run(y)[0]

    def run(self, y: Tensor, **more: Tensor) -> list[Tensor]:
        """All that the graph makes of `y` and what else it takes; faults as above."""
        if (
            y.ndim != 4
            or y.shape[1] != self.channels
            or any(side == 0 or side % self.multiple_of for side in y.shape[2:])
        ):
            raise ShapeError(
                "the images handed to a graph",
                expected=f"N×{self.channels}×h×w, h and w multiples of {self.multiple_of}",
                got="×".join(map(str, y.shape)),
            )
        arrays = {
            name: tensor.detach().float().cpu().contiguous().numpy()
            for name, tensor in {"y": y, **more}.items()
        }
        try:
            found = self._session.run(None, arrays)
        except Exception as error:  # of no common kind, as above
            text = str(error).strip().splitlines()[0]
            if "alloc" in text.lower() or "out of memory" in text.lower():
                raise MemoryError(text) from error
            raise WeightsError("an ONNX graph", expected="to run", got=text) from error
        return [torch.from_numpy(each).to(y) for each in found]


class OnnxDeconvolution:
    """The graph of a `blind_deconvolution`, and what it is given: kernels, had as the network does.

    The one kernel of a large picture is found first, and then it is restored in tiles.

    Args:
        graph: one that is given kernels.
        blur: of everything that is restored, 1×side×side, and the noise, 1; None: each picture's
            own.
    """

    def __init__(self, graph: OnnxRestorer, blur: tuple[Tensor, Tensor] | None = None) -> None:
        self._graph, self._blur = graph, blur
        self.channels, self.scale, self.multiple_of = graph.channels, graph.scale, graph.multiple_of
        self.receptive_field = graph.receptive_field
        self.global_statistics = blur is None
        self.window = WINDOW
        self.info = graph.info

    def __call__(self, y: Tensor) -> Tensor:
        """As `OnnxRestorer`."""
        n, (kernel, noise) = y.shape[0], self._blur or self._of(y)
        return self._graph.run(y, kernel=kernel.expand(n, -1, -1), noise=noise.expand(n))[0]

    def conditioned(self, y: Tensor) -> RestoreFn:
        """The restorer of `y` and its parts; this one where it knows a blur already."""
        return self if self._blur else OnnxDeconvolution(self._graph, self._of(y))

    def _of(self, y: Tensor) -> tuple[Tensor, Tensor]:
        assert self._graph.kernel is not None
        side = self._graph.kernel["side"]
        window = steepest(y, self.window)
        if self._graph.kernel["edges"]:
            return blur_by_edges(window.double(), side=side)
        noise = noise_in(window)

        def looks(kernel: Tensor) -> list[Tensor]:
            return self._graph.run(window, kernel=kernel, noise=noise)

        look = looks(no_blur(window, side=side))[1]
        kernel = kernel_by_looks(window.double(), look, lambda k: looks(k)[2], side=side)
        return kernel, noise


def _restorer(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        told = json.loads(metadata[RESTORER])
        right = all(type(told[name]) in kinds for name, kinds in _TOLD.items())
        numbers = [told[name] for name in ("channels", "scale", "multiple_of", "receptive_field")]
        right = right and all(number is None or number >= 1 for number in numbers)
        if (kernel := told.get(KERNEL)) is not None:
            side, edges = kernel["side"], kernel["edges"]
            right = right and type(side) is int and 3 <= side <= _WIDEST and side % 2 == 1
            right = right and type(edges) is bool
    except (KeyError, TypeError, ValueError):
        right = False
    if not right:
        raise WeightsError(
            f"graph '{path}'",
            expected="one that 'physgan export' wrote",
            got="metadata of another program, or none",
            remedy="Export the weights again.",
        )
    return dict(told)


def _require_ends(session: Any, given_kernels: bool, path: Path) -> None:
    """Raises unless a graph takes and gives what graphs of this release do."""
    takes = [each.name for each in session.get_inputs()]
    gives = [each.name for each in session.get_outputs()]
    if takes != INPUTS[: 3 if given_kernels else 1] or gives != OUTPUTS[: len(takes)]:
        raise WeightsError(
            f"graph '{path}'",
            expected="one that this release of physgan exported",
            got=f"one from {', '.join(takes)} to {', '.join(gives)}",
            remedy="Export the weights again.",
        )


def _provider(onnxruntime: Any, device: str) -> tuple[str, dict[str, int]]:
    """onnxruntime's name of a device, with its options."""
    there = onnxruntime.get_available_providers()
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    if device == "auto":
        device = "cuda" if cuda in there and torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    name = {"cpu": cpu, "cuda": cuda}.get(kind, "")
    if name not in there:
        raise UsageError(
            f"device '{device}' for an ONNX graph",
            expected="one that this onnxruntime runs on",
            got=", ".join(there),
            remedy="--device cpu, or a build of onnxruntime for the device.",
        )
    return name, {"device_id": int(number or 0)} if name == cuda else {}
