"""Figures of the documentation: SVG inside the page, in colors that follow the light or dark theme.

Run as a script, this file writes ``docs/_static/triangle.svg``, the figure of the start page.
"""

from __future__ import annotations

import html
import io
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLORS = {"GCN": "#3f7fd6", "GAT": "#d9762b", "CAT": "#2a9a74", "L-CAT": "#9b5de0"}

# Placeholder colors for the drawing library, and the variables of the page that replace them.
FOREGROUND, MUTED, BACKGROUND = "#010203", "#040506", "#070809"
_VARIABLES = {
    FOREGROUND: "var(--color-foreground-primary, #222)",
    MUTED: "var(--color-foreground-muted, #777)",
    BACKGROUND: "var(--color-background-primary, #fff)",
}
_number = itertools.count()
# Where a line of a table does not break: "80.4 ± 1.0 (10)", "45.4 / 48.3".
_SPACE_IN_NUMBERS = re.compile(r"(?<=\d) (?=[±/] \d|\(\d+\))|(?<=\d [±/]) (?=\d)")


def results(name: str) -> dict[str, Any]:
    """The content of a results file of the benchmarks."""
    path = Path(__file__).parents[2] / "benchmarks" / "results" / name
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


class Figure:
    """SVG that a notebook cell shows."""

    def __init__(self, svg: str, text: str) -> None:
        self.svg, self.text = svg, text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<div class="lcat-figure">{self.svg}</div>'


class Table:
    """Rows that a notebook cell shows as a table."""

    def __init__(self, rows: Sequence[Mapping[str, object]], code: str | None = None) -> None:
        self.rows, self.code = rows, code

    def __repr__(self) -> str:
        return f"table of {len(self.rows)} rows"

    def _cell(self, column: str, value: object) -> str:
        text = _SPACE_IN_NUMBERS.sub("\u00a0", html.escape(str(value)))
        if column == self.code:
            text = ", ".join(f"<code>{name}</code>" for name in text.split(", "))
        return f"<td><p>{text}</p></td>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th><p>{html.escape(column)}</p></th>" for column in self.rows[0])
        body = "".join(
            "<tr>" + "".join(self._cell(column, value) for column, value in row.items()) + "</tr>" for row in self.rows
        )
        return (
            '<div class="table-wrapper"><table class="docutils wide">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


_LEFT, _RIGHT, _MIDDLE, _HALF = 136.0, 540.0, 190.0, 140.0


def position(lambda1: float, lambda2: float) -> tuple[float, float]:
    """Where (lambda1, lambda2) is in the triangle; lambda1 = 0 is one point, because lambda2 has no effect there."""
    return _LEFT + (_RIGHT - _LEFT) * lambda1, _MIDDLE + lambda1 * _HALF * (1 - 2 * lambda2)


def triangle() -> Figure:
    """The triangle of GCN, GAT and CAT with its two axes, and the initial position of L-CAT."""
    i = next(_number)
    gcn, gat, cat = position(0, 0), position(1, 0), position(1, 1)
    corners = " ".join(f"{x:g},{y:g}" for x, y in (gcn, gat, cat))
    parts = [
        '<svg class="lcat-triangle" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 672 424" width="640" '
        'role="img" aria-label="Triangle with the corners GCN (lambda1 = 0), GAT (lambda1 = 1, lambda2 = 0) and '
        'CAT (lambda1 = lambda2 = 1); L-CAT is any point inside." font-family="system-ui, sans-serif">',
        "<style>.lcat-triangle .ink{fill:var(--color-foreground-primary,#222)}"
        ".lcat-triangle .soft{fill:var(--color-foreground-secondary,#666)}"
        ".lcat-triangle .line{stroke:var(--color-foreground-muted,#888);fill:none}</style>",
        f'<defs><linearGradient id="tri-v{i}" x1="0" y1="0" x2="0" y2="1">'
        f'<stop offset="0" stop-color="{COLORS["CAT"]}"/><stop offset="1" stop-color="{COLORS["GAT"]}"/>'
        f'</linearGradient><linearGradient id="tri-h{i}" x1="0" y1="0" x2="1" y2="0">'
        f'<stop offset="0.05" stop-color="{COLORS["GCN"]}"/>'
        f'<stop offset="0.85" stop-color="{COLORS["GCN"]}" stop-opacity="0"/></linearGradient>'
        f'<marker id="tri-a{i}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0.5 L7.5,4 L0,7.5 z" fill="var(--color-foreground-muted,#888)"/></marker></defs>',
        f'<g opacity="0.42"><polygon points="{corners}" fill="url(#tri-v{i})"/>'
        f'<polygon points="{corners}" fill="url(#tri-h{i})"/></g>',
    ]
    for step in (0.25, 0.5, 0.75):
        lines = ((position(step, 0), position(step, 1)), (gcn, position(1, step)))
        for (x1, y1), (x2, y2) in lines:
            parts.append(
                f'<line class="line" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke-width="0.8" '
                'stroke-dasharray="3 4" opacity="0.7"/>'
            )
    parts.append(f'<polygon points="{corners}" class="line" stroke-width="1.5" stroke-linejoin="round"/>')
    for (x, y), name in ((gcn, "GCN"), (gat, "GAT"), (cat, "CAT")):
        parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="7" fill="{COLORS[name]}"/>')
    parts += [
        _text(gcn[0] - 16, gcn[1] + 1, "GCN", 25, "end", bold=True),
        _text(gcn[0] - 16, gcn[1] + 21, "uniform mean", 17, "end", "soft"),
        _text(gat[0] + 14, gat[1] + 26, "GAT", 25, "end", bold=True),
        _text(gat[0] - 44, gat[1] + 26, "attention on own features", 17, "end", "soft"),
        _text(cat[0] + 14, cat[1] - 16, "CAT", 25, "end", bold=True),
        _text(cat[0] - 44, cat[1] - 16, "attention on averages", 17, "end", "soft"),
    ]
    parts += _axes(i)
    x, y = position(0.5, 0.5)
    parts += [
        f'<circle cx="{x:g}" cy="{y:g}" r="7" fill="{COLORS["L-CAT"]}"/>',
        _text(x + 14, y - 4, "L-CAT", 25, "start", bold=True),
        _text(x + 14, y + 18, "anywhere inside", 17, "start", "soft"),
    ]
    return Figure("\n".join([*parts, "</svg>"]), "triangle of GCN, GAT and CAT")


def _axes(i: int) -> list[str]:
    low, right = _MIDDLE + _HALF + 52, _RIGHT + 44
    top, bottom = _MIDDLE - _HALF, _MIDDLE + _HALF
    arrow = f'class="line" stroke-width="1.5" marker-end="url(#tri-a{i})"'
    middle = (_LEFT + _RIGHT) / 2
    return [
        f'<line {arrow} x1="{_LEFT:g}" y1="{low:g}" x2="{_RIGHT:g}" y2="{low:g}"/>',
        f'<line {arrow} x1="{right:g}" y1="{bottom:g}" x2="{right:g}" y2="{top:g}"/>',
        _text(_LEFT, low + 22, "0", 17, "middle", "soft"),
        _text(_RIGHT, low + 22, "1", 17, "middle", "soft"),
        _lambda(middle, low + 24, 1, "strength of the scores", "middle"),
        _text(right + 14, bottom + 5, "0", 17, "start", "soft"),
        _text(right + 14, top + 5, "1", 17, "start", "soft"),
        f'<g transform="translate({right + 36:g},{_MIDDLE:g}) rotate(-90)">'
        f"{_lambda(0, 4, 2, 'averaging in the scores', 'middle')}</g>",
    ]


def _lambda(x: float, y: float, number: int, what: str, anchor: str) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="18" text-anchor="{anchor}" class="ink">'
        f'<tspan font-style="italic" font-weight="600">λ</tspan><tspan font-size="12" dy="4">{number}</tspan>'
        f'<tspan dy="-4" dx="6">{what}</tspan></text>'
    )


def _text(x: float, y: float, text: str, size: int, anchor: str, style: str = "ink", bold: bool = False) -> str:
    weight = ' font-weight="650"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" class="{style}"{weight}>{text}</text>'


def axes(width: float = 7.0, height: float = 3.4, columns: int = 1, rows: int = 1) -> tuple[Any, Any]:
    """A matplotlib figure and its axes in the style of these pages; several axes are a list, row by row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": FOREGROUND,
        "axes.titlecolor": FOREGROUND,
        "text.color": FOREGROUND,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": FOREGROUND,
        "ytick.labelcolor": FOREGROUND,
        "legend.frameon": False,
        "lines.linewidth": 2,
    }
    plt.rcParams.update(style)
    figure, grid = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False)
    figure.patch.set_alpha(0)
    panels = list(grid.flat)
    for panel in panels:
        panel.patch.set_alpha(0)
    return figure, panels[0] if len(panels) == 1 else panels


def plot(figure: Any, text: str) -> Figure:
    """A matplotlib figure as SVG, with lines and text in the colors of the theme."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = f"lcat{next(_number)}{text}"
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    svg = re.sub(r"font: (\d+\w+) [^;\"]*sans-serif[^;\"]*", r"font: \1 system-ui, sans-serif", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{text}" ', 1)
    return Figure(svg, text)


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "_static" / "triangle.svg"
    target.write_text(triangle().svg + "\n", encoding="utf-8")
    print(f"wrote {target}")
