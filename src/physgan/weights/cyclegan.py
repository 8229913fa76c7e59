"""Importer for generators of CycleGAN and of the paper's release into our ResNet.

Their generator is one sequence, so a key is `model.INDEX.weight`. With b residual blocks:

    1              7×7 stem                    10 + b, 13 + b   transposed convolutions
    4, 7           strided convolutions        17 + b           7×7 head
    10 … 9 + b     residual blocks: `conv_block.1`, and `conv_block.5`, or `.6` behind a dropout

Every convolution but the head has its norm one index later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from physgan.errors import WeightsError
from physgan.networks import ResNetGenerator

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class ImportedGenerator:
    """What the importer made, and what it left out.

    Args:
        generator: in float32 and evaluation mode, on the CPU.
        dropped: keys of the state that have no place in it, in the state's order: running
            statistics, which our instance normalisation does not keep.
    """

    generator: ResNetGenerator
    dropped: tuple[str, ...]


def import_generator(
    source: str | os.PathLike[str] | Mapping[str, Tensor],
) -> ImportedGenerator:
    """Imports a generator of CycleGAN or of the paper's release.

    Width, blocks and channels are read off the shapes. The state does not say how its network
    padded; reflection, CycleGAN's default and the paper's choice, is taken. A dropout is left out,
    as it is at test time.

    Args:
        source: a state (`model.1.weight` …, with or without `module.` before each key), or a file
            of one, which is opened without running any code that it may hold.

    Returns:
        The generator and the keys that it does not take over.

    Raises:
        WeightsError: the file cannot be read; keys are missing or unknown, as in a network with
            batch normalisation; shapes do not fit; input and output channels differ.
    """
    state = source if isinstance(source, Mapping) else _read(Path(source))
    keys = {key.removeprefix("module."): key for key in state}
    tensors = {name: state[key] for name, key in keys.items()}
    if len(keys) < len(state) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise WeightsError(
            "the state to import",
            expected="tensors under different names",
            got=f"{_some(state)}",
        )

    indices = {
        int(found[1])
        for name in tensors
        if (found := re.fullmatch(r"model\.(\d+)\.conv_block\..*", name))
    }
    blocks = len(indices)
    ours = _names(blocks, tensors)
    norms = {_norm_of(theirs) for theirs in ours if theirs != f"model.{17 + blocks}"}
    dropped = [f"{norm}.{name}" for norm in norms for name in _STATISTICS]
    wanted = {
        f"{theirs}.{part}": f"{name}.{part}"
        for theirs, name in ours.items()
        for part in ("weight", "bias")
    }
    missing = [name for name in wanted if name not in tensors]
    unknown = [keys[name] for name in tensors if name not in wanted and name not in dropped]
    if missing or unknown:
        raise WeightsError(
            "the keys of the state to import",
            expected=f"those of a CycleGAN ResNet generator with {blocks} blocks and instance "
            "normalisation without parameters",
            got=" and ".join(
                [f"no {_some(missing)}"] * bool(missing)
                + [f"unknown {_some(unknown)}"] * bool(unknown)
            ),
            remedy="Other generators (batch normalisation, U-Net) are not imported.",
        )

    generator = _fitting(tensors, blocks)
    own = generator.state_dict()
    for theirs, name in wanted.items():
        if tensors[theirs].shape != own[name].shape:
            raise WeightsError(
                f"the shape of '{keys[theirs]}'",
                expected=str(tuple(own[name].shape)),
                got=str(tuple(tensors[theirs].shape)),
            )
    generator.load_state_dict({name: tensors[theirs] for theirs, name in wanted.items()})
    return ImportedGenerator(
        generator.eval(), tuple(keys[name] for name in tensors if name in dropped)
    )


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise WeightsError("the checkpoint", expected="a file", got=f"none at {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # On damaged files torch.load raises whatever it runs into, down to AssertionError.
        raise WeightsError(
            f"the checkpoint {path}",
            expected="a state of tensors alone, as torch.save writes it",
            got=f"{type(error).__name__}: {error}".partition("\n")[0],
            remedy="A whole pickled network is not opened, since it could run any code.",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise WeightsError(
            f"the checkpoint {path}",
            expected="a mapping of names to tensors",
            got=type(state).__name__,
        )
    return state


def _names(blocks: int, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Their convolutions to ours."""
    names = {"model.1": "stem.conv", "model.4": "down.0.conv", "model.7": "down.1.conv"}
    for block in range(blocks):
        theirs = f"model.{10 + block}.conv_block"
        dropout = f"{theirs}.6.weight" in tensors
        names[f"{theirs}.1"] = f"blocks.{block}.conv1"
        names[f"{theirs}.{6 if dropout else 5}"] = f"blocks.{block}.conv2"
    names[f"model.{10 + blocks}"] = "up.0.conv"
    names[f"model.{13 + blocks}"] = "up.1.conv"
    names[f"model.{17 + blocks}"] = "head"
    return names


def _norm_of(conv: str) -> str:
    """The norm behind a convolution, one index later."""
    before, _, index = conv.rpartition(".")
    return f"{before}.{int(index) + 1}"


def _fitting(tensors: Mapping[str, Tensor], blocks: int) -> ResNetGenerator:
    """A network of the width and channels of the state."""
    stem, head = tensors["model.1.weight"], tensors[f"model.{17 + blocks}.weight"]
    if stem.ndim != 4 or head.ndim != 4 or 0 in (*stem.shape, *head.shape):
        raise WeightsError(
            "the first and last weights of the state",
            expected="two weights of 7×7 convolutions",
            got=f"shapes {tuple(stem.shape)} and {tuple(head.shape)}",
        )
    if stem.shape[1] != head.shape[0]:
        raise WeightsError(
            "the channels of the network to import",
            expected="as many at its output as at its input",
            got=f"{stem.shape[1]} in, {head.shape[0]} out",
        )
    # Building draws weights that are thrown away; the caller's random numbers stay as they are.
    with torch.random.fork_rng(devices=[]):
        return ResNetGenerator(channels=stem.shape[1], width=stem.shape[0], blocks=blocks)


def _some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(f"'{name}'" for name in names[:6]) + more
