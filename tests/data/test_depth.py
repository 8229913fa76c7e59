"""Depth from files: every format, holes, sizes, and what stays in proportion."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse.linalg import spsolve
from skimage.transform import resize
from torch import Generator, Tensor

from physgan.data.depth import depth_map, filled, picture_numbers, read_depth
from physgan.errors import ImageError, ShapeError, UsageError
from physgan.images.read import read_8bit
from tests.data.files import DATA
from tests.data.test_mat import save_73

MIDDLEBURY = DATA / "middlebury"


def numbers(h: int, w: int, *, low: int = 1, high: int = 256, seed: int = 0) -> Tensor:
    generator = Generator().manual_seed(seed)
    return torch.randint(low, high, (h, w), generator=generator).double()


def disc(h: int, w: int, radius: float) -> Tensor:
    """A hole in the middle: true within it."""
    i, j = torch.meshgrid(torch.arange(h) - h / 2, torch.arange(w) - w / 2, indexing="ij")
    return i.hypot(j) < radius


def membrane(values: Tensor, valid: Tensor) -> Tensor:
    """Laplace's equation in the holes, written out and solved exactly."""
    h, w = values.shape
    place = {(i, j): n for n, (i, j) in enumerate((~valid).nonzero().tolist())}
    matrix = scipy.sparse.lil_matrix((len(place), len(place)))
    right = np.zeros(len(place))
    for (i, j), n in place.items():
        for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= a < h and 0 <= b < w:
                matrix[n, n] += 1
                if (a, b) in place:
                    matrix[n, place[a, b]] -= 1
                else:
                    right[n] += float(values[a, b])
    result = values.clone()
    result[~valid] = torch.from_numpy(spsolve(matrix.tocsr(), right))
    return result


# ---------------------------------------------------------------- filling


@pytest.mark.parametrize("size", [(40, 60), (37, 51)])
@pytest.mark.parametrize("holes", ["disc", "dots", "border"])
def test_holes_are_spanned_as_laplace_says(size: tuple[int, int], holes: str) -> None:
    h, w = size
    i, j = torch.meshgrid(torch.linspace(0, 3, h), torch.linspace(0, 4, w), indexing="ij")
    values = (2 + torch.sin(i + 1) * torch.cos(j)).double()
    valid = {
        "disc": ~disc(h, w, 12),
        "dots": torch.rand(h, w, generator=Generator().manual_seed(0)) > 0.5,
        "border": torch.arange(w).expand(h, w) >= 6,
    }[holes]
    spanned = filled(torch.where(valid, values, torch.nan), valid)
    assert torch.equal(spanned[valid], values[valid])
    exact = membrane(values, valid)
    spread = float(values.max() - values.min())
    assert float((spanned - exact).abs().max()) < 0.02 * spread


def test_the_hole_in_a_plane_is_the_plane() -> None:
    i, j = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    plane = 10 + 0.5 * i - 0.1 * j
    valid = ~disc(64, 48, 10)
    spanned = filled(torch.where(valid, plane, -1000), valid)
    assert float((spanned - plane).abs().max()) < 0.01 * float(plane.max() - plane.min())


@given(h=st.integers(1, 20), w=st.integers(1, 20), share=st.floats(0, 1), seed=st.integers(0, 9999))
def test_nothing_beyond_what_was_measured(h: int, w: int, share: float, seed: int) -> None:
    generator = Generator().manual_seed(seed)
    values = torch.rand(h, w, generator=generator) + 1
    valid = torch.rand(h, w, generator=generator) < share
    valid[h // 2, w // 3] = True
    spanned = filled(torch.where(valid, values, torch.inf), valid)
    assert torch.equal(spanned[valid], values[valid])
    assert spanned.min() >= values[valid].min() - 1e-5
    assert spanned.max() <= values[valid].max() + 1e-5


def test_one_pixel_fills_all() -> None:
    values = torch.full((33, 47), torch.nan)
    values[5, 40] = 3.0
    assert torch.allclose(filled(values, values.isfinite()), torch.tensor(3.0))


# ---------------------------------------------------------------- maps


def of_greatest(depth: Tensor) -> Tensor:
    """Depth over its greatest but for a thousandth of the pixels, written out."""
    greatest: float = sorted(depth.flatten().tolist())[-1 - depth.numel() // 1000]
    return (depth / greatest).clamp(max=1).float()


def test_the_unit_is_immaterial() -> None:
    values = numbers(20, 30)
    depth = depth_map(values)
    assert depth.shape == (1, 20, 30)
    assert depth.dtype == torch.float32
    assert float(depth.max()) == 1
    assert torch.allclose(depth[0], (values / values.max()).float())
    assert torch.allclose(depth_map(values * 1000), depth)
    assert torch.allclose(depth_map((values * 64).to(torch.int32)), depth)


def test_disparity_is_inverse() -> None:
    values = numbers(20, 30, low=20)
    depth = depth_map(values, kind="disparity")
    assert torch.allclose(depth[0], (values.min() / values).float())
    assert torch.allclose(depth_map(1 / values), depth)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize("bad", [0.0, -3.0, torch.nan, torch.inf, -torch.inf, 255.0])
def test_what_was_not_measured_is_filled(kind: Literal["depth", "disparity"], bad: float) -> None:
    i, j = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    values = 100 + i + 0.5 * j
    planted = torch.where(disc(40, 50, 8), bad, values)
    whole = depth_map(values, kind=kind)
    mended = depth_map(planted, kind=kind, invalid=255)
    assert torch.allclose(mended, whole, atol=0.005)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize("bad", [1e300, -1e300, 1e-60, 1e-40, 3.4e38, 1e38])
def test_numbers_beyond_single_precision_are_not_measured(
    kind: Literal["depth", "disparity"], bad: float
) -> None:
    i, j = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    values = (100 + i + 0.5 * j).double()
    planted = torch.where(disc(40, 50, 8), bad, values)
    whole = depth_map(values, kind=kind)
    assert torch.allclose(depth_map(planted, kind=kind), whole, atol=0.005)
    with pytest.raises(ShapeError, match=r"measured.*got none"):
        depth_map(torch.full((3, 3), bad, dtype=torch.float64), kind=kind)


@given(
    exponents=st.lists(st.floats(-50, 50), min_size=12, max_size=12),
    kind=st.sampled_from(["depth", "disparity"]),
)
def test_depth_is_above_0_and_at_most_1(
    exponents: list[float], kind: Literal["depth", "disparity"]
) -> None:
    values = 10 ** torch.tensor(exponents, dtype=torch.float64).reshape(3, 4)
    values[0, 0] = 1
    depth = depth_map(values, kind=kind, size=(7, 9))
    assert bool(((depth > 0) & (depth <= 1)).all())


@pytest.mark.parametrize("size", [(40, 50), (80, 100), (83, 99), (20, 25), (13, 31)])
def test_holes_do_not_mix_into_other_sizes(size: tuple[int, int]) -> None:
    values = torch.full((40, 50), 7.0)
    values[10:20, 10:30], values[30, 40], values[:, 0] = 0, torch.inf, torch.nan
    assert torch.allclose(depth_map(values, size=size), torch.ones(1, *size))


@pytest.mark.parametrize("size", [(60, 75), (57, 200), (20, 25), (13, 31)])
def test_resampling_is_bilinear(size: tuple[int, int]) -> None:
    i, j = torch.meshgrid(torch.linspace(0, 3, 40), torch.linspace(0, 4, 50), indexing="ij")
    values = 2 + torch.sin(i + 1) * torch.cos(j)
    depth = depth_map(values, size=size)
    # Of smaller sizes scikit-image smoothes with a Gaussian first, and not with a triangle.
    theirs = resize(  # type: ignore[no-untyped-call]
        values.numpy(), size, order=1, mode="edge", anti_aliasing=False
    )
    wanted = of_greatest(torch.from_numpy(theirs))
    assert torch.allclose(depth[0], wanted, atol=1e-5 if size[0] > 40 else 0.02)


def test_resampling_disparity_keeps_planes() -> None:
    i, j = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    values = 5 + 2 * i + j
    fine = depth_map(values, size=(80, 100), kind="disparity")[0, 4:-4, 4:-4]
    i, j = torch.meshgrid(torch.arange(80.0), torch.arange(100.0), indexing="ij")
    plane = (5 + 2 * ((i + 0.5) / 2 - 0.5) + (j + 0.5) / 2 - 0.5)[4:-4, 4:-4]
    ratio = fine * plane
    assert float(ratio.max() / ratio.min()) < 1.001


@pytest.mark.parametrize("size", [(44, 53), (39, 50), (30, 60), (40, 50)])
def test_centred_maps_keep_their_pixels(size: tuple[int, int]) -> None:
    values = numbers(40, 50, low=200)
    values[18:22, 18:22] = 256  # enough of them to be the greatest
    depth = depth_map(values, size=size, placed="centred")[0] * 256
    assert depth.shape == size
    h, w = min(40, size[0]), min(50, size[1])
    (a, b), (c, d) = (
        ((max(0, (old - new + 1) // 2)), max(0, (new - old) // 2))
        for old, new in zip((40, 50), size, strict=True)
    )
    inner = values[a : a + h, c : c + w].float()
    assert torch.allclose(depth[b : b + h, d : d + w], inner)
    assert depth.min() >= 199.99


def test_a_few_wrong_pixels_do_not_decide_the_scale() -> None:
    values = numbers(100, 100, low=100, high=200)
    values.view(-1)[:9] = 1_000_000
    assert 0.9 < float(depth_map(values)[0, 10:].max()) <= 1
    values.view(-1)[:20] = 1_000_000
    assert float(depth_map(values)[0, 10:].max()) < 0.001


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.zeros(3, 3), "measured.*got none"),
        (torch.full((3, 3), torch.nan), "measured.*got none"),
        (torch.ones(1, 3, 3), "H×W"),
        (torch.ones(0, 3), "H×W"),
    ],
)
def test_no_map(values: Tensor, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        depth_map(values)


def test_nothing_measured_within_the_picture() -> None:
    values = torch.zeros(20, 20)
    values[0, 0] = 1
    with pytest.raises(ShapeError, match="within the picture"):
        depth_map(values, size=(4, 4), placed="centred")


def test_unknown_kinds() -> None:
    with pytest.raises(UsageError, match=r"depth or disparity.*Did you mean 'disparity'\?"):
        depth_map(torch.ones(2, 2), kind="disparty")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"scaled or centred.*'left'"):
        depth_map(torch.ones(2, 2), placed="left")  # type: ignore[arg-type]


# ---------------------------------------------------------------- files


def save(path: Path, values: npt.NDArray[np.generic]) -> None:
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.name == "73.mat":
        save_73(path, {"x": values, "note": np.ones((1, 4))})
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"x": values, "note": np.ones((1, 4))})
    else:
        Image.fromarray(values).save(path)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("a.png", "uint8"),
        ("a.png", "uint16"),
        ("a.tif", "float32"),
        ("5.mat", "float64"),
        ("73.mat", "float32"),
        ("73.mat", "uint16"),
        ("a.npy", "float32"),
        ("a.npy", ">u2"),
        ("a.npy", "int64"),
    ],
)
def test_every_kind_of_file(tmp_path: Path, name: str, dtype: str) -> None:
    high = 256 if dtype == "uint8" else 60_000
    values = numbers(13, 17, high=high)
    values[3, 4] = 0
    save(tmp_path / name, values.numpy().astype(dtype))
    assert torch.equal(read_depth(tmp_path / name), depth_map(values))
    more = {"size": (26, 30), "kind": "disparity", "invalid": float(values[0, 0])}
    assert torch.allclose(
        read_depth(tmp_path / name, **more),  # type: ignore[arg-type]
        depth_map(values, **more),  # type: ignore[arg-type]
    )


def test_zero_between_two_signs_is_not_measured(tmp_path: Path) -> None:
    values = numbers(9, 9).numpy().astype("float32") / 7
    values[0, :4], values[5, 5] = 0, -1.3
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert (picture_numbers(tmp_path / "a.tif")[0, :4] == 0).all()
    disparity = read_depth(tmp_path / "a.tif", kind="disparity")
    assert torch.allclose(disparity, depth_map(torch.from_numpy(values), kind="disparity"))


def test_pictures_give_their_numbers_exactly(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert torch.equal(picture_numbers(tmp_path / "a.png"), torch.from_numpy(values).double())
    grey = np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), 3, axis=2)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert torch.equal(
        picture_numbers(tmp_path / "grey.png"), torch.from_numpy(grey[..., 0]).double()
    )


def test_arrays_with_empty_dimensions(tmp_path: Path) -> None:
    values = numbers(5, 6).numpy()
    np.save(tmp_path / "a.npy", values[None, :, :, None])
    assert read_depth(tmp_path / "a.npy").shape == (1, 5, 6)


def test_the_variable_of_a_matlab_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"near": np.ones((3, 4)), "far": np.ones((5, 6))})
    assert read_depth(path, variable="far").shape == (1, 5, 6)
    with pytest.raises(ImageError, match=r"one variable of two dimensions, got near, far.*Name it"):
        read_depth(path)
    scipy.io.savemat(path, {"x": np.ones((3, 4, 5))})
    with pytest.raises(ImageError, match=r"of two dimensions, got none"):
        read_depth(path)
    with pytest.raises(ImageError, match=r"depth map '.*a\.mat'.*H×W numbers, got shape"):
        read_depth(path, variable="x")


def test_files_that_hold_no_map(tmp_path: Path) -> None:
    colour = np.zeros((4, 4, 3), dtype=np.uint8)
    colour[0, 0, 1] = 1
    Image.fromarray(colour).save(tmp_path / "colour.png")
    with pytest.raises(ImageError, match=r"one page of one channel.*got colours"):
        read_depth(tmp_path / "colour.png")
    Image.fromarray(colour[..., 0]).save(tmp_path / "black.png")
    with pytest.raises(ImageError, match=r"depth map '.*black\.png'.*measured.*got none"):
        read_depth(tmp_path / "black.png")
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    with pytest.raises(ImageError, match=r"real numbers.*type <U1"):
        read_depth(tmp_path / "words.npy")
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises(ImageError, match=r"depth map '.*bad\.npy'"):
        read_depth(tmp_path / "bad.npy")
    with pytest.raises(ImageError, match=r"gone\.npy"):
        read_depth(tmp_path / "gone.npy")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match="pickle"):
        read_depth(tmp_path / "a.npy")


@pytest.mark.parametrize("placed", ["scaled", "centred"])
def test_a_map_that_lies_across_its_picture(
    tmp_path: Path, placed: Literal["scaled", "centred"]
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, numbers(48, 40).numpy())
    with pytest.raises(ImageError, match=r"a\.npy.*40×48 \(height, width\), got 48×40, across it"):
        read_depth(path, size=(40, 48), placed=placed)
    # Its own way round, of another field, and where the picture could be either.
    for size in ((48, 40), (96, 80), (60, 40), (200, 100), (50, 50), (40, 41), (41, 42)):
        assert read_depth(path, size=size, placed=placed).shape == (1, *size)
    # A portrait that was cut out of a landscape.
    np.save(path, numbers(30, 40).numpy())
    assert read_depth(path, size=(30, 20), placed="centred").shape == (1, 30, 20)


# ---------------------------------------------------------------- real maps


def edges(image: Tensor) -> Tensor:
    """How much an image H×W changes at each pixel."""
    down = (image[2:, 1:-1] - image[:-2, 1:-1]).abs()
    return down + (image[1:-1, 2:] - image[1:-1, :-2]).abs()


@pytest.mark.skipif(not MIDDLEBURY.is_dir(), reason=f"no stereo scenes in {MIDDLEBURY}")
@pytest.mark.parametrize("name", ["art", "books", "moebius"])
def test_middlebury(name: str) -> None:
    """Disparity to depth; where the depth jumps the picture has edges, if the map lies right."""
    picture = read_8bit(MIDDLEBURY / "rgb" / f"{name}.jpg", channels=1)[0].float()
    path = MIDDLEBURY / "disparity" / f"{name}.png"
    size = (picture.shape[0], picture.shape[1])
    contrast = edges(picture).clamp(max=60)
    on_edges = {}
    for placed in ("scaled", "centred"):
        depth = read_depth(path, size=size, kind="disparity", placed=placed)
        assert depth.shape == (1, *size)
        assert float(depth.max()) == 1
        assert float(depth.min()) > 0.1
        assert 0.3 < float(depth.mean()) < 0.95
        jumps = edges(depth[0]) > 0.04
        on_edges[placed] = float(contrast[jumps].mean() / contrast.mean())
    # These maps lack a margin: they are smaller, and not scaled.
    assert on_edges["centred"] > 1.15 * on_edges["scaled"]
