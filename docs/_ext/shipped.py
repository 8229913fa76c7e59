"""What weights are measured at, from their own header: a page that shows it cannot fall behind.

The directive `physgan-measured TASK` gives licence, shortcomings and a table, or says that no
weights of the task ship with this version and how to train them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# Title of a column, its name in the header, and how its numbers are written.
COLUMNS = [
    ("PSNR before", "input_psnr", "{:.2f}\N{NO-BREAK SPACE}dB"),
    ("after", "psnr", "{:.2f}\N{NO-BREAK SPACE}dB"),
    ("worst picture", "worst_gain", "{:+.2f}\N{NO-BREAK SPACE}dB"),
    ("SSIM before", "input_ssim", "{:.3f}"),
    ("after", "ssim", "{:.3f}"),
    ("misread before", "input_text_error", "{:.0%}"),
    ("after", "text_error", "{:.0%}"),
]


class Measured(SphinxDirective):
    """The numbers of one task."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from physgan.weights.catalogue import SHIPPED, shipped_file
        from physgan.weights.file import read_info

        (task,) = self.arguments
        self.env.note_dependency(__file__)
        if task not in SHIPPED:
            return self.parse_text_to_nodes(StringList(_none(task).splitlines()))
        info = read_info(shipped_file(task))
        self.env.note_dependency(str(shipped_file(task)))
        lines = [f"Licence of the weights: {info.licence}.", ""]
        if short := info.training.get("experimental"):
            lines += [f"They are marked experimental, for what they miss: {short}.", ""]
        rows = [row for row in info.measured if isinstance(row, Mapping)]
        lines += _table([r for r in rows if "input_psnr" in r and r["set"] != "held-out crops"])
        for row in rows:
            lines += _alone(row)
        lines += [f"All of it stands in [the card](/cards/{task}.md).", ""]
        return self.parse_text_to_nodes(StringList(lines))


def _none(task: str) -> str:
    return f"""No weights of this task ship with this version. Until they do, train them as above,
and name the folder of the run in place of the task:

```
physgan restore PICTURES --weights runs/{task} --output restored
```
"""


def _table(rows: list[Mapping[str, Any]]) -> list[str]:
    """Rows of sets, with those columns that any of them has a number for."""
    columns = [column for column in COLUMNS if any(column[1] in row for row in rows)]
    lines = [["set", "protocol", *(title for title, _, _ in columns)]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        cells = [form.format(row[name]) if name in row else "" for _, name, form in columns]
        lines.append([row["set"], f"`{row['protocol']}`", *(c.replace("-", "−") for c in cells)])
    return [*("| " + " | ".join(cells) + " |" for cells in lines), ""]


def _alone(row: Mapping[str, Any]) -> list[str]:
    """Of clear pictures that were put through there is a sentence."""
    if "worst_psnr" not in row:
        return []
    sentence = (
        f"Clear pictures put through come back at {row['psnr']:.1f} dB, the worst at "
        f"{row['worst_psnr']:.1f} dB; mean colours move by {row['colour_moves_by']:.2f}/255."
    )
    return [sentence, ""]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("physgan-measured", Measured)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
