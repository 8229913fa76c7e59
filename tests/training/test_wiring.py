"""That every number of a recipe reaches the place where it acts, and that the loop uses it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Generator, Tensor, nn

from physgan.data.crops import Crops, ahead
from physgan.data.pairs import Pair
from physgan.data.synthesis import synthesise
from physgan.networks import PatchDiscriminator, UNet
from physgan.networks.ways import has_bf16
from physgan.objective.objective import Objective
from physgan.physics.blur import Blur, DiscKernels
from physgan.physics.compose import Degradation, Stage
from physgan.physics.sensor import Clip, Noise, Round, SensorChain
from physgan.recipes import experiment
from physgan.recipes.load import load_recipe
from physgan.training import loop
from physgan.training.logs import Watcher
from physgan.training.loop import Outcome, Plan, fit
from physgan.training.validate import validate
from tests.training.tiny import draw_pictures, write_recipe

CPU = torch.device("cpu")
CHAIN = Degradation(
    {"blur": Stage(Blur(), DiscKernels((0.0, 2.0)))},
    SensorChain([Noise((0.0, 0.1)), Clip(), Round()]),
)


@pytest.fixture(autouse=True)
def _random_state() -> Iterator[None]:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def players() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    return {
        "generator": UNet(widths=(4,), blocks=(1,)),
        "clear": PatchDiscriminator(width=2),
        "observation": PatchDiscriminator(width=2),
    }


def crops(step: int) -> Crops:
    generator = Generator().manual_seed(step)
    x = torch.randint(0, 256, (2, 3, 24, 24), generator=generator, dtype=torch.uint8)
    return Crops(x, {})


def run(folder: Path, networks: dict[str, nn.Module], **changes: Any) -> tuple[nn.Module, Outcome]:
    """Two steps; the averaged network and the outcome that were handed out at the end."""
    saved: list[tuple[nn.Module, Outcome]] = []
    pairs = changes.pop("pairs", ())
    watchers = changes.pop("watchers", lambda start: ())
    fit(
        networks,
        stream=crops,
        pairs=pairs,
        degradation=CHAIN,
        objective=Objective(),
        plan=Plan(seed=3, **{"constant": 2, "decay": 0, **changes}),
        folder=folder,
        save_weights=lambda network, outcome: saved.append((network, outcome)),
        watchers=watchers,
        device="cpu",
    )
    return saved[-1]


def checkpoint(folder: Path) -> dict[str, Tensor]:
    manifest = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
    return load(b"".join((folder / part).read_bytes() for part in manifest["parts"]))


# ---------------------------------------------------------------- from recipe to plan


def test_every_number_of_a_recipe_reaches_the_plan() -> None:
    recipe = load_recipe(
        "deblur-natural",
        [
            "--seed=12",
            "--optimiser={method: muon, lr: 0.003, betas: [0.7, 0.8], clip: 3.5}",
            "--optimiser.weight_decay=0.3",
            "--training.parts=2",
            "--training.recompute",
            "--objective.pool=7",
            "--data.workers=6",
            "--training.ema=0.5",
            "--training.precision=fp32",
            "--training.compile",
            "--training.log_every=21",
            "--training.validate_every=22",
            "--training.patience=24",
            "--training.schedule={unit: epochs, constant: 3, decay: 4}",
            "--training.checkpoint={every: 23, part_megabytes: 16, compact: true}",
        ],
    )
    expected = {
        "seed": 12,
        "constant": 30,
        "decay": 40,
        "method": "muon",
        "parts": 2,
        "recompute": True,
        "lr": 0.003,
        "betas": (0.7, 0.8),
        "clip": 3.5,
        "weight_decay": 0.3,
        "ema": 0.5,
        "pool": 7,
        "precision": "fp32",
        "compile": True,
        "workers": 6,
        "log_every": 21,
        "validate_every": 22,
        "checkpoint_every": 23,
        "part_bytes": 16_000_000,
        "compact": True,
        "patience": 24,
    }
    assert dataclasses.asdict(experiment.plan_of(recipe, steps_per_epoch=10)) == expected
    bf16 = load_recipe("deblur-natural", ["--training.precision=bf16"])
    assert experiment.plan_of(bf16, steps_per_epoch=10).precision == "bf16"


def test_every_player_starts_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_pictures(tmp_path / "pictures", 4)
    write_recipe(tmp_path)
    given: dict[str, Any] = {}

    def record(networks: dict[str, nn.Module], **arguments: Any) -> None:
        given.update(networks)

    monkeypatch.setattr(experiment, "fit", record)
    recipe = load_recipe(tmp_path / "tiny.yaml", [f"--data.train={tmp_path / 'pictures'}"])
    experiment.train_recipe(recipe, tmp_path / "run")
    clear, observation = (next(given[n].parameters()) for n in ("clear", "observation"))
    assert clear.shape == observation.shape
    assert not torch.equal(clear, observation)


# ---------------------------------------------------------------- from plan to what happens


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_is_that_of_every_pass(tmp_path: Path, precision: str) -> None:
    networks, seen = players(), set()
    for name, network in networks.items():
        network.register_forward_hook(
            lambda *_, name=name: seen.add((name, torch.is_autocast_enabled("cpu")))
        )
    run(tmp_path, networks, precision=precision)
    assert seen == {(name, precision == "bf16") for name in networks}
    if precision == "bf16":
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert all(p.dtype == torch.float32 for n in networks.values() for p in n.parameters())


def test_pictures_keep_their_levels_in_bf16(tmp_path: Path) -> None:
    networks = players()
    seen: dict[str, set[torch.dtype]] = {name: set() for name in networks}
    for name, network in networks.items():
        network.register_forward_pre_hook(
            lambda _, given, name=name: seen[name].update(image.dtype for image in given)
        )
    run(tmp_path, networks, precision="bf16")
    assert seen == {name: {torch.float32} for name in networks}


def test_bf16_is_chosen_where_there_are_units_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unit, expected in (("avx2", False), ("avx512_bf16", True), ("amx_bf16", True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda unit=unit: {unit: True})
        assert has_bf16(CPU) == expected
        networks = players()
        seen: set[bool] = set()
        networks["generator"].register_forward_hook(
            lambda *_, seen=seen: seen.add(torch.is_autocast_enabled("cpu"))
        )
        (tmp_path / unit).mkdir()
        run(tmp_path / unit, networks, precision="auto")
        assert seen == {expected}


@pytest.mark.parametrize("compile_them", [True, False])
def test_compile_takes_every_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compile_them: bool
) -> None:
    taken: list[nn.Module] = []

    def record(network: nn.Module) -> nn.Module:
        taken.append(network)
        return network

    monkeypatch.setattr(torch, "compile", record)
    networks = players()
    run(tmp_path, networks, compile=compile_them)
    assert taken == (list(networks.values()) if compile_them else [])


def test_clip_bounds_the_generators_gradient_alone(tmp_path: Path) -> None:
    def norms(clip: float | None) -> dict[str, float]:
        networks = players()
        (tmp_path / str(clip)).mkdir()
        run(tmp_path / str(clip), networks, clip=clip)
        return {
            name: float(nn.utils.get_total_norm([p.grad for p in n.parameters()]))  # type: ignore[misc]
            for name, n in networks.items()
        }

    free, bound = norms(None), norms(1e-4)
    assert bound["generator"] == pytest.approx(1e-4, rel=1e-2)
    assert free["generator"] > 1e-2
    assert bound["clear"] > 1e-3


@pytest.mark.parametrize("compact", [True, False])
def test_compact_reaches_the_checkpoint(tmp_path: Path, compact: bool) -> None:
    run(tmp_path, players(), compact=compact)
    flat = checkpoint(tmp_path)
    kinds = {t.dtype for name, t in flat.items() if name.startswith("ema/")}
    assert kinds == {torch.float16 if compact else torch.float32}


@pytest.mark.parametrize("method", ["adam", "muon"])
def test_the_generator_s_weights_decay_and_no_discriminator_s(tmp_path: Path, method: str) -> None:
    def kept(weight_decay: float) -> dict[str, float]:
        """Of the lengths that the weights of each player had."""
        networks = players()
        before = {name: length(n) for name, n in networks.items()}
        (tmp_path / str(weight_decay)).mkdir()
        run(
            tmp_path / str(weight_decay),
            networks,
            method=method,
            lr=1e-3,
            weight_decay=weight_decay,
        )
        return {name: length(n) / before[name] for name, n in networks.items()}

    def length(network: nn.Module) -> float:
        return float(nn.utils.get_total_norm([p.detach() for p in network.parameters()]))

    without, all_of_it = kept(0), kept(1000)
    assert all_of_it["generator"] < 0.2 < 0.9 < without["generator"]
    assert all_of_it["clear"] > 0.9


def test_pool_and_betas_reach_the_players(tmp_path: Path) -> None:
    run(tmp_path, players(), pool=3, betas=(0.25, 0.75))
    flat = checkpoint(tmp_path)
    assert flat["pool/clear/images"].shape[0] == 3
    # After two steps of gradients g1 and g2 the moment is (1 - b)(b g1 + g2), for any b but ours
    # another one: it is compared with a run of other betas.
    (tmp_path / "other").mkdir()
    run(tmp_path / "other", players(), pool=3, betas=(0.5, 0.75))
    name = "optimiser/clear/0/exp_avg"
    assert not torch.allclose(flat[name], checkpoint(tmp_path / "other")[name])


def test_sources_of_randomness_are_apart(tmp_path: Path) -> None:
    run(tmp_path, players())
    flat = checkpoint(tmp_path)
    states = [flat[f"random/{name}"] for name in ("synthesis", "sensor", "pool", "global")]
    for i, one in enumerate(states):
        for other in states[i + 1 :]:
            assert not torch.equal(one, other)


def test_workers_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    right = ahead

    def record(*arguments: Any, workers: int) -> Iterator[Tensor]:
        asked.append(workers)
        return right(*arguments, workers=workers)

    monkeypatch.setattr(loop, "ahead", record)
    run(tmp_path, players(), workers=3)
    assert asked == [3]


def test_what_is_measured_is_the_average(tmp_path: Path) -> None:
    batch = synthesise(crops(99).x, CHAIN, generator=Generator().manual_seed(0))
    pairs = [Pair("a", batch.y[:1], batch.x[:1])]
    networks = players()
    average, outcome = run(tmp_path, networks, pairs=pairs, constant=8, lr=3e-3, ema=0.9)
    assert outcome.measured == validate(average, pairs, device=CPU)[0]  # type: ignore[arg-type]
    last = networks["generator"].eval()
    assert outcome.measured["psnr"] != validate(last, pairs, device=CPU)[0]["psnr"]  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_decay_of_the_average(tmp_path: Path, decay: float) -> None:
    networks = players()
    average, _ = run(tmp_path, networks, constant=6, lr=1e-2, ema=decay)
    ours, theirs = next(average.parameters()), next(networks["generator"].parameters())
    assert torch.equal(ours, theirs) == (decay == 0)


# ---------------------------------------------------------------- one player behind


def test_a_discriminator_behind_holds_nobody_else_up(tmp_path: Path) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.records: list[dict[str, Any]] = []

        def stepped(self, step: int) -> None:
            pass

        def told(self, record: Any) -> None:
            self.records.append(dict(record))

        def shown(self, step: int, pictures: object) -> None:
            pass

        def close(self) -> None:
            pass

    networks, recorder = players(), Recorder()
    before = [p.detach().clone() for p in networks["clear"].parameters()]
    start = next(networks["generator"].parameters()).detach().clone()
    next(networks["clear"].parameters()).register_hook(lambda g: g * torch.nan)
    average, _ = run(tmp_path, networks, constant=4, ema=0.5, watchers=lambda _: [recorder])
    after = list(networks["clear"].parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not torch.equal(next(average.parameters()), start)
    record = recorder.records[-1]
    assert (record["skipped"], record["d_skipped"]) == (0, 4)
    assert "content" in record
    assert "d_observation" in record
    assert "d_clear" not in record


def test_watchers_made_before_one_that_fails_are_closed(tmp_path: Path) -> None:
    closed: list[str] = []

    class Closing:
        def close(self) -> None:
            closed.append("first")

    def watchers(start: int) -> Iterator[Watcher]:
        yield Closing()  # type: ignore[misc]
        raise RuntimeError("the second one cannot be made")

    with pytest.raises(RuntimeError, match="second one"):
        run(tmp_path, players(), watchers=watchers)
    assert closed == ["first"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # the compiler warns of its own imports
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_step_has_the_gradients_of_a_plain_one(tmp_path: Path, precision: str) -> None:
    results: list[dict[str, Tensor]] = []
    for compiled in (True, False):
        (tmp_path / str(compiled)).mkdir()
        networks = players()
        # The restorer starts as the identity, where most gradients are zero.
        nn.init.normal_(networks["generator"].get_parameter("head.weight"), std=0.1)
        run(tmp_path / str(compiled), networks, compile=compiled, precision=precision, constant=1)
        results.append(
            {
                name: torch.cat([p.grad.flatten() for p in n.parameters() if p.grad is not None])
                for name, n in networks.items()
            }
        )
    # What a compiler fuses it rounds otherwise; Adam would make much of it, a gradient does not.
    tolerance = {"fp32": 1e-4, "bf16": 0.1}[precision]
    for name, plain in results[1].items():
        difference = (results[0][name] - plain).norm() / plain.norm()
        assert float(difference) < tolerance, name
