"""The hub: its layout, both directions over HTTP, and what is told where it is not reached.

The library's own code runs, in processes of its own since it reads its settings when it is
imported; the hub is a small one on this machine.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from physgan import Restorer
from physgan.cli import main
from physgan.errors import UsageError, WeightsError, install
from physgan.networks import UNet
from physgan.weights.file import WeightsInfo, load_weights
from physgan.weights.hub import is_repository, save_folder
from tests.restore.small import small_weights
from tests.training.tiny import write_picture
from tests.weights.hub import TOKEN, Hub, commit_name, hub

SCRIPT = """
import json, sys, time
import huggingface_hub, logging, torch
from physgan import PhysganError, Restorer
from physgan.weights import hub
logging.basicConfig()
y = torch.linspace(0, 1, 3 * 20 * 24).view(1, 3, 20, 24)

def tried(do):
    began = time.monotonic()
    try:
        found = do()
    except PhysganError as error:
        return {"error": f"{type(error).__name__}: {error}", "seconds": time.monotonic() - began}
    if isinstance(found, Restorer):
        found = found(y).sum().item()
    return {"got": found, "seconds": time.monotonic() - began}

def load(name):
    return tried(lambda: Restorer.from_pretrained(name, device="cpu"))

restorer = Restorer.from_pretrained("w.safetensors", device="cpu")
"""


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    small_weights(tmp_path / "w.safetensors")
    return tmp_path


def environment(ground: Path, endpoint: str, **more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **own,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(ground / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        **more,
    }


def results(ground: Path, endpoint: str, *lines: str, **more: str) -> tuple[list[Any], str]:
    """What each line of Python comes to, in a process that asks `endpoint`; and its stderr."""
    told = "".join(f"print(json.dumps({line}), flush=True)\n" for line in lines)
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT + told],
        env=environment(ground, endpoint, **more),
        cwd=ground,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


PUSH = "tried(lambda: restorer.push_to_hub('{}', private={}))"
EXPECTED = "tried(lambda: restorer)"


def nobody() -> str:
    """An endpoint that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_folder_of_the_layout_is_loaded_bit_for_bit(ground: Path) -> None:
    restorer = Restorer.from_pretrained(ground / "w.safetensors", device="cpu")
    restorer.save_pretrained(ground / "saved")
    assert sorted(p.name for p in (ground / "saved").iterdir()) == [
        "README.md", "model.safetensors",
    ]  # fmt: skip
    again = Restorer.from_pretrained(ground / "saved", device="cpu")
    assert again.info == restorer.info
    y = torch.rand(1, 3, 21, 30)
    assert torch.equal(again(y), restorer(y))
    size = (ground / "saved" / "model.safetensors").stat().st_size
    assert size == (ground / "w.safetensors").stat().st_size


def test_what_half_precision_does_not_hold_is_kept_as_it_is(ground: Path) -> None:
    network, info = load_weights(ground / "w.safetensors")
    state = {name: tensor + 1e-5 for name, tensor in network.state_dict().items()}
    save_folder(ground / "fine", state, info)
    found = load_weights(ground / "fine" / "model.safetensors")[0].state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC0-1.0", {"license": "cc0-1.0"}),
        ("Apache-2.0 (trained on pages)", {"license": "apache-2.0"}),
        ("research only (NYU: v2)", {"license": "other", "license_name": "research-only"}),
        ("", {"license": "other", "license_name": "unknown"}),
    ],
)
def test_the_card_has_what_the_hub_reads(
    ground: Path, licence: str, expected: dict[str, str]
) -> None:
    network, info = load_weights(ground / "w.safetensors")
    head = {**vars(info), "licence": licence, "recipe": {"name": "small", "description": "Small."}}
    save_folder(ground / "f", network.state_dict(), WeightsInfo(**head), name="org/small")
    _, front, card = (ground / "f" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(front) == {
        **expected,
        "library_name": "physgan",
        "pipeline_tag": "image-to-image",
        "tags": ["image-restoration", "small", "unet"],
    }
    assert card.startswith("\n# small\n\nSmall.\n\n## Use\n")
    assert "from_pretrained('org/small')" in card
    assert "--weights org/small" in card
    assert f"| Licence of the weights | {licence}" in card


def test_nothing_is_replaced_unasked(ground: Path) -> None:
    restorer = Restorer.from_pretrained(ground / "w.safetensors", device="cpu")
    (ground / "README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"got README\.md\. Replace them with overwrite=True"):
        restorer.save_pretrained(ground)
    assert not (ground / "model.safetensors").exists()
    restorer.save_pretrained(ground, overwrite=True)
    assert (ground / "README.md").read_text(encoding="utf-8") != "mine"
    with pytest.raises(WeightsError, match="one that can be written"):
        restorer.save_pretrained(ground / "w.safetensors" / "below")


def test_what_cannot_be_saved(ground: Path) -> None:
    with pytest.raises(UsageError, match="got one without a header"):
        Restorer(UNet(widths=(4, 6), blocks=(1, 1))).save_pretrained(ground / "x")
    restorer = Restorer.from_pretrained(ground / "w.safetensors", device="cpu")
    for name in ("name", "org/name@v1", "org/a/b", "org/", "../name"):
        with pytest.raises(UsageError, match="expected 'org/name'"):
            restorer.push_to_hub(name)
    assert not (ground / "x").exists()


def test_names_of_repositories() -> None:
    for name in ("org/name", "org/name@v1.0", "o-r.g/n_a-m.e", "org/name@refs/pr/1"):
        assert is_repository(name)
    for name in ("name", "a/b/c", "/org/name", "./org", "~/name", "org/w.safetensors", "org/w.onnx",
                 "org/", "org/name@", "org/na me"):  # fmt: skip
        assert not is_repository(name)


def test_what_lies_here_comes_first(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ground)
    (ground / "org").mkdir()
    Restorer.from_pretrained("w.safetensors", device="cpu").save_pretrained("org/name")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert Restorer.from_pretrained("org/name", device="cpu").info is not None


def test_without_the_library(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=rf"none of them\. {re.escape(install('hub'))}"):
        Restorer.from_pretrained("org/name")
    restorer = Restorer.from_pretrained(ground / "w.safetensors", device="cpu")
    with pytest.raises(UsageError, match=rf"got none\. {re.escape(install('hub'))}"):
        restorer.push_to_hub("org/name")


def test_the_command_line_says_what_is_missing(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    argv = ["restore", str(ground), "--weights", "org/name", "--output", str(ground / "out")]
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert "[hub]" in err
    assert err.count("\n") == 1


def pushed(server: Hub, ground: Path) -> float:
    """`org/open` twice and `org/closed`, by the real client; the sum of what they restore."""
    (expected, *answers), _ = results(
        ground, server.endpoint, EXPECTED,
        PUSH.format("org/open", None), PUSH.format("org/open", None),
        PUSH.format("org/closed", True),
        HF_TOKEN=TOKEN,
    )  # fmt: skip
    assert [each.get("got") for each in answers] == [
        f"{server.endpoint}/org/{name}" for name in ("open", "open", "closed")
    ], answers
    return float(expected["got"])


def test_both_directions(ground: Path) -> None:
    with hub() as server:
        expected = pushed(server, ground)
        assert server.private == {"org/closed"}
        (files,) = server.commits["org/closed"]
        assert sorted(files) == ["README.md", "model.safetensors"]
        assert b"from_pretrained('org/closed')" in files["README.md"]
        # Somebody uploads the folder of a run; and something else.
        server.commits["org/run"] = [{"weights.safetensors": files["model.safetensors"]}]
        server.commits["org/other"] = [{"config.json": b"{}"}]
        first = commit_name("org/open", 1)
        loads = [
            f"load({name!r})"
            for name in ("org/open", f"org/open@{first}", "org/run", "org/closed", "org/open@v9",
                         "org/other", "org/nothing")
        ]  # fmt: skip
        wrong = PUSH.format("org/open", None)
        answers, _ = results(ground, server.endpoint, *loads, wrong)
        again, _ = results(ground, server.endpoint, "load('org/closed')", HF_TOKEN=TOKEN)
    assert [each["got"] for each in (*answers[:3], *again)] == [expected] * 4
    for each, part in zip(
        answers[3:],
        ("none on the hub that you may see. For a private one: hf auth login", "no such revision",
         "expected model.safetensors in it", "nothing of that name here", "status 401. Log in"),
        strict=True,
    ):  # fmt: skip
        assert part in each["error"]


def test_offline_the_cache_serves(ground: Path) -> None:
    """Refused, forbidden, or answered by a server that is out of order."""
    with hub() as server:
        expected = pushed(server, ground)
        results(ground, server.endpoint, "load('org/open')")
        server.out_of_order = True
        ill, ill_err = results(ground, server.endpoint, "load('org/open')")
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        answers, err = results(ground, nobody(), "load('org/open')", "load('org/closed')", **more)
        assert answers[0]["got"] == expected
        assert answers[0]["seconds"] < 10
        assert "weights 'org/open' are the copy in the cache" in err
        assert "no copy in the cache" in answers[1]["error"]
    assert ill[0]["got"] == expected
    assert "status 503" in ill_err
    write_picture(ground / "in.png", torch.rand(3, 12, 14))
    command = ["restore", "in.png", "--weights", "org/open", "--output", "out", "--device", "cpu"]
    ended = subprocess.run(
        [sys.executable, "-m", "physgan", *command],
        env=environment(ground, nobody(), HF_HUB_OFFLINE="1"),
        cwd=ground,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    assert "weights 'org/open', licence: CC0-1.0" in ended.stderr
    assert (ground / "out" / "in.png").is_file()


@pytest.mark.parametrize(
    ("more", "clause"),
    [
        ({}, "the hub is not reached"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"silent": "1"}, "no answer of the hub in 1 s"),
        # A name that is surely none; who resolves it is the machine's affair, and may be silent.
        ({"nowhere": "1"}, "hub"),
    ],
)
def test_offline_without_a_copy_is_told_at_once(
    ground: Path, more: dict[str, str], clause: str
) -> None:
    with socket.socket() as silent:  # takes connections and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        own = f"http://127.0.0.1:{silent.getsockname()[1]}"
        patience = "setattr(hub, '_PATIENCE', 1.0)" if "silent" in more else "None"
        endpoint = own if "silent" in more else nobody()
        endpoint = "http://hub.invalid" if "nowhere" in more else endpoint
        lines = [patience, "load('org/name')", "load('runs/frist')"]
        (_, *answers), err = results(ground, endpoint, *lines, **more)
    for answer in answers:
        assert clause in answer["error"]
        assert "nothing of that name here" in answer["error"]
        assert "\n" not in answer["error"]
        assert answer["seconds"] < 10  # the library alone takes 24
    assert "Retrying" not in err


def test_pushing_offline_is_told_at_once(ground: Path) -> None:
    (answer,), _ = results(ground, nobody(), PUSH.format("org/name", None), HF_TOKEN=TOKEN)
    assert "save_pretrained(folder) needs none" in answer["error"]
    assert answer["seconds"] < 10
