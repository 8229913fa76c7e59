"""Muon against torch's own, its iteration as published, and runs that it moves."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.optim import AdamW

from physgan.training.muon import Muon, orthogonalised
from physgan.training.state import MANIFEST
from physgan.weights.file import load_weights
from tests.training.test_loop import train


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (24, 24), (20, 21)])
def test_orthogonalised_is_the_published_iteration(shape: tuple[int, int]) -> None:
    given = noise(*shape).double()
    x = given / given.norm()
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    torch.testing.assert_close(orthogonalised(given), x, rtol=1e-5, atol=1e-6)


def test_directions_stay_and_lengths_become_alike() -> None:
    u, _ = torch.linalg.qr(noise(16, 16, seed=1))
    v, _ = torch.linalg.qr(noise(40, 16, seed=2))
    lengths = torch.logspace(0, -1.5, 16)
    turned = u.T @ orthogonalised(u @ torch.diag(lengths) @ v.T) @ v
    assert 0.6 < float(turned.diagonal().min()) < float(turned.diagonal().max()) < 1.25
    assert float((turned - torch.diag(turned.diagonal())).abs().max()) < 1e-4


@pytest.mark.parametrize("weight_decay", [0.0, 30.0])
def test_moves_as_torch_s_own_does(weight_decay: float) -> None:
    """Which knows matrices alone and iterates in bfloat16."""
    kernel = nn.Parameter(noise(32, 20, 3, 3).contiguous(memory_format=torch.channels_last))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    start = matrix.detach().clone()
    ours = Muon([kernel], lr=1e-2, weight_decay=weight_decay)
    theirs = torch.optim.Muon(
        [matrix], lr=1e-2, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(4):
        g = noise(32, 20, 3, 3, seed=step + 10)
        kernel.grad, matrix.grad = g.contiguous(memory_format=torch.channels_last), g.flatten(1)
        ours.step()
        theirs.step()
    moved, expected = kernel.detach().flatten(1) - start, matrix.detach() - start
    assert float((moved - expected).norm() / expected.norm()) < 0.02


def test_what_is_no_hidden_kernel_moves_by_adam() -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 3, 3))
    twin = copy.deepcopy(network)
    ours = Muon(network.parameters(), lr=1e-3, betas=(0.5, 0.9), weight_decay=30)
    theirs = AdamW(twin.parameters(), lr=1e-3, betas=(0.5, 0.9), weight_decay=30)
    for step in range(3):
        for i, (p, q) in enumerate(zip(network.parameters(), twin.parameters(), strict=True)):
            p.grad = noise(*p.shape, seed=10 * step + i)
            q.grad = p.grad.clone()
        ours.step()
        theirs.step()
    for (name, p), q in zip(network.named_parameters(), twin.parameters(), strict=True):
        if name == "1.weight":
            assert not torch.allclose(p, q)
        else:
            torch.testing.assert_close(p, q)


def test_a_broken_step_leaves_no_trace() -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1))
    optimiser = Muon(network.parameters(), lr=1e-2, weight_decay=30)
    for i, p in enumerate(network.parameters()):
        p.grad = noise(*p.shape, seed=i)
    optimiser.step()
    before = copy.deepcopy(network.state_dict()), copy.deepcopy(optimiser.state_dict())
    for p in network.parameters():
        p.grad = torch.full_like(p, torch.nan)
    optimiser.found_inf = torch.ones(())  # type: ignore[attr-defined]
    optimiser.step()
    torch.testing.assert_close(network.state_dict(), before[0], rtol=0, atol=0)
    torch.testing.assert_close(optimiser.state_dict()["state"], before[1]["state"], rtol=0, atol=0)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    moved = ["--optimiser.method", "muon", "--generator.arguments.widths", "[16, 32]"]
    moved += ["--optimiser.weight_decay", "5"]
    results = []
    for name, lengths in (("whole", (6,)), ("parts", (3, 6))):
        for length in lengths:
            schedule = ["--training.schedule", f"{{constant: {length}, decay: 0}}"]
            (tmp_path / name).mkdir(exist_ok=True)
            assert train(tmp_path / name, *moved, *schedule, "--resume") == 0
        assert (tmp_path / name / "run" / MANIFEST).is_file()
        network, _ = load_weights(tmp_path / name / "run" / "weights.safetensors")
        results.append(network.state_dict())
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_what_it_remembers_goes_where_its_parameters_are() -> None:
    """A run carried to a GPU: with a device that stands for one."""
    optimisers = []
    for device in ("cpu", "meta"):
        network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1)).to(device)
        optimisers.append(Muon(network.parameters(), lr=1e-2))
    here, there = optimisers
    for p in here.param_groups[0]["params"]:
        p.grad = torch.ones_like(p)
    here.step()
    there.load_state_dict(here.state_dict())
    for state in there.state.values():
        assert {t.device.type for t in state.values()} == {"meta"}
