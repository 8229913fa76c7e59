"""ONNX: a network as a graph of any batch and size, kept only if it computes what the network does.

The graph takes `y`, N×C×h×w in [0, 1] and float32, h and w multiples of `multiple_of`, and gives
`x_hat`, N×C×(scale·h)×(scale·w). Of a `blind_deconvolution` it holds what is learnt: beside `y` it
takes `kernel`, N×side×side, each summing to one, and `noise`, N, its standard deviation in grey;
beside `x_hat` it gives `look` and `second`, what the first and the second look made of `y`, from
which kernels are estimated. Its metadata hold the header of the weights and what `RestoreFn` asks
for, so that `physgan restore --weights FILE.onnx` needs nothing else.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from physgan.errors import UsageError, WeightsError, install
from physgan.files import replacing
from physgan.networks import BlindDeconvolution, RestorationNetwork
from physgan.types import RestoreFn
from physgan.weights.file import WeightsInfo, header_of
from physgan.weights.onnx import INPUTS, KERNEL, OUTPUTS, RESTORER, describe, open_graph

GREATEST = {torch.float32: 1e-3, torch.float16: 1 / 255}
"""by how much a value of the graph may differ from the network's, by the type it computes in"""
_SHAPES = ((1, 64, 64), (2, 40, 72), (1, 256, 200))
"""batches and sides that are compared; sides are taken up to the next multiple"""


@dataclass(frozen=True)
class Agreement:
    """How far a graph and its network are apart."""

    shape: tuple[int, int, int, int]
    """of the observation, N×C×h×w"""
    difference: float
    """greatest, of values in [0, 1]"""


def export_onnx(
    network: RestorationNetwork, info: WeightsInfo, target: Path, *, half: bool = False
) -> list[Agreement]:
    """Writes a network as an ONNX file that onnxruntime runs, whole or not at all.

    Args:
        network: on the CPU, in evaluation mode.
        info: its header, which goes along.
        target: the file, replaced if it is there.
        half: computes and stores in half precision; what goes in and comes out stays float32.

    Returns:
        The comparisons with the network, in float32, at three sizes.

    Raises:
        UsageError: the packages for it are not installed.
        WeightsError: torch cannot export the network, or the graph computes something else.
        OSError: the file cannot be written.
    """
    _require()
    dtype = torch.float16 if half else torch.float32
    given = _deconvolves(network)
    graph = _Computing(network, half=half)
    with replacing(target) as beside:
        program = _exported(graph, network, given)
        program.model.metadata_props.update(header_of(info))
        program.model.metadata_props[RESTORER] = json.dumps({**describe(network), KERNEL: given})
        program.save(str(beside), external_data=False)
        found = compare(network, open_graph(beside))
        worst = max(found, key=lambda agreement: agreement.difference)
        # Not `>`, which would let NaN pass.
        if not worst.difference <= GREATEST[dtype]:
            raise WeightsError(
                f"the graph for '{target}'",
                expected=f"the network's values to {GREATEST[dtype]:.1g}",
                got=f"{worst.difference:.2g} at {'×'.join(map(str, worst.shape))}",
                remedy="Export it without --half." if half else "The network cannot be exported.",
            )
    return found


def compare(network: RestorationNetwork, graph: RestoreFn) -> list[Agreement]:
    """How far a graph is from its network, on noise over slopes of three sizes."""
    generator, found = Generator().manual_seed(0), []
    for n, h, w in _SHAPES:
        h, w = (-(-side // network.multiple_of) * network.multiple_of for side in (h, w))
        slope = torch.linspace(0, 1, w).expand(n, network.channels, h, w)
        y = (0.7 * slope + 0.3 * torch.rand(slope.shape, generator=generator)).contiguous()
        with torch.inference_mode():
            difference = float((network(y) - graph(y)).abs().max())
        found.append(Agreement((n, network.channels, h, w), difference))
    return found


def _deconvolves(network: RestorationNetwork) -> dict[str, Any] | None:
    """What metadata tell of a graph that is given kernels."""
    if not isinstance(network, BlindDeconvolution):
        return None
    return {"side": network.side, "edges": network.edges}


class _Computing(nn.Module):
    """A network, in half precision behind float32 if that is asked for."""

    def __init__(self, network: nn.Module, *, half: bool) -> None:
        super().__init__()
        self.network: Any = copy.deepcopy(network).half() if half else network
        self.half_precision = half

    def forward(
        self, y: Tensor, kernel: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        y, network = y.half() if self.half_precision else y, self.network
        found = (network(y),) if kernel is None else network.looks(y, kernel, noise)
        return tuple(each.float() for each in found)


def _exported(graph: nn.Module, network: RestorationNetwork, known: dict[str, Any] | None) -> Any:
    multiple = network.multiple_of
    given = [torch.rand(2, network.channels, 4 * multiple, 6 * multiple)]
    n, h, w = (torch.export.Dim(name) for name in ("n", "h", "w"))
    shapes: list[dict[int, Any]] = [{0: n, 2: multiple * h, 3: multiple * w}]
    if known is not None:
        side = known["side"]
        given += [torch.full((2, side, side), 1 / side**2), torch.full((2,), 0.01)]
        shapes += [{0: n}, {0: n}]
    try:
        with _quietly():
            program = torch.onnx.export(
                graph,
                tuple(given),
                dynamo=True,
                opset_version=18,  # what the exporter writes, with nothing converted
                dynamic_shapes=tuple(shapes),
                input_names=INPUTS[: len(given)],
                output_names=OUTPUTS[: len(given)],
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise WeightsError(
            f"network '{type(network).__name__}'",
            expected="one that torch.onnx can export",
            got=str(error).strip().splitlines()[0],
        ) from error
    return program


@contextlib.contextmanager
def _quietly() -> Any:
    """Without the exporter's notes on packages that are not there and its own deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _require() -> None:
    from importlib.util import find_spec

    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if not find_spec(name)]:
        raise UsageError(
            "export to ONNX",
            expected="onnx, onnxscript and onnxruntime installed",
            got=f"no {' and no '.join(missing)}",
            remedy=install("onnx"),
        )
