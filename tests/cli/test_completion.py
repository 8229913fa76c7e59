"""Shell completion, in the shells themselves; what each offers where, and that it holds all."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from physgan.cli import COMMANDS, main
from physgan.cli.completion import SHELLS, completion
from physgan.weights.catalogue import SHIPPED


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("completion")
    found = {shell: folder / f"physgan.{shell}" for shell in SHELLS}
    for shell, path in found.items():
        path.write_text(completion(shell, COMMANDS), encoding="utf-8")
    return found


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("my pages").mkdir()
    Path("scan.png").touch()
    Path("mine.yaml").touch()
    return tmp_path


def need(shell: str) -> str:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    return program


def in_bash(scripts: dict[str, Path], *words: str) -> list[str]:
    """What bash offers for the last word."""
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _physgan;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ended = subprocess.run(
        [need("bash"), "--norc", "-c", script, "bash", str(scripts["bash"]), "physgan", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stderr == ""
    return [line for line in ended.stdout.splitlines() if line]


def in_fish(scripts: dict[str, Path], line: str) -> list[str]:
    """What fish offers at the end of a line."""
    command = f"source {scripts['fish']}; complete -C {line!r}"
    ended = subprocess.run(
        [need("fish"), "--no-config", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HOME": str(scripts["fish"].parent), "TERM": "dumb"},
    )
    assert ended.stderr == ""
    return [line.partition("\t")[0] for line in ended.stdout.splitlines()]


def in_zsh(scripts: dict[str, Path], *lines: str) -> list[str]:
    """What each line is after Tab, as somebody sees it who sits before a terminal."""
    zsh = need("zsh")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [zsh, "-f", "-i"],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "dumb", "HOME": str(scripts["zsh"].parent), "LC_ALL": "C"},
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)

    def until(mark: str) -> str:
        seen, end = "", time.monotonic() + 60
        while not re.search(mark, seen):
            assert time.monotonic() < end, seen
            if select.select([ours], [], [], 1)[0]:
                seen += os.read(ours, 4096).decode(errors="replace")
        return seen

    def send(text: str) -> None:
        os.write(ours, text.encode())

    try:
        send("PROMPT='' RPROMPT=''; unsetopt zle_bracketed_paste; autoload -Uz compinit\n")
        send(f"compinit -u -D; source {scripts['zsh']}; bindkey -e; print re''ady\n")
        until("ready")
        found = []
        for number, line in enumerate(lines):
            # Tab; then the line is printed in place of being run.
            send(f"{line}\t\x01print -r -- '<{number}:\x05:>'\n")
            found.append(re.findall(rf"\n<{number}:(.*?):>", until(rf"\n<{number}:.*?:>"))[0])
        return [line.strip() for line in found]
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_bash_offers_commands(scripts: dict[str, Path]) -> None:
    assert set(in_bash(scripts, "")) == {*COMMANDS, "--help", "--version", "--completion"}
    assert in_bash(scripts, "tr") == ["train"]
    assert in_bash(scripts, "--completion", "z") == ["zsh"]


def test_bash_offers_every_option_of_every_command(scripts: dict[str, Path]) -> None:
    for name, (module, _) in COMMANDS.items():
        arguments = import_module(module).Arguments
        names = {field.name.replace("_", "-") for field in fields(arguments)}
        offered = {word.removeprefix("--") for word in in_bash(scripts, name, "--")}
        placed = {"paths", "pairs", "pictures", "names", "recipe"}
        placed |= {"task"} if name == "tasks" else set()
        assert names - placed <= offered
        assert not offered & placed


def test_bash_offers_values(scripts: dict[str, Path], ground: Path) -> None:
    assert in_bash(scripts, "restore", "--task", "") == sorted(SHIPPED)
    assert in_bash(scripts, "restore", "a.png", "--task", "derai") == ["derain"]
    assert in_bash(scripts, "restore", "--task", "=", "derai") == ["derain"]
    assert in_bash(scripts, "restore", "--task", "=") == sorted(SHIPPED)
    assert in_bash(scripts, "restore", "--strength", "") == []
    assert in_bash(scripts, "evaluate", "--protocol", "rgb") == ["rgb", "rgb-shift"]
    assert in_bash(scripts, "train", "deblur-f") == ["deblur-face"]
    assert in_bash(scripts, "train", "r.yaml", "--objective.la") == ["--objective.lambda"]
    assert in_bash(scripts, "train", "r.yaml", "--training.precision", "b") == ["bf16"]
    assert in_bash(scripts, "train", "r.yaml", "--objective.matched", "") == ["true", "false"]
    assert in_bash(scripts, "degrade", "P", "--physics", "paper/s") == ["paper/sr4"]
    assert in_bash(scripts, "parts", "drawn_r") == ["drawn_rain"]
    assert in_bash(scripts, "tasks", "sr") == ["sr4"]


def test_bash_offers_files(scripts: dict[str, Path], ground: Path) -> None:
    assert in_bash(scripts, "restore", "sc") == ["scan.png"]
    assert in_bash(scripts, "restore", "--recursive", "my") == ["my pages"]
    assert in_bash(scripts, "restore", "--weights", "min") == ["mine.yaml"]
    assert in_bash(scripts, "train", "min") == ["mine.yaml"]
    assert in_bash(scripts, "restore", "--task", "sc") == []


def test_zsh(scripts: dict[str, Path], ground: Path) -> None:
    lines = {
        "physgan trai": "physgan train",
        "physgan --compl": "physgan --completion",
        "physgan --completion fi": "physgan --completion fish",
        "physgan restore --recu": "physgan restore --recursive",
        "physgan restore --task derai": "physgan restore --task derain",
        "physgan restore --task=derai": "physgan restore --task=derain",
        "physgan restore --json sc": "physgan restore --json scan.png",
        "physgan train deblur-fa": "physgan train deblur-face",
        "physgan train mine": "physgan train mine.yaml",
        "physgan train x --objective.la": "physgan train x --objective.lambda",
        "physgan evaluate --degr": "physgan evaluate --degraded",
        "physgan parts drawn_r": "physgan parts drawn_rain",
        "physgan degrade p --physics paper/s": "physgan degrade p --physics paper/sr4",
    }
    found = in_zsh(scripts, *lines)
    # zsh ends what it has completed with a space, and options of values with = or a space.
    assert [line.rstrip(" =") for line in found] == list(lines.values())


def test_fish(scripts: dict[str, Path], ground: Path) -> None:
    assert set(COMMANDS) <= set(in_fish(scripts, "physgan "))
    assert in_fish(scripts, "physgan trai") == ["train"]
    assert in_fish(scripts, "physgan restore --recu") == ["--recursive"]
    assert in_fish(scripts, "physgan restore --task ") == sorted(SHIPPED)
    assert in_fish(scripts, "physgan restore sca") == ["scan.png"]
    assert in_fish(scripts, "physgan restore --weights min") == ["mine.yaml"]
    assert in_fish(scripts, "physgan train deblur-fa") == ["deblur-face"]
    assert in_fish(scripts, "physgan train min") == ["mine.yaml"]
    assert in_fish(scripts, "physgan parts drawn_r") == ["drawn_rain"]
    assert in_fish(scripts, "physgan train x --objective.la") == ["--objective.lambda"]
    assert in_fish(scripts, "physgan --completion z") == ["zsh"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(
    shell: str, scripts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--completion", shell]) == 0
    assert capsys.readouterr().out == scripts[shell].read_text(encoding="utf-8")


@pytest.mark.parametrize("rest", [[], ["tcsh"], ["bash", "zsh"]])
def test_other_shells(rest: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--completion", *rest]) == 2
    err = capsys.readouterr().err
    assert "one of bash, zsh, fish" in err
    assert err.count("\n") == 1
