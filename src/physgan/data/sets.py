"""Data sets by the formats in which they are published: clear pictures, and pairs.

==============  ============================================  ===============================
reader          set, and what it is here                      files
==============  ============================================  ===============================
`celeba`        CelebA, aligned faces: clear pictures         img_align_celeba/NNNNNN.jpg,
                                                              list_eval_partition.txt
`coco`          COCO: clear pictures                          train2014/*.jpg
`set5`          Set5, for ×4: clear pictures                  baby, bird, butterfly, head, woman
`hradis`        Hradiš et al. 2015, text: pairs with kernels  NAME_blur, NAME_orig, NAME_psf
`hradis_clear`  the same: clear pictures                      NAME_orig
`gopro`         GoPro, scenes in motion: pairs                train/SCENE/{blur,sharp}/*.png
`o_haze`        O-HAZE, real haze: pairs                      hazy/NN_outdoor_hazy.jpg,
                                                              GT/NN_outdoor_GT.jpg
`Rain800`       Zhang et al., rain: pairs side by side        *.jpg, clear left, rainy right
`Levin`         Levin et al. 2009: pairs with kernels         *.mat holding x, y, f
==============  ============================================  ===============================

Pictures with depth are in `physgan.data.scenes`. Nothing is downloaded. Opening a set looks at
names and reads no picture; what does not lie there as expected is named. Each set has a licence of
its own, most for research alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from physgan.data.depth import picture_numbers
from physgan.data.layout import (
    absent,
    by_name,
    partners,
    pictures_in,
    require_names,
    subfolder,
)
from physgan.data.mat import read_mat
from physgan.data.pairs import Pair, read_pair, unit
from physgan.data.pictures import FolderPictures
from physgan.errors import ImageError, ShapeError
from physgan.images.read import list_images, read_8bit
from physgan.metrics.shift import best_shift
from physgan.physics.blur import blur

# ---------------------------------------------------------------- what pairs are


class Pairs(Protocol):
    """A set of observations with the clear pictures behind them, read one at a time."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Pair: ...


@dataclass(frozen=True)
class PairFiles:
    """Pairs of picture files, of which some sets give the kernel too.

    Args:
        title: of the set, for messages.
        names: of the pairs.
        degraded: the observations' files.
        clean: the clear pictures' files.
        kernels: the kernels' files, by name of the pair.
        channels: of the pictures, 1 or 3.
    """

    title: str
    names: Sequence[str]
    degraded: Sequence[Path]
    clean: Sequence[Path]
    kernels: Mapping[str, Path]
    channels: int

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Pair:
        """One pair, both pictures 1×C×H×W in [0, 1].

        Raises:
            ImageError: one of the two cannot be read.
        """
        return read_pair(
            self.names[index], self.degraded[index], self.clean[index], channels=self.channels
        )

    def kernel(self, index: int) -> Tensor:
        """The kernel of a pair, float32 k×l with odd k and l, summing to one.

        Raises:
            ImageError: the set holds none for this pair, or it cannot be read.
        """
        name = self.names[index]
        if name not in self.kernels:
            raise ImageError(
                f"kernel of '{name}' in {self.title}", expected="a file that holds it", got="none"
            )
        path = self.kernels[name]
        return kernel_of(picture_numbers(path), origin=f"kernel '{path}'")


def kernel_of(values: Tensor, *, origin: str) -> Tensor:
    """Numbers k×l as a kernel of `physgan.physics.blur`: summing to one, of odd sides.

    An even side gets a zero at its end, which leaves the sample k // 2 in the middle: where
    MATLAB's `conv2(x, kernel, 'same')` has the centre.

    Args:
        values: k×l, none below zero.
        origin: what they are, for the message.

    Raises:
        ImageError: a number below zero or none above it.
    """
    if values.ndim != 2 or not bool(values.min() >= 0) or not bool(0 < values.sum() < torch.inf):
        raise ImageError(
            origin,
            expected="k×l numbers, none below zero and some above",
            got=f"shape {tuple(values.shape)}, from {float(values.min()):.4g} "
            f"to {float(values.max()):.4g}",
        )
    even = [1 - side % 2 for side in values.shape]
    padded = F.pad(values, (0, even[1], 0, even[0]))
    return (padded / padded.sum()).float()


# ---------------------------------------------------------------- clear pictures

_PARTITION: Final = {"train": "0", "val": "1", "test": "2"}


def celeba(
    folder: Path, *, split: Literal["train", "val", "test"] = "train", channels: int = 3
) -> FolderPictures:
    """Faces of CelebA (Liu et al. 2015), aligned and cut to 178×218.

    Args:
        folder: holds `img_align_celeba` or `Img/img_align_celeba`, and `list_eval_partition.txt`
            or `Eval/list_eval_partition.txt`: lines such as `000001.jpg 0`.
        split: 0, 1 and 2 of that list: 162,770, 19,867 and 19,962 pictures.
        channels: 1 or 3.

    Raises:
        ImageError: folder, list, or a picture of the split is not there, or the list is another.
    """
    title = "CelebA"
    if split not in _PARTITION:
        raise ImageError(f"split of {title}", expected=" or ".join(_PARTITION), got=repr(split))
    pictures = subfolder(title, folder, "img_align_celeba", "Img/img_align_celeba")
    name = "list_eval_partition.txt"
    lists = [path for path in (folder / name, folder / "Eval" / name) if path.is_file()]
    if not lists:
        raise absent(title, folder, f"{name} or Eval/{name}")
    try:
        text = lists[0].read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"'{lists[0]}'",
            expected="a list as UTF-8 text",
            got=str(error),
            remedy="Take the list as the set gives it.",
        ) from None
    lines = [line.split() for line in text.splitlines() if line]
    for number, line in enumerate(lines, start=1):
        if len(line) != 2 or line[1] not in _PARTITION.values():
            raise ImageError(
                f"'{lists[0]}', line {number}",
                expected="a file's name and 0, 1 or 2",
                got=repr(" ".join(line)),
            )
    members = [name for name, part in lines if part == _PARTITION[split]]
    return FolderPictures(
        pictures, paths=require_names(title, pictures, members), channels=channels
    )


def coco(
    folder: Path,
    *,
    split: str = "train2014",
    annotations: Path | None = None,
    channels: int = 3,
) -> FolderPictures:
    """Photographs of COCO (Lin et al. 2014).

    Args:
        folder: holds the folders of pictures.
        split: which of them: `train2014`, `val2014`, `train2017`, ...
        annotations: a JSON file of the set, such as `annotations/instances_train2014.json`: the
            pictures that it names are the members then, else all that are there.
        channels: 1 or 3.

    Raises:
        ImageError: the folder is not there or empty, or the annotations cannot be read or name
            pictures that are not there.
    """
    title = "COCO"
    pictures = subfolder(title, folder, split)
    if annotations is None:
        return FolderPictures(pictures, channels=channels)
    try:
        listed = json.loads(annotations.read_text(encoding="utf-8"))["images"]
        names = sorted(str(image["file_name"]) for image in listed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(
            f"annotations '{annotations}'",
            expected="JSON of COCO, with 'images' that each have a 'file_name'",
            got=" ".join(f"{type(error).__name__}: {error}".split()),
        ) from None
    return FolderPictures(pictures, paths=require_names(title, pictures, names), channels=channels)


_SET5: Final = ("baby", "bird", "butterfly", "head", "woman")


def set5(folder: Path, *, channels: int = 3) -> FolderPictures:
    """The five pictures of Set5 (Bevilacqua et al. 2012), in the order of their names.

    Args:
        folder: holds `baby`, `bird`, `butterfly`, `head` and `woman`, each with or without `_GT`.
            It is often given as BMP, which is refused on reading: convert it to PNG.
        channels: 1 or 3.

    Raises:
        ImageError: one of the five is missing, or there twice.
    """
    title = "Set5"
    if not folder.is_dir():
        raise absent(title, folder, f"pictures {', '.join(_SET5)}")
    found = by_name(title, pictures_in(folder), rf"({'|'.join(_SET5)})(?:_GT)?", root=folder)
    if missing := [name for name in _SET5 if name not in found]:
        raise absent(title, folder, f"pictures {', '.join(_SET5)}; not there: {', '.join(missing)}")
    return FolderPictures(folder, paths=[found[name] for name in _SET5], channels=channels)


# ---------------------------------------------------------------- pairs


def hradis(folder: Path, *, level: str | None = None, channels: int = 3) -> PairFiles:
    """Blurred text with its kernels: Hradiš et al., BMVC 2015.

    Assumed of its archives: the three files of an example end in `_orig`, `_blur` and `_psf`
    before their suffix and begin alike. They lie in folders of their own or together, anywhere
    below `folder`. The training archive (patches of 300×300) has one observation of each; archives
    for test have one for each level of noise, in folders `n_00`, `n_01`, ... Kernels are pictures
    of one channel, taken to be true convolution with the centre in their middle, after the paper's
    formula: no statement on that comes with the files.

    Args:
        folder: of one archive.
        level: of an archive for test, which observations: `n_00`, ...
        channels: 1 or 3.

    Raises:
        ImageError: no such files, some without a partner, or more than one level where none is
            named.
    """
    title = "text pairs of Hradiš et al."
    paths = _of_level(title, folder, level)
    remedy = "" if level else "Name a level of noise: level='n_00'."
    parts = {
        part: by_name(title, paths, rf"(.+)_{part}", root=folder, remedy=remedy)
        for part in ("blur", "orig", "psf")
    }
    kernels = parts.pop("psf")
    names, (ys, xs) = partners(
        title, folder, {f"NAME_{part}": files for part, files in parts.items()}
    )
    return PairFiles(title, names, ys, xs, kernels, channels)


def hradis_clear(folder: Path, *, channels: int = 3) -> FolderPictures:
    """The clear pictures of `hradis`, to be degraded anew.

    Args:
        folder: holds the files NAME_orig, here or further down.
        channels: of the pictures, 1 or 3.

    Raises:
        ImageError: no files ending in `_orig`.
    """
    title = "text of Hradiš et al."
    paths = [path for path in list_images(folder) if path.stem.lower().endswith("_orig")]
    if not paths:
        raise absent(title, folder, "files NAME_orig, here or further down")
    return FolderPictures(folder, paths=paths, channels=channels)


def _of_level(title: str, folder: Path, level: str | None) -> list[Path]:
    """The pictures below a folder, without those of other levels of noise than one."""
    if level is None:
        return list_images(folder)
    subfolder(title, folder, level)

    def fits(path: Path) -> bool:
        above = path.relative_to(folder).parts[:-1]
        return level in above or not any(re.fullmatch(r"n_\d+", name) for name in above)

    return [path for path in list_images(folder) if fits(path)]


def gopro(
    folder: Path,
    *,
    split: str = "train",
    degraded: Literal["blur", "blur_gamma"] = "blur",
    channels: int = 3,
) -> PairFiles:
    """Street scenes blurred by all that moves in them: GoPro (Nah et al. 2017), 1280×720.

    Args:
        folder: holds `train` and `test`, and these folders of scenes with `blur`, `blur_gamma`
            and `sharp`.
        split: which of the two.
        degraded: means of sharp frames, of their values as they stand (`blur`) or in the linear
            light of a camera with gamma 2.2 (`blur_gamma`).
        channels: 1 or 3.

    Raises:
        ImageError: folders or partners are missing.
    """
    title = "GoPro"
    root = subfolder(title, folder, split)
    scenes = sorted(path for path in root.iterdir() if path.is_dir())
    if not scenes:
        raise absent(title, root, "a folder for each scene")
    parts: dict[str, dict[str, Path]] = {degraded: {}, "sharp": {}}
    for scene in scenes:
        for part, files in parts.items():
            for path in pictures_in(subfolder(title, scene, part)):
                files[f"{scene.name}/{path.stem}"] = path
    names, (ys, xs) = partners(title, root, parts)
    return PairFiles(title, names, ys, xs, {}, channels)


def o_haze(folder: Path, *, channels: int = 3) -> PairFiles:
    """Real haze outdoors, 45 scenes of several megapixels: O-HAZE (Ancuti et al. 2018).

    Args:
        folder: holds `hazy/NN_outdoor_hazy.jpg` and `GT/NN_outdoor_GT.jpg`.
        channels: 1 or 3.

    Raises:
        ImageError: folders or partners are missing.
    """
    title = "O-HAZE"
    parts = {
        f"{part}/NN_outdoor_{part}.jpg": by_name(
            title,
            pictures_in(subfolder(title, folder, part)),
            rf"(\d+)_outdoor_{part}",
            root=folder,
        )
        for part in ("hazy", "GT")
    }
    names, (ys, xs) = partners(title, folder, parts)
    return PairFiles(title, names, ys, xs, {}, channels)


class Rain800:
    """Photographs with drawn rain, both halves of one file: Zhang et al., ID-CGAN (`Pairs`).

    Args:
        folder: of the pictures: `training` or `test_syn` of the set.
        clear: the half where the clear picture is. It is the left one in the set.
        channels: 1 or 3.

    Raises:
        ImageError: no such folder, or no picture in it.
    """

    def __init__(
        self, folder: Path, *, clear: Literal["left", "right"] = "left", channels: int = 3
    ) -> None:
        if clear not in ("left", "right"):
            raise ImageError(
                "clear half of Rain800's files", expected="left or right", got=repr(clear)
            )
        self.paths = list_images(folder)
        self.clear, self.channels = clear, channels

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Pair:
        """One pair, both pictures 1×C×H×W in [0, 1].

        Raises:
            ImageError: the file cannot be read, or cannot be halved.
        """
        path = self.paths[index]
        both = unit(read_8bit(path, channels=self.channels))
        if both.shape[-1] % 2:
            raise ImageError(
                f"picture file '{path}'",
                expected="two pictures side by side, an even number of columns",
                got=str(both.shape[-1]),
            )
        left, right = both.chunk(2, dim=-1)
        x, y = (left, right) if self.clear == "left" else (right, left)
        return Pair(path.stem, y, x)


# Twice what is found in the published pairs.
_LEVIN_REACH: Final = 8


class Levin:
    """Camera shake photographed, with its measured kernels: Levin et al. 2009 (`Pairs`).

    Grey pictures of 255×255. In the files y is the *correlation* of x with f, moved by up to 4
    pixels with the kernel: f is not centred where the picture is. The kernel here is f turned by
    half a turn and moved by those whole pixels, so that `physgan.physics.blur` of x comes near y.
    Beyond the edge lies what the camera saw there: near it no boundary fits.

    Args:
        folder: of `.mat` files that each hold x (clear), y (blurred) and f (kernel).

    Raises:
        ImageError: no such folder, or no such file in it.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.mat")) if folder.is_dir() else []
        if not self.paths:
            raise absent("pairs of Levin et al.", folder, "files ending in .mat")

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Pair:
        """One pair, both pictures 1×1×H×W in [0, 1].

        Raises:
            ImageError: the file cannot be read, or holds something else.
        """
        path = self.paths[index]
        return Pair(path.stem, _grey(path, "y"), _grey(path, "x"))

    def stored_kernel(self, index: int) -> Tensor:
        """f as it stands in the file, float32 k×l with odd k and l, summing to one.

        Raises:
            ImageError: as `read`.
        """
        path = self.paths[index]
        return kernel_of(torch.from_numpy(read_mat(path, "f")), origin=f"kernel f of '{path}'")

    def kernel(self, index: int) -> Tensor:
        """The kernel of a pair, float32 k×l with odd k and l, summing to one.

        Raises:
            ImageError: as `read`; or the pictures are too small to be laid upon each other.
        """
        path, pair = self.paths[index], self.read(index)
        kernel = self.stored_kernel(index).flip(-2, -1)
        k, l = kernel.shape[0] // 2, kernel.shape[1] // 2  # noqa: E741
        h, w = pair.x.shape[-2:]
        try:
            y_hat = blur(pair.x, kernel[None])
            inner = (..., slice(k, h - k), slice(l, w - l))  # what no boundary takes part in
            down, right = best_shift(y_hat[inner], pair.y[inner], reach=_LEVIN_REACH)
        except ShapeError as error:
            raise ImageError(
                f"pair '{path}'", expected=error.expected, got=error.got, remedy=error.remedy
            ) from None
        around = (abs(right) + right, abs(right) - right, abs(down) + down, abs(down) - down)
        return F.pad(kernel, around)


def _grey(path: Path, name: str) -> Tensor:
    """A variable H×W in [0, 1] as 1×1×H×W."""
    values = torch.from_numpy(read_mat(path, name)).float()
    if values.ndim != 2 or not bool(((values >= 0) & (values <= 1)).all()):
        raise ImageError(
            f"'{name}' of '{path}'",
            expected="H×W numbers in [0, 1]",
            got=f"shape {tuple(values.shape)}, from {float(values.min()):.4g} "
            f"to {float(values.max()):.4g}",
        )
    return values[None, None]
