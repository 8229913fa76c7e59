"""The command line: help, unknown commands, arguments, overrides, faults and exit statuses.

The commands that the faults are tried on are real modules, written to a folder of the test.
"""

import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from physgan import __version__
from physgan.cli import COMMANDS, main

MODULE = '''
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from physgan.errors import ImageError, RecipeError

{head}

@dataclass
class Arguments:
    """Does as it is told."""

    recipe: Positional[str]
    output: Path
    max_steps: int = 3
    resume: bool = False

def run(arguments: Arguments, overrides: Sequence[str]) -> int:
    {body}
'''


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A command `obey` whose module has the head and the body of the parameter."""
    head, body = request.param
    name = f"obey_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(head=head, body=body), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "obey", (name, "Obey."))
    return name


def obeys(body: str, head: str = "") -> pytest.MarkDecorator:
    return pytest.mark.parametrize("command", [(head, body)], indirect=True, ids=[""])


ARGV = ["obey", "r.yaml", "--output", "RUN"]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for name, (_, line) in COMMANDS.items():
        assert f"{name} " in out
        assert line in out
    assert max(map(len, out.splitlines())) <= 100


def test_no_arguments_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: physgan COMMAND")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"physgan {__version__}\n"


@pytest.mark.parametrize(
    ("wrong", "right"), [("trn", "train"), ("pck", "pack"), ("--hepl", "--help")]
)
def test_unknown_command_names_the_nearest(
    wrong: str, right: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([wrong]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"'{wrong}'" in err
    assert f"Did you mean '{right}'?" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_there_and_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(COMMANDS[name][0])
    assert callable(module.run)
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: physgan {name} " in capsys.readouterr().out


@obeys("print(arguments, list(overrides)); return 0")
def test_arguments_reach_the_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGV, "--resume", "--max-steps", "7"]) == 0
    out = capsys.readouterr().out
    assert "recipe='r.yaml'" in out
    assert "max_steps=7, resume=True" in out
    assert out.endswith("[]\n")


@obeys("return 0")
def test_only_the_chosen_command_is_imported(command: str) -> None:
    main(["--help"])
    assert command not in sys.modules
    main(ARGV)
    assert command in sys.modules


@obeys("return 1")
def test_the_status_of_the_command_is_ours(command: str) -> None:
    assert main(ARGV) == 1


@obeys("print(*overrides); return 0", head="TAKES_OVERRIDES = True")
def test_overrides_are_passed_on_as_written(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["--objective.lambda_x", "-1", "--network.width=8", "--seed", "3"]
    assert main([*ARGV, *overrides]) == 0
    assert capsys.readouterr().out.split() == overrides


@obeys("return 0")
@pytest.mark.parametrize(
    ("extra", "remedy"), [("--max-stesp=3", "Did you mean '--max-steps'?"), ("more", "Known: ")]
)
def test_unknown_argument_names_the_nearest(
    command: str, extra: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*ARGV, extra]) == 2
    err = capsys.readouterr().err
    assert f"'{extra}'" in err
    assert remedy in err
    assert "physgan obey --help" in err
    assert err.count("\n") == 1


@obeys("return 0")
@pytest.mark.parametrize("argv", [["obey"], ["obey", "r.yaml"], [*ARGV, "--max-steps", "x"]])
def test_arguments_that_do_not_parse_are_wrong_usage(
    command: str, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert capsys.readouterr().out == ""


FAULT = "raise {}('a thing', expected='one', got='two', remedy='Mend it.')"


@pytest.mark.parametrize(
    ("command", "status"),
    [(("", FAULT.format("RecipeError")), 2), (("", FAULT.format("ImageError")), 1)],
    indirect=["command"],
)
def test_a_fault_with_a_remedy_is_one_line(
    command: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(ARGV) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "physgan: a thing: expected one, got two. Mend it.\n"


@obeys("raise KeyboardInterrupt")
def test_interruption_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ARGV) == 130
    assert capsys.readouterr().err == "physgan: interrupted.\n"


KILLED = "os.kill(os.getpid(), {}); time.sleep(1); return 0"


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (("import os, time", KILLED.format(int(number))), number)
        for number in (signal.SIGTERM, signal.SIGHUP)
    ],
    indirect=["command"],
)
def test_what_would_end_it_at_once_ends_it_as_ctrl_c_does(
    command: str, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # tests may run under nohup
    try:
        assert main(ARGV) == 128 + number
        assert capsys.readouterr().err == "physgan: terminated.\n"
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)
        assert main(ARGV) == 0  # as whoever has it ignored means it
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("", "raise OSError(28, 'No space left')"), "the disk: expected room"),
        (("", "raise OSError(28, 'No space left', 'a.png')"), "'a.png': expected room"),
        (("", "raise PermissionError(13, 'Denied', 'x')"), "'x': expected a path that can be"),
    ],
    indirect=["command"],
)
def test_what_is_wrong_with_a_path_is_one_line(
    command: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(ARGV) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"physgan: {told}")
    assert err.count("\n") == 1


@obeys("raise OSError(5, 'Input/output error')")
def test_other_faults_of_the_system_keep_their_traceback(command: str) -> None:
    with pytest.raises(OSError, match="Input/output"):
        main(ARGV)


@obeys("return {}['no such key']")
def test_any_other_exception_keeps_its_traceback(command: str) -> None:
    with pytest.raises(KeyError, match="no such key"):
        main(ARGV)


@pytest.mark.parametrize(
    "start", [["-m", "physgan"], ["-c", "from physgan.cli import main; main()"]]
)
def test_a_reader_that_has_gone_is_no_error(start: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, *start, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # long before the interpreter is up
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == (141 if start[0] == "-m" else 0)
    assert err == b""


def test_the_script_and_the_module_are_the_same() -> None:
    script = Path(sys.executable).with_name("physgan")
    for start in ([str(script)], [sys.executable, "-m", "physgan"]):
        result = subprocess.run(
            [*start, "--version"], capture_output=True, text=True, check=True, timeout=60
        )
        assert result.stdout == f"physgan {__version__}\n"


GATHERS = """
    paths: Positional[tuple[Path, ...]]
    output: Path
    seed: int = 0
    some: bool = False
"""


@pytest.fixture
def gathers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A command `gather` that takes several words by their place."""
    name = f"gather_{tmp_path.name}"
    text = MODULE.format(head="", body="print(arguments); return 0")
    before, _, rest = text.partition("    recipe: Positional[str]")
    text = before + GATHERS.strip("\n") + "\n\n" + rest[rest.index("def run") :]
    (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "gather", (name, "Gather."))
    return "gather"


@pytest.mark.parametrize(
    "line",
    [
        "a b --output OUT --seed -1 --some",
        "--output OUT --seed -1 --some a b",
        "a --output OUT b --seed -1 --some",
        "--some a --seed -1 b --output OUT",
        "--output=OUT a --some --seed=-1 b",
        "--seed -1 a --output OUT --some -- b",
    ],
)
def test_words_may_stand_between_options(
    gathers: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([gathers, *line.split()]) == 0
    out, err = capsys.readouterr()
    assert "(PosixPath('a'), PosixPath('b')), output=PosixPath('OUT'), seed=-1, some=True" in out
    assert err == ""


def test_what_begins_with_a_dash_comes_behind_two(
    gathers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([gathers, "a", "--output", "OUT", "--", "-b", "--some"]) == 0
    out = capsys.readouterr().out
    assert "(PosixPath('a'), PosixPath('-b'), PosixPath('--some'))" in out
    assert "some=False" in out


def test_a_slip_between_words_is_named(gathers: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([gathers, "a", "--smoe", "b", "--output", "OUT"]) == 2
    assert "'--smoe' of 'gather'. Did you mean '--some'?" in capsys.readouterr().err
