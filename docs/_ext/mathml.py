"""Formulas as MathML, written into the pages at build time.

Browsers lay out MathML themselves, so a page needs neither a script nor the network to show its formulas: MathJax
from a CDN would leave raw LaTeX on a machine that is offline, and pictures made by LaTeX need LaTeX.
"""

from __future__ import annotations

import html
import re
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx

_SPACES = {"negativethinmathspace": "-0.167em", "thinmathspace": "0.167em", "mediummathspace": "0.222em"}
# A prime is a small raised sign already: at the size of a superscript it would vanish.
_PRIME = '<mo style="math-depth: 0; font-size: 95%">&#x02032;</mo>'


def convert(latex: str, display: bool) -> str:
    """``latex`` as one ``<math>`` element."""
    try:
        found = latex2mathml.converter.convert(latex, display="block" if display else "inline")
    except Exception as error:  # the library raises many kinds of its own
        raise ValueError(f"the formula {latex!r} cannot be converted to MathML: {error}") from error
    # A word set upright comes as one element a letter; as one element, browsers know it is a word.
    found = re.sub(
        r'(?:<mi mathvariant="normal">\w</mi>){2,}',
        lambda word: f"<mi>{re.sub('<[^>]*>', '', word.group())}</mi><mspace width='0.167em' />",
        found,
    )
    found = found.replace("<mi>&#x02032;</mi>", _PRIME)
    for name, width in _SPACES.items():  # names that today's MathML no longer has
        found = found.replace(f'"{name}"', f'"{width}"')
    return found


def _visit_inline(self: Any, node: nodes.math) -> None:
    self.body.append(convert(node.astext(), display=False))
    raise nodes.SkipNode


def _visit_block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula" aria-label="{html.escape(node.astext(), quote=True)}">')
    self.body.append(convert(node.astext(), display=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
