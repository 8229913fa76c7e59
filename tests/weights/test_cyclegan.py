import collections
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from physgan.errors import WeightsError
from physgan.weights import import_generator
from tests.networks.cyclegan import CycleGan, randomise


def made(seed: int = 0, **arguments: Any) -> CycleGan:
    network = CycleGan(**{"width": 4, **arguments})
    randomise(network, seed)
    return network


def images(channels: int = 3) -> Tensor:
    return torch.rand(2, channels, 20, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("blocks", [9, 6])
def test_restores_as_the_original(running: bool, dropout: bool, prefix: str, blocks: int) -> None:
    original = made(running=running, dropout=dropout, blocks=blocks)
    state = {prefix + name: tensor for name, tensor in original.state_dict().items()}
    imported = import_generator(state)
    assert not imported.generator.training
    y = images().double()  # nine blocks deep, two ways of normalising part by 4e-6 in float32
    with torch.no_grad():
        x_hat = imported.generator.double()(y)
        torch.testing.assert_close(x_hat, original.double().restore(y), rtol=0, atol=1e-12)
    statistics = [name for name in state if "running_" in name or "num_batches" in name]
    assert list(imported.dropped) == statistics
    assert len(statistics) == (3 * (5 + 2 * blocks) if running else 0)


@pytest.mark.parametrize(("channels", "width", "blocks"), [(1, 3, 0), (4, 5, 1), (3, 2, 15)])
def test_sizes_are_read_off_the_shapes(channels: int, width: int, blocks: int) -> None:
    original = made(channels=channels, width=width, blocks=blocks)
    generator = import_generator(original.state_dict()).generator
    assert generator.channels == channels
    assert len(generator.blocks) == blocks
    y = images(channels)
    with torch.no_grad():
        torch.testing.assert_close(generator(y), original.restore(y), rtol=0, atol=1e-5)


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_a_file(tmp_path: Path, zipped: bool) -> None:
    original = made(running=True, blocks=2)
    path = tmp_path / "latest_net_G.pth"
    torch.save(original.state_dict(), path, _use_new_zipfile_serialization=zipped)
    for source in (path, str(path)):
        imported = import_generator(source)
        with torch.no_grad():
            x_hat = imported.generator(images())
        torch.testing.assert_close(x_hat, original.restore(images()), rtol=0, atol=1e-5)


def test_importing_leaves_the_callers_random_numbers() -> None:
    state = made(blocks=1).state_dict()
    before = torch.get_rng_state()
    import_generator(state)
    assert torch.equal(torch.get_rng_state(), before)


def test_half_precision_becomes_float32() -> None:
    state = made(blocks=1).half().state_dict()
    generator = import_generator(state).generator
    assert {parameter.dtype for parameter in generator.parameters()} == {torch.float32}


def test_batch_normalisation_is_refused_by_its_keys() -> None:
    with pytest.raises(WeightsError, match=r"unknown 'model\.2\.weight', 'model\.2\.bias'"):
        import_generator(made(norm=nn.BatchNorm2d, running=True, blocks=2).state_dict())


def changed(**changes: Tensor | None) -> dict[str, Any]:
    state = {**made(blocks=2).state_dict(), **{k.replace("_", "."): v for k, v in changes.items()}}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(model_19_weight=None), r"no 'model\.19\.weight'"),
        (changed(model_4_bias=None), r"no 'model\.4\.bias'"),
        (changed(other_weight=torch.zeros(1)), r"unknown 'other\.weight'"),
        (changed(model_1_running=torch.zeros(1)), r"unknown 'model\.1\.running'"),
        (changed(model_4_weight=torch.zeros(8, 4, 5, 5)), r"shape of 'model\.4\.weight'"),
        (changed(model_1_weight=torch.zeros(4)), "first and last weights"),
        ({}, "no 'model.1.weight'"),
        ({"model.1.weight": "text"}, "tensors"),
        (made(out_channels=1).state_dict(), "3 in, 1 out"),
        ({**changed(), "module.model.4.bias": torch.zeros(8)}, "different names"),
    ],
)
def test_what_does_not_fit_is_named(state: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        import_generator(state)


def test_a_file_that_holds_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    torch.save(made(blocks=1), path)
    with pytest.raises(WeightsError, match="could run any code"):
        import_generator(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02}q\x00."])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="checkpoint"):
        import_generator(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.pth"
    torch.save(made(blocks=1).state_dict(), path)
    content = path.read_bytes()
    for cut in (1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(WeightsError, match="checkpoint"):
            import_generator(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_gives_a_network_or_a_clear_error(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "damaged.pth"
    original = made(width=1, blocks=0).state_dict()
    torch.save(original, path, _use_new_zipfile_serialization=zipped)
    content, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            import_generator(path)
        except WeightsError:
            refused += 1
    assert refused > 50


def test_other_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.pth"
    torch.save([torch.zeros(1)], path)
    with pytest.raises(WeightsError, match="mapping"):
        import_generator(path)
    torch.save(collections.OrderedDict([(1, torch.zeros(1))]), path)
    with pytest.raises(WeightsError, match="mapping"):
        import_generator(path)
    with pytest.raises(WeightsError, match="none at"):
        import_generator(tmp_path / "nowhere.pth")
