"""Pictures with depth: NYU's one large file, Make3D's two folders, and any two folders."""

import functools
import unicodedata
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from physgan.data.depth import depth_map
from physgan.data.pictures import hold_out
from physgan.data.scenes import NYU, depth_beside, depth_files, make3d
from physgan.errors import ImageError
from tests.data.files import DATA, near, save
from tests.data.test_mat import save_73

MIDDLEBURY = DATA / "middlebury"


# ---------------------------------------------------------------- NYU


def write_nyu(path: Path, n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 16, 3, n), dtype=np.uint8)
    depths = rng.uniform(0.7, 10, (12, 16, n)).astype(np.float32)
    labels = np.zeros((12, 16, n), dtype=np.uint16)
    save_73(path, {"images": images, "depths": depths, "labels": labels})
    return torch.from_numpy(images), torch.from_numpy(depths)


def test_nyu(tmp_path: Path) -> None:
    images, depths = write_nyu(tmp_path / "nyu.mat")
    with h5py.File(tmp_path / "nyu.mat") as file:  # as the set has it
        assert file["images"].shape == (5, 3, 16, 12)
        assert file["depths"].shape == (5, 16, 12)
    scenes = NYU(tmp_path / "nyu.mat")
    assert len(scenes) == 5
    for index in range(5):
        picture = scenes.read(index)
        assert torch.equal(picture, images[..., index].permute(2, 0, 1))
        assert picture.is_contiguous()
        assert scenes.origin(index) == index
        assert torch.equal(scenes.depth(index), depth_map(depths[..., index]))
        assert scenes.depth(index, (24, 32)).shape == (1, 24, 32)
    kept, held = hold_out(scenes, 2, seed=0)
    assert (len(kept), len(held)) == (3, 2)
    write_nyu(tmp_path / "other.mat", 4)
    assert NYU(tmp_path / "other.mat").identity() != scenes.identity()


def test_nyu_says_what_is_wrong(tmp_path: Path) -> None:
    write_nyu(tmp_path / "nyu.mat")
    with pytest.raises(ImageError, match="pictures of 3 channels, got 1"):
        NYU(tmp_path / "nyu.mat", channels=1)
    save_73(tmp_path / "a.mat", {"images": np.ones((4, 5, 3, 2)), "depths": np.ones((4, 5, 3))})
    with pytest.raises(ImageError, match=r"depths H×W×N, got .*images 4×5×3×2"):
        NYU(tmp_path / "a.mat")
    save_73(tmp_path / "a.mat", {"images": np.ones((4, 5, 3, 2)), "depths": np.zeros((4, 5, 2))})
    with pytest.raises(ImageError, match=r"images of .* uint8, got torch\.float64"):
        NYU(tmp_path / "a.mat").read(0)
    with pytest.raises(ImageError, match=r"depth 1 of .*measured.*none"):
        NYU(tmp_path / "a.mat").depth(1)
    with pytest.raises(ImageError, match="nothing of that name"):
        NYU(tmp_path / "gone.mat")


# ---------------------------------------------------------------- Make3D


@pytest.mark.parametrize(
    ("split", "images", "maps"),
    [
        ("train", "Train400Img", "Train400Depth"),
        ("test", "Test134", "Gridlaserdata"),
        ("test", "Test134Img", "Test134Depth"),
    ],
)
def test_make3d(tmp_path: Path, split: str, images: str, maps: str) -> None:
    rng = np.random.default_rng(0)
    written = {}
    (tmp_path / maps).mkdir()
    for i, name in enumerate(("10.21op2-p-015t000", "combined1-p-077t000")):
        grid = rng.uniform(1, 81, (55, 305, 4))
        written[name] = save(tmp_path / images / f"img-{name}.jpg", 114, 86, seed=i), grid[..., 3]
        scipy.io.savemat(tmp_path / maps / f"depth_sph_corr-{name}.mat", {"Position3DGrid": grid})
    scenes = make3d(tmp_path, split=split)  # type: ignore[arg-type]
    assert len(scenes) == 2
    for index, (picture, depth) in enumerate(written.values()):
        assert near(scenes.read(index), picture)
        assert torch.equal(scenes.depth(index), depth_map(torch.from_numpy(depth)))
        fitted = scenes.depth(index, (114, 86))
        assert torch.equal(fitted, depth_map(torch.from_numpy(depth), size=(114, 86)))


def test_make3d_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"Make3D in .*Train400Img/, got an empty folder"):
        make3d(tmp_path)
    with pytest.raises(ImageError, match="train or test, got 'val'"):
        make3d(tmp_path, split="val")  # type: ignore[arg-type]
    save(tmp_path / "Train400Img" / "img-a.jpg")
    (tmp_path / "Train400Depth").mkdir()
    with pytest.raises(ImageError, match=r"files depth_sph_corr-NAME\.mat"):
        make3d(tmp_path)
    for name in ("a", "b"):
        path = tmp_path / "Train400Depth" / f"depth_sph_corr-{name}.mat"
        scipy.io.savemat(path, {"Position3DGrid": np.ones((5, 6))})
    with pytest.raises(ImageError, match=r"1 without img-NAME\.jpg, such as 'b'"):
        make3d(tmp_path)
    path.unlink()
    with pytest.raises(ImageError, match="H×W×4 numbers, got shape"):
        make3d(tmp_path).depth(0)


# ---------------------------------------------------------------- two folders


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_depth_files(tmp_path: Path, suffix: str) -> None:
    values = {}
    (tmp_path / "maps").mkdir()
    for i, stem in enumerate("ba"):
        save(tmp_path / "rgb" / f"{stem}.png", 20, 30, seed=i)
        values[stem] = np.random.default_rng(i).integers(1, 256, (18, 26), dtype=np.uint8)
        path = tmp_path / "maps" / f"{stem}{suffix}"
        if suffix == ".npy":
            np.save(path, values[stem])
        else:
            Image.fromarray(values[stem]).save(path)
    opened = functools.partial(depth_files, tmp_path / "rgb", tmp_path / "maps")
    scenes = opened(kind="disparity", placed="centred", invalid=7, channels=1)
    assert len(scenes) == 2
    assert scenes.read(0).shape == (1, 20, 30)
    wanted = depth_map(
        torch.from_numpy(values["a"]),
        size=(20, 30),
        kind="disparity",
        placed="centred",
        invalid=7,
    )
    assert torch.equal(scenes.depth(0, (20, 30)), wanted)
    (tmp_path / "maps" / f"a{suffix}").unlink()
    with pytest.raises(ImageError, match="1 without a depth map, such as 'a'"):
        opened()
    with pytest.raises(ImageError, match=r"folder of depth maps .*nothing of that name"):
        depth_files(tmp_path / "rgb", tmp_path / "gone")


def two_folders(folder: Path, *maps: str) -> Path:
    """A picture `a.png` and maps of some names."""
    save(folder / "rgb" / "a.png", 20, 30)
    for name in maps:
        path = folder / "maps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, np.random.default_rng(0).random((20, 30)))
        else:
            save(path, 20, 30, channels=1)
    return folder


def test_what_a_set_is_tells_of_its_maps(tmp_path: Path) -> None:
    def identity(folder: Path, **how: Any) -> str:
        return depth_files(folder / "rgb", folder / "maps", **how).identity()

    one = two_folders(tmp_path / "one", "a.npy")
    told = identity(one)
    assert identity(two_folders(tmp_path / "moved" / "further", "a.npy")) == told
    others = [
        identity(two_folders(tmp_path / "png", "a.png")),
        identity(one, kind="disparity"),
        identity(one, placed="centred"),
        identity(one, invalid=3.0),
        identity(one, variable="x"),
    ]
    assert len({told, *others}) == 6


@pytest.mark.parametrize("beside", [False, True])
def test_maps_of_every_ending_are_found_and_hidden_ones_are_not(
    tmp_path: Path, beside: bool
) -> None:
    def read(folder: Path) -> torch.Tensor:
        if beside:
            return depth_beside(folder / "maps")(folder / "rgb" / "a.png", (20, 30))
        return depth_files(folder / "rgb", folder / "maps").depth(0, (20, 30))

    hidden = two_folders(tmp_path / "hidden", "a.png", ".a.npy", ".trash/a.npy", "._a.png")
    assert read(hidden).shape == (1, 20, 30)
    both = two_folders(tmp_path / "both", "a.npy", "deep/a.npy")
    with pytest.raises(ImageError, match=r"one file of each name and part, got 'a\.npy' and"):
        read(both)
    mixed = two_folders(tmp_path / "mixed", "a.png", "b.npy")
    save(mixed / "rgb" / "b.png", 20, 30)
    assert read(mixed).shape == (1, 20, 30)
    two_folders(tmp_path / "none", ".a.npy")
    with pytest.raises(ImageError, match=r"files ending in .*\.mat, \.npy.*got none"):
        read(tmp_path / "none")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_maps_are_found_however_names_are_spelt(
    tmp_path: Path, forms: tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]]
) -> None:
    of_picture, of_map = (unicodedata.normalize(form, "größe") for form in forms)
    two_folders(tmp_path, f"{of_map}.npy")
    path = (tmp_path / "rgb" / "a.png").rename(tmp_path / "rgb" / f"{of_picture}.png")
    assert len(depth_files(tmp_path / "rgb", tmp_path / "maps")) == 1
    assert depth_beside(tmp_path / "maps")(path, (20, 30)).shape == (1, 20, 30)


@pytest.mark.skipif(not MIDDLEBURY.is_dir(), reason=f"no stereo scenes in {MIDDLEBURY}")
def test_middlebury() -> None:
    scenes = depth_files(
        MIDDLEBURY / "rgb", MIDDLEBURY / "disparity", kind="disparity", placed="centred"
    )
    for index in range(3):
        picture = scenes.read(index)
        h, w = picture.shape[-2:]
        assert scenes.depth(index, (h, w)).shape == (1, h, w)


def test_opening_reads_nothing(tmp_path: Path) -> None:
    for name in ("rgb/a.png", "maps/a.png", "Train400Img/img-a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no picture", encoding="utf-8")
    (tmp_path / "Train400Depth").mkdir()
    (tmp_path / "Train400Depth" / "depth_sph_corr-a.mat").write_text("no", encoding="utf-8")
    for scenes in (depth_files(tmp_path / "rgb", tmp_path / "maps"), make3d(tmp_path)):
        assert len(scenes) == 1
        with pytest.raises(ImageError, match="not a picture"):
            scenes.read(0)
        with pytest.raises(ImageError, match=r"not a picture|another kind"):
            scenes.depth(0)


def test_an_array_counts_before_its_preview(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    values = {stem: np.random.default_rng(i).random((6, 8)) + 0.1 for i, stem in enumerate("ab")}
    for stem, depth in values.items():
        save(tmp_path / "rgb" / f"{stem}.png", 6, 8, seed=0)
        np.save(tmp_path / "maps" / f"{stem}.npy", depth)
        save(tmp_path / "maps" / f"{stem}.png", 6, 8, seed=1)
    scenes = depth_files(tmp_path / "rgb", tmp_path / "maps")
    for index, stem in enumerate("ab"):
        wanted = depth_map(torch.from_numpy(values[stem]), size=(6, 8))
        assert torch.equal(scenes.depth(index, (6, 8)), wanted)
