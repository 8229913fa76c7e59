"""The weights file: safetensors whose header says what the network is and where it comes from.

Every value of the header is JSON text under the name of a field of `WeightsInfo`. Nothing in the
file can run code: the architecture is a name in the GENERATORS table or the file is not loaded.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from physgan.errors import PhysganError, WeightsError, nearest
from physgan.files import write_bytes
from physgan.networks import GENERATORS, RestorationNetwork
from physgan.weights.catalogue import SHIPPED

FORMAT_VERSION = 1

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


@dataclass(frozen=True, kw_only=True, repr=False)
class WeightsInfo:
    """The header of a weights file.

    Args:
        architecture: name in `physgan.networks.GENERATORS`, or the import path of foreign code,
            which only a recipe can build.
        arguments: keyword arguments of the architecture.
        channels: channels of the images.
        scale: how many times larger the result is than the input.
        recipe: the whole recipe of the training; kept, never interpreted here.
        commit: version of the code that trained.
        data: what it was trained on, in words.
        licence: of the weights, which the data may restrict.
        measured: numbers with the protocol that made them: one mapping, or one for each test.
        training: what it took: `steps`, `hours`, `seed`, `machine`, the learning `curve`, and
            under `began_from` the same of the weights that it began from. Older files lack it.
        format_version: of the header.
    """

    architecture: str
    arguments: Mapping[str, JSON]
    channels: int
    scale: int
    recipe: JSON
    commit: str
    data: str
    licence: str
    measured: Sequence[JSON] | Mapping[str, JSON]
    training: Mapping[str, JSON] = dataclasses.field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def name(self) -> str:
        """What its recipe is called; possibly empty."""
        told = self.recipe.get("name") if isinstance(self.recipe, dict) else None
        return str(told or "")

    @property
    def description(self) -> str:
        """What its recipe says that it does, in a line; possibly empty."""
        told = self.recipe.get("description") if isinstance(self.recipe, dict) else None
        return str(told or "")

    @property
    def terms(self) -> str:
        """The licence in short: all behind it once, and none that another tells better."""
        parts = list(dict.fromkeys(self.licence.split(BEGUN)))
        kept = [part for part in parts if not any(other.startswith(f"{part} (") for other in parts)]
        return "; ".join(kept)

    @property
    def experimental(self) -> str:
        """In which respects it falls short of what is asked of its task; empty where in none."""
        return str(self.training.get("experimental") or "")

    def numbers(self) -> list[str]:
        """What was measured, a line for each test: input and result."""
        lines = []
        for row in [self.measured] if isinstance(self.measured, Mapping) else self.measured:
            if not isinstance(row, dict) or not isinstance(row.get("psnr"), int | float):
                continue
            where = ", ".join(str(row[key]) for key in ("set", "protocol") if key in row)
            # Pictures that nothing is wrong with have no PSNR before.
            before = f"{row['input_psnr']:.2f} -> " if "input_psnr" in row else ""
            line = f"{where}: " * bool(where) + f"{before}{row['psnr']:.2f} dB"
            if "text_error" in row:
                line += f", text error {row['input_text_error']:.2f} -> {row['text_error']:.2f}"
            # One picture that was hardly degraded can turn the mean.
            if "median_gain" in row:
                line += f", median gain {row['median_gain']:+.2f} dB"
            lines.append(line)
        return lines

    def __repr__(self) -> str:
        took = [
            f"{self.training[name]} {name}" for name in ("steps", "hours") if name in self.training
        ]
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        sizes = f"{self.channels} channels, scale {self.scale}"
        facts = [
            f"architecture: {self.architecture}({given}), {sizes}",
            *([f"training: {', '.join(took)}, commit {self.commit}"] if took else []),
            f"data: {self.data}",
            f"licence: {self.terms}",
            *([f"experimental: {self.experimental}"] if self.experimental else []),
            *(f"measured: {line}" for line in self.numbers()),
        ]
        head = ": ".join(part for part in (self.name, self.description) if part)
        return f"WeightsInfo({head}\n  " + "\n  ".join(facts) + "\n)"


BEGUN = "; begun from weights of licence: "
"""Between the licence of weights and those of the weights that they began from, in a header."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "architecture": (str,),
    "arguments": (dict,),
    "channels": (int,),
    "scale": (int,),
    "recipe": (dict, list, str, int, float, type(None)),
    "commit": (str,),
    "data": (str,),
    "licence": (str,),
    "measured": (list, dict),
    "training": (dict,),
    "format_version": (int,),
}


def save_weights(
    path: str | os.PathLike[str],
    network_state: Mapping[str, Tensor],
    info: WeightsInfo,
    *,
    dtype: torch.dtype | None = torch.float16,
) -> None:
    """Writes a weights file, complete or not at all.

    The file is written beside `path`, flushed to the disk, then renamed.

    Args:
        path: replaced if it is there; its folder must exist.
        network_state: `network.state_dict()`.
        info: the header.
        dtype: type in which floating tensors are stored; None keeps theirs.

    Raises:
        WeightsError: a tensor is not finite, or not in `dtype`; or `info` does not fit in JSON.
        OSError: the file cannot be written.
    """
    path = Path(path)
    header = header_of(info)
    tensors = {name: _stored(name, tensor, dtype) for name, tensor in network_state.items()}
    # Not safetensors' own `save_file`: when killed it leaves a file whose name tells of nothing.
    write_bytes(path, save(tensors, header))


def read_info(path: str | os.PathLike[str]) -> WeightsInfo:
    """Reads the header of a weights file, and none of its tensors.

    Raises:
        WeightsError: there is no such file, it is broken, or its header is not ours.
    """
    return _read(path, tensors=False)[0]


def load_weights(
    path: str | os.PathLike[str],
    *,
    network: nn.Module | None = None,
    device: str | torch.device = "cpu",
) -> tuple[RestorationNetwork, WeightsInfo]:
    """Builds the network of a weights file.

    Args:
        path: a file that `save_weights` wrote.
        network: a network to fill, for weights of foreign code, which a header alone never
            builds; `physgan.recipes.build.build_generator` makes it from the recipe.
        device: where the network goes.

    Returns:
        The network in float32 and evaluation mode, and the header.

    Raises:
        WeightsError: the file is missing, broken or too new; its architecture is not in the
            GENERATORS table and no network is given; or its tensors are not those of the network.
    """
    info, tensors = _read(path, tensors=True)
    built = _build(info, path) if network is None else network
    _check_state(tensors, built, path)
    built.load_state_dict(tensors)
    return cast(RestorationNetwork, built.float().eval().to(device)), info


def header_of(info: WeightsInfo) -> dict[str, str]:
    """The header as text: JSON under the name of each field.

    Raises:
        WeightsError: a value does not fit in JSON.
    """
    values = {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
    header = {}
    for name, value in values.items():
        try:
            header[name] = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise WeightsError(
                f"'{name}' in the header of a weights file",
                expected="text, finite numbers, lists and mappings, which JSON can hold",
                got=str(error),
            ) from error
    # What is written must be what can be read.
    info_of(header, where="the header to be written")
    return header


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    # A copy, since safetensors takes no views and no two tensors that share memory.
    kept = tensor.detach().to("cpu", copy=True).contiguous()
    if not kept.is_floating_point():
        return kept
    stored = kept.to(dtype or kept.dtype)
    if not bool(torch.isfinite(stored).all()):
        raise WeightsError(
            f"the tensor '{name}' to be saved",
            expected=f"finite numbers in {stored.dtype}",
            got="infinite ones, or NaN",
            remedy="Save with dtype=torch.float32."
            if bool(torch.isfinite(kept).all())
            else "The training has diverged; take an earlier checkpoint.",
        )
    return stored


def _read(path: str | os.PathLike[str], *, tensors: bool) -> tuple[WeightsInfo, dict[str, Tensor]]:
    if not Path(path).is_file():
        folder = Path(path).is_dir()
        remedy = "Restorer.from_pretrained takes the folder of a run." if folder else ""
        if str(path) in SHIPPED and not folder:
            remedy = f"Restorer.from_pretrained('{path}') loads the weights that ship by this name."
        raise WeightsError(
            "the weights file",
            expected="a file",
            got=f"a folder, '{path}'" if folder else f"none at '{path}'",
            remedy=remedy,
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            info = info_of(file.metadata() or {}, where=f"the header of {Path(path)}")
            state = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"the weights file {Path(path)}",
            expected="a whole safetensors file",
            got=str(error),
            remedy="If it is one, it may be cut short: fetch it again. A checkpoint of CycleGAN "
            "goes through physgan.weights.import_generator.",
        ) from error
    return info, state


def info_of(header: Mapping[str, str], *, where: str) -> WeightsInfo:
    """The header as `WeightsInfo`; names that it does not know are passed over.

    Args:
        header: what `header_of` gave.
        where: it stands, for refusals.

    Raises:
        WeightsError: a field is missing or no JSON of its type, or the format is a newer one.
    """
    # The version first: a later format may have other fields.
    version = _value(header, "format_version", where)
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"'format_version' in {where}",
            expected=str(FORMAT_VERSION),
            got=str(version),
            remedy="The file was written by a newer physgan: update yours."
            if version > FORMAT_VERSION
            else "",
        )
    names = _TYPES.keys() - ({"training"} - header.keys())
    return WeightsInfo(**{name: _value(header, name, where) for name in names})


def _value(header: Mapping[str, str], name: str, where: str) -> Any:
    expected = " or ".join(kind.__name__ for kind in _TYPES[name])
    if name not in header:
        raise WeightsError(
            f"'{name}' in {where}",
            expected=f"JSON ({expected})",
            got="nothing",
            remedy="It is no weights file of physgan: a checkpoint, a shard or another program's."
            if name == "format_version"
            else "The file is damaged, or was not written by physgan.",
        )
    try:
        value = json.loads(header[name])
    except ValueError:
        value = header[name]
        right = False
    else:
        # bool is an int to Python, and never one here.
        right = isinstance(value, _TYPES[name]) and not (
            isinstance(value, bool) and name != "recipe"
        )
    if not right:
        raise WeightsError(
            f"'{name}' in {where}", expected=f"JSON ({expected})", got=f"{value!r:.80}"
        )
    return value


def _build(info: WeightsInfo, path: str | os.PathLike[str]) -> nn.Module:
    build = GENERATORS.get(info.architecture)
    if build is None:
        raise WeightsError(
            f"the architecture of {Path(path)}",
            expected=f"one of {', '.join(sorted(GENERATORS))}",
            got=f"'{info.architecture}'",
            remedy="A network of foreign code is built from its recipe, never from a header alone: "
            "load_weights(path, network=build_generator(...)). "
            + nearest(info.architecture, GENERATORS),
        )
    try:
        # Building draws weights that are thrown away; the caller's random numbers stay as they are.
        with torch.random.fork_rng(devices=[]):
            network = build(**info.arguments)
    except (TypeError, PhysganError) as error:
        raise WeightsError(
            f"the arguments of '{info.architecture}' in {Path(path)}",
            expected="those of this version of the network",
            got=f"{dict(info.arguments)} ({error})",
        ) from error
    for name, stated in (("channels", info.channels), ("scale", info.scale)):
        built = getattr(network, name, None)
        if built != stated:
            raise WeightsError(
                f"'{name}' in the header of {Path(path)}",
                expected=f"{built}, as the arguments of '{info.architecture}' build it",
                got=str(stated),
            )
    return network


def _check_state(
    tensors: Mapping[str, Tensor], network: nn.Module, path: str | os.PathLike[str]
) -> None:
    needed = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [
        *(f"no '{name}'" for name in needed.keys() - found.keys()),
        *(f"unknown '{name}'" for name in found.keys() - needed.keys()),
        *(
            f"'{name}' of shape {found[name]} for {needed[name]}"
            for name in needed.keys() & found.keys()
            if needed[name] != found[name]
        ),
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise WeightsError(
            f"the tensors of {Path(path)}",
            expected="exactly those of the network that its header names",
            got=", ".join(sorted(wrong)[:5]) + more,
            remedy="Weights of another release may lack parts, or have others: use that release, "
            "or train them anew.",
        )
