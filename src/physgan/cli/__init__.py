"""The command line: one table of commands, and the one place that prints faults and exit statuses.

A command is a module with a dataclass `Arguments` and a function
`run(arguments: Arguments, overrides: Sequence[str]) -> int`. It is imported only when chosen, so
that help is quick. Where it says `TAKES_OVERRIDES = True`, arguments that `Arguments` does not
know reach `run` as overrides; elsewhere they are an error. A function `describe(argv) -> str` may
say more in help than the docstring of `Arguments`. Where it says `ENDS_BY_ITSELF = True`, it sees
to signals that would end it, and has a status for that.

Exit status: 0 all done, 1 some of the work failed, 2 wrong usage, 130 interrupted, 143 terminated,
129 its terminal has gone, 141 the reader of our output has gone. A fault with a remedy is one line;
any other keeps its traceback.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from importlib import import_module
from threading import current_thread, main_thread

from physgan import __version__
from physgan.errors import PhysganError, RecipeError, UsageError, nearest

# Command -> its module and one line of help.
COMMANDS = {
    "app": ("physgan.cli.app", "Serve the web page and the HTTP API."),
    "check-physics": ("physgan.cli.check_physics", "Check how well a physics explains pairs."),
    "degrade": ("physgan.cli.degrade", "Degrade clear pictures by a physics: pairs to check on."),
    "evaluate": ("physgan.cli.evaluate", "Measure a restorer on pairs of pictures."),
    "export": ("physgan.cli.export", "Export weights as an ONNX graph, compared with them."),
    "pack": ("physgan.cli.pack", "Pack folders of clear images into shards for training."),
    "parts": ("physgan.cli.parts", "List what a recipe can name, with every argument."),
    "restore": ("physgan.cli.restore", "Restore pictures, files and folders of them."),
    "tasks": ("physgan.cli.tasks", "List the shipped weights: licences and measured numbers."),
    "train": ("physgan.cli.train", "Train a restorer from a recipe."),
}


_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_OF_PATHS = {
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS),
}
"""What the system says of paths that somebody named, where no command has told it better."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after the program's name; those of the process by default.

    Returns:
        The exit status.

    Raises:
        SystemExit: a command's arguments do not parse (status 2), or its help was asked for (0).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be no text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()  # a reader that has gone shows here rather than at interpreter exit
    except PhysganError as error:
        print(f"physgan: {error}", file=sys.stderr)
        return 2 if isinstance(error, RecipeError | UsageError) else 1
    except _Terminated as ended:
        print("physgan: terminated.", file=sys.stderr)
        return 128 + ended.number
    except KeyboardInterrupt:
        print("physgan: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which would complain about the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        told = _of_a_path(error)
        if told is None:
            raise
        print(f"physgan: {told}", file=sys.stderr)
        return 1
    return status


def _of_a_path(error: OSError) -> str | None:
    """What is wrong with a path, or with the disk behind it; None where it is something else."""
    if error.errno in _FULL:  # which may tell no path
        where = "the disk" if error.filename is None else f"'{error.filename}'"
        return f"{where}: expected room for what is written, got {error.strerror}."
    if error.errno in _OF_PATHS and error.filename is not None:
        wanted = "a path that can be reached, read or written"
        return f"'{error.filename}': expected {wanted}, got {error.strerror}."
    return None


def _dispatch(argv: list[str]) -> int:
    if not argv:
        print(_usage(), file=sys.stderr)
        return 2
    name, *rest = argv
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name == "--version":
        print(f"physgan {__version__}")
        return 0
    if name == "--completion":
        return _complete(rest)
    if name not in COMMANDS:
        kind, known = (
            ("option", ["--help", "--version", "--completion"])
            if name.startswith("-")
            else ("command", list(COMMANDS))
        )
        return _wrong_usage(f"unknown {kind} '{name}'. {nearest(name, known)}")
    return _run(name, rest)


def _complete(shells: list[str]) -> int:
    from physgan.cli.completion import SHELLS, completion

    if len(shells) != 1 or shells[0] not in SHELLS:
        told = repr(" ".join(shells)) if shells else "nothing"
        among = ", ".join(SHELLS)
        return _wrong_usage(f"--completion: expected one of {among}, got {told}.")
    print(completion(shells[0], COMMANDS), end="")
    return 0


def _run(name: str, argv: list[str]) -> int:
    import tyro

    from physgan.cli.options import placed_first

    module = import_module(COMMANDS[name][0])
    # Behind an override nobody can tell whether a word is its value or stands for itself.
    overridden = getattr(module, "TAKES_OVERRIDES", False)
    asked = not {"-h", "--help"}.isdisjoint(argv)
    arguments, unknown = tyro.cli(
        module.Arguments,
        args=argv if overridden else placed_first(module.Arguments, argv),
        prog=f"physgan {name}",
        description=module.describe(argv) if asked and hasattr(module, "describe") else None,
        return_unknown_args=True,
        # Neither --no-json, which is as it is without, nor None, which nobody writes.
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )
    if unknown and not overridden:
        flags = [f"--{field.name.replace('_', '-')}" for field in fields(module.Arguments)]
        # A word beside a mistyped option is most often its value, and no fault of its own.
        named = next((word for word in unknown if word.startswith("-")), unknown[0])
        return _wrong_usage(
            f"unknown argument '{named}' of '{name}'. {nearest(named, flags)} "
            f"See 'physgan {name} --help'."
        )
    with nullcontext() if getattr(module, "ENDS_BY_ITSELF", False) else _ending_tidily():
        return int(module.run(arguments, unknown))


class _Terminated(KeyboardInterrupt):
    """Somebody else ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def _ending_tidily() -> Iterator[None]:
    """What would end the program at once ends it as Ctrl-C does: no half of a file stays behind.

    The second time it does as it is told.
    """
    kinds = {getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")} - {None}
    # Whoever has set another way, or ignores it, means it.
    ours = [kind for kind in kinds if kind and signal.getsignal(kind) is signal.SIG_DFL]
    if current_thread() is not main_thread():
        ours = []

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise _Terminated(number)

    for kind in ours:
        signal.signal(kind, end)
    try:
        yield
    finally:
        for kind in ours:
            signal.signal(kind, signal.SIG_DFL)


def _wrong_usage(what: str) -> int:
    print(f"physgan: {what}", file=sys.stderr)
    return 2


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {line}" for name, (_, line) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: physgan COMMAND [ARGUMENTS]",
            "",
            "Restores degraded images, and trains restorers that obey their physics.",
            "",
            "commands:",
            *lines,
            "",
            "options:",
            "  -h, --help          show this and exit",
            "  --version           show the version and exit",
            "  --completion SHELL  print what completes arguments in bash, zsh or fish, and exit",
            "",
            "'physgan COMMAND --help' lists the arguments of a command.",
        ]
    )
