"""Theta's form on disk: one safetensors file, names joined by a dot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from physgan.errors import ThetaError
from physgan.files import write_bytes
from physgan.types import ChainTheta

_FORMAT = "physgan-theta-1"


def save_theta(path: Path, theta: ChainTheta) -> None:
    """Writes nested parameters; stage and parameter are joined by a dot: `blur.kernel`.

    Raises:
        ThetaError: the name of a stage has a dot, and could not be told from the parameter's; or
            the file cannot be written.
    """
    if dotted := [stage for stage in theta if "." in stage]:
        raise ThetaError(
            "theta to be written", expected="stages without a dot in their names", got=dotted[0]
        )
    # Clones, since safetensors refuses tensors that share memory, as slices of a batch do.
    flat = {
        f"{stage}.{name}": tensor.detach().clone(memory_format=torch.contiguous_format)
        for stage, part in theta.items()
        for name, tensor in part.items()
    }
    try:
        # The names of stages, since one without parameters is in no tensor's name. One entry
        # alone: safetensors writes several in any order, and equal parameters make equal files.
        write_bytes(path, save(flat, {_FORMAT: ".".join(theta)}))
    except (SafetensorError, OSError) as error:
        raise ThetaError(
            f"theta file '{path}'", expected="a file that can be written", got=str(error)
        ) from None


def load_theta(path: Path) -> dict[str, dict[str, Tensor]]:
    """Reads what `save_theta` wrote, stages without parameters too.

    Raises:
        ThetaError: no such file, or not one of parameters by stage.
    """
    try:
        flat = load_file(path)
        with safe_open(path, framework="pt") as file:
            stages = (file.metadata() or {}).get(_FORMAT, "").split(".")
    except (SafetensorError, OSError) as error:
        raise ThetaError(
            f"theta file '{path}'", expected="a readable safetensors file", got=str(error)
        ) from None
    theta: dict[str, dict[str, Tensor]] = {stage: {} for stage in stages if stage}
    for key, tensor in flat.items():
        stage, dot, name = key.partition(".")
        if not dot:
            raise ThetaError(
                f"theta file '{path}'", expected="names like 'blur.kernel'", got=repr(key)
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ThetaError(
                f"'{key}' in theta file '{path}'",
                expected="finite numbers",
                got="infinite ones, or NaN",
            )
        theta.setdefault(stage, {})[name] = tensor
    return theta


def theta_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The files of the parameters of pairs, by name: `NAME.safetensors` each.

    Raises:
        ThetaError: there is no such folder, or one is missing.
    """
    if not folder.is_dir():
        raise ThetaError(
            f"folder of theta '{folder}'",
            expected="a folder that exists",
            got="a file" if folder.exists() else "nothing of that name",
        )
    files = {name: folder / f"{name}.safetensors" for name in names}
    if missing := [path.name for path in files.values() if not path.is_file()]:
        raise ThetaError(
            f"folder '{folder}'",
            expected="NAME.safetensors for each pair",
            got=f"{len(missing)} missing, such as '{missing[0]}'",
            remedy=f"Did you mean '{inside}'?" if (inside := folder / "theta").is_dir() else "",
        )
    return files
