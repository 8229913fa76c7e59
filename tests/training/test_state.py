"""Checkpoints: everything comes back bit for bit, in parts and compact, and no kill loses one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.optim import Adam

from physgan.data.synthesis import synthesise
from physgan.errors import TrainingError
from physgan.networks import PatchDiscriminator, UNet, channels_last
from physgan.objective.objective import Objective
from physgan.physics.blur import Blur, DiscKernels
from physgan.physics.compose import Degradation, Stage
from physgan.physics.sensor import Noise, SensorChain
from physgan.recipes.build import build_discriminator, build_generator
from physgan.recipes.load import load_recipe
from physgan.training.ema import EMA
from physgan.training.pool import ImagePool
from physgan.training.state import MANIFEST, TrainState, load_checkpoint, save_checkpoint
from physgan.training.step import Opponent, Player, adversarial_step

CPU = torch.device("cpu")


def state_of(networks: dict[str, torch.nn.Module], *, pool: int, seed: int) -> TrainState:
    """A run at its start, as the loop sets it up."""
    choices = Generator().manual_seed(seed)
    placed = {name: channels_last(network).train() for name, network in networks.items()}
    return TrainState(
        placed,
        {name: Adam(n.parameters(), lr=1e-2, fused=True) for name, n in placed.items()},
        {name: ImagePool(pool, generator=choices) for name in placed if name != "generator"},
        EMA(placed["generator"], 0.9),
        {
            "synthesis": Generator().manual_seed(seed + 1),
            "sensor": Generator().manual_seed(seed + 2),
            "pool": choices,
        },
    )


def fresh(seed: int = 0, width: int = 4) -> TrainState:
    torch.manual_seed(seed)
    networks: dict[str, torch.nn.Module] = {
        "generator": UNet(widths=(width, 8), blocks=(1, 1)),
        "clear": PatchDiscriminator(width=2),
        "observation": PatchDiscriminator(width=2),
    }
    return state_of(networks, pool=3, seed=seed)


def advance(state: TrainState, steps: int) -> TrainState:
    """Takes steps whose pictures come from torch's global generator."""
    chain = Degradation({"blur": Stage(Blur(), DiscKernels((0, 2)))}, SensorChain([Noise()]))
    for _ in range(steps):
        x = torch.rand(2, 3, 24, 24)
        numbers = adversarial_step(
            synthesise(x, chain, generator=state.generators["synthesis"]),
            Player(state.networks["generator"], state.optimisers["generator"]),
            {
                name: Opponent(state.networks[name], state.optimisers[name], pool)
                for name, pool in state.pools.items()
            },
            degradation=chain,
            objective=Objective(),
            generator=state.generators["sensor"],
        )
        state.ema.update(state.networks["generator"], state.step, torch.tensor(True))
        state.step += 1
        for name, number in numbers.items():
            state.sums[name] = state.sums.get(name, torch.zeros(())) + number
            state.counts[name] = state.counts.get(name, 0) + 1
    return state


def kept(state: TrainState) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in state.tensors().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype and torch.equal(a[n], b[n]) for n in a
    )


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"))


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("part_bytes", [None, 5000])
def test_everything_comes_back_bit_for_bit(tmp_path: Path, part_bytes: int | None) -> None:
    state = advance(fresh(), 5)
    state.skipped, state.skipped_in_a_row, state.seconds = 2, 1, 3.5
    state.measured = {"psnr": 20.123456789, "n": 3.0}
    before = kept(state)
    save_checkpoint(tmp_path, state, part_bytes=part_bytes)
    other = advance(fresh(seed=9), 2)
    assert not same(kept(other), before)
    assert load_checkpoint(tmp_path, other, device=CPU)
    assert same(kept(other), before)
    assert (other.step, other.skipped, other.skipped_in_a_row) == (5, 2, 1)
    assert (other.seconds, other.measured) == (3.5, state.measured)
    assert other.counts == state.counts

    # And the way on is the same: nothing that matters was left out.
    on = kept(advance(state, 3))
    load_checkpoint(tmp_path, other, device=CPU)  # torch's global generator, once more
    assert same(kept(advance(other, 3)), on)


def test_before_the_first_step(tmp_path: Path) -> None:
    state = fresh()
    before = kept(state)
    save_checkpoint(tmp_path, state)
    other = advance(fresh(seed=9), 1)
    assert load_checkpoint(tmp_path, other, device=CPU)
    assert same(kept(other), before)


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    state = fresh()
    before = kept(state)
    assert not load_checkpoint(tmp_path, state, device=CPU)
    assert same(kept(state), before)


def test_moments_lie_in_memory_as_their_parameters_do(tmp_path: Path) -> None:
    # The fused Adam pairs them by their order in memory.
    save_checkpoint(tmp_path, advance(fresh(), 1))
    other = fresh()
    load_checkpoint(tmp_path, other, device=CPU)
    seen = 0
    for optimiser in other.optimisers.values():
        for parameter, moments in optimiser.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                assert moments[name].stride() == parameter.stride()
                seen += not parameter.is_contiguous()
    assert seen


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    state, other = fresh(), fresh(seed=1)
    for one in (state, other):
        network = one.networks["generator"]
        network.twin = network.stem
        one.ema = EMA(network, 0.9)
    save_checkpoint(tmp_path, state)
    assert load_checkpoint(tmp_path, other, device=CPU)
    assert same(kept(other), kept(state))


def test_a_generator_of_another_device_begins_anew(tmp_path: Path) -> None:
    def carried() -> Tensor:
        flat = advance(fresh(), 1).tensors()
        flat["random/synthesis"] = torch.arange(16, dtype=torch.uint8)  # as a GPU's is
        state = fresh()
        start = state.generators["synthesis"].get_state()
        state.load(flat, device=CPU)
        assert not torch.equal(state.generators["synthesis"].get_state(), start)
        assert torch.equal(state.generators["sensor"].get_state(), flat["random/sensor"])
        return state.generators["synthesis"].get_state()

    assert torch.equal(carried(), carried())


# ---------------------------------------------------------------- forms


def test_parts_are_of_the_given_size_and_make_the_whole(tmp_path: Path) -> None:
    state = advance(fresh(), 1)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    save_checkpoint(whole, state)
    files = save_checkpoint(cut, state, part_bytes=7001)
    assert files == [*parts(cut), cut / MANIFEST]
    sizes = [path.stat().st_size for path in parts(cut)]
    assert len(sizes) > 5
    assert set(sizes[:-1]) == {7001}
    assert 0 < sizes[-1] <= 7001
    (single,) = parts(whole)
    assert b"".join(path.read_bytes() for path in parts(cut)) == single.read_bytes()


def test_more_parts_than_three_digits_count(tmp_path: Path) -> None:
    state = fresh()
    save_checkpoint(tmp_path, state, part_bytes=60)
    assert len(parts(tmp_path)) > 1000
    other = fresh(seed=1)
    assert load_checkpoint(tmp_path, other, device=CPU)
    assert same(kept(other), kept(state))
    save_checkpoint(tmp_path, advance(state, 1))
    assert len(parts(tmp_path)) == 1


def test_the_compact_form_is_smaller_and_close(tmp_path: Path) -> None:
    state = advance(fresh(), 5)
    exact = sum(p.stat().st_size for p in save_checkpoint(tmp_path, state)[:-1])
    compact = sum(p.stat().st_size for p in save_checkpoint(tmp_path, state, compact=True)[:-1])
    assert compact < 0.8 * exact
    other = fresh(seed=9)
    assert load_checkpoint(tmp_path, other, device=CPU)
    a, b = kept(state), kept(other)
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert b[name].dtype == tensor.dtype, name
        if name.startswith(("ema/", "optimiser/")):
            torch.testing.assert_close(b[name], tensor, rtol=2**-8, atol=1e-6)
        else:
            assert torch.equal(b[name], tensor), name
    advance(other, 1)  # and it goes on


def test_the_compact_checkpoint_of_the_default_recipe_is_small(tmp_path: Path) -> None:
    recipe = load_recipe("deblur-natural")
    networks = {
        "generator": build_generator(recipe.generator, channels=3, scale=1, seed=0),
        "clear": build_discriminator(recipe.discriminator, channels=3, seed=1),
        "observation": build_discriminator(recipe.discriminator, channels=3, seed=2),
    }
    state = state_of(networks, pool=recipe.objective.pool, seed=0)
    assert recipe.objective.pool == 50
    for name, network in networks.items():
        for parameter in network.parameters():
            parameter.grad = torch.rand_like(parameter)
        state.optimisers[name].step()
    for pool in state.pools.values():
        pool.exchange(torch.rand(50, 3, recipe.data.crop, recipe.data.crop))
        assert pool.count == 50
    files = save_checkpoint(tmp_path, state, compact=True, part_bytes=16 * 2**20)
    sizes = [path.stat().st_size for path in files]
    assert sum(sizes) <= 60_000_000
    assert max(sizes) <= 16 * 2**20


# ---------------------------------------------------------------- faults


def refusal(folder: Path, state: TrainState | None = None) -> str:
    with pytest.raises(TrainingError) as refused:
        load_checkpoint(folder, state or fresh(), device=CPU)
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, advance(fresh(), 1), part_bytes=20_000)
    return tmp_path


def test_a_damaged_part(folder: Path) -> None:
    part = parts(folder)[1]
    content = bytearray(part.read_bytes())
    content[500] ^= 1
    part.write_bytes(content)
    assert "hash" in refusal(folder)


def test_a_part_cut_short(folder: Path) -> None:
    part = parts(folder)[-1]
    part.write_bytes(part.read_bytes()[:-1])
    assert "Bring all parts" in refusal(folder)


def test_a_missing_part(folder: Path) -> None:
    part = parts(folder)[1]
    part.unlink()
    assert part.name in refusal(folder)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda m: m.pop("parts"), "no 'parts'"),
        (lambda m: m.pop("sha256"), "no 'sha256'"),
        (lambda m: m.pop("counts"), "no 'counts'"),
        (lambda m: m.update(format="physgan-checkpoint-9"), "physgan-checkpoint-9"),
        (lambda m: m.update(step="many"), "many"),
        (lambda m: m.update(parts=3), "int"),
    ],
)
def test_a_damaged_manifest(
    folder: Path, change: Callable[[dict[str, Any]], object], part: str
) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert part in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    assert "undamaged" in refusal(folder)


def test_other_networks(folder: Path) -> None:
    assert "the networks of this recipe" in refusal(folder, fresh(width=6))


def test_a_network_that_the_checkpoint_lacks(tmp_path: Path) -> None:
    one = fresh()
    del one.networks["observation"], one.optimisers["observation"], one.pools["observation"]
    save_checkpoint(tmp_path, one)
    assert "the networks of this recipe" in refusal(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a folder that can be written"):
        save_checkpoint(tmp_path / "nowhere", fresh())


# ---------------------------------------------------------------- kills


class Killed(BaseException):
    """The process is no more."""


OPERATIONS = [
    (Path, "write_bytes"),
    (Path, "write_text"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "chmod"),
    (os, "fsync"),
]


@contextmanager
def killed_at(operation: int) -> Iterator[list[int]]:
    """From that file operation on, counted from 0, nothing happens any more but `Killed`."""
    done = [0]

    def fatal(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **options: Any) -> Any:
            if done[0] >= operation:
                raise Killed
            done[0] += 1
            return real(*args, **options)

        return act

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in OPERATIONS:
            patch.setattr(owner, name, fatal(getattr(owner, name)))
        yield done


@pytest.mark.parametrize("steps", [1, 0], ids=["a step later", "the same step, cut otherwise"])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path, steps: int) -> None:
    old, new = advance(fresh(), 1), advance(fresh(), 1)
    advance(new, steps)
    if not steps:
        new.sums["more"] = torch.ones(())  # other contents at the same step
    before, after = kept(old), kept(new)
    outcomes = []
    for operation in range(200):
        folder = tmp_path / f"{operation}"
        folder.mkdir()
        save_checkpoint(folder, old, part_bytes=60_000)
        try:
            with killed_at(operation):
                save_checkpoint(folder, new, part_bytes=50_000)
            finished = True
        except Killed:
            finished = False
        state = fresh(seed=9)
        assert load_checkpoint(folder, state, device=CPU)
        found = kept(state)
        # torch's global generator is the caller's, and has moved since.
        for flat in (found, before, after):
            flat.pop("random/global", None)
        assert same(found, before) or same(found, after)
        outcomes.append(same(found, after))
        # The next checkpoint finds its way, and clears what the kill left.
        save_checkpoint(folder, new, part_bytes=50_000)
        named = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["parts"]
        assert sorted(p.name for p in folder.iterdir()) == sorted([*named, MANIFEST])
        if finished:
            break
    assert finished
    assert outcomes == sorted(outcomes)
    assert {True, False} == set(outcomes)
    assert len(outcomes) > 15


def test_files_of_others_stay(tmp_path: Path) -> None:
    others = ["checkpoint-notes.txt", "checkpoint-1.000.bak", "weights.safetensors", ".hidden"]
    for name in others:
        (tmp_path / name).write_text("mine", encoding="utf-8")
    save_checkpoint(tmp_path, fresh())
    save_checkpoint(tmp_path, advance(fresh(), 1))
    left = {path.name for path in tmp_path.iterdir()}
    assert {*others, MANIFEST} < left
    assert len([n for n in left if re.fullmatch(r"checkpoint-\d{8}-[0-9a-f]{8}\.\d{3}", n)]) == 1
