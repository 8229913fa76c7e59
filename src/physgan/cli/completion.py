"""`physgan --completion SHELL`: a script that completes commands, options and their values.

The script holds every word that it offers, so that completing runs nothing of physgan: it is as
quick as the shell, and of the version that printed it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NamedTuple

from physgan.cli.options import Option, options_of

SHELLS = ("bash", "zsh", "fish")

_TOP = {
    "--help": "Show the commands.",
    "--version": "Show the version.",
    "--completion": "Print what completes arguments in a shell.",
}


class Word(NamedTuple):
    """An option, or what a positional argument may be (an empty flag), as a shell needs it."""

    flag: str
    told: str
    takes_value: bool = False
    values: tuple[str, ...] = ()
    paths: bool = False
    many: bool = False


def completion(shell: str, commands: Mapping[str, tuple[str, str]]) -> str:
    """The script for `bash`, `zsh` or `fish`.

    Args:
        shell: one of `SHELLS`.
        commands: the table of commands.
    """
    known = {name: (line, words_of(name, module)) for name, (module, line) in commands.items()}
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](known)


def words_of(command: str, module: str) -> list[Word]:
    """Every option of a command, and what stands in the places of its positional arguments."""
    from docstring_parser import parse_from_object

    found = import_module(module)
    told = {p.arg_name: p.description or "" for p in parse_from_object(found.Arguments).params}
    words = []
    for option in options_of(found.Arguments):
        values, paths = _values(command, option)
        words.append(
            Word(
                "" if option.positional else option.flag,
                " ".join(told.get(option.name, "").split()),
                option.takes_value,
                values,
                paths,
                option.many,
            )
        )
    words.append(Word("--help", "Show the arguments."))
    if getattr(found, "TAKES_OVERRIDES", False):
        words += _overrides()
    return words


def _values(command: str, option: Option) -> tuple[tuple[str, ...], bool]:
    """The words that an option takes, and whether it takes paths."""
    from physgan.recipes.load import shipped_recipes
    from physgan.recipes.parts import parts
    from physgan.weights.catalogue import SHIPPED

    return {
        "task": (tuple(sorted(SHIPPED)), False),
        "weights": ((), True),
        "device": (("auto", "cpu", "cuda", "mps"), False),
        "tile": (("auto",), False),
        "recipe": (tuple(shipped_recipes()), True),
        "physics": (tuple(shipped_recipes()), True),
        "names": (tuple(part.name for part in parts()), False),
    }.get(option.name, (option.choices, option.paths))


_PATHS = ("--data.train", "--data.pairs.degraded", "--data.pairs.clean", "--training.start")


def _overrides() -> list[Word]:
    """The fields of a recipe."""
    from physgan.recipes.load import field_lines

    words = []
    for line in field_lines():
        flag, _, told = line.partition("  ")
        if "NAME" not in flag:
            name, _, value = flag.partition(" ")
            told, _, among = told.partition(" One of ")
            values = tuple(among.removesuffix(".").split(", ")) if among else ()
            if value in ("[True]", "[False]"):
                values = ("true", "false")
            words.append(Word(name, told, True, values, name in _PATHS))
    return words


def _bash(commands: Mapping[str, tuple[str, Sequence[Word]]]) -> str:
    cases = []
    for name, (_, words) in commands.items():
        flags = " ".join(word.flag for word in words if word.flag)
        lines = [f"    {name})", f"        options={_quoted(flags)}", "        case $previous in"]
        lines += [
            f"            {word.flag}) {_bash_values(word)} ;;"
            for word in words
            if word.flag and word.takes_value
        ]
        placed = next((word for word in words if not word.flag), None)
        lines.append(f"            *) {_bash_values(placed)} ;;")
        cases.append("\n".join([*lines, "        esac ;;"]))
    head = f"""\
# bash completion for physgan. Source it: . <(physgan --completion bash)
_physgan() {{
    local IFS=$' \\t\\n' current previous command options= values= files= word
    current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    command=${{COMP_WORDS[1]}} COMPREPLY=()
    # --task=derain is three words to bash.
    if [[ $current == "=" ]]; then current=
    elif [[ $previous == "=" ]]; then previous=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    if [[ $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W {_quoted(" ".join([*commands, *_TOP]))} -- "$current"))
        return
    fi
    case $command in
    --completion) values={_quoted(" ".join(SHELLS))} ;;
"""
    tail = """
    esac
    if [[ $current == -* ]]; then values=$options files=; fi
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(
        compgen -W "$values" -- "$current"
        if [[ -n $files ]]; then compgen -f -- "$current"; fi
    )
    if [[ -n $files ]]; then compopt -o filenames 2>/dev/null; fi
}
complete -F _physgan physgan
"""
    return head + "\n".join(cases) + tail


def _bash_values(word: Word | None) -> str:
    if word is None:
        return ":"
    values = f"values={_quoted(' '.join(word.values))}" if word.values else ""
    return " ".join([*filter(None, [values, "files=1" if word.paths else ""])]) or ":"


def _zsh(commands: Mapping[str, tuple[str, Sequence[Word]]]) -> str:
    # Names or files: a function for each list of names.
    mixed: dict[tuple[str, ...], str] = {}
    cases = []
    for name, (_, words) in commands.items():
        for word in words:
            if word.values and word.paths:
                mixed.setdefault(word.values, f"_physgan_names_{len(mixed)}")
        specs = [f"            {_quoted(_zsh_spec(word, mixed))}" for word in words]
        cases += [f"    {name})", "        _arguments -S \\", " \\\n".join(specs) + " ;;"]
    names = [f"        {_quoted(f'{n}:{_escaped(line)}')}" for n, (line, _) in commands.items()]
    names += [f"        {_quoted(f'{flag}:{_escaped(line)}')}" for flag, line in _TOP.items()]
    return "\n".join(
        [
            "#compdef physgan",
            "# zsh completion for physgan. In ~/.zshrc, behind compinit:",
            "#     source <(physgan --completion zsh)",
            *(f"{call}() {{ compadd -- {' '.join(of)}; _files }}" for of, call in mixed.items()),
            "_physgan() {",
            "    local -a commands=(",
            *names,
            "    )",
            "    if (( CURRENT == 2 )); then",
            "        _describe command commands",
            "        return",
            "    fi",
            "    local command=$words[2]",
            "    shift words",
            "    (( CURRENT-- ))",
            "    case $command in",
            f"    --completion) _values shell {' '.join(SHELLS)} ;;",
            *cases,
            "    esac",
            "}",
            # From a folder of $fpath the file is the function; sourced, it defines it.
            'if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _physgan "$@"',
            "else compdef _physgan physgan; fi",
            "",
        ]
    )


def _zsh_spec(word: Word, mixed: Mapping[tuple[str, ...], str]) -> str:
    action = f"({' '.join(word.values)})" if word.values else " "
    if word.paths:
        action = mixed.get(word.values, "_files")
    told = _escaped(word.told)
    if not word.flag:
        return f"{'*' if word.many else '1'}:{told}:{action}"
    if not word.takes_value:
        return f"{word.flag}[{told}]"
    return f"{word.flag}=[{told}]:{word.flag.removeprefix('--')}:{action}"


def _fish(commands: Mapping[str, tuple[str, Sequence[Word]]]) -> str:
    lines = [
        "# fish completion for physgan:",
        "#     physgan --completion fish > ~/.config/fish/completions/physgan.fish",
        "complete -c physgan -f",
        f"set -l commands {' '.join(commands)}",
    ]
    none = "not __fish_seen_subcommand_from $commands"
    for name, (line, _) in commands.items():
        lines.append(f'complete -c physgan -n "{none}" -a {name} -d {_fish_quoted(line)}')
    for flag, line in _TOP.items():
        takes = f" -x -a {_fish_quoted(' '.join(SHELLS))}" if flag == "--completion" else ""
        lines.append(
            f'complete -c physgan -n "{none}" -l {flag[2:]}{takes} -d {_fish_quoted(line)}'
        )
    for name, (_, words) in commands.items():
        when = f"complete -c physgan -n '__fish_seen_subcommand_from {name}'"
        for word in words:
            values = f" -a {_fish_quoted(' '.join(word.values))}" if word.values else ""
            told = f" -d {_fish_quoted(word.told)}" if word.told else ""
            if not word.flag:
                lines.append(f"{when}{' -F' if word.paths else ''}{values}{told if values else ''}")
                continue
            takes = (" -r -F" if word.paths else " -x") if word.takes_value else ""
            lines.append(f"{when} -l {word.flag[2:]}{takes}{values}{told}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """For bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _escaped(text: str) -> str:
    """Text inside a specification of zsh."""
    return re.sub(r"([\\:\[\]])", r"\\\1", text)
