"""Clear pictures with the depth of their scenes, from which haze is drawn.

==============  ===============================  ================================================
reader          set                              files
==============  ===============================  ================================================
`NYU`           NYU Depth v2, labelled: indoors  nyu_depth_v2_labeled.mat (7.3): images, depths
`make3d`        Make3D: outdoors                 Train400Img/img-*.jpg,
                                                 Train400Depth/depth_sph_corr-*.mat
`depth_files`   any, such as Middlebury          a folder of pictures, a folder of maps
`hazed_pairs`   any, in hazed.py                 a folder in haze, a folder of the same without
==============  ===============================  ================================================

Each is a set of `Scenes`, pictures that know a depth besides: named as the pictures of a recipe,
it gives haze the depth that was measured in place of one that is drawn. The map that fits a picture
is `scenes.depth(i, picture.shape[-2:])`. Opening a set reads no picture and no map.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor

from physgan.data.depth import Kind, Placed, depth_map, read_depth
from physgan.data.layout import by_name, partners, subfolder
from physgan.data.mat import mat_shapes, read_mat
from physgan.data.pictures import FolderPictures, Size
from physgan.errors import ImageError, ShapeError
from physgan.images.read import SUFFIXES, list_files, list_images

_ARRAYS: Final = frozenset({".npy", ".mat"})
_MAPS: Final = SUFFIXES | {".npy", ".mat"}


@dataclass(frozen=True)
class DepthFiles:
    """Picture files with a file of depth for each (`Scenes`).

    Args:
        pictures: the set.
        maps: the depth file of each picture.
        read_map: reads one, to a size.
        how: a text that tells how it reads them, where that can be chosen.
    """

    pictures: FolderPictures
    maps: Sequence[Path]
    read_map: Callable[[Path, Size | None], Tensor]
    how: str = ""

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, index: int) -> Tensor:
        return self.pictures.read(index)

    def origin(self, index: int) -> int:
        return self.pictures.origin(index)

    def identity(self) -> str:
        told = (self.pictures.identity(), [path.name for path in self.maps], self.how)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def depth(self, index: int, size: Size | None = None) -> Tensor:
        """See `Scenes`.

        Raises:
            ImageError: the map cannot be read, or holds nothing measured.
        """
        return self.read_map(self.maps[index], size)


def depth_files(
    folder: Path,
    maps: Path,
    *,
    kind: Kind = "depth",
    placed: Placed = "scaled",
    invalid: float | None = None,
    variable: str | None = None,
    channels: int = 3,
) -> DepthFiles:
    """A folder of pictures and a folder of depth maps, paired by stem.

    Middlebury's stereo scenes (2005, 2006) are `kind="disparity"`; copies of them whose maps lack
    a margin are `placed="centred"`.

    Args:
        folder: of the pictures, searched all the way down.
        maps: of the maps, searched all the way down: pictures, `.npy` or `.mat`.
        kind: see `physgan.data.depth.depth_map`.
        placed: see there.
        invalid: see `physgan.data.depth.read_depth`.
        variable: see there.
        channels: of the pictures, 1 or 3.

    Raises:
        ImageError: a folder is not there, or a picture or map is without its partner.
    """
    title = "pictures with depth"
    parts = {
        "a picture": by_name(title, list_images(folder), "(.+)", root=folder),
        "a depth map": _maps_by_stem(maps),
    }
    remedy = "Add the map, or take the picture away."
    _, (pictures, depths) = partners(title, folder, parts, remedy=remedy)
    read = partial(_read_depth, kind=kind, placed=placed, invalid=invalid, variable=variable)
    how = repr((kind, placed, invalid, variable))
    return DepthFiles(FolderPictures(folder, paths=pictures, channels=channels), depths, read, how)


def depth_beside(
    maps: Path,
    *,
    kind: Kind = "depth",
    placed: Placed = "scaled",
    invalid: float | None = None,
    variable: str | None = None,
) -> Callable[[Path, Size], Tensor]:
    """What reads the depth of a picture file from the map of the same stem in a folder.

    It is given the file and the picture's height and width, and raises ImageError where there is no
    such map, or none that can be read. Arguments and errors else: as `depth_files`.
    """
    found = _maps_by_stem(maps)

    def read(picture: Path, size: Size) -> Tensor:
        stem = unicodedata.normalize("NFC", picture.stem)
        if stem not in found:
            raise ImageError(
                f"depth of '{picture}'",
                expected=f"a map called '{picture.stem}' in '{maps}'",
                got=f"{len(found)} others",
                remedy="Add it as a picture, .npy or .mat, or take the picture away.",
            )
        return read_depth(
            found[stem],
            size=size,
            kind=kind,
            placed=placed,
            invalid=invalid,
            variable=variable,
        )

    return read


def _maps_by_stem(maps: Path) -> dict[str, Path]:
    if not maps.is_dir():
        raise ImageError(
            f"folder of depth maps '{maps}'",
            expected="a folder that exists",
            got="a file" if maps.exists() else "nothing of that name",
        )
    found = list_files(maps, _MAPS)
    if not found:
        raise ImageError(
            f"folder of depth maps '{maps}'",
            expected=f"files ending in {', '.join(sorted(_MAPS))}",
            got="none, here or further down",
        )
    # What estimates depth often leaves a preview, a picture, beside the array that holds it.
    arrays = {path.with_suffix("") for path in found if path.suffix.lower() in _ARRAYS}
    whole = [p for p in found if p.suffix.lower() in _ARRAYS or p.with_suffix("") not in arrays]
    return by_name("depth maps", whole, "(.+)", root=maps)


def _read_depth(
    path: Path,
    size: Size | None,
    *,
    kind: Kind,
    placed: Placed,
    invalid: float | None,
    variable: str | None,
) -> Tensor:
    return read_depth(path, size=size, kind=kind, placed=placed, invalid=invalid, variable=variable)


_MAKE3D: Final = {
    "train": (("Train400Img",), ("Train400Depth",)),
    "test": (("Test134", "Test134Img"), ("Gridlaserdata", "Test134Depth")),
}


def make3d(
    folder: Path, *, split: Literal["train", "test"] = "train", channels: int = 3
) -> DepthFiles:
    """Outdoor scenes with depth from a laser: Make3D (Saxena et al. 2009).

    Pictures are 2272×1704 (height, width), their maps 55×305 of the same field: the fourth channel
    of `Position3DGrid`, metres up to about 81, which stand for all beyond, the sky too.

    Args:
        folder: holds `Train400Img` and `Train400Depth`, or for test `Test134` (or `Test134Img`)
            and `Gridlaserdata` (or `Test134Depth`).
        split: 400 or 134 scenes.
        channels: 1 or 3.

    Raises:
        ImageError: a folder is not there, or a picture or map is without its partner.
    """
    title = "Make3D"
    if split not in _MAKE3D:
        raise ImageError(f"split of {title}", expected=" or ".join(_MAKE3D), got=repr(split))
    images, depths = (subfolder(title, folder, *choices) for choices in _MAKE3D[split])
    parts = {
        "img-NAME.jpg": by_name(title, list_images(images), "img-(.+)", root=folder),
        "depth_sph_corr-NAME.mat": by_name(
            title, sorted(depths.rglob("*.mat")), "depth_sph_corr-(.+)", root=folder
        ),
    }
    _, (pictures, maps) = partners(title, folder, parts)
    return DepthFiles(FolderPictures(images, paths=pictures, channels=channels), maps, _read_laser)


def _read_laser(path: Path, size: Size | None) -> Tensor:
    grid = read_mat(path, "Position3DGrid")
    if grid.ndim != 3 or grid.shape[-1] != 4:
        raise ImageError(
            f"'Position3DGrid' of '{path}'",
            expected="H×W×4 numbers",
            got=f"shape {grid.shape}",
        )
    return measured(torch.from_numpy(grid[..., 3]), size, origin=f"depth in '{path}'")


class NYU:
    """Indoor scenes with depth from a Kinect: NYU Depth v2, its labelled part (`Scenes`).

    1,449 pictures of 480×640 in one file of 2.8 GB, of which one slice at a time is read. Depth is
    in metres, holes filled by the set's authors. Pictures have a white frame of some pixels, where
    the two cameras' fields end. Several are of one room.

    Args:
        file: `nyu_depth_v2_labeled.mat`: `images` H×W×3×N uint8, `depths` H×W×N.
        channels: 3, as in the file.

    Raises:
        ImageError: the file cannot be read, its variables are others, or `channels` is not 3.
    """

    def __init__(self, file: Path, *, channels: int = 3) -> None:
        title = f"NYU Depth v2 in '{file}'"
        shapes = mat_shapes(file)
        images, depths = shapes.get("images", ()), shapes.get("depths", ())
        if len(images) != 4 or images[2] != 3 or depths != (*images[:2], images[3]):
            known = ", ".join(f"{n} {'×'.join(map(str, s))}" for n, s in shapes.items())
            raise ImageError(
                title, expected="images H×W×3×N and depths H×W×N", got=known or "no numbers"
            )
        if channels != 3:
            raise ImageError(title, expected="pictures of 3 channels", got=str(channels))
        self.file, self.shape = file, images

    def __len__(self) -> int:
        return self.shape[-1]

    def read(self, index: int) -> Tensor:
        """One picture, uint8 3×H×W.

        Raises:
            ImageError: the file cannot be read, or does not hold uint8.
        """
        picture = torch.from_numpy(read_mat(self.file, "images", last=index))
        if picture.dtype != torch.uint8:
            raise ImageError(f"images of '{self.file}'", expected="uint8", got=str(picture.dtype))
        return picture.permute(2, 0, 1).contiguous()

    def origin(self, index: int) -> int:
        return index

    def identity(self) -> str:
        return f"NYU Depth v2 with its depth, {'×'.join(map(str, self.shape))}"

    def depth(self, index: int, size: Size | None = None) -> Tensor:
        """See `Scenes`.

        Raises:
            ImageError: the file cannot be read, or a map holds nothing measured.
        """
        values = torch.from_numpy(read_mat(self.file, "depths", last=index))
        return measured(values, size, origin=f"depth {index} of '{self.file}'")


def measured(values: Tensor, size: Size | None, *, origin: str) -> Tensor:
    """Depth 1×H×W from what was measured, as `depth_map`; `origin` tells where, in a fault."""
    try:
        return depth_map(values, size=size)
    except ShapeError as error:
        raise ImageError(origin, expected=error.expected, got=error.got) from None
