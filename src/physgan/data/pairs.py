"""Pairs to check on: read from two folders, or drawn once from held-out pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Generator, Tensor

from physgan.data.synthesis import synthesise
from physgan.errors import ImageError
from physgan.images.read import list_images, read_8bit
from physgan.physics.compose import Degradation


@dataclass(frozen=True)
class Pair:
    """An observation and the clear image behind it, both 1×C×H×W in [0, 1]."""

    name: str
    y: Tensor
    x: Tensor


def read_pairs(degraded: Path, clean: Path, *, channels: int = 3) -> list[Pair]:
    """Pairs of two folders, matched by stem, in the order of the names.

    Raises:
        ImageError: as `list_pairs`; or a picture cannot be read.
    """
    return [read_pair(*files, channels=channels) for files in list_pairs(degraded, clean)]


def list_pairs(degraded: Path, clean: Path) -> list[tuple[str, Path, Path]]:
    """Stem, observation and clear picture of each pair of two folders, in the order of the names.

    Raises:
        ImageError: a picture without its partner, or two of one stem.
    """
    pairs, lonely = match_pairs(degraded, clean)
    if lonely:
        raise without_partner(degraded, clean, lonely)
    return pairs


def without_partner(degraded: Path, clean: Path, lonely: Sequence[Path]) -> ImageError:
    """What is wrong with two folders of which some pictures have no partner."""
    return ImageError(
        f"pairs in '{degraded}' and '{clean}'",
        expected="every picture to have a partner of the same stem",
        got=f"{len(lonely)} without, such as '{lonely[0].stem}'",
    )


def match_pairs(degraded: Path, clean: Path) -> tuple[list[tuple[str, Path, Path]], list[Path]]:
    """What `list_pairs` gives, and the pictures of both folders that have no partner, by stem.

    Raises:
        ImageError: a folder is not there or holds no picture; or two of its pictures have one stem.
    """
    ys, xs = _by_stem(degraded), _by_stem(clean)
    lonely = [ys.get(stem) or xs[stem] for stem in sorted(ys.keys() ^ xs.keys())]
    return [(stem, ys[stem], xs[stem]) for stem in sorted(ys.keys() & xs.keys())], lonely


def read_pair(name: str, degraded: Path, clean: Path, *, channels: int = 3) -> Pair:
    """The pair of two picture files.

    Raises:
        ImageError: one of them cannot be read.
    """
    y, x = (read_8bit(path, channels=channels) for path in (degraded, clean))
    return Pair(name, unit(y), unit(x))


def drawn_pairs(
    pictures: Iterable[tuple[str, Tensor, Mapping[str, Tensor]]],
    degradation: Degradation,
    *,
    seed: int,
) -> list[Pair]:
    """Degrades pictures once and the same way for a seed.

    Each comes as its name, uint8 C×H×W, and the maps *×H×W that were measured with it.
    Observations are rounded to 8 bits as files are.
    """
    generator = Generator().manual_seed(seed)
    pairs = []
    for name, picture, maps in pictures:
        known = {parameter: values[None] for parameter, values in maps.items()}
        batch = synthesise(picture[None], degradation, generator=generator, known=known)
        y = batch.y.mul(255).round().clamp(0, 255) / 255
        pairs.append(Pair(name, y, batch.x))
    return pairs


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        if path.stem in found:
            raise ImageError(
                f"folder '{folder}'",
                expected="one picture of each stem",
                got=" and ".join(
                    f"'{each.relative_to(folder)}'" for each in (found[path.stem], path)
                ),
                remedy="Rename one, or take folders within one at a time.",
            )
        found[path.stem] = path
    return found


def unit(picture: Tensor) -> Tensor:
    """A uint8 picture C×H×W as a batch of one, 1×C×H×W in [0, 1]."""
    return picture[None].float() / 255
