"""The history of generated images: what it keeps, what it hands back, and how often."""

import math

import torch
from torch import Generator, Tensor

from physgan.training.pool import ImagePool


def pool(capacity: int, seed: int = 0) -> ImagePool:
    return ImagePool(capacity, generator=Generator().manual_seed(seed))


def numbered(first: int, count: int) -> Tensor:
    """Images of one level each, count×1×2×2; the level is the number of the image."""
    levels = torch.arange(first, first + count) % 256
    return (levels / 255)[:, None, None, None].expand(-1, 1, 2, 2).clone()


def numbers(images: Tensor) -> list[int]:
    return images[:, 0, 0, 0].mul(255).round().int().tolist()


def test_until_full_everything_is_stored_and_handed_back() -> None:
    history = pool(5)
    for first, count in ((0, 2), (2, 3)):
        assert numbers(history.exchange(numbered(first, count))) == [*range(first, first + count)]
    assert history.count == 5
    assert history.images is not None
    assert numbers(history.images / 255) == [0, 1, 2, 3, 4]


def test_a_batch_that_fills_the_pool_half_way_through() -> None:
    history = pool(3, seed=1)
    result = numbers(history.exchange(numbered(0, 3 + 200)))
    assert result[:3] == [0, 1, 2]
    # What came back instead of the new image is older than it.
    assert all(old <= new for new, old in enumerate(result))
    assert any(old < new for new, old in enumerate(result))


def test_the_probability_of_an_exchange() -> None:
    # Every image is new here, so that every exchange shows.
    trials, exchanged, slots = 4000, 0, torch.zeros(16)
    history = pool(16, seed=3)
    history.images, history.count = torch.zeros(16, 1, 1, 2, dtype=torch.uint8), 16
    for i in range(1, trials + 1):
        new = torch.tensor([i // 256, i % 256]).view(1, 1, 1, 2) / 255
        before = history.images.clone()
        back = history.exchange(new)
        changed = (history.images != before).flatten(1).any(dim=1).nonzero().flatten().tolist()
        assert changed == ([] if torch.equal(back, new) else changed[:1])
        if changed:
            exchanged += 1
            slots[changed[0]] += 1
            assert torch.equal(back[0].mul(255).round().byte(), before[changed[0]])
    sigma = math.sqrt(trials) / 2
    assert abs(exchanged - trials / 2) < 4 * sigma
    expected = exchanged / 16
    assert float(((slots - expected) ** 2 / expected).sum()) < 37.7  # chi², 15 degrees, 0.1 %


def test_images_are_rounded_to_8_bits_and_detached() -> None:
    fake = torch.tensor([-0.2, 0.1, 0.49999, 0.7, 1.3]).view(1, 1, 1, 5).requires_grad_()
    for history in (pool(0), pool(3)):
        back = history.exchange(fake)
        assert back.dtype == torch.float32
        assert not back.requires_grad
        expected = torch.tensor([0, 26, 127, 178, 255])  # 0.7 lies a hair below 178.5 / 255
        assert torch.equal(back.flatten(), expected / 255)


def test_precision_of_the_fakes_is_kept() -> None:
    assert pool(3).exchange(torch.rand(1, 3, 4, 4, dtype=torch.float64)).dtype == torch.float64


def test_a_pool_without_capacity_keeps_nothing() -> None:
    history = pool(0)
    fake = numbered(0, 4)
    assert torch.equal(history.exchange(fake), fake)
    assert history.state() == {}


def test_the_caller_s_batch_does_not_change() -> None:
    history, fake = pool(2, seed=1), numbered(10, 8)
    before = fake.clone()
    history.exchange(fake).zero_()
    assert torch.equal(fake, before)
    assert history.images is not None
    assert int(history.images.min()) >= 10  # nor does the pool, by what it handed out


def test_the_generator_decides() -> None:
    def run(seed: int) -> list[int]:
        history = pool(4, seed)
        return numbers(history.exchange(numbered(0, 40)))

    torch.manual_seed(1)
    first = run(7)
    torch.manual_seed(2)
    assert run(7) == first
    assert run(8) != first


def test_state_round_trip() -> None:
    for filled in (0, 3, 5, 30):
        one = pool(5, seed=4)
        if filled:
            one.exchange(numbered(0, filled))
        state = {name: t.clone() for name, t in one.state().items()}
        assert all(t.dtype == torch.uint8 and len(t) == min(filled, 5) for t in state.values())
        other = pool(5, seed=99)
        other.exchange(numbered(50, 9))  # what was there before is forgotten
        other.load(state, torch.device("cpu"))
        other.generator.set_state(one.generator.get_state())
        for first in range(100, 150, 10):
            new = numbered(first, 10)
            assert torch.equal(one.exchange(new), other.exchange(new))
