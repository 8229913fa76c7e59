"""Everything that a run must remember, and its checkpoints.

A checkpoint is a manifest, `checkpoint.json`, and the parts that it names: one safetensors file cut
into pieces of a chosen size. The manifest is renamed into place when all parts are on the disk, and
the parts of the checkpoint before it are removed after that: a kill at any moment leaves one whole
checkpoint. Names of parts carry a hash of their contents, so that no two checkpoints share one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from physgan.errors import TrainingError
from physgan.files import write_bytes, write_text
from physgan.training.ema import EMA
from physgan.training.pool import ImagePool

MANIFEST = "checkpoint.json"
_log = logging.getLogger("physgan")

_FORMAT = "physgan-checkpoint-1"
_GLOBAL = "global"
_GLOBAL_CUDA = "global-cuda"
# Parts of checkpoints, and what a killed process left beside the file that it was writing.
_OURS = re.compile(r"checkpoint-\d+-[0-9a-f]{8}\.\d+|\..+\.[0-9a-f]+\.part")


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
        skipped: steps in which the generator did not move, its numbers not being finite; this and
            the next two count on the device.
        d_skipped: moves that a discriminator did not make, for the same reason.
        skipped_in_a_row: steps of either kind since the last whole one.
        data: what identifies the training pictures and whatever else may not change.
        seconds: time spent in training, over all resumptions.
        measured: the last validation.
        arithmetic: precision and device of this sitting.
        sums: of a step's numbers since the last line of the log, on their device.
        counts: how many steps each of them has summed.
    """

    networks: Mapping[str, nn.Module]
    optimisers: Mapping[str, Optimizer]
    pools: Mapping[str, ImagePool]
    ema: EMA
    generators: Mapping[str, Generator]
    step: int = 0
    skipped: int | Tensor = 0
    d_skipped: int | Tensor = 0
    skipped_in_a_row: int | Tensor = 0
    data: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    measured: dict[str, float] = field(default_factory=dict)
    arithmetic: str = ""
    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int | Tensor] = field(default_factory=dict)

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
        flat |= {f"sum/{name}": total for name, total in self.sums.items()}
        flat |= {f"random/{name}": g.get_state() for name, g in self.generators.items()}
        flat[f"random/{_GLOBAL}"] = torch.get_rng_state()
        if torch.cuda.is_initialized():  # dropout of a foreign network draws from it
            flat[f"random/{_GLOBAL_CUDA}"] = torch.cuda.get_rng_state()
        return flat

    def load(self, flat: Mapping[str, Tensor], *, device: torch.device) -> None:
        """Takes back what `tensors` gave.

        A generator of another kind of device (a run carried from CPU to GPU) cannot go on where
        the old one stood; it begins a new sequence instead.

        Raises:
            TrainingError: the tensors are those of other networks.
        """
        try:
            for name, network in self.networks.items():
                network.load_state_dict(_below(flat, f"network/{name}/"))
            for name, optimiser in self.optimisers.items():
                moments = _moments(optimiser, _below(flat, f"optimiser/{name}/"))
                optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
            self.ema.module.load_state_dict(_below(flat, "ema/"))
            for name, pool in self.pools.items():
                pool.load(_below(flat, f"pool/{name}/"), device)
            for name, generator in self.generators.items():
                _restore(generator, flat[f"random/{name}"].cpu())
            torch.set_rng_state(flat[f"random/{_GLOBAL}"].cpu())
            if device.type == "cuda" and f"random/{_GLOBAL_CUDA}" in flat:
                torch.cuda.set_rng_state(flat[f"random/{_GLOBAL_CUDA}"].cpu())
        except (RuntimeError, ValueError, LookupError) as error:
            raise TrainingError(
                "checkpoint",
                expected="the networks of this recipe",
                got=" ".join(str(error).split())[:300],
                remedy="Resume with the recipe that the run was started with.",
            ) from None
        self.sums = {name: total.to(device) for name, total in _below(flat, "sum/").items()}


def _moments(optimiser: Optimizer, flat: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The state of an optimiser by parameter, each moment laid out in memory as its parameter is.

    The fused Adam walks through parameter and moments side by side, element by element in memory,
    without looking at strides: moments in another order would be those of other weights.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        index, _, moment = key.partition("/")
        parameter = parameters[int(index)]
        if tensor.ndim:
            laid_out = torch.empty_like(parameter, requires_grad=False)
            tensor = laid_out.copy_(tensor.reshape(parameter.shape))
        state.setdefault(int(index), {})[moment] = tensor
    return state


def _restore(generator: Generator, state: Tensor) -> None:
    if state.shape == generator.get_state().shape:
        generator.set_state(state)
        return
    digest = hashlib.sha256(state.numpy().tobytes()).digest()
    generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)


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

    Raises:
        TrainingError: the files cannot be written; the checkpoint before is as it was.
    """
    tensors = {
        # Copies, since safetensors takes no two tensors that share memory, as tied weights do.
        name: (_halved(name, t) if compact else t).detach().to("cpu", copy=True).contiguous()
        for name, t in state.tensors().items()
    }
    content = save(tensors, {"format": _FORMAT})
    size = part_bytes or len(content)
    digest = hashlib.sha256(content).hexdigest()
    # The same content cut otherwise has other parts.
    tag = hashlib.sha256(f"{digest} {size}".encode()).hexdigest()[:8]
    manifest: dict[str, Any] = {
        "format": _FORMAT,
        "step": state.step,
        "skipped": int(state.skipped),
        "d_skipped": int(state.d_skipped),
        "skipped_in_a_row": int(state.skipped_in_a_row),
        "data": dict(state.data),
        "seconds": state.seconds,
        "measured": state.measured,
        "arithmetic": state.arithmetic,
        "counts": {name: int(count) for name, count in state.counts.items()},
        "compact": compact,
        "parts": [
            f"checkpoint-{state.step:08d}-{tag}.{number:03d}"
            for number in range(-(-len(content) // size))
        ],
        "sha256": digest,
    }
    parts = [folder / name for name in manifest["parts"]]
    try:
        for number, path in enumerate(parts):
            write_bytes(path, content[number * size : (number + 1) * size])
        write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        for old in folder.iterdir():
            if _OURS.fullmatch(old.name) and old not in parts:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(
            f"checkpoint in '{folder}'",
            expected="a folder that can be written",
            got=str(error),
            remedy="The checkpoint before this one, if any, is whole: go on with --resume.",
        ) from None
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
        if manifest["format"] != _FORMAT:
            raise ValueError(f"format '{manifest['format']}', not '{_FORMAT}'")
        content = b"".join((folder / name).read_bytes() for name in manifest["parts"])
        if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
            raise ValueError("contents that do not have the manifest's hash")
        flat = load(content)
        state.step = int(manifest["step"])
        state.skipped = int(manifest["skipped"])
        state.d_skipped = int(manifest["d_skipped"])
        data = dict(manifest["data"])
        state.skipped_in_a_row = int(manifest["skipped_in_a_row"])
        state.seconds = float(manifest["seconds"])
        state.measured = dict(manifest["measured"])
        arithmetic = manifest.get("arithmetic", state.arithmetic)
        state.counts = dict(manifest["counts"])
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise TrainingError(
            f"checkpoint in '{folder}'",
            expected="a manifest with all its parts, undamaged",
            got=f"no {error}" if isinstance(error, KeyError) else str(error),
            remedy="Bring all parts and checkpoint.json into the run's folder.",
        ) from None
    if arithmetic != state.arithmetic:
        _log.warning("the run was in %s and goes on in %s", arithmetic, state.arithmetic)
    for what, identity in state.data.items():
        if data.get(what) != identity:
            raise TrainingError(
                f"{what} of the run in '{folder}'",
                expected="what it was started with, wherever that lies now",
                got="another: something came, went, or was changed",
                remedy="Bring back the old, or start a new run: numbers before and after could "
                "not be compared.",
            )
    state.load(flat, device=device)
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
