"""Tar archives of pictures, as webdataset shards them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import torch

from physgan.cli import main
from physgan.data.pictures import open_pictures
from physgan.data.tars import TarPictures
from physgan.errors import ImageError
from physgan.images.read import read_8bit
from tests.training.tiny import draw_pictures, write_recipe


def archive(path: Path, members: dict[str, bytes], *, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """Two shards of three samples each, with labels and a sample without a picture between."""
    draw_pictures(tmp_path / "pictures", 6)
    (tmp_path / "shards").mkdir()
    content = [(tmp_path / "pictures" / f"{i:03d}.png").read_bytes() for i in range(6)]
    for shard in range(2):
        members: dict[str, bytes] = {}
        for i in range(3 * shard, 3 * shard + 3):
            members |= {f"train/{i:06d}.json": b"{}", f"train/{i:06d}.clear.png": content[i]}
        members |= {f"train/lonely{shard}.txt": b"no picture"}
        archive(tmp_path / "shards" / f"set-{shard:05d}.tar", members)
    return tmp_path


def test_every_picture_is_there_in_order(ground: Path) -> None:
    pictures = open_pictures(ground / "shards")
    assert isinstance(pictures, TarPictures)
    assert len(pictures) == 6
    for index in range(6):
        expected = read_8bit(ground / "pictures" / f"{index:03d}.png")
        assert torch.equal(pictures.read(index), expected)
        assert pictures.origin(index) == index
    one = open_pictures(ground / "shards" / "set-00001.tar", channels=1)
    assert len(one) == 3
    assert one.read(0).shape[0] == 1
    assert one.identity() != pictures.identity()
    (ground / "shards").rename(ground / "elsewhere")
    assert open_pictures(ground / "elsewhere").identity() == pictures.identity()


def test_they_can_be_trained_on(ground: Path) -> None:
    argv = ["train", str(write_recipe(ground)), "--data.train", str(ground / "shards")]
    options = ["--training.schedule", "{constant: 2, decay: 0}", "--device", "cpu"]
    state = torch.get_rng_state()
    assert main([*argv, *options, "--output", str(ground / "run")]) == 0
    torch.set_rng_state(state)


def test_a_picture_that_is_damaged_is_named(ground: Path) -> None:
    path = archive(ground / "bad.tar", {"a.png": b"not a picture", "b.png": b""})
    pictures = open_pictures(path)
    for index, name in enumerate(("a.png", "b.png")):
        with pytest.raises(ImageError, match=f"bad.tar/{name}"):
            pictures.read(index)


def test_hidden_members_are_no_pictures(ground: Path) -> None:
    content = (ground / "pictures" / "000.png").read_bytes()
    hidden = dict.fromkeys((".x.png", "._a.png", "._000.png", ".trash/b.png"), b"not a picture")
    pictures = open_pictures(archive(ground / "one.tar", {**hidden, "./a.png": content}))
    assert len(pictures) == 1
    assert torch.equal(pictures.read(0), read_8bit(ground / "pictures" / "000.png"))
    with pytest.raises(ImageError, match="got none"):
        open_pictures(archive(ground / "none.tar", hidden))


def test_an_archive_that_has_gone(ground: Path) -> None:
    path = archive(ground / "one.tar", {"a.png": b"x"})
    pictures = open_pictures(path)
    path.unlink()
    with pytest.raises(ImageError, match=r"one\.tar/a\.png.*No such file"):
        pictures.read(0)


def test_archives_that_are_none(ground: Path) -> None:
    (ground / "no.tar").write_bytes(b"x" * 2000)
    content = (ground / "shards" / "set-00000.tar").read_bytes()
    (ground / "cut.tar").write_bytes(content[:1400])
    packed = archive(ground / "packed.tar", {"a.png": b"x"}, mode="w:gz")
    for path in (ground / "no.tar", ground / "cut.tar", packed):
        with pytest.raises(ImageError, match="whole tar file that is not compressed"):
            open_pictures(path)
    with pytest.raises(ImageError, match="got none"):
        open_pictures(archive(ground / "empty.tar", {"a.txt": b"x"}))
    with pytest.raises(ImageError, match="one picture in each sample"):
        open_pictures(archive(ground / "two.tar", {"a.png": b"x", "a.clear.jpg": b"x"}))


def test_what_is_damaged_in_its_middle_is_refused(ground: Path) -> None:
    content = (ground / "shards" / "set-00000.tar").read_bytes()
    with tarfile.open(ground / "shards" / "set-00000.tar") as file:
        third = file.getmembers()[2].offset
    damaged = bytearray(content)
    damaged[third + 20] ^= 1
    (ground / "damaged.tar").write_bytes(damaged)
    (ground / "twice.tar").write_bytes(2 * content)
    for name in ("damaged", "twice"):
        with pytest.raises(ImageError, match=f"{name}.tar.*something else from byte"):
            open_pictures(ground / f"{name}.tar")
