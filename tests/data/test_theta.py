from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from physgan.data.theta import load_theta, save_theta
from physgan.errors import ThetaError
from tests.physics.cases import CASES, Case


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_round_trip(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "picture.safetensors"
    theta = {
        "blur": {"kernel": torch.rand(2, 3, 5).to(dtype), "turns": torch.tensor([1, -2])},
        "rain": {"streaks": torch.rand(2, 1, 4, 6) > 0.5, "levels.of": torch.arange(2).byte()},
        "sensor": {"sigma": torch.tensor([0.0, 0.1], dtype=dtype)},
    }
    save_theta(path, theta)
    loaded = load_theta(path)
    assert loaded.keys() == theta.keys()
    for stage, part in theta.items():
        assert loaded[stage].keys() == part.keys()
        assert all(same(loaded[stage][name], part[name]) for name in part)
    assert [p.name for p in tmp_path.iterdir()] == ["picture.safetensors"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_an_operator_makes_of_it_is_the_same(tmp_path: Path, case: Case) -> None:
    x, theta = case.draw(dtype=torch.float32)
    nested = theta if "sensor" in theta else {"stage": theta}
    save_theta(tmp_path / "a.safetensors", nested)
    loaded = load_theta(tmp_path / "a.safetensors")
    again = loaded if "sensor" in theta else loaded["stage"]
    assert torch.equal(case.operator(x, again), case.operator(x, theta))


def test_parts_of_a_batch(tmp_path: Path) -> None:
    # Pairs are written one by one out of a batch: views, not contiguous, sharing their memory.
    batch = torch.rand(4, 5, 5, generator=Generator().manual_seed(0))
    theta = {
        "blur": {"kernel": batch[1:2], "same": batch[1:2], "turned": batch[1:2].mT},
        "sensor": {"sigma": torch.rand(1).expand(3), "learnt": torch.ones(1, requires_grad=True)},
    }
    save_theta(tmp_path / "a.safetensors", theta)
    loaded = load_theta(tmp_path / "a.safetensors")
    assert all(same(loaded[s][name], t) for s, part in theta.items() for name, t in part.items())


def test_a_stage_without_parameters_is_kept(tmp_path: Path) -> None:
    theta = {"blur": {"kernel": torch.ones(1, 1, 1)}, "sampling": {}, "sensor": {}}
    save_theta(tmp_path / "a.safetensors", theta)
    assert load_theta(tmp_path / "a.safetensors") == theta
    assert list(load_theta(tmp_path / "a.safetensors")) == list(theta)
    # Written by others, without the names of stages.
    save_file({"blur.kernel": torch.ones(1, 1, 1)}, tmp_path / "c.safetensors")
    assert load_theta(tmp_path / "c.safetensors").keys() == {"blur"}
    save_theta(tmp_path / "b.safetensors", {})
    assert load_theta(tmp_path / "b.safetensors") == {}


def test_a_name_that_would_be_read_otherwise(tmp_path: Path) -> None:
    with pytest.raises(ThetaError, match=r"without a dot in their names, got a\.b"):
        save_theta(tmp_path / "a.safetensors", {"a.b": {"c": torch.ones(1)}})
    assert not list(tmp_path.iterdir())


def test_damaged_files(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    save_theta(good, {"blur": {"kernel": torch.rand(1, 9, 9)}})
    whole = good.read_bytes()
    for content in (b"", b"kernel: 3", whole[:5], whole[:60], whole[:-1], whole + b"0"):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(content)
        with pytest.raises(ThetaError, match=r"theta file .*bad\.safetensors.*readable"):
            load_theta(path)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(ThetaError, match="theta file"):
            load_theta(path)


def test_another_kind_of_file(tmp_path: Path) -> None:
    save_file({"crops": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ThetaError, match=r"names like 'blur.kernel', got 'crops'"):
        load_theta(tmp_path / "a.safetensors")
