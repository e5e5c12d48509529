"""Matplotlib figures as SVG inside the page: text stays text, colors follow the page's light or dark theme."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from lcat.study.report.palette import DEPTHS, PAGE, Palette

__all__ = [
    "WIDTH",
    "Margins",
    "Picture",
    "add_axes",
    "collected_figures",
    "depth_key",
    "depth_names",
    "drawing_style",
    "key",
    "panel",
    "svg",
]

_COLLECTED: ContextVar[list[Figure] | None] = ContextVar("figures for other formats", default=None)
_VARIABLES = {value: f"var(--{name})" for name, value in PAGE.colors.items()}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of data sets may hold dollars
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}
_COLORED = {
    "axes.edgecolor": "muted",
    "axes.labelcolor": "ink",
    "axes.titlecolor": "ink",
    "text.color": "ink",
    "xtick.color": "muted",
    "ytick.color": "muted",
    "xtick.labelcolor": "ink",
    "ytick.labelcolor": "ink",
}
#: Width of a panel in points; the page shows it at 330 to 560 pixels, so that no text is below 10 of them.
WIDTH = 320.0


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
class Margins:
    """Height of a panel and the room around its axes, all in points.

    Fixed margins save much time: laying out with measured text takes ten times as long.
    """

    height: float
    left: float = 50
    right: float = 14
    top: float = 10
    bottom: float = 40


def panel(margins: Margins) -> tuple[Figure, Axes]:
    """A figure of one panel, :data:`WIDTH` wide."""
    figure = Figure(figsize=(WIDTH / 72, margins.height / 72), dpi=72)
    figure.patch.set_alpha(0)
    return figure, add_axes(figure, margins)


def add_axes(figure: Figure, margins: Margins, x: float = 0, y: float = 0) -> Axes:
    """Axes in a part of a figure.

    Args:
        figure: at 72 dots per inch.
        margins: inside of the part, which is :data:`WIDTH` wide.
        x: left end of the part, in points.
        y: lower end of the part, in points.
    """
    width, height = 72 * figure.get_size_inches()
    inner_width = WIDTH - margins.left - margins.right
    inner_height = margins.height - margins.top - margins.bottom
    position = ((x + margins.left) / width, (y + margins.bottom) / height, inner_width / width, inner_height / height)
    axes = figure.add_axes(position)
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=3, width=0.8)
    return axes


@contextmanager
def drawing_style(palette: Palette = PAGE) -> Iterator[None]:
    """Context in which figures are made: the look of the page, whatever the user's matplotlib says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        style: dict[Any, Any] = {**_STYLE, **{name: palette[color] for name, color in _COLORED.items()}}
        matplotlib.rcParams.update(style)
        yield


@contextmanager
def collected_figures() -> Iterator[list[Figure]]:
    """Context in which :func:`svg` hands over the figures themselves, for other formats."""
    figures: list[Figure] = []
    token = _COLLECTED.set(figures)
    try:
        yield figures
    finally:
        _COLLECTED.reset(token)


def svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an ``svg`` element without a fixed size, its ids unique to ``name``.

    Args:
        figure: made by :func:`panel` inside of :func:`drawing_style`.
        name: unique on the page, letters, digits and hyphens.
        label: what a reader who sees no pictures should know.
    """
    figures = _COLLECTED.get()
    if figures is not None:
        figures.append(figure)
        return ""
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
    content = re.sub(r' id="([^"]*)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", content)
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


def key(layers: Sequence[str], *, lines: bool = False, shapes: bool = False) -> str:
    """The key of a gallery: mark and name of every layer, as a list.

    Args:
        layers: names.
        lines: how their lines look, instead of their marks.
        shapes: the shapes of marks alone, for figures whose colors mean something else.
    """
    items = []
    for layer in layers:
        mark = PAGE.mark(layer)
        ink, fill = _VARIABLES[mark.color], _VARIABLES[PAGE.face(mark)]
        if shapes:
            ink = _VARIABLES[PAGE["muted"]]
            fill = ink if mark.filled else fill
        dashes = {"-": "", "--": ' stroke-dasharray="5 2.5"', ":": ' stroke-dasharray="1.6 2.2"'}[mark.line]
        drawing = (
            f'<line x1="0" y1="7" x2="24" y2="7" stroke="{ink}" stroke-width="2.4"{dashes}/>'
            if lines
            else _SHAPES[mark.shape].format(f'fill="{fill}" stroke="{ink}" stroke-width="1.6"')
        )
        items.append(f'<li><svg viewBox="0 0 24 14" aria-hidden="true">{drawing}</svg>{html.escape(layer)}</li>')
    return f'<ul class="key">{"".join(items)}</ul>'


def depth_names(count: int) -> list[str]:
    """What each color of the layers of one model means.

    Example:
        >>> from lcat.study.report.svg import depth_names
        >>> depth_names(9)[:2]
        ['layers 1, 9 of the model', 'layer 2 of the model']
    """
    names = []
    for number in range(min(count, DEPTHS)):
        layers = [str(layer + 1) for layer in range(number, count, DEPTHS)]
        names.append(f"layer{'s' if len(layers) > 1 else ''} {', '.join(layers)} of the model")
    return names


def depth_key(count: int) -> str:
    """The key of figures that distinguish the layers of one model."""
    items = [
        f'<li><svg viewBox="0 0 24 14" aria-hidden="true"><line x1="0" y1="7" x2="24" y2="7" '
        f'stroke="{_VARIABLES[PAGE.depth(number)]}" stroke-width="2.4"/></svg>{name}</li>'
        for number, name in enumerate(depth_names(count))
    ]
    return f'<ul class="key">{"".join(items)}</ul>'
