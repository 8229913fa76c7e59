from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from physgan.data.pictures import FolderPictures, hold_out, open_pictures
from physgan.data.shards import write_shards
from physgan.errors import ImageError
from tests.data.sets import MemoryPictures, picture


def save(path: Path, h: int = 4, w: int = 5, seed: int = 0) -> torch.Tensor:
    """Writes a picture file and returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = picture(h, w, seed=seed)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return pixels


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    wanted = [save(tmp_path / name, seed=i) for i, name in enumerate(["a.png", "b/c.png", "d.tif"])]
    pictures = open_pictures(tmp_path)
    assert isinstance(pictures, FolderPictures)
    assert len(pictures) == 3
    for index, pixels in enumerate(wanted):
        assert torch.equal(pictures.read(index), pixels)
        assert pictures.origin(index) == index
    assert open_pictures(tmp_path, channels=1).read(0).shape == (1, 4, 5)


def test_a_folder_of_shards_and_one_shard(tmp_path: Path) -> None:
    crops = [(i, picture(4, 4, seed=i)) for i in range(5)]
    shards = [path for path, _ in write_shards(crops, tmp_path, seed=0, shard_bytes=2 * 48)]
    assert len(shards) == 3
    pictures = open_pictures(tmp_path)
    assert [pictures.origin(i) for i in range(len(pictures))] == [0, 1, 2, 3, 4]
    assert all(torch.equal(pictures.read(i), crop) for i, crop in crops)
    middle = open_pictures(shards[1])
    assert len(middle) == 2
    assert torch.equal(middle.read(0), crops[2][1])


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"'.*nowhere'.*a folder that exists"):
        open_pictures(tmp_path / "nowhere")
    with pytest.raises(ImageError, match=r"files ending in .*\.png.*got none"):
        open_pictures(tmp_path)


def test_a_single_picture_is_no_set(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"training pictures.*shard ending in \.safetensors"):
        open_pictures(tmp_path / "a.png")


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    share=st.floats(0, 0.999),
    seed=st.integers(0, 9),
)
def test_hold_out(counts: list[int], share: float, seed: int) -> None:
    origins = [10 * origin for origin, count in enumerate(counts) for _ in range(count)]
    pictures = MemoryPictures([picture(1, 1)] * len(origins), origins)
    count = int(share * len(counts))
    kept, held = hold_out(pictures, count, seed=seed)
    assert (list(kept), list(held)) == tuple(map(list, hold_out(pictures, count, seed=seed)))
    kept_origins, held_origins = [origins[i] for i in kept], [origins[i] for i in held]
    assert len(held) == len(set(held_origins)) == count
    assert set(kept_origins) | set(held_origins) == set(origins)
    assert set(kept_origins).isdisjoint(held_origins)
    # All crops of a kept original, the first of a held-out one.
    assert sorted(kept) == [i for i, origin in enumerate(origins) if origin not in held_origins]
    assert [origins.index(origin) for origin in held_origins] == list(held)


@given(count=st.integers(0, 5), bad=st.sets(st.integers(0, 11), max_size=6), seed=st.integers(0, 9))
def test_what_cannot_be_read_is_not_held_out(count: int, bad: set[int], seed: int) -> None:
    origins = [index // 2 for index in range(24)]
    pictures = MemoryPictures([picture(1, 1)] * 24, origins)
    asked: list[int] = []

    def readable(index: int) -> bool:
        asked.append(index)
        return origins[index] not in bad

    kept, held = hold_out(pictures, count, seed=seed, readable=readable)
    assert len(held) == count
    assert bad.isdisjoint(origins[i] for i in held)
    assert sorted({origins[i] for i in kept} | {origins[i] for i in held}) == list(range(12))
    assert {origins[i] for i in kept}.isdisjoint(origins[i] for i in held)
    # Those that would be held out stay so, and no more are looked at than are needed.
    _, wanted = hold_out(pictures, count, seed=seed)
    assert {i for i in wanted if origins[i] not in bad} <= set(held)
    assert sum(origins[i] not in bad for i in asked) == count


def test_too_few_that_can_be_read_to_hold_out() -> None:
    pictures = MemoryPictures([picture(1, 1)] * 5)
    with pytest.raises(ImageError, match=r"3 that can be read.*got 2.*--data\.hold_out"):
        hold_out(pictures, 3, seed=0, readable=lambda index: index < 2)


def test_hold_out_depends_on_its_seed() -> None:
    pictures = MemoryPictures([picture(1, 1)] * 30)
    assert len({tuple(hold_out(pictures, 5, seed=seed)[1]) for seed in range(10)}) == 10


@pytest.mark.parametrize("count", [2, 3])
def test_something_must_be_left(count: int) -> None:
    pictures = MemoryPictures([picture(1, 1)] * 5, [0, 0, 0, 1, 1])
    with pytest.raises(ImageError, match=rf"more than the {count} .* got 2.*--data\.hold_out"):
        hold_out(pictures, count, seed=0)
