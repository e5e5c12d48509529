"""Matplotlib figures as SVG inside the page: text stays text, colors follow the page's light or dark theme."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["COLORS", "DEPTHS", "Mark", "Picture", "color", "depth_color", "key", "mark", "panel", "svg"]

# What matplotlib draws with; the page's variables take their place in the SVG. A layer has the color of its family in
# every figure; the palette is that of Okabe and Ito, lightened for dark pages, and marks differ in shape as well.
COLORS = {
    "ink": "#010203",
    "muted": "#040506",
    "rule": "#070809",
    "paper": "#0a0b0c",
    "gcn": "#0d0e0f",
    "gat": "#101112",
    "cat": "#131415",
    "lcat": "#161718",
    "band": "#191a1b",
}
#: Layers of one model, first to last.
DEPTHS = ("#1c1d1e", "#1f2021", "#222324", "#252627", "#28292a", "#2b2c2d")
_VARIABLES = {
    **{value: f"var(--{name})" for name, value in COLORS.items()},
    **{value: f"var(--depth{number})" for number, value in enumerate(DEPTHS)},
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of data sets may hold dollars
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.edgecolor": COLORS["muted"],
    "axes.labelcolor": COLORS["ink"],
    "axes.titlecolor": COLORS["ink"],
    "text.color": COLORS["ink"],
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "xtick.labelcolor": COLORS["ink"],
    "ytick.labelcolor": COLORS["ink"],
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}
#: Width of a panel in points; the page shows it at 340 to 560 pixels.
WIDTH = 360.0


@dataclass(frozen=True)
class Picture:
    """A figure with its words.

    Attributes:
        name: unique on the page.
        title: above it.
        caption: what is to be seen, in words.
        svg: the picture.
        wide: takes the whole width.
    """

    name: str
    title: str
    caption: str
    svg: str
    wide: bool = False


@dataclass(frozen=True)
class Mark:
    """How a layer is drawn: color by family, shape by version, open where its scores are not learned."""

    color: str
    shape: str
    filled: bool
    line: str


def mark(layer: str) -> Mark:
    """The mark of a layer, the same in every figure."""
    head, _, variant = layer.partition("-")
    family = head.removesuffix("v2")
    second = head.endswith("v2")
    shape = "D" if variant == "theory" else "s" if second else "o"
    line = ":" if variant else "--" if second else "-"
    return Mark(COLORS.get(family, COLORS["muted"]), shape, not variant, line)


def color(layer: str) -> str:
    """The color of a layer's family."""
    return mark(layer).color


def depth_color(number: int) -> str:
    """Of the layers of a model, from 0."""
    return DEPTHS[number % len(DEPTHS)]


def panel(
    height: float, *, left: float = 50, right: float = 14, top: float = 10, bottom: float = 40, width: float = WIDTH
) -> tuple[Figure, Axes]:
    """A figure of fixed margins, all in points: laying out with measured text takes ten times as long."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_alpha(0)
    inside = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    axes = figure.add_axes(inside)
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=3, width=0.8)
    return figure, axes


class styled:
    """Context in which figures are made: the look of the page, whatever the user's matplotlib says."""

    def __enter__(self) -> styled:
        self._context = matplotlib.rc_context()
        self._context.__enter__()
        matplotlib.rcdefaults()
        for name, value in _STYLE.items():
            matplotlib.rcParams[name] = value  # type: ignore[index]
        return self

    def __exit__(self, *exception: object) -> None:
        self._context.__exit__(*exception)  # type: ignore[arg-type]


def svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an ``svg`` element without a fixed size, its ids unique to ``name``.

    Args:
        figure: made by :func:`panel` inside of :class:`styled`.
        name: unique on the page, letters, digits and hyphens.
        label: what a reader who sees no pictures should know.
    """
    matplotlib.rcParams["svg.hashsalt"] = name
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    content = re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)
    content = re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    content = re.sub(r"<!--.*?-->\s*", "", content, flags=re.DOTALL)
    content = re.sub(r"\s*<style[^>]*>\*\{[^}]*\}</style>", "", content)
    for stand_in, variable in _VARIABLES.items():
        content = content.replace(stand_in, variable)
    content = re.sub(r"font: ([^;\"]*?)(\d[\d.]*)px [^;\"]*", r"font: \1\2px system-ui, sans-serif", content)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", content))
    content = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", content)
    content = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", content)
    content = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", content, count=1)
    content = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", content, count=1)
    content = re.sub(r' (xmlns:xlink|version)="[^"]*"', "", content).replace("xlink:href", "href")
    content = re.sub(r"<g>\s*</g>\s*", "", content)
    content = re.sub(r"\n\s*", "\n", content)
    return content.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)


_SHAPES = {
    "o": '<circle cx="12" cy="7" r="4.5" {}/>',
    "s": '<rect x="7.8" y="2.8" width="8.4" height="8.4" {}/>',
    "D": '<rect x="8.4" y="3.4" width="7.2" height="7.2" transform="rotate(45 12 7)" {}/>',
}


def key(layers: Sequence[str], *, lines: bool = False) -> str:
    """The key of a gallery: mark and name of every layer, as a list."""
    items = []
    for layer in layers:
        found = mark(layer)
        ink = _VARIABLES[found.color]
        fill = ink if found.filled else "var(--paper)"
        dashes = {"-": "", "--": ' stroke-dasharray="5 2.5"', ":": ' stroke-dasharray="1.6 2.2"'}[found.line]
        drawing = (
            f'<line x1="0" y1="7" x2="24" y2="7" stroke="{ink}" stroke-width="2.4"{dashes}/>'
            if lines
            else _SHAPES[found.shape].format(f'fill="{fill}" stroke="{ink}" stroke-width="1.6"')
        )
        items.append(f'<li><svg viewBox="0 0 24 14" aria-hidden="true">{drawing}</svg>{html.escape(layer)}</li>')
    return f'<ul class="key">{"".join(items)}</ul>'


def depth_key(count: int) -> str:
    """The key of figures that tell the layers of one model apart."""
    items = [
        f'<li><svg viewBox="0 0 24 14" aria-hidden="true"><line x1="0" y1="7" x2="24" y2="7" '
        f'stroke="{_VARIABLES[depth_color(number)]}" stroke-width="2.4"/></svg>layer {number + 1} of the model</li>'
        for number in range(count)
    ]
    return f'<ul class="key">{"".join(items)}</ul>'
