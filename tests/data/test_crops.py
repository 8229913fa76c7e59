import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from physgan.data.crops import (
    Crops,
    CropStream,
    ahead,
    centre_crop,
    fitted,
    packed_crops,
    read_fitted,
    turned,
)
from physgan.data.depth import depth_map
from physgan.errors import ImageError
from tests.data.sets import MemoryPictures, MemoryScenes, depth_of, picture

sides = st.integers(1, 40)


def numbered(count: int, side: int = 6) -> MemoryPictures:
    """Pictures each of one value, their number, so that crops say where they come from."""
    return MemoryPictures(
        [torch.full((3, side, side), index, dtype=torch.uint8) for index in range(count)]
    )


def stream(pictures: MemoryPictures, **changes: object) -> CropStream:
    arguments: dict[str, object] = {
        "indices": range(len(pictures)),
        "size": 4,
        "batch": 3,
        "seed": 0,
    }
    return CropStream(pictures, **(arguments | changes))  # type: ignore[arg-type]


# ---------------------------------------------------------------- the stream


@given(seed=st.integers(-(2**40), 2**63), step=st.integers(0, 2**40), other=st.integers(0, 50))
def test_a_batch_depends_on_seed_and_step_alone(seed: int, step: int, other: int) -> None:
    pictures = MemoryPictures([picture(9, 12, seed=i) for i in range(5)])
    crops = stream(pictures, seed=seed)
    crops(other)
    batch = crops(step).x
    assert batch.shape == (3, 3, 4, 4)
    assert batch.dtype == torch.uint8
    state = torch.get_rng_state()
    assert torch.equal(stream(pictures, seed=seed)(step).x, batch)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_and_steps_differ() -> None:
    pictures = MemoryPictures([picture(400, 300, seed=i) for i in range(7)])
    batches = [stream(pictures, seed=seed)(step).x for seed in range(5) for step in range(20)]
    crops = [crop for batch in batches for crop in batch]
    assert len({crop.numpy().tobytes() for crop in crops}) == len(crops) == 300


@given(count=st.integers(1, 12), batch=st.integers(1, 5), seed=st.integers(0, 9))
def test_each_epoch_takes_every_picture_once(count: int, batch: int, seed: int) -> None:
    pictures = numbered(2 * count)
    members = list(range(1, 2 * count, 2))
    crops = stream(pictures, indices=members, batch=batch, seed=seed)
    assert crops.steps_per_epoch == -(-count // batch)
    taken = [int(crop[0, 0, 0]) for step in range(3 * count) for crop in crops(step).x]
    epochs = [taken[i : i + count] for i in range(0, len(taken), count)]
    assert len(epochs) == 3 * batch
    assert all(sorted(epoch) == members for epoch in epochs)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        crops = stream(numbered(20), batch=20, seed=seed)
        return tuple(crops(epoch).x[:, 0, 0, 0].tolist())

    assert len({order(seed, epoch) for seed in range(4) for epoch in range(12)}) == 48


@given(
    h=sides,
    w=sides,
    size=st.integers(1, 24),
    fit=st.sampled_from(["crop", "resize"]),
    augment=st.sampled_from(["none", "flip", "dihedral"]),
    channels=st.sampled_from([1, 3]),
)
def test_any_size_of_picture(
    h: int,
    w: int,
    size: int,
    fit: Literal["crop", "resize"],
    augment: Literal["none", "flip", "dihedral"],
    channels: int,
) -> None:
    pictures = MemoryPictures([picture(h, w, channels=channels)])
    crops = stream(pictures, size=size, fit=fit, augment=augment, batch=2)
    batch = crops(0).x
    assert batch.shape == (2, channels, size, size)
    assert batch.dtype == torch.uint8
    middle, _ = centre_crop(pictures, 0, size, fit)
    assert middle.shape == (channels, size, size)


def test_crops_are_cut_everywhere() -> None:
    # A picture whose pixels hold their own place: 9 places for a crop.
    place = torch.arange(25, dtype=torch.uint8).reshape(1, 5, 5)
    crops = stream(MemoryPictures([place]), size=3, augment="none", batch=1)
    corners: Counter[int] = Counter()
    for step in range(450):
        (crop,) = crops(step).x
        corner = int(crop[0, 0, 0])
        row, column = divmod(corner, 5)
        assert torch.equal(crop, place[:, row : row + 3, column : column + 3])
        corners[corner] += 1
    assert sorted(corners) == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert min(corners.values()) > 20  # of 50 on the mean; six deviations


@pytest.mark.parametrize(("augment", "kinds"), [("none", 1), ("flip", 2), ("dihedral", 8)])
def test_turns_occur_alike(augment: Literal["none", "flip", "dihedral"], kinds: int) -> None:
    one = picture(4, 4)
    turns = [turned(one, turn) for turn in range(8)]
    crops = stream(MemoryPictures([one]), augment=augment, batch=1)
    seen = Counter(
        next(i for i, turn in enumerate(turns) if torch.equal(crop, turn))
        for step in range(400)
        for crop in crops(step).x
    )
    assert sorted(seen) == list(range(kinds))
    deviation = (400 * (kinds - 1) / kinds**2) ** 0.5
    assert all(abs(times - 400 / kinds) <= 5 * deviation for times in seen.values())


def test_the_eight_turns() -> None:
    one = torch.arange(4).reshape(1, 2, 2)
    turns = {tuple(turned(one, turn).flatten().tolist()) for turn in range(8)}
    assert turns == {
        (0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0),
        (0, 2, 1, 3), (2, 0, 3, 1), (1, 3, 0, 2), (3, 1, 2, 0),
    }  # fmt: skip
    assert torch.equal(turned(one, 0), one)
    assert torch.equal(turned(one, 1), one.flip(-1))


# ---------------------------------------------------------------- fitting


@given(h=sides, w=sides, size=st.integers(1, 24))
def test_fit_crop_enlarges_only_what_is_too_small(h: int, w: int, size: int) -> None:
    one = picture(h, w)
    result = fitted(one, size, "crop")
    if min(h, w) >= size:
        assert result is one
    else:
        assert min(result.shape[-2:]) == size
        # The sides keep their ratio to a pixel.
        assert abs(result.shape[-2] - h * size / min(h, w)) <= 0.5
        assert abs(result.shape[-1] - w * size / min(h, w)) <= 0.5


@given(h=sides, w=sides, size=st.integers(1, 24))
def test_fit_resize_takes_the_whole(h: int, w: int, size: int) -> None:
    # A ramp from left to right stays one: nothing is cut off.
    ramp = torch.linspace(0, 255, w)[None, None].expand(3, h, w).to(torch.uint8)
    result = fitted(ramp, size, "resize").int()
    assert result.shape == (3, size, size)
    assert (result.diff(dim=-1) >= -6).all()
    if w >= 2 * size and size > 1:
        assert result[..., 0].max() < 128 < result[..., -1].min()


def test_resizing_neither_wraps_nor_darkens() -> None:
    # Bicubic interpolation overshoots at edges; in bytes that must saturate.
    edge = torch.zeros(3, 8, 8, dtype=torch.uint8)
    edge[..., 4:] = 255
    large = fitted(edge, 32, "crop")
    assert large[..., :14].max() <= 16
    assert large[..., 18:].min() >= 239
    flat = torch.full((3, 5, 7), 77, dtype=torch.uint8)
    assert fitted(flat, 30, "crop").unique().tolist() == [77]


def test_centre_crop_is_the_middle() -> None:
    one = picture(9, 12)
    pictures = MemoryPictures([one])
    assert torch.equal(centre_crop(pictures, 0, 3, "crop")[0], one[:, 3:6, 4:7])
    assert torch.equal(centre_crop(pictures, 0, 9, "crop")[0], one[:, :, 1:10])
    assert torch.equal(centre_crop(pictures, 0, 5, "resize")[0], fitted(one, 5, "resize"))


# ---------------------------------------------------------------- what is measured with pictures


@pytest.mark.parametrize("augment", ["none", "flip", "dihedral"])
def test_measured_maps_are_cut_and_turned_with_their_pictures(augment: str) -> None:
    scenes = MemoryScenes([picture(9, 12, seed=i) for i in range(3)])
    crops = stream(scenes, augment=augment)
    for step in range(8):
        x, known = crops(step)
        assert list(known) == ["depth"]
        assert torch.equal(known["depth"], depth_of(x[:, :1]))
    middle, maps = centre_crop(scenes, 1, 5, "crop")
    assert torch.equal(maps["depth"], depth_of(middle[:1]))


def test_measured_maps_are_resized_with_their_pictures() -> None:
    flat = torch.full((3, 6, 9), 51, dtype=torch.uint8)
    for size, fit in ((12, "crop"), (4, "resize")):
        x, known = stream(MemoryScenes([flat]), size=size, fit=fit)(0)
        assert known["depth"].shape == (3, 1, size, size)
        assert torch.allclose(known["depth"], depth_of(x[:, :1]))


@dataclass
class CentredScenes(MemoryPictures):
    """Pictures with maps that have a margin more, of pixels of the same size."""

    maps: Sequence[Tensor] = ()

    def depth(self, index: int, size: tuple[int, int] | None = None) -> Tensor:
        return depth_map(self.maps[index], size=size, placed="centred")


@pytest.mark.parametrize(("size", "fit"), [(48, "crop"), (12, "crop"), (24, "resize")])
def test_centred_maps_stay_on_their_pictures_when_both_are_resized(
    size: int, fit: Literal["crop", "resize"]
) -> None:
    i, j = torch.meshgrid(torch.arange(28.0), torch.arange(40.0), indexing="ij")
    values = 20 + 2 * i + 4 * j
    one = values[2:26, 5:35].to(torch.uint8).expand(3, -1, -1)
    scenes = CentredScenes([one], maps=[values])
    batches = [stream(scenes, size=size, fit=fit)(0)]
    x, maps = centre_crop(scenes, 0, size, fit)
    batches.append(Crops(x[None], {"depth": maps["depth"][None]}))
    for batch in batches:
        inner = (..., slice(3, -3), slice(3, -3))  # a ramp ends at its edges
        off = batch.known["depth"][inner] - batch.x[:, :1][inner] / int(one.max())
        assert float(off.abs().max()) < 0.01


@given(h=sides, w=sides, size=st.integers(1, 24), fit=st.sampled_from(["crop", "resize"]))
def test_resized_maps_stay_within_what_was_measured(
    h: int, w: int, size: int, fit: Literal["crop", "resize"]
) -> None:
    one = picture(h, w, channels=1)
    _, known = read_fitted(MemoryScenes([one]), 0, size, fit)
    depth = depth_of(one)
    assert known["depth"].min() >= depth.min()
    assert known["depth"].max() <= depth.max()


@pytest.mark.parametrize(
    ("depth", "got"),
    [
        (torch.ones(1, 6, 8), r"shape \(1, 6, 8\)"),
        (torch.ones(6, 9), r"shape \(6, 9\)"),
        (torch.full((1, 6, 9), 2.0), "from 2 to 2"),
        (torch.zeros(1, 6, 9), "from 0 to 0"),
        (torch.full((1, 6, 9), torch.nan), "from nan to nan"),
        (torch.ones(1, 6, 9).double(), "float64"),
        (np.ones((1, 6, 9), dtype=np.float32), "ndarray"),
    ],
)
def test_depth_of_a_foreign_set_is_looked_at(depth: Tensor, got: str) -> None:
    class Foreign(MemoryScenes):
        def depth(self, index: int, size: tuple[int, int] | None = None) -> Tensor:
            return depth

    scenes = Foreign([picture(6, 9)] * 3)
    with pytest.raises(ImageError, match=rf"depth of picture 2 of the set.*{got}"):
        read_fitted(scenes, 2, 4, "crop")


def test_maps_that_nothing_takes_are_not_read() -> None:
    class Unmeasured(MemoryScenes):
        def depth(self, index: int, size: tuple[int, int] | None = None) -> Tensor:
            raise AssertionError("nobody asked")

    scenes = Unmeasured([picture(9, 12)])
    assert stream(scenes, known=False)(0).known == {}
    assert centre_crop(scenes, 0, 5, "crop", known=False)[1] == {}


def test_pictures_alone_have_no_maps() -> None:
    assert stream(numbered(2))(0).known == {}
    assert centre_crop(numbered(2), 0, 3, "crop")[1] == {}


# ---------------------------------------------------------------- reading ahead


@given(
    start=st.integers(0, 20),
    count=st.integers(0, 12),
    workers=st.integers(1, 8),
)
def test_ahead_is_the_stream_in_order(start: int, count: int, workers: int) -> None:
    crops = stream(MemoryPictures([picture(9, 9, seed=i) for i in range(4)]))
    batches = list(ahead(crops, start, start + count, workers=workers))
    assert len(batches) == count
    for step, batch in enumerate(batches, start):
        assert torch.equal(batch.x, crops(step).x)


def test_ahead_reads_in_the_background_but_not_without_end() -> None:
    asked: list[int] = []

    def slow(step: int) -> Tensor:
        asked.append(step)
        assert threading.current_thread() is not threading.main_thread()
        time.sleep(0.01 if step % 2 else 0.0)
        return torch.tensor(step)

    batches = ahead(slow, 0, 1000, workers=3)
    for step in range(3):
        assert int(next(batches)) == step
    time.sleep(0.2)
    assert len(asked) >= 3 + 1
    assert max(asked) <= 2 + 6
    batches.close()
    time.sleep(0.05)
    assert not any(thread.name.startswith("crops") for thread in threading.enumerate())


def test_ahead_hands_errors_on() -> None:
    def broken(step: int) -> Tensor:
        if step == 5:
            raise ImageError("picture 5", expected="a picture", got="none")
        return torch.tensor(step)

    batches = ahead(broken, 2, 100)
    assert [int(next(batches)) for _ in range(3)] == [2, 3, 4]
    with pytest.raises(ImageError, match="picture 5"):
        next(batches)


# ---------------------------------------------------------------- packing


def test_packed_crops() -> None:
    class Broken(MemoryPictures):
        def read(self, index: int) -> Tensor:
            if index == 1:
                raise ImageError("picture 1", expected="a picture", got="none")
            return super().read(index)

    pictures = Broken([picture(30, 40, seed=i) for i in range(3)] + [picture(2, 5)])
    errors: list[ImageError] = []

    def pack(seed: int) -> list[tuple[int, Tensor]]:
        return list(
            packed_crops(pictures, size=8, per_picture=4, seed=seed, on_error=errors.append)
        )

    crops = pack(0)
    assert [str(error)[:9] for error in errors] == ["picture 1"]
    assert [index for index, _ in crops] == [0] * 4 + [2] * 4 + [3] * 4
    for index, crop in crops:
        assert crop.shape == (3, 8, 8)
        if index != 3:  # which was enlarged
            windows = pictures.pictures[index].unfold(1, 8, 1).unfold(2, 8, 1)
            assert (windows == crop[:, None, None]).all(dim=-1).all(dim=-1).all(dim=0).any()
    assert len({crop.numpy().tobytes() for _, crop in crops[:8]}) == 8
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(crops, pack(0), strict=True))
    assert not all(torch.equal(a, b) for (_, a), (_, b) in zip(crops, pack(1), strict=True))


def test_every_worker_has_something_to_do() -> None:
    together, most = 0, 0
    lock = threading.Lock()

    def slow(step: int) -> Tensor:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.05)
        with lock:
            together -= 1
        return torch.tensor(step)

    assert [int(batch) for batch in ahead(slow, 0, 30, workers=8)] == list(range(30))
    assert most == 8


# ---------------------------------------------------------------- pictures that cannot be read


class Damaged(MemoryPictures):
    """A set of which some members cannot be read."""

    damaged: tuple[int, ...] = (1,)

    def read(self, index: int) -> Tensor:
        if index in self.damaged:
            raise ImageError(f"picture {index}", expected="a picture", got="none")
        return super().read(index)


def test_a_damaged_picture_is_passed_over_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pictures = Damaged([picture(12, 12, seed=i) for i in range(4)])
    crops, again = stream(pictures), stream(pictures)
    batches = [crops(step).x for step in range(6)]
    assert [r.getMessage() for r in caplog.records] == [
        "passed over: picture 1: expected a picture, got none."
    ]
    # What takes its place does not depend on what was read before.
    for step in (5, 0, 3):
        assert torch.equal(again(step).x, batches[step])


def test_a_set_without_a_readable_picture_is_an_error() -> None:
    pictures = Damaged([picture(12, 12, seed=i) for i in range(2)])
    pictures.damaged = (0, 1)
    with pytest.raises(ImageError, match="expected a picture"):
        stream(pictures)(0)
