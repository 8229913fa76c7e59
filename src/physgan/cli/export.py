"""`physgan export`: weights in, an ONNX graph out that was compared with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from physgan.cli.weights import chosen_weights


@dataclass
class Arguments:
    """Export weights as an ONNX graph, of any batch and size, for onnxruntime and others.

    The graph is compared with the network at three sizes, and kept only if they agree to 0.001, in
    half precision to 1/255.
    """

    output: Path
    """The file, ending in .onnx."""
    task: str | None = None
    """Name of shipped weights, as physgan tasks lists them."""
    weights: str | None = None
    """A weights file, the folder of a run, or org/name of the Hugging Face hub, in place of a
    task."""
    half: bool = False
    """Compute and store in half precision: half the size; slower on most CPUs."""
    overwrite: bool = False
    """Replace a file that is there."""
    json: bool = False
    """Print the outcome as one line of JSON."""


def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    """Carries the command out; returns the exit status."""
    from physgan.errors import UsageError, WeightsError

    target = arguments.output
    if target.suffix.lower() != ".onnx":
        raise UsageError("--output", expected="a file ending in .onnx", got=f"'{target}'")
    if not target.parent.is_dir():
        raise UsageError(f"folder '{target.parent}'", expected="a folder", got="nothing there")
    if target.is_dir():
        raise UsageError(f"output '{target}'", expected="a file", got="a folder")
    if target.exists() and not arguments.overwrite:
        raise UsageError(
            f"output '{target}'",
            expected="no file",
            got="one that is there",
            remedy="Replace it with --overwrite.",
        )
    source = chosen_weights(arguments.task, arguments.weights)
    if source.suffix.lower() == ".onnx":
        raise UsageError("weights to export", expected="no graph", got=f"'{source}'")

    from physgan.export import export_onnx
    from physgan.weights.file import load_weights

    network, info = load_weights(source)
    try:
        found = export_onnx(network, info, target, half=arguments.half)
    except OSError as error:
        raise WeightsError(
            f"output '{target}'",
            expected="a place that can be written",
            got=error.strerror or str(error),
        ) from error
    size = target.stat().st_size
    if arguments.json:
        differences = [{"shape": each.shape, "difference": each.difference} for each in found]
        print(json.dumps({"graph": str(target), "bytes": size, "compared": differences}))
        return 0
    for each in found:
        print(f"{'×'.join(map(str, each.shape))}: off by {each.difference:.1e} at most")
    print(f"{target}: {size / 1e6:.1f} MB, licence: {info.terms}")
    return 0
