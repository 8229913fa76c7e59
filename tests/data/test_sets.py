"""Published sets: read as they are published, lazily, and what is missing named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torch import Generator, Tensor

from physgan.data.pairs import unit
from physgan.data.sets import (
    Levin,
    Rain800,
    celeba,
    coco,
    gopro,
    hradis,
    hradis_clear,
    kernel_of,
    o_haze,
    set5,
)
from physgan.errors import ImageError
from physgan.metrics.shift import best_shift
from physgan.physics.blur import blur
from tests.data.files import DATA, near, save

LEVIN = DATA / "levin09"


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# ---------------------------------------------------------------- CelebA

PARTITION = "000001.jpg 0\r\n000002.jpg 1\r\n000003.jpg 2\r\n000004.jpg 0\r\n"


@pytest.mark.parametrize(
    ("pictures", "listed"), [("img_align_celeba", "."), ("Img/img_align_celeba", "Eval")]
)
def test_celeba(tmp_path: Path, pictures: str, listed: str) -> None:
    written = [save(tmp_path / pictures / f"{i:06d}.jpg", 16, 16, seed=i) for i in (1, 2, 3, 4)]
    write_text(tmp_path / listed / "list_eval_partition.txt", PARTITION)
    train, val, test = (celeba(tmp_path, split=s) for s in ("train", "val", "test"))
    assert [path.name for path in train.paths] == ["000001.jpg", "000004.jpg"]
    assert (len(val), len(test)) == (1, 1)
    for read, wanted in ((train.read(1), written[3]), (val.read(0), written[1])):
        assert read.dtype == torch.uint8
        assert near(read, wanted)
    assert len({train.identity(), val.identity(), test.identity()}) == 3
    assert celeba(tmp_path, channels=1).read(0).shape == (1, 16, 16)


def test_celeba_says_what_is_missing(tmp_path: Path) -> None:
    write_text(tmp_path / "readme.txt", "")
    (tmp_path / "Anno").mkdir()
    with pytest.raises(
        ImageError, match=r"CelebA in .*img_align_celeba/ or Img/.*got Anno/, readme\.txt\. Unpack"
    ):
        celeba(tmp_path)
    save(tmp_path / "img_align_celeba" / "000001.jpg")
    with pytest.raises(ImageError, match=r"list_eval_partition\.txt or Eval/"):
        celeba(tmp_path)
    write_text(tmp_path / "list_eval_partition.txt", PARTITION)
    with pytest.raises(ImageError, match=r"the 2 files of its list, got 1 missing.*'000004\.jpg'"):
        celeba(tmp_path)
    with pytest.raises(ImageError, match="train or val or test, got 'valid'"):
        celeba(tmp_path, split="valid")  # type: ignore[arg-type]
    write_text(tmp_path / "list_eval_partition.txt", "image_id,partition\n000001.jpg,0\n")
    with pytest.raises(ImageError, match=r"line 1': expected|line 1: expected .* 0, 1 or 2"):
        celeba(tmp_path)
    write_text(tmp_path / "list_eval_partition.txt", "000001.jpg 0\n")
    with pytest.raises(ImageError, match="a list that names files, got an empty one"):
        celeba(tmp_path, split="test")
    (tmp_path / "list_eval_partition.txt").write_bytes("000001.jpg 0 größer\n".encode("latin-1"))
    with pytest.raises(ImageError, match=r"list_eval_partition\.txt': expected a list as UTF-8"):
        celeba(tmp_path)
    with pytest.raises(ImageError, match="nothing of that name"):
        celeba(tmp_path / "gone")


# ---------------------------------------------------------------- COCO


def test_coco(tmp_path: Path) -> None:
    names = [f"COCO_train2014_{i:012d}.jpg" for i in (9, 25, 30)]
    written = [save(tmp_path / "train2014" / n, 16, 20, seed=i) for i, n in enumerate(names)]
    pictures = coco(tmp_path)
    assert [path.name for path in pictures.paths] == names
    assert near(pictures.read(2), written[2])
    annotations = tmp_path / "annotations" / "instances_train2014.json"
    images = [{"file_name": name, "id": 1} for name in (names[2], names[0])]
    write_text(annotations, json.dumps({"images": images, "annotations": []}))
    some = coco(tmp_path, annotations=annotations)
    assert [path.name for path in some.paths] == [names[0], names[2]]
    assert some.identity() != pictures.identity()


def test_coco_says_what_is_missing(tmp_path: Path) -> None:
    save(tmp_path / "val2017" / "000000000139.jpg")
    with pytest.raises(ImageError, match=r"COCO in .*expected train2014/, got val2017/\."):
        coco(tmp_path)
    assert len(coco(tmp_path, split="val2017")) == 1
    for text in ("no json", "[]", '{"images": [{}]}'):
        write_text(tmp_path / "a.json", text)
        with pytest.raises(ImageError, match="JSON of COCO"):
            coco(tmp_path, split="val2017", annotations=tmp_path / "a.json")
    write_text(tmp_path / "a.json", '{"images": [{"file_name": "gone.jpg"}]}')
    with pytest.raises(ImageError, match=r"1 missing, such as 'gone\.jpg'"):
        coco(tmp_path, split="val2017", annotations=tmp_path / "a.json")
    with pytest.raises(ImageError, match="FileNotFoundError"):
        coco(tmp_path, split="val2017", annotations=tmp_path / "gone.json")


# ---------------------------------------------------------------- Set5

FIVE = ("baby", "bird", "butterfly", "head", "woman")


@pytest.mark.parametrize("ending", [".png", "_GT.png"])
def test_set5(tmp_path: Path, ending: str) -> None:
    written = [save(tmp_path / f"{name}{ending}", seed=i) for i, name in enumerate(FIVE)]
    save(tmp_path / "other.png")
    pictures = set5(tmp_path)
    assert [path.name for path in pictures.paths] == [f"{name}{ending}" for name in FIVE]
    assert all(torch.equal(pictures.read(i), pixels) for i, pixels in enumerate(written))


def test_set5_says_what_is_missing(tmp_path: Path) -> None:
    for name in FIVE[:3]:
        save(tmp_path / f"{name}.png")
    with pytest.raises(ImageError, match="not there: head, woman"):
        set5(tmp_path)
    save(tmp_path / "baby_GT.png")
    with pytest.raises(ImageError, match=r"one file of each.*'baby\.png' and 'baby_GT\.png'"):
        set5(tmp_path)
    with pytest.raises(ImageError, match="nothing of that name"):
        set5(tmp_path / "gone")


def test_set5_as_bmp_is_refused_with_a_remedy_on_reading(tmp_path: Path) -> None:
    for name in FIVE:
        save(tmp_path / f"{name}.bmp")
    pictures = set5(tmp_path)
    with pytest.raises(ImageError, match=r"baby\.bmp.*Convert it to PNG"):
        pictures.read(0)


# ---------------------------------------------------------------- Hradiš


def write_kernel(path: Path, values: list[list[int]], *, bits: int = 8) -> Tensor:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.array(values, dtype=f"uint{bits}")
    Image.fromarray(array).save(path)
    kernel = torch.from_numpy(array.astype("float64"))
    return (kernel / kernel.sum()).float()


@pytest.mark.parametrize("place", ["{stem}_{part}", "{part}/{stem}_{part}"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_hradis(tmp_path: Path, place: str, suffix: str) -> None:
    y, x, kernels = {}, {}, {}
    for i, stem in enumerate(("0000001", "0000000")):
        y[stem] = save(tmp_path / (place.format(stem=stem, part="blur") + suffix), seed=i)
        x[stem] = save(tmp_path / (place.format(stem=stem, part="orig") + suffix), seed=9 + i)
        kernels[stem] = write_kernel(
            tmp_path / (place.format(stem=stem, part="psf") + ".png"),
            [[0, 1, 0], [2, 60000 >> (8 * (1 - i)), 3], [0, 0, 5]],
            bits=16 if i else 8,
        )
    pairs = hradis(tmp_path)
    assert list(pairs.names) == ["0000000", "0000001"]
    for i, stem in enumerate(pairs.names):
        pair = pairs.read(i)
        assert pair.name == stem
        assert near(pair.y, unit(y[stem]))
        assert near(pair.x, unit(x[stem]))
        assert torch.allclose(pairs.kernel(i), kernels[stem])
    clear = hradis_clear(tmp_path)
    assert len(clear) == 2
    assert near(clear.read(0), x["0000000"])


@pytest.mark.parametrize("within", [False, True])
def test_hradis_levels_of_noise(tmp_path: Path, within: bool) -> None:
    """Clear pictures and kernels beside the levels, or once more in each of them."""
    y: dict[str, Tensor] = {}
    for level in ("n_00", "n_05"):
        y[level] = save(tmp_path / level / "0001_blur.png", seed=len(y))
        for part in ("orig", "psf"):
            folder = tmp_path / level if within else tmp_path / part
            save(folder / f"0001_{part}.png", 7, 7, channels=1, seed=9)
    with pytest.raises(ImageError, match=r"one file of each name.*n_00.*n_05.*level='n_00'"):
        hradis(tmp_path)
    for level, pixels in y.items():
        pairs = hradis(tmp_path, level=level)
        assert len(pairs) == 1
        assert torch.equal(pairs.read(0).y, unit(pixels))
        assert pairs.kernel(0).shape == (7, 7)
    with pytest.raises(ImageError, match="n_07/, got n_00/, n_05/"):
        hradis(tmp_path, level="n_07")


def test_hradis_says_what_is_missing(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="files NAME_blur"):
        hradis(tmp_path)
    with pytest.raises(ImageError, match="NAME_orig"):
        hradis_clear(tmp_path)
    for name in ("a_blur", "b_blur", "a_orig"):
        save(tmp_path / f"{name}.png")
    with pytest.raises(ImageError, match="got 1 without NAME_orig, such as 'b'"):
        hradis(tmp_path)
    save(tmp_path / "b_orig.png")
    pairs = hradis(tmp_path)
    with pytest.raises(ImageError, match=r"kernel of 'a'.*got none"):
        pairs.kernel(0)
    write_kernel(tmp_path / "b_psf.png", [[0, 0], [0, 0]])
    with pytest.raises(ImageError, match=r"kernel '.*b_psf\.png'.*some above.*from 0 to 0"):
        hradis(tmp_path).kernel(1)


@pytest.mark.parametrize("size", [(3, 3), (4, 3), (3, 4), (4, 6), (1, 2)])
def test_kernels_become_odd_about_the_centre_of_conv2(size: tuple[int, int]) -> None:
    """`conv2(x, kernel, 'same')`: the full convolution from sample ceil((k - 1) / 2) on."""
    from scipy.signal import convolve2d

    generator = Generator().manual_seed(0)
    x = torch.rand(12, 15, generator=generator, dtype=torch.float64)
    values = torch.rand(size, generator=generator, dtype=torch.float64)
    kernel = kernel_of(values, origin="a kernel")
    assert kernel.dtype == torch.float32
    assert all(side % 2 for side in kernel.shape)
    assert float(kernel.sum()) == pytest.approx(1)
    full = convolve2d(x.numpy(), (values / values.sum()).numpy())
    top, left = size[0] // 2, size[1] // 2
    wanted = torch.from_numpy(full[top : top + 12, left : left + 15])
    ours = blur(x[None, None], kernel[None], boundary="zero")[0, 0]
    assert torch.allclose(ours, wanted, atol=1e-6)


def test_no_kernel() -> None:
    for values in (torch.tensor([[1.0, -0.1]]), torch.zeros(2, 2), torch.ones(1, 2, 2)):
        with pytest.raises(ImageError, match="a kernel: expected k×l numbers"):
            kernel_of(values, origin="a kernel")
    with pytest.raises(ImageError, match="a kernel"):
        kernel_of(torch.tensor([[torch.nan]]), origin="a kernel")


# ---------------------------------------------------------------- GoPro, O-HAZE


def test_gopro(tmp_path: Path) -> None:
    written = {
        (scene, part, i): save(
            tmp_path / split / scene / part / f"{i:06d}.png",
            seed=i + len(part) + 100 * int(scene[-1]),
        )
        for split, scene in (("train", "GOPR1"), ("train", "GOPR2"), ("test", "GOPR3"))
        for part in ("blur", "blur_gamma", "sharp")
        for i in (47, 48)
    }
    for blurred in ("blur", "blur_gamma"):
        pairs = gopro(tmp_path, degraded=blurred)
        assert list(pairs.names) == [
            *("GOPR1/000047", "GOPR1/000048", "GOPR2/000047", "GOPR2/000048"),
        ]
        pair = pairs.read(2)
        assert torch.equal(pair.y, unit(written["GOPR2", blurred, 47]))
        assert torch.equal(pair.x, unit(written["GOPR2", "sharp", 47]))
    assert list(gopro(tmp_path, split="test").names) == ["GOPR3/000047", "GOPR3/000048"]
    (tmp_path / "train" / "GOPR2" / "sharp" / "000048.png").unlink()
    with pytest.raises(ImageError, match="got 1 without sharp, such as 'GOPR2/000048'"):
        gopro(tmp_path)
    with pytest.raises(ImageError, match=r"GoPro in .*expected val/, got test/, train/"):
        gopro(tmp_path, split="val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="a folder for each scene, got an empty folder"):
        gopro(tmp_path, split="empty")


@pytest.mark.parametrize("suffix", [".jpg", ".JPG"])
def test_o_haze(tmp_path: Path, suffix: str) -> None:
    y = [save(tmp_path / "hazy" / f"{i:02d}_outdoor_hazy{suffix}", seed=i) for i in (1, 2)]
    x = [save(tmp_path / "GT" / f"{i:02d}_outdoor_GT{suffix}", seed=9 + i) for i in (1, 2)]
    pairs = o_haze(tmp_path)
    assert list(pairs.names) == ["01", "02"]
    for i in range(2):
        assert pairs.read(i).y.shape == (1, 3, 6, 8)
        assert near(pairs.read(i).y, unit(y[i]))
        assert near(pairs.read(i).x, unit(x[i]))
    (tmp_path / "GT" / f"02_outdoor_GT{suffix}").unlink()
    with pytest.raises(ImageError, match=r"1 without GT/NN_outdoor_GT\.jpg, such as '02'"):
        o_haze(tmp_path)


def test_o_haze_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "hazy").mkdir()
    with pytest.raises(ImageError, match=r"O-HAZE in .*expected GT/, got hazy/"):
        o_haze(tmp_path)
    (tmp_path / "GT").mkdir()
    with pytest.raises(ImageError, match=r"files hazy/NN_outdoor_hazy\.jpg"):
        o_haze(tmp_path)


# ---------------------------------------------------------------- Rain800


@pytest.mark.parametrize("clear", ["left", "right"])
def test_rain800(tmp_path: Path, clear: str) -> None:
    save(tmp_path / "2.jpg", 16, 40, seed=2)
    whole = unit(save(tmp_path / "1.jpg", 16, 40, seed=1))
    pairs = Rain800(tmp_path, clear=clear)  # type: ignore[arg-type]
    assert len(pairs) == 2
    pair = pairs.read(0)
    assert pair.name == "1"
    left, right = (pair.x, pair.y) if clear == "left" else (pair.y, pair.x)
    assert near(left, whole[..., :20])
    assert near(right, whole[..., 20:])
    assert not near(left, whole[..., 20:])


def test_rain800_says_what_is_wrong(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 4, 7)
    with pytest.raises(ImageError, match="side by side, an even number of columns, got 7"):
        Rain800(tmp_path).read(0)
    with pytest.raises(ImageError, match="left or right, got 'top'"):
        Rain800(tmp_path, clear="top")  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="a folder that exists"):
        Rain800(tmp_path / "gone")


# ---------------------------------------------------------------- Levin


@pytest.mark.parametrize("shift", [(0, 0), (0, 1), (-4, 3)])
def test_levin(tmp_path: Path, shift: tuple[int, int]) -> None:
    """The kernel that comes out convolves and lies right, where the file's correlates."""
    from scipy.signal import correlate2d

    rng = np.random.default_rng(0)
    x, f = rng.random((50, 53)), rng.random((5, 7)) ** 3
    f /= f.sum()
    y = np.roll(correlate2d(x, f, mode="same"), shift, (0, 1))
    scipy.io.savemat(tmp_path / "im01_ker02.mat", {"x": x, "y": y, "f": f})
    pairs = Levin(tmp_path)
    pair = pairs.read(0)
    assert (len(pairs), pair.name) == (1, "im01_ker02")
    assert torch.equal(pair.x, torch.from_numpy(x).float()[None, None])
    assert torch.equal(pair.y, torch.from_numpy(y).float()[None, None])
    kernel = pairs.kernel(0)
    assert kernel.shape == (5 + 2 * abs(shift[0]), 7 + 2 * abs(shift[1]))
    y_hat = blur(pair.x, kernel[None])
    assert torch.allclose(y_hat[..., 9:-9, 9:-9], pair.y[..., 9:-9, 9:-9], atol=1e-5)


def test_levin_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"files ending in .mat, got an empty folder"):
        Levin(tmp_path)
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.full((4, 4), 200.0), "k": np.ones((3, 3))})
    with pytest.raises(ImageError, match="variable 'y', got 'x' 4×4, 'k' 3×3"):
        Levin(tmp_path).read(0)
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.full((4, 4), 200.0), "y": np.ones((4, 4))})
    with pytest.raises(ImageError, match=r"numbers in \[0, 1\], .*from 200 to 200"):
        Levin(tmp_path).read(0)
    small = {name: np.full((9, 9), 0.5) for name in "xy"}
    scipy.io.savemat(tmp_path / "a.mat", small)
    with pytest.raises(ImageError, match="variable 'f'"):
        Levin(tmp_path).kernel(0)
    scipy.io.savemat(tmp_path / "a.mat", {**small, "f": np.ones((5, 5))})
    with pytest.raises(ImageError, match=r"pair '.*a\.mat': expected .* sides above"):
        Levin(tmp_path).kernel(0)


@pytest.mark.skipif(not LEVIN.is_dir(), reason=f"no pairs of Levin et al. in {LEVIN}")
def test_levins_own_files() -> None:
    """Real camera shake: turned, the kernel explains the blurred picture, as it stands not."""
    pairs = Levin(LEVIN)
    assert len(pairs) == 16
    ratios = []
    for index in range(len(pairs)):
        pair, kernel = pairs.read(index), pairs.kernel(index)
        assert pair.x.shape == pair.y.shape == (1, 1, 255, 255)
        unflipped = kernel.flip(-2, -1)
        # The other may be moved too, that no more than the turn makes the difference.
        moved = best_shift(blur(pair.x, unflipped[None]), pair.y, reach=12)
        ours, theirs = (
            mean_square(blur(pair.x, k[None]), pair.y, *shift)
            for k, shift in ((kernel, (0, 0)), (unflipped, moved))
        )
        assert ours < 1.6e-4
        ratios.append(ours / theirs)
    assert max(ratios) < 0.6
    assert sorted(ratios)[8] < 0.1


def mean_square(y_hat: Tensor, y: Tensor, down: int, right: int) -> float:
    """Mean square of what is left after a shift, where no boundary takes part."""
    moved = y_hat.roll((down, right), (-2, -1))
    return float((moved - y)[..., 36:-36, 36:-36].square().mean())


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize(
    ("files", "opened"),
    [
        (["train2014/a.jpg"], coco),
        ([f"{name}.png" for name in FIVE], set5),
        (["a_blur.png", "a_orig.png", "a_psf.png"], hradis),
        (["a_orig.png"], hradis_clear),
        (["train/S/blur/1.png", "train/S/sharp/1.png"], gopro),
        (["hazy/01_outdoor_hazy.jpg", "GT/01_outdoor_GT.jpg"], o_haze),
        (["1.jpg"], Rain800),
        (["a.mat"], Levin),
    ],
)
def test_opening_reads_nothing(
    tmp_path: Path, files: list[str], opened: Callable[[Path], object]
) -> None:
    for name in files:
        write_text(tmp_path / name, "no picture")
    pictures = opened(tmp_path)
    assert len(pictures) > 0  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"got (text, not a picture|a file of another kind)"):
        pictures.read(0)  # type: ignore[attr-defined]
