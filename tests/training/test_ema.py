"""The moving average of weights against its written-out sum."""

import torch
from torch import nn

from physgan.training.ema import EMA


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))


def drift(module: nn.Module, step: int) -> None:
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.add_(0.1 * (i + 1) * (-1) ** step)
        for buffer in module.buffers():
            buffer.add_(1)


def test_against_a_computation_by_hand() -> None:
    module = network()
    average = EMA(module, decay=0.5)
    expected = [p.detach().double() for p in module.parameters()]
    for t in range(12):
        drift(module, t)
        average.update(module, t, torch.tensor(True))
        keep = min(0.5, (1 + t) / (10 + t))  # 0.1, 2/11, 3/12, … until 0.5 at t = 8
        assert (keep == 0.5) == (t >= 8)
        expected = [
            keep * e + (1 - keep) * p.detach().double()
            for e, p in zip(expected, module.parameters(), strict=True)
        ]
        for mine, right in zip(average.module.parameters(), expected, strict=True):
            torch.testing.assert_close(mine.double(), right, rtol=1e-6, atol=1e-6)


def test_the_first_update_forgets_the_start() -> None:
    module = network()
    start = [p.detach().clone() for p in module.parameters()]
    average = EMA(module, decay=0.999)
    drift(module, 0)
    average.update(module, 0, torch.tensor(True))
    for mine, now, old in zip(average.module.parameters(), module.parameters(), start, strict=True):
        torch.testing.assert_close(mine, 0.9 * now + 0.1 * old)


def test_buffers_are_copied() -> None:
    module = network()
    average = EMA(module, decay=0.999)
    for t in range(3):
        drift(module, t)
    average.update(module, 0, torch.tensor(True))
    pairs = list(zip(average.module.buffers(), module.buffers(), strict=True))
    assert len(pairs) == 3
    for mine, theirs in pairs:
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()


def test_the_average_is_apart_and_at_rest() -> None:
    module = network().train()
    average = EMA(module, decay=0.9)
    assert not average.module.training
    assert module.training
    assert not any(p.requires_grad for p in average.module.parameters())
    assert all(p.requires_grad for p in module.parameters())
    before = [p.clone() for p in average.module.parameters()]
    drift(module, 0)
    assert all(map(torch.equal, before, average.module.parameters()))


def test_no_decay_follows_at_once() -> None:
    module = network()
    average = EMA(module, decay=0.0)
    drift(module, 0)
    average.update(module, 100, torch.tensor(True))
    for mine, theirs in zip(average.module.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_network_that_has_not_moved_leaves_the_average() -> None:
    module = network()
    average = EMA(module, decay=0.9)
    drift(module, 0)
    before = [p.clone() for p in average.module.parameters()]
    average.update(module, 3, torch.tensor(False))
    for mine, old in zip(average.module.parameters(), before, strict=True):
        assert torch.equal(mine, old)
