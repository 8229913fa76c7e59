"""Everything that a run must remember, and its checkpoints.

A checkpoint is a manifest, `checkpoint.json`, and the parts that it names: one safetensors file cut
into pieces of a chosen size. The manifest is renamed into place when all parts are on the disk, and
the parts of the checkpoint before it are removed after that: a kill at any moment leaves one whole
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from physgan.errors import TrainingError
from physgan.files import replacing, write_text
from physgan.training.ema import EMA
from physgan.training.pool import ImagePool

MANIFEST = "checkpoint.json"
_FORMAT = "physgan-checkpoint-1"
_GLOBAL = "global"


@dataclass
class TrainState:
    """A run at one moment.

    Args:
        networks: every player by name, as built: neither compiled nor wrapped.
        optimisers: one for each network.
        pools: one for each discriminator.
        ema: the average of the generator.
        generators: every source of randomness besides torch's global one.
        step: steps taken, skipped ones included; the data's position too.
        skipped: steps whose numbers were not finite.
        skipped_in_a_row: of them, the last ones without a good one between.
        seconds: time spent in training, over all resumptions.
        measured: the last validation.
    """

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, Optimizer]
    pools: Mapping[str, ImagePool]
    ema: EMA
    generators: Mapping[str, Generator]
    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    measured: dict[str, float] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors under flat names, as they are."""
        flat: dict[str, Tensor] = {}
        for name, network in self.networks.items():
            flat |= {f"network/{name}/{key}": t for key, t in network.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            for index, moments in optimiser.state_dict()["state"].items():
                flat |= {f"optimiser/{name}/{index}/{key}": t for key, t in moments.items()}
        for name, pool in self.pools.items():
            flat |= {f"pool/{name}/{key}": t for key, t in pool.state().items()}
        flat |= {f"ema/{key}": t for key, t in self.ema.module.state_dict().items()}
        flat |= {f"random/{name}": g.get_state() for name, g in self.generators.items()}
        flat[f"random/{_GLOBAL}"] = torch.get_rng_state()
        return flat

    def load(self, flat: Mapping[str, Tensor], *, device: torch.device) -> None:
        """Takes back what `tensors` gave.

        Raises:
            TrainingError: the tensors are those of other networks.
        """
        try:
            for name, network in self.networks.items():
                network.load_state_dict(_below(flat, f"network/{name}/"))
            for name, optimiser in self.optimisers.items():
                state: dict[int, dict[str, Tensor]] = {}
                for key, tensor in _below(flat, f"optimiser/{name}/").items():
                    index, _, moment = key.partition("/")
                    state.setdefault(int(index), {})[moment] = tensor
                whole = optimiser.state_dict()
                optimiser.load_state_dict({**whole, "state": state})
            self.ema.module.load_state_dict(_below(flat, "ema/"))
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                "checkpoint",
                expected="the networks of this recipe",
                got=" ".join(str(error).split())[:300],
                remedy="Resume with the recipe that the run was started with.",
            ) from None
        for name, pool in self.pools.items():
            pool.load(_below(flat, f"pool/{name}/"), device)
        for name, generator in self.generators.items():
            generator.set_state(flat[f"random/{name}"].cpu())
        torch.set_rng_state(flat[f"random/{_GLOBAL}"].cpu())


def save_checkpoint(
    folder: Path, state: TrainState, *, part_bytes: int | None = None, compact: bool = False
) -> list[Path]:
    """Writes a checkpoint into a run's folder in place of the one before.

    Args:
        folder: the run's folder.
        state: the run.
        part_bytes: greatest size of one file; None writes one.
        compact: stores the average in float16 and the optimisers' moments in bfloat16 (whose
            range the second moments need). A run resumed from it goes on well, not exactly.

    Returns:
        The files of the checkpoint, the manifest last.
    """
    tensors = {
        name: (_halved(name, t) if compact else t).detach().cpu().contiguous()
        for name, t in state.tensors().items()
    }
    content = save(tensors, {"format": _FORMAT})
    size = part_bytes or len(content)
    parts = []
    for number, start in enumerate(range(0, len(content), size)):
        path = folder / f"checkpoint-{state.step:08d}.{number:03d}"
        with replacing(path) as beside:
            beside.write_bytes(content[start : start + size])
        parts.append(path)
    manifest = {
        "format": _FORMAT,
        "step": state.step,
        "skipped": state.skipped,
        "skipped_in_a_row": state.skipped_in_a_row,
        "seconds": state.seconds,
        "measured": state.measured,
        "compact": compact,
        "parts": [path.name for path in parts],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    for old in folder.glob("checkpoint-*.[0-9][0-9][0-9]"):
        if old not in parts:
            old.unlink(missing_ok=True)
    return [*parts, folder / MANIFEST]


def load_checkpoint(folder: Path, state: TrainState, *, device: torch.device) -> bool:
    """Brings `state` to the checkpoint in a run's folder; False if there is none.

    Raises:
        TrainingError: a part is missing or damaged, or belongs to other networks.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return False
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        content = b"".join((folder / name).read_bytes() for name in manifest["parts"])
        if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
            raise ValueError("contents that do not have the manifest's hash")
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"checkpoint in '{folder}'",
            expected="a manifest with all its parts, undamaged",
            got=str(error),
            remedy="Bring all parts and checkpoint.json into the run's folder.",
        ) from None
    state.load(load(content), device=device)
    state.step = int(manifest["step"])
    state.skipped = int(manifest["skipped"])
    state.skipped_in_a_row = int(manifest["skipped_in_a_row"])
    state.seconds = float(manifest["seconds"])
    state.measured = dict(manifest["measured"])
    return True


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point() or tensor.ndim == 0:
        return tensor
    kind = name.split("/", 1)[0]
    to: Callable[[Tensor], Tensor] = {
        "ema": Tensor.half,
        "optimiser": Tensor.bfloat16,
    }.get(kind, lambda t: t)
    return to(tensor)


def _below(flat: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in flat.items() if name.startswith(prefix)}
