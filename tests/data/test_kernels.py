"""Measured kernels read from files of every kind, and what is refused."""

from __future__ import annotations

import builtins
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torch import Generator

from physgan.data.kernels import measured_kernels, read_kernels
from physgan.data.synthesis import synthesise
from physgan.errors import ImageError, RecipeError, install
from physgan.physics.blur import check_kernel
from physgan.physics.kernels import centred_kernel
from physgan.recipes.build import SAMPLERS, build, build_degradation
from physgan.recipes.schema import Component, Physics
from tests.data.files import DATA
from tests.data.test_mat import save_73

REAL = DATA / "levin09"


def curve(rows: int = 6, columns: int = 9, seed: int = 0) -> np.ndarray:
    """Whole numbers up to 255, most of them 0."""
    drawn = np.random.default_rng(seed).integers(-300, 256, (rows, columns))
    return np.clip(drawn, 0, 255)


def as_kernel(array: np.ndarray) -> torch.Tensor:
    return centred_kernel(torch.from_numpy(np.asarray(array, dtype=np.float64)))


def test_png(tmp_path: Path) -> None:
    array = curve()
    Image.fromarray(array.astype(np.uint8)).save(tmp_path / "grey.png")
    grey = Image.fromarray(array.astype(np.uint8))
    Image.merge("RGB", [grey] * 3).save(tmp_path / "same.png")
    grey.putalpha(255)
    grey.save(tmp_path / "opaque.png")
    for name in ("grey.png", "same.png", "opaque.png"):
        torch.testing.assert_close(read_kernels(tmp_path / name), as_kernel(array)[None])


def test_png_of_16_bits(tmp_path: Path) -> None:
    array = curve() * 257 + np.arange(9) * (curve() > 0)
    Image.fromarray(array.clip(0, 65535).astype(np.uint16)).save(tmp_path / "fine.png")
    kernel = read_kernels(tmp_path / "fine.png")
    torch.testing.assert_close(kernel[0], as_kernel(array.clip(0, 65535)), rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8, np.int32, ">f8"])
def test_npy(tmp_path: Path, dtype: Any) -> None:
    arrays = np.stack([curve(seed=seed) for seed in range(3)]).astype(dtype)
    np.save(tmp_path / "three.npy", arrays)
    np.save(tmp_path / "one.npy", np.asfortranarray(arrays[1]))
    three = read_kernels(tmp_path / "three.npy")
    assert three.shape[0] == 3
    assert three.dtype == torch.float32
    for kernel, array in zip(three, arrays, strict=True):
        wanted = as_kernel(array)
        rest = [(big - small) // 2 for big, small in zip(kernel.shape, wanted.shape, strict=True)]
        inner = kernel[rest[0] : rest[0] + wanted.shape[0], rest[1] : rest[1] + wanted.shape[1]]
        assert torch.equal(inner, wanted)
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    assert torch.equal(read_kernels(tmp_path / "one.npy"), as_kernel(arrays[1])[None])


@pytest.mark.parametrize(
    ("variables", "which"),
    [
        ({"f": curve(), "x": np.ones((9, 9)), "y": np.ones((9, 9))}, "f"),
        ({"k": curve(), "other": np.ones((9, 9))}, "k"),
        ({"kernel": curve(), "f": 2.8}, "kernel"),  # a number is no kernel
        ({"kernel": curve(1, 9) + 1, "other": np.ones((9, 9))}, "kernel"),  # a row is, by its name
        ({"psf": curve() / 255, "count": 3.0, "row": np.ones(5), "name": "some"}, "psf"),
        ({"psf": curve() / 255, "labels": np.ones((4, 4), np.int32)}, "psf"),
    ],
)
def test_mat(tmp_path: Path, variables: dict[str, Any], which: str) -> None:
    scipy.io.savemat(tmp_path / "one.mat", variables)
    wanted = as_kernel(variables[which])[None]
    torch.testing.assert_close(read_kernels(tmp_path / "one.mat"), wanted)


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({"a": np.ones((3, 3)), "b": np.ones((4, 4))}, ["f, k or kernel", "'a' 3×3", "'b' 4×4"]),
        ({"row": np.ones(5)}, ["'row' 1×5"]),
        ({"stack": np.ones((3, 3, 3))}, ["'stack' 3×3×3"]),
        ({"whole": np.ones((3, 3), np.uint8)}, ["only one of floating point", "'whole'"]),
        ({"k": 1j * np.ones((3, 3))}, ["real numbers", "complex128"]),
        ({"k": np.array([["a", "b"]], dtype=object)}, ["no arrays of numbers"]),
    ],
)
def test_other_variables_are_refused(
    tmp_path: Path, variables: dict[str, Any], parts: list[str]
) -> None:
    scipy.io.savemat(tmp_path / "wrong.mat", variables)
    with pytest.raises(ImageError) as raised:
        read_kernels(tmp_path / "wrong.mat")
    for part in ["wrong.mat", *parts]:
        assert part in str(raised.value)


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    np.save(tmp_path / "b.npy", np.stack([curve(3, 3, 1), curve(3, 3, 2)]))
    scipy.io.savemat(tmp_path / "a.MAT", {"f": curve(12, 5, 3)})
    Image.fromarray(curve(5, 20, 4).astype(np.uint8)).save(tmp_path / "more" / "c.png")
    (tmp_path / "notes.txt").write_text("no kernel", encoding="utf-8")
    (tmp_path / ".hidden.npy").write_text("no kernel", encoding="utf-8")
    kernels = read_kernels(tmp_path)
    check_kernel(kernels)
    assert len(kernels) == 4
    assert kernels.shape[1] % 2 == kernels.shape[2] % 2 == 1
    lit = [curve(12, 5, 3), curve(3, 3, 1), curve(3, 3, 2), curve(5, 20, 4)]
    for kernel, array in zip(kernels, lit, strict=True):
        wanted = torch.from_numpy(array[array > 0] / array.sum()).float()
        torch.testing.assert_close(kernel[kernel > 0], wanted)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((3, 3)), "not all of them 0, got a sum of 0"),
        (np.array([[1.0, -0.1]]), "below 0 has to become 0"),
        (np.array([[1.0, np.nan]]), "finite values"),
        (np.ones(5), "k×l or n×k×l, got shape"),
        (np.ones((1, 1, 2, 2)), "k×l or n×k×l, got shape"),
        (np.ones((0, 3)), "k×l or n×k×l, got shape"),
        (np.array([["a"]]), "real numbers"),
        (np.ones((2, 2)) * 1j, "real numbers, got values of type complex128"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, text: str) -> None:
    np.save(tmp_path / "wrong.npy", array)
    with pytest.raises(ImageError, match=r"wrong\.npy") as raised:
        read_kernels(tmp_path / "wrong.npy")
    assert text in str(raised.value)


def test_objects_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "wrong.npy", np.array([[print]], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"a whole \.npy file of numbers"):
        read_kernels(tmp_path / "wrong.npy")


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((3, 3, 3), np.uint8)
    colours[0, 0] = (9, 8, 9)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    with pytest.raises(ImageError, match=r"a picture in grey, got colours"):
        read_kernels(tmp_path / "colours.png")
    glass = Image.fromarray(curve().astype(np.uint8))
    glass.putalpha(100)
    glass.save(tmp_path / "glass.png")
    with pytest.raises(ImageError, match="without transparency"):
        read_kernels(tmp_path / "glass.png")


@pytest.mark.parametrize("suffix", [".png", ".npy", ".mat"])
@pytest.mark.parametrize("content", [b"", b"something else altogether" * 20])
def test_other_files_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"wrong{suffix}"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"wrong\{suffix}"):
        read_kernels(path)


def test_cut_files_are_refused(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "whole.mat", {"f": np.random.default_rng(0).random((40, 40))})
    np.save(tmp_path / "whole.npy", curve())
    for whole in list(tmp_path.iterdir()):
        cut = tmp_path / f"cut{whole.suffix}"
        cut.write_bytes(whole.read_bytes()[:300])
        with pytest.raises(ImageError, match=r"cut\."):
            read_kernels(cut)


def test_mat_of_version_7_3(tmp_path: Path) -> None:
    save_73(tmp_path / "new.mat", {"x": np.ones((9, 9)), "f": curve().astype(np.float64)})
    assert torch.equal(read_kernels(tmp_path / "new.mat"), as_kernel(curve())[None])


def test_other_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a file or a folder, got nothing of that name"):
        read_kernels(tmp_path / "nothing.npy")
    with pytest.raises(ImageError, match=r"files ending in \.mat, \.npy, \.png, got none"):
        read_kernels(tmp_path)
    (tmp_path / "kernel.jpg").touch()
    with pytest.raises(ImageError, match=r"one of \.mat, \.npy, \.png, got kernel\.jpg"):
        read_kernels(tmp_path / "kernel.jpg")
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(ImageError, match="got a pipe or a device"):
        read_kernels(tmp_path / "pipe.npy")


def test_without_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scipy.io.savemat(tmp_path / "one.mat", {"f": curve()})
    load = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "scipy":
            raise ImportError(f"No module named '{name}'")
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImageError, match=rf"scipy.*{re.escape(install('data'))}"):
        read_kernels(tmp_path / "one.mat")
    np.save(tmp_path / "one.npy", curve())
    assert len(read_kernels(tmp_path / "one.npy")) == 1


# ---------------------------------------------------------------- in a recipe


def test_recipes_draw_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "kernels.npy", np.stack([curve(5, 7, seed) for seed in range(4)]))
    arguments = {"path": str(tmp_path), "turns": True}
    stage = {"operator": "blur", "sampler": {"name": "measured", "arguments": arguments}}
    degradation = build_degradation(Physics.model_validate({"stages": {"blur": stage}}))
    clear = (torch.rand(3, 3, 40, 40, generator=Generator().manual_seed(0)) * 255).byte()
    batch = synthesise(clear, degradation, generator=Generator().manual_seed(1))
    check_kernel(batch.theta["blur"]["kernel"])
    assert batch.theta["blur"]["kernel"].shape[0] == 3
    assert (batch.y - batch.x).abs().mean() > 0.05
    assert measured_kernels(tmp_path).kernels.shape[0] == 4
    assert measured_kernels(tmp_path, turns=True).kernels.shape[0] == 32


def test_recipes_are_told_what_is_wrong_with_files(tmp_path: Path) -> None:
    spec = Component(name="measured", arguments={"path": str(tmp_path / "nothing")})
    with pytest.raises(RecipeError, match=r"'measured'.*nothing.*a file or a folder"):
        build(spec, SAMPLERS, kind="sampler")


def test_kernels_of_real_cameras() -> None:
    if not REAL.is_dir():
        pytest.skip(f"no measured kernels in {REAL}")
    kernels = read_kernels(REAL)
    check_kernel(kernels)
    # 16 files, eight kernels each beside two pictures; `x` and `y` are no kernels.
    assert len(kernels) == 16
    assert max(kernels.shape[1:]) < 35
    assert len({tuple(kernel.flatten().tolist()) for kernel in kernels}) == 8
