import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from physgan.data.pictures import hold_out, open_pictures
from physgan.data.shards import ShardPictures, write_shards
from physgan.errors import ImageError
from tests.data.sets import picture


def crops_of(counts: list[int], side: int = 4, channels: int = 3) -> list[tuple[int, Tensor]]:
    """Crops of originals 0, 1, …, so many of each, all different."""
    origins = [origin for origin, count in enumerate(counts) for _ in range(count)]
    return [
        (origin, picture(side, side, channels=channels, seed=i)) for i, origin in enumerate(origins)
    ]


def pack(crops: list[tuple[int, Tensor]], folder: Path, shard_bytes: int) -> list[Path]:
    return [path for path, _ in write_shards(crops, folder, seed=7, shard_bytes=shard_bytes)]


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=8), room=st.integers(1, 9))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, counts: list[int], room: int) -> None:
    folder = tmp_path_factory.mktemp("shards")
    crops = crops_of(counts)
    bound = room * 48 + 5
    written = list(write_shards(crops, folder, seed=7, shard_bytes=bound))
    assert [path.name for path, _ in written] == [
        f"crops-{i:05d}.safetensors" for i in range(len(written))
    ]
    assert sorted(folder.iterdir()) == [path for path, _ in written]
    # Bit for bit and in order.
    pictures = ShardPictures([path for path, _ in written])
    assert len(pictures) == len(crops) == sum(count for _, count in written)
    for index, (_, crop) in enumerate(crops):
        assert torch.equal(pictures.read(index), crop)
        assert pictures.read(index).dtype == torch.uint8
    # Crops share an original exactly where they did before.
    origins = [pictures.origin(index) for index in range(len(pictures))]
    assert origins == [origin for origin, _ in crops]
    # No original lies in two shards, and none is larger than asked but for a single original.
    done = 0
    shards = []
    for path, count in written:
        shards.append({origin for origin, _ in crops[done : done + count]})
        done += count
        with safe_open(str(path), framework="pt") as file:
            stored = file.get_tensor("crops")
            header = file.metadata()
        assert stored.dtype == torch.uint8
        assert stored.numel() <= bound or len(shards[-1]) == 1
        assert header["seed"] == "7"
        assert header["origin_count"] == str(len(shards[-1]))
    assert sum(map(len, shards)) == len(counts) == len(set().union(*shards))
    # And no shard was closed before it had to be.
    for one, following in pairwise(shards):
        size = sum(counts[origin] for origin in one) + counts[min(following)]
        assert size * 48 > bound


def test_nothing_to_pack(tmp_path: Path) -> None:
    assert pack([], tmp_path, 1000) == []
    assert not list(tmp_path.iterdir())


def test_originals_of_different_packings_stay_apart(tmp_path: Path) -> None:
    # Both number their originals from 0, or from anywhere.
    shards = []
    for name, first in (("one", 0), ("two", 0), ("three", 40)):
        (tmp_path / name).mkdir()
        crops = [(first + 5 * origin, crop) for origin, crop in crops_of([2, 1, 2])]
        shards += pack(crops, tmp_path / name, 10_000)
    pictures = ShardPictures(shards)
    origins = [pictures.origin(index) for index in range(len(pictures))]
    assert len(set(origins)) == 9
    assert [origins.count(origin) for origin in dict.fromkeys(origins)] == [2, 1, 2] * 3


def test_hold_out_keeps_originals_apart(tmp_path: Path) -> None:
    crops = crops_of([3, 1, 4, 2, 2, 3])
    pictures = ShardPictures(pack(crops, tmp_path, 5 * 48))
    kept, held = hold_out(pictures, 2, seed=0)
    assert {crops[i][0] for i in kept}.isdisjoint(crops[i][0] for i in held)
    assert len({crops[i][0] for i in kept}) == 4


@pytest.mark.parametrize("content", [b"", b"no tensors here", b"\x08\0\0\0\0\0\0\0{}      "])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    for attempt in (path, tmp_path):
        with pytest.raises(ImageError, match=r"shard '.*a\.safetensors'.*`physgan pack`"):
            open_pictures(attempt)


def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"crops": torch.zeros(2, 3, 4, 4)}, path, {"format": "pt"})
    with pytest.raises(ImageError, match="got format 'pt'"):
        ShardPictures([path])


def test_a_shard_whose_tensors_do_not_fit_is_refused(tmp_path: Path) -> None:
    path, crops = tmp_path / "a.safetensors", torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    for wrong in ({"crops": crops[0]}, {"crops": crops[:0]}, {"crops": crops}):
        origins = torch.zeros(3, dtype=torch.int64)
        save_file({**wrong, "origins": origins}, path, {"format": "physgan-crops-1"})
        with pytest.raises(ImageError, match="got crops"):
            ShardPictures([path])


def test_other_pictures_are_told_from_these(tmp_path: Path) -> None:
    identities = []
    for name, first in (("one", 0), ("two", 0), ("three", 40)):
        (tmp_path / name).mkdir()
        crops = [(origin, picture(4, 4, seed=first + i)) for i, origin in enumerate((0, 0, 1))]
        identities.append(ShardPictures(pack(crops, tmp_path / name, 10_000)).identity())
    assert identities[0] == identities[1] != identities[2]


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    (path,) = pack(crops_of([2, 2]), tmp_path, 10_000)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ImageError, match="`physgan pack`"):
        ShardPictures([path])


def test_a_missing_shard(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="shard"):
        ShardPictures([tmp_path / "nothing.safetensors"])


def test_channels_must_agree(tmp_path: Path) -> None:
    grey = pack(crops_of([2], channels=1), tmp_path, 10_000)
    assert ShardPictures(grey, channels=1).read(0).shape == (1, 4, 4)
    with pytest.raises(ImageError, match=r"3 channels, got 1.*--data\.channels"):
        ShardPictures(grey, channels=3)


# ---------------------------------------------------------------- without pyvips

BLOCKED = """
import sys

class NoPyvips:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyvips", "_libvips", "pyvips_binary"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None

sys.meta_path.insert(0, NoPyvips())
"""


def without_pyvips(code: str, *arguments: str) -> str:
    """Runs code in a Python that cannot import pyvips; returns the last line of its output."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCKED + code, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    pack(crops_of([2, 2, 2, 2], side=32), folder, 4 * 3 * 32 * 32)
    return folder


def test_reading_shards_loads_no_image_library(shards: Path) -> None:
    code = """
import sys
from itertools import pairwise
from pathlib import Path
from physgan.data.crops import CropStream
from physgan.data.pictures import open_pictures
pictures = open_pictures(Path(sys.argv[1]))
batch = CropStream(pictures, range(len(pictures)), 16, 2, 0)(0).x
assert batch.shape == (2, 3, 16, 16)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"pyvips", "PIL", "cv2"}))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(shards)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert result.stdout == "[]\n"


TRAIN = """
import json, sys
from pathlib import Path
from physgan.recipes.experiment import train_recipe
from physgan.recipes.schema import Recipe
recipe = Recipe.model_validate(json.loads(sys.argv[1]))
outcome = train_recipe(recipe, Path(sys.argv[2]), watchers=lambda *_: [], device="cpu")
print(outcome.step, "pyvips" in sys.modules)
"""


def test_training_from_shards_needs_no_pyvips(shards: Path, tmp_path: Path) -> None:
    recipe = {
        "name": "tiny",
        "physics": {
            "stages": {
                "blur": {
                    "operator": {"name": "blur"},
                    "sampler": {"name": "disc", "arguments": {"radius": [0, 1]}},
                }
            },
            "sensor": [{"name": "noise"}, {"name": "round"}],
        },
        "generator": {"name": "resnet9", "arguments": {"width": 4, "blocks": 1}},
        "discriminator": {"name": "patchgan", "arguments": {"width": 4}},
        "data": {"train": str(shards), "crop": 32, "hold_out": 1},
        "training": {"batch": 1, "schedule": {"unit": "steps", "constant": 2, "decay": 0}},
    }
    run = tmp_path / "run"
    assert without_pyvips(TRAIN, json.dumps(recipe), str(run)) == "2 False"
    assert (run / "weights.safetensors").is_file()


def test_a_folder_without_pyvips_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    code = """
from pathlib import Path
from physgan.data.pictures import open_pictures
from physgan.errors import ImageError
try:
    open_pictures(Path(sys.argv[1])).read(0)
except ImageError as error:
    print(error)
"""
    message = without_pyvips(code, str(tmp_path))
    for part in ("a.png", "pyvips", "to be installed", "pyvips[binary]", "physgan pack"):
        assert part in message
