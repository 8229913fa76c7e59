"""MATLAB files of both kinds: same arrays, same order, slices alone, and faults named."""

import builtins
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from physgan.data.mat import mat_shapes, read_mat
from physgan.errors import ImageError, install

HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 1970 HDF5 schema"


def save_5(path: Path, variables: dict[str, Any]) -> None:
    scipy.io.savemat(path, variables, do_compression=True)


def save_73(path: Path, variables: dict[str, Any]) -> None:
    """As MATLAB does: a header of 512 bytes, dimensions reversed, classes as attributes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            array = np.atleast_2d(value)
            node = file.create_dataset(name, data=array.T)
            known = {"float64": "double", "float32": "single", "bool": "logical"}
            node.attrs["MATLAB_class"] = np.bytes_(known.get(str(array.dtype), str(array.dtype)))
    with path.open("r+b") as raw:
        raw.write(HEADER.ljust(124) + b"\0\2IM")


SAVERS = pytest.mark.parametrize("save", [save_5, save_73])
Save = Callable[[Path, dict[str, Any]], None]


@SAVERS
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "uint8", "int16", "uint16", "int32", "uint64"]
)
def test_arrays_come_back_in_matlabs_order(tmp_path: Path, save: Save, dtype: str) -> None:
    path = tmp_path / "a.mat"
    whole = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(dtype)
    save(path, {"whole": whole, "flat": whole[:, :, 0, 0]})
    assert mat_shapes(path) == {"whole": (2, 3, 4, 5), "flat": (2, 3)}
    array = read_mat(path, "whole")
    assert array.dtype == whole.dtype
    assert array.flags.c_contiguous
    assert np.array_equal(array, whole)
    assert np.array_equal(read_mat(path, "flat"), whole[:, :, 0, 0])
    for last in range(5):
        assert np.array_equal(read_mat(path, "whole", last=last), whole[..., last])


@SAVERS
def test_what_matlab_makes_of_rows_numbers_and_flags(tmp_path: Path, save: Save) -> None:
    path = tmp_path / "a.mat"
    save(path, {"row": np.arange(3.0), "number": 7.0, "flag": np.array([[True, False]])})
    assert mat_shapes(path) == {"row": (1, 3), "number": (1, 1), "flag": (1, 2)}
    assert read_mat(path, "row").tolist() == [[0, 1, 2]]
    assert read_mat(path, "number").tolist() == [[7]]
    assert read_mat(path, "flag").astype(int).tolist() == [[1, 0]]


def test_the_content_decides_what_a_file_is(tmp_path: Path) -> None:
    # Neither the suffix, nor a header of MATLAB's: HDF5 as others write it has none.
    with h5py.File(tmp_path / "a.bin", "w") as file:
        file["depths"] = np.arange(6).reshape(3, 2)
    assert read_mat(tmp_path / "a.bin", "depths").tolist() == [[0, 2, 4], [1, 3, 5]]


def test_big_endian_numbers_become_the_machines(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file.create_dataset("x", data=np.array([[1, 258]], dtype=">i4"))
    array = read_mat(tmp_path / "a.mat", "x")
    assert array.dtype.isnative
    assert array.tolist() == [[1], [258]]


def test_a_slice_of_73_reads_nothing_else(tmp_path: Path) -> None:
    """Of an array of 8 GB, chunk by chunk not even there on disk, one slice."""
    path = tmp_path / "large.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        images = file.create_dataset(
            "images", (40_000, 3, 320, 240), dtype="u1", chunks=(1, 3, 320, 240)
        )
        images[123] = 7
    assert path.stat().st_size < 2**21
    assert mat_shapes(path) == {"images": (240, 320, 3, 40_000)}
    picture = read_mat(path, "images", last=123)
    assert picture.shape == (240, 320, 3)
    assert (picture == 7).all()
    assert (read_mat(path, "images", last=39_999) == 0).all()


# ---------------------------------------------------------------- refused


@SAVERS
def test_a_missing_variable_is_told_with_those_that_are_there(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "a.mat", {"depths": np.ones((2, 3)), "images": np.ones((2, 3, 4))})
    with pytest.raises(
        ImageError, match=r"'depth'.*'depths' 2×3, 'images' 2×3×4.*Did you mean 'depths'\?"
    ):
        read_mat(tmp_path / "a.mat", "depth")


@SAVERS
@pytest.mark.parametrize("last", [-1, 4])
def test_no_such_slice(tmp_path: Path, save: Save, last: int) -> None:
    save(tmp_path / "a.mat", {"x": np.ones((2, 3, 4))})
    with pytest.raises(ImageError, match=rf"from 0 to 3 along the last dimension, got {last}"):
        read_mat(tmp_path / "a.mat", "x", last=last)


def test_no_numbers_in_version_5(tmp_path: Path) -> None:
    others = {
        "text": "words",
        "cells": np.array([np.ones(2), "b"], dtype=object),
        "struct": {"a": 1.0},
        "empty": np.zeros((0, 3)),
        "complex": np.array([[1j]]),
    }
    save_5(tmp_path / "a.mat", {**others, "x": np.ones((2, 2))})
    for name in others:
        with pytest.raises(ImageError, match="numbers"):
            read_mat(tmp_path / "a.mat", name)


def test_no_numbers_in_73(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = np.ones((2, 2))
        file.create_group("struct").attrs["MATLAB_class"] = np.bytes_("struct")
        file.create_group("#refs#")["a"] = np.ones(3)
        file.create_group("sparse")
        file["text"] = np.array([[72], [105]], dtype="u2")
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
        file["cells"] = np.array([file["#refs#/a"].ref], dtype=h5py.ref_dtype)
        file["cells"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["empty"] = np.array([0, 3], dtype="u8")
        file["empty"].attrs["MATLAB_class"] = np.bytes_("double")
        file["empty"].attrs["MATLAB_empty"] = np.uint8(1)
        file["complex"] = np.zeros((2, 2), dtype=[("real", "f8"), ("imag", "f8")])
        file["complex"].attrs["MATLAB_class"] = np.bytes_("double")
    assert "#refs#" not in mat_shapes(path)
    assert "struct" not in mat_shapes(path)
    for name in ("struct", "sparse", "text", "cells", "empty", "complex"):
        with pytest.raises(ImageError, match="numbers"):
            read_mat(path, name)
    assert (read_mat(path, "x") == 1).all()


@SAVERS
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_short(tmp_path: Path, save: Save, share: float) -> None:
    path = tmp_path / "a.mat"
    save(path, {"x": np.random.default_rng(0).random((64, 64))})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ImageError, match=r"MATLAB file .*a\.mat': expected a whole MATLAB file"):
        read_mat(path, "x")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "an empty file"), (b"x" * 300, "a file of another kind.*save"), (b"\x89PNG", "another")],
)
def test_no_matlab_file(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ImageError, match=words):
        mat_shapes(tmp_path / "a.mat")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nothing of that name"):
        mat_shapes(tmp_path / "a.mat")
    with pytest.raises(ImageError, match="a folder"):
        mat_shapes(tmp_path)
    os.mkfifo(tmp_path / "pipe.mat")  # opening it would never end
    with pytest.raises(ImageError, match="a pipe"):
        mat_shapes(tmp_path / "pipe.mat")


@pytest.mark.parametrize(("save", "library"), [(save_5, "scipy"), (save_73, "h5py")])
def test_without_its_library_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Save, library: str
) -> None:
    save(tmp_path / "a.mat", {"x": np.ones((2, 2))})
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(f"No module named '{library}'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImageError, match=rf"{library}, which .*{re.escape(install('data'))}"):
        mat_shapes(tmp_path / "a.mat")
