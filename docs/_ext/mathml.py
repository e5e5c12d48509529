"""Formulas as MathML, written into the pages at build time.

Browsers lay out MathML themselves, so a page needs no script and no network to show its formulas. MathJax from a CDN
would show raw LaTeX on a machine that is offline, and pictures made by LaTeX need LaTeX.
"""

from __future__ import annotations

import html
import re
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx

_SPACES = {"negativethinmathspace": "-0.167em", "thinmathspace": "0.167em", "mediummathspace": "0.222em"}
# A prime is already a small raised sign: at the size of a superscript it would be too small to see.
_PRIME = '<mo style="math-depth: 0; font-size: 95%">&#x02032;</mo>'


def convert(latex: str, display: bool) -> str:
    """``latex`` as one ``<math>`` element."""
    try:
        mathml = latex2mathml.converter.convert(latex, display="block" if display else "inline")
    except Exception as error:  # the library raises many kinds of errors
        raise ValueError(f"the formula {latex!r} cannot be converted to MathML: {error}") from error
    # The library makes one element per letter of an upright word; as one element, browsers know that it is a word.
    mathml = re.sub(
        r'(?:<mi mathvariant="normal">\w</mi>){2,}',
        lambda word: f"<mi>{re.sub('<[^>]*>', '', word.group())}</mi><mspace width='0.167em' />",
        mathml,
    )
    mathml = mathml.replace("<mi>&#x02032;</mi>", _PRIME)
    for name, width in _SPACES.items():  # names that MathML no longer has
        mathml = mathml.replace(f'"{name}"', f'"{width}"')
    return mathml


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
