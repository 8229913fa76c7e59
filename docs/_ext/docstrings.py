"""Docstrings are plain text with `code`: what reStructuredText would take for markup is escaped.

Means of absolute values are written |x|, sizes N×*×H×W; neither is a substitution or emphasis here.
Examples, which begin with >>>, stay as they are; tables are shown as they are written.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_OPTION = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")  # of a command; a dash where it is no code
_RETURNS = re.compile(r"(\s*):returns: (.*)")
_RTYPE = re.compile(r"\s*:rtype: (.*)")
_RULE = re.compile(r"=+( +=+)+$")  # above, within and below a table
_CODE = re.compile(r"(`[^`]*`)")
# A star before a space at the beginning of a line is a list.
_MARKUP = re.compile(r"([|\\]|(?<=\w)_(?!\w)|\*(?! )|(?<!^)(?<!\n)\*)")


def escaped(lines: list[str]) -> list[str]:
    """Lines of a docstring, without markup but for code and lists; code may run over lines."""
    before = "\n".join(lines).split("\n")
    rules = [place for place, line in enumerate(before) if _RULE.match(line)]
    in_table = range(rules[0], rules[-1] + 1) if rules else range(0)
    in_example, kept = False, []
    for place, (line, plain) in enumerate(zip(_marked(before), before, strict=True)):
        in_example = plain.lstrip().startswith(">>>") or (in_example and bool(plain.strip()))
        if place in in_table:
            kept += ["::", ""] if place == in_table.start else []
            kept.append(f"   {plain}")
        else:
            kept.append(plain if in_example else line)
    return kept


def _marked(lines: list[str]) -> list[str]:
    parts = _CODE.split("\n".join(lines))
    for place, part in enumerate(parts):
        if place % 2 == 0:
            parts[place] = _OPTION.sub(r"``\g<0>``", _MARKUP.sub(r"\\\1", part))
        else:
            # An escaped space is none, and lets code touch a word: `radius`².
            before, after = parts[place - 1][-1:], parts[place + 1][:1]
            touches = ["" if not c.strip() else "\\ " for c in (before, after)]
            parts[place] = f"`{part}`".join(touches)
    return "".join(parts).split("\n")


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = escaped(lines)


def _joined(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """What napoleon takes for the type of a result, text before a colon, is text again."""
    for place in reversed(range(len(lines))):
        if not (told := _RTYPE.match(lines[place])):
            continue
        before = max((i for i in range(place) if _RETURNS.match(lines[i])), default=place)
        if result := _RETURNS.match(lines[before]):
            lines[before] = f"{result[1]}:returns: {told[1]}: {result[2]}"
            del lines[place]


def setup(app: Sphinx) -> dict[str, Any]:
    # Before napoleon (500), whose own markup must stay.
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-process-docstring", _joined, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
