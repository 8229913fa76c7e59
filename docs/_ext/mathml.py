"""Mathematics as MathML, which browsers set without a script and without the network."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

_TAG = re.compile(r"\\tag\{([^}]*)\}")


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    tex = node.astext()
    tag = _TAG.search(tex)
    number = f'<span class="number">({tag[1]})</span>' if tag else ""
    formula = convert(_TAG.sub("", tex).strip(), display="block")
    anchor = f' id="equation-{tag[1]}"' if tag else ""
    translator.body.append(f'<div class="equation"{anchor}>{formula}{number}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
