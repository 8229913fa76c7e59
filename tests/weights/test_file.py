import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from physgan.errors import WeightsError
from physgan.networks import ResNetGenerator, init_normal
from physgan.weights import WeightsInfo, load_weights, read_info, save_weights

ARGUMENTS = {"channels": 3, "width": 4, "blocks": 1, "scale": 1}


def information(**changes: Any) -> WeightsInfo:
    return dataclasses.replace(
        WeightsInfo(
            architecture="resnet9",
            arguments=ARGUMENTS,
            channels=3,
            scale=1,
            recipe={"name": "test", "training": {"steps": 5, "rate": 2e-4}, "list": [1, None]},
            commit="0123abc",
            data="random numbers, “quoted” and ü",
            licence="CC0-1.0",
            measured=[{"set": "test", "protocol": "rgb", "psnr": 20.5}],
        ),
        **changes,
    )


def network(**changes: int) -> ResNetGenerator:
    generator = torch.Generator().manual_seed(0)
    return init_normal(ResNetGenerator(**{**ARGUMENTS, **changes}), generator=generator)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file of weights."""
    path = tmp_path / "weights.safetensors"
    save_weights(path, network().state_dict(), information())
    return path


def rewrite(path: Path, header: dict[str, str | None], tensors: dict[str, Tensor | None]) -> None:
    """Writes the file again, with some of its header and tensors changed, or taken out by None."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        old = dict(file.metadata())
    state: dict[str, Tensor | None] = {**load_file(path), **tensors}
    save_file(
        {name: tensor for name, tensor in state.items() if tensor is not None},
        path,
        {k: v for k, v in {**old, **header}.items() if v is not None},
    )


def test_info_comes_back(path: Path) -> None:
    assert read_info(path) == information()
    assert read_info(str(path)) == information()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(recipe=json_values, text=st.text(st.characters(codec="utf-8")))
def test_any_json_and_text_come_back(
    tmp_path_factory: pytest.TempPathFactory, recipe: Any, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "w.safetensors"
    info = information(recipe=recipe, data=text, measured={"any": recipe})
    save_weights(path, {}, info)
    assert read_info(path) == info


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16, None])
def test_network_comes_back(tmp_path: Path, dtype: torch.dtype | None) -> None:
    path = tmp_path / "w.safetensors"
    original = network()
    save_weights(path, original.state_dict(), information(), dtype=dtype)
    loaded, info = load_weights(path)
    assert info == information()
    assert isinstance(loaded, ResNetGenerator)
    assert not loaded.training
    assert {tensor.dtype for tensor in load_file(path).values()} == {dtype or torch.float32}
    for name, tensor in original.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        stored = tensor.to(dtype or torch.float32).float()
        assert torch.equal(loaded.state_dict()[name], stored), name


def test_half_is_the_default_and_integers_stay(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(2), "n": torch.tensor([2**40])}, information())
    stored = load_file(path)
    assert stored["a"].dtype == torch.float16
    assert stored["n"].tolist() == [2**40]


def test_shared_and_strided_tensors_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    base = torch.arange(6.0).view(2, 3)
    save_weights(path, {"a": base, "b": base, "c": base.t()}, information(), dtype=None)
    stored = load_file(path)
    assert torch.equal(stored["a"], base)
    assert torch.equal(stored["b"], base)
    assert torch.equal(stored["c"], base.t())


def test_loading_leaves_the_callers_random_numbers(path: Path) -> None:
    before = torch.get_rng_state()
    load_weights(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_device(path: Path) -> None:
    for device in ("meta", torch.device("meta")):
        loaded, _ = load_weights(path, device=device)
        assert {parameter.device.type for parameter in loaded.parameters()} == {"meta"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_what_the_type_cannot_hold_is_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(WeightsError, match="'head' to be saved"):
        save_weights(tmp_path / "w.safetensors", {"head": torch.tensor([value])}, information())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {"a": object()}},
        {"measured": {"psnr": float("nan")}},
        {"channels": "3"},
        {"scale": True},
        {"data": None},
        {"arguments": [1]},
        {"format_version": 2},
    ],
)
def test_a_header_that_could_not_be_read_is_not_written(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(WeightsError, match=next(iter(changes))):
        save_weights(tmp_path / "w.safetensors", {}, information(**changes))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(path, {}, information(data="new"))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_old_file_is_replaced(path: Path) -> None:
    save_weights(path, network().state_dict(), information(data="new"))
    assert read_info(path).data == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"architecture": '"mine.networks:Net"'}, "never from a header alone"),
        ({"architecture": '"resnet"'}, "Did you mean 'resnet9'"),
        ({"arguments": '{"breadth": 4}'}, "breadth"),
        ({"arguments": '{"width": 0}'}, "width"),
        ({"channels": "1"}, "'channels' in the header"),
        ({"scale": "4"}, "'scale' in the header"),
        ({"format_version": "2"}, "newer physgan"),
        ({"format_version": "0"}, "'format_version'"),
        ({"format_version": None}, "no weights file of physgan"),
        ({"licence": None}, "'licence'"),
        ({"licence": "not quoted"}, "'licence'"),
        ({"measured": "3"}, "'measured'"),
        ({"channels": "true"}, "'channels'"),
    ],
)
def test_wrong_headers_are_named(path: Path, header: dict[str, str | None], message: str) -> None:
    rewrite(path, header, {})
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(path)
    assert caught.value.expected
    assert caught.value.got


def test_unknown_names_in_the_header_are_passed_over(path: Path) -> None:
    rewrite(path, {"format": "pt"}, {})
    assert read_info(path) == information()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"head.bias": None}, "no 'head.bias'"),
        ({"tail.bias": torch.zeros(3)}, "unknown 'tail.bias'"),
        ({"head.bias": torch.zeros(4)}, r"'head.bias' of shape \(4,\) for \(3,\)"),
    ],
)
def test_wrong_tensors_are_named(
    path: Path, tensors: dict[str, Tensor | None], message: str
) -> None:
    rewrite(path, {}, tensors)
    with pytest.raises(WeightsError, match=message):
        load_weights(path)
    assert read_info(path) == information()


def test_a_truncated_file_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for cut in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        for read in (read_info, load_weights):
            with pytest.raises(WeightsError, match="whole safetensors file"):
                read(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(WeightsError, match="import_generator"):
        load_weights(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="no weights file of physgan"):
        load_weights(path)
    with pytest.raises(WeightsError, match=r"none at .*from_pretrained\('derain'\) loads"):
        load_weights("derain")
    with pytest.raises(WeightsError, match="none at"):
        read_info(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="got a folder"):
        read_info(tmp_path)


def test_the_header_is_plain_json(path: Path) -> None:
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    assert {name: json.loads(value) for name, value in header.items()} == dataclasses.asdict(
        information()
    )
