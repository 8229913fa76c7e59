"""Kernels from files: pictures (PNG), NumPy arrays (.npy) and MATLAB files (.mat)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from physgan.data.mat import mat_shapes, read_mat
from physgan.errors import ImageError, PhysganError
from physgan.images.picture import read_picture
from physgan.images.read import list_files
from physgan.physics.kernels import DrawnKernels, centred_kernel, pad_kernels

VARIABLES: Final = ("f", "k", "kernel")
"""Names that a kernel has in a MATLAB file, in the order in which they are looked for."""


def measured_kernels(path: Path, turns: bool = False) -> DrawnKernels:
    """A sampler that draws from the kernels of a file or a folder.

    Args:
        path: a PNG file of one kernel in grey, a .npy or .mat file, or a folder of such (see
            `read_kernels`); relative ones count from the current folder.
        turns: whether to draw mirrored and quarter-turned kernels too.

    Raises:
        ImageError: as `read_kernels`.
    """
    return DrawnKernels(read_kernels(path), turns=turns)


def read_kernels(path: Path) -> Tensor:
    """The kernels of a file, or of all files in a folder and below in the order of their names.

    A PNG file holds one kernel in grey, its encoded values in proportion to the light; a .npy file
    one, k×l, or several, n×k×l; a .mat file one, k×l: a variable called `f`, `k` or `kernel`, or
    else the only one that is a two-dimensional array of floating point numbers.

    Every kernel is divided by its sum and centred on the centroid of its light; sides may be even
    (see `centred_kernel`). All are padded to one odd size. They are taken as kernels of a
    convolution: what was measured for a correlation (as Levin et al. 2009 did) comes out turned by
    half a turn, which does not matter where kernels are only drawn from.

    Returns:
        n×k×l, float32, k and l odd, each summing to one.

    Raises:
        ImageError: there is no such file or none of these kinds in the folder, a file cannot be
            read or is of another kind, does not hold a kernel, or holds one with values below 0,
            not finite, or nothing else than 0; a library that reads it is missing.
    """
    kernels: list[Tensor] = []
    for file in _files(path):
        for measured in _READERS[file.suffix.lower()](file):
            try:
                kernels.append(centred_kernel(measured))
            except PhysganError as error:
                raise ImageError(
                    f"kernel in '{file}'",
                    expected=error.expected,
                    got=error.got,
                    remedy=error.remedy,
                ) from None
    return pad_kernels(kernels)


def _files(path: Path) -> list[Path]:
    kinds = ", ".join(sorted(_READERS))
    if not path.is_dir():
        if not path.is_file():
            got = "nothing of that name" if not path.exists() else "a pipe or a device"
            raise ImageError(f"kernels in '{path}'", expected="a file or a folder", got=got)
        if path.suffix.lower() not in _READERS:
            raise ImageError(f"kernel file '{path}'", expected=f"one of {kinds}", got=path.name)
        return [path]
    found = list_files(path, _READERS)
    if not found:
        raise ImageError(
            f"kernels in '{path}'", expected=f"files ending in {kinds}", got="none of them"
        )
    return found


def _png(path: Path) -> list[Tensor]:
    page = read_picture(path).pages[0]
    colour = page.colour
    # Tools often save grey as three equal channels.
    if not torch.equal(colour, colour[:1].expand_as(colour)):
        raise ImageError(f"kernel file '{path}'", expected="a picture in grey", got="colours")
    if page.alpha is not None and (page.alpha < 1).any():
        raise ImageError(
            f"kernel file '{path}'", expected="a picture without transparency", got="some"
        )
    return [colour[0]]


def _npy(path: Path) -> list[Tensor]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(
            f"kernel file '{path}'", expected="a whole .npy file of numbers", got=str(error)
        ) from None
    if array.ndim not in (2, 3) or array.size == 0:
        raise ImageError(
            f"kernel file '{path}'", expected="k×l or n×k×l", got=f"shape {array.shape}"
        )
    return list(_tensor(path, array.reshape(-1, *array.shape[-2:])))


def _mat(path: Path) -> list[Tensor]:
    shapes = mat_shapes(path)
    # In MATLAB single numbers and rows of them have two dimensions too.
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    named = [name for name in VARIABLES if max(matrices.get(name, (0,))) > 1]
    if named:
        return [_tensor(path, read_mat(path, named[0]))]
    arrays = [read_mat(path, name) for name, shape in matrices.items() if min(shape) > 1]
    floating = [array for array in arrays if array.dtype.kind == "f"]
    if len(floating) != 1:
        raise ImageError(
            f"kernel file '{path}'",
            expected=f"a matrix called {', '.join(VARIABLES[:-1])} or {VARIABLES[-1]}, "
            "or only one of floating point numbers",
            got=", ".join(f"'{k}' {'×'.join(map(str, v))}" for k, v in shapes.items())
            or "no arrays of numbers",
        )
    return [_tensor(path, floating[0])]


def _tensor(path: Path, array: Any) -> Tensor:
    if array.dtype.kind not in "buif":
        raise ImageError(
            f"kernel file '{path}'", expected="real numbers", got=f"values of type {array.dtype}"
        )
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


_READERS: Mapping[str, Callable[[Path], list[Tensor]]] = MappingProxyType(
    {".mat": _mat, ".npy": _npy, ".png": _png}
)
