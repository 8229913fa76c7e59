"""Variables of MATLAB files: version 5 through scipy, 7.3 (HDF5) through h5py.

Which of the two a file is, its content says and not its name. Arrays have MATLAB's dimensions in
MATLAB's order, which HDF5 files hold reversed. Both libraries are loaded late: only reading such a
file needs them (the extra `data`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from physgan.errors import ImageError, install, nearest

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")

_EXPECTED: Final = "a whole MATLAB file of version 5 or 7.3"

# An HDF5 file begins at byte 0, or at 512, 1024, ... behind a block of the user's: MATLAB's header.
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_HDF5_STARTS: Final = (0, 512, 1024, 2048)

# Bytes 126 and 127 of version 5, which tell the order of bytes.
_VERSION_5: Final = (b"IM", b"MI")

_NUMBERS: Final = frozenset(
    {
        *("double", "single", "logical"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    }
)
"""MATLAB's names of classes that are arrays of numbers."""


def mat_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The variables of a MATLAB file that are arrays of numbers, by name, with MATLAB's shapes.

    No array is read.

    Raises:
        ImageError: there is no such file, it is no MATLAB file of version 5 or 7.3, is damaged, or
            scipy or h5py is not installed.
    """
    return {
        name: shape
        for name, (kind, shape) in _variables(path).items()
        if kind in _NUMBERS and shape
    }


def read_mat(path: Path, name: str, *, last: int | None = None) -> npt.NDArray[Any]:
    """One variable of a MATLAB file.

    Args:
        path: the file.
        name: of the variable.
        last: place along MATLAB's last dimension, counted from 0, of the one slice to give, with
            that dimension left out. Of a 7.3 file nothing else is read, so that files larger than
            the memory can be gone through; of version 5 all of the variable is.

    Returns:
        The numbers in the file's type, in MATLAB's order: `images(:, :, :, 3)` of MATLAB is
        `read_mat(path, "images", last=2)`. There is no array of less than two dimensions.

    Raises:
        ImageError: as `mat_shapes`; or there is no such variable, it is no real array of numbers,
            or has no such slice.
    """
    variables = _variables(path)
    if name not in variables:
        known = ", ".join(f"'{n}' {_size(shape)}" for n, (_, shape) in variables.items())
        raise _unfit(
            path,
            f"a variable '{name}'",
            known or "a file without variables",
            nearest(name, variables) if variables else "",
        )
    kind, shape = variables[name]
    if kind not in _NUMBERS or not all(shape):
        got = f"'{name}' of class {kind}, {_size(shape)}"
        raise _unfit(path, "an array of numbers that is not empty", got)
    if last is not None and not 0 <= last < shape[-1]:
        raise _unfit(path, f"a place from 0 to {shape[-1] - 1} along the last dimension", str(last))

    def hdf5(file: Any) -> npt.NDArray[Any]:
        # The last dimension of MATLAB is the first in the file.
        return np.asarray(file[name][() if last is None else last]).T

    def version_5(scipy_io: Any) -> npt.NDArray[Any]:
        whole = scipy_io.loadmat(path, variable_names=[name])[name]
        return np.asarray(whole if last is None else whole[..., last])

    array = _read(path, hdf5=hdf5, version_5=version_5)
    if array.dtype.kind not in "buif":  # complex numbers
        raise _unfit(path, "real numbers", f"'{name}' of type {array.dtype}")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _variables(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """MATLAB's class and shape of every variable in a file."""

    def hdf5(file: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for name, node in file.items():
            if name.startswith("#"):  # what cells and objects refer to
                continue
            # Of what others than MATLAB wrote, the type says enough.
            kind = node.attrs.get("MATLAB_class", b"double")
            kind = kind.decode() if isinstance(kind, bytes) else str(kind)
            if not hasattr(node, "shape"):
                found[name] = (kind if "MATLAB_class" in node.attrs else "struct", ())
            elif node.attrs.get("MATLAB_empty", 0):
                found[name] = (kind, tuple(int(n) for n in node[()]))  # it holds its shape
            else:
                shape = tuple(reversed(node.shape))
                found[name] = (kind if node.dtype.kind in "buifcV" else "cell", shape)
        return found

    def version_5(scipy_io: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {name: (kind, shape) for name, shape, kind in scipy_io.whosmat(path)}

    return _read(path, hdf5=hdf5, version_5=version_5)


def _read(path: Path, *, hdf5: Callable[[Any], T], version_5: Callable[[Any], T]) -> T:
    """What the reader of the file's version makes of it: of the open file, or with `scipy.io`."""
    is_hdf5 = _is_hdf5(path)
    try:
        if is_hdf5:
            import h5py
        else:
            import scipy.io
    except ImportError as error:
        raise _unfit(
            path,
            f"{'h5py' if is_hdf5 else 'scipy'}, which reads such files, to be installed",
            str(error),
            install("data"),
        ) from None
    try:
        if is_hdf5:
            with h5py.File(path, "r") as file:
                return hdf5(file)
        return version_5(scipy.io)
    except Exception as error:  # of a damaged file they raise what comes up
        got = " ".join(f"{type(error).__name__}: {error}".split())
        raise _unfit(path, _EXPECTED, f"one that cannot be read ({got})") from None


def _is_hdf5(path: Path) -> bool:
    """Whether a MATLAB file is of version 7.3, and not of 5.

    Raises:
        ImageError: neither.
    """
    if not path.is_file():  # opening a pipe would wait for who writes to it
        got = "nothing of that name" if not path.exists() else "a folder, a pipe or a device"
        raise _unfit(path, _EXPECTED, got)
    try:
        with path.open("rb") as file:
            head = file.read(_HDF5_STARTS[-1] + len(_HDF5))
    except OSError as error:
        raise _unfit(path, _EXPECTED, error.strerror or str(error)) from None
    if any(head.startswith(_HDF5, start) for start in _HDF5_STARTS):
        return True
    if head[126:128] in _VERSION_5:
        return False
    raise _unfit(
        path,
        _EXPECTED,
        "a file of another kind" if head else "an empty file",
        "In MATLAB, save(NAME, '-v7') writes version 5.",
    )


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "structure"


def _unfit(path: Path, expected: str, got: str, remedy: str = "") -> ImageError:
    return ImageError(f"MATLAB file '{path}'", expected=expected, got=got, remedy=remedy)
