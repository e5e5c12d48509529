"""Figures of the page as files: PNG for slides, PDF and SVG for papers, with the names of layers that papers use."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lcat._files import shorten_file_name
from lcat.study._folder import prepare_folder, write_file
from lcat.study.report.data import ReportData
from lcat.study.report.figures_equivalence import draw_equivalence, equivalence_legend, equivalence_margins
from lcat.study.report.figures_ranks import draw_ranking, ranking_margins
from lcat.study.report.figures_regret import draw_regret, regret_legend, regret_margins
from lcat.study.report.figures_scores import draw_scores, scores_legend, scores_margins
from lcat.study.report.figures_training import TRIANGLE_MARGINS, draw_triangle
from lcat.study.report.galleries import page_pictures
from lcat.study.report.palette import LIGHT, Palette, colors_for, in_place_of_page
from lcat.study.report.svg import WIDTH, Margins, add_axes, collected_figures, depth_names, drawing_style

__all__ = ["FIGURES", "figure_file", "write_figures"]

_PALETTE = Palette(LIGHT, titles=True)
#: Points above a panel, for its title.
_TITLE = 24.0
#: Points below all panels, per line of words or of the key.
_LINE = 17.0
_UNUSUAL = re.compile(r"[^\w.=,+-]+")
#: Letters of a line of words below one column of panels.
_LETTERS = 58

#: Fonts that publishers accept, and the same bytes each time.
_IN_FILES: dict[Any, Any] = {"pdf.fonttype": 42, "svg.hashsalt": "lcat"}
#: Galleries of the page whose figures become a file each, and the beginnings of their names.
_OF_THE_PAGE = ("paths-", "curves-", "robustness-", "pareto-")

_Format = Literal["png", "pdf", "svg"]
_FORMATS: tuple[_Format, ...] = get_args(_Format)
#: Figures that are also in the folder itself, by the names that they have there.
_SLIDES = {"scores": "accuracy", "lambdas": "lambda"}


@dataclass(frozen=True)
class _Panel:
    title: str
    margins: Margins
    draw: Callable[[Axes], None]

    @property
    def height(self) -> float:
        return self.margins.height + self.above

    @property
    def above(self) -> float:
        return _TITLE if self.title else 0.0


@dataclass(frozen=True)
class _Sheet:
    """Panels in one or two columns, with what their marks mean below."""

    panels: Sequence[_Panel]
    words: str = ""
    depths: int = 0
    layers: Sequence[str] = ()


def write_figures(data: ReportData, folder: Path) -> list[Path]:
    """Write ``accuracy.png``, ``lambda.png`` and the figures of ``figures/``, each where it has something to show."""
    figures = prepare_folder(folder / "figures")
    slides: list[Path] = []
    written: list[Path] = []
    drawn = ((name, _figure(data, name)) for name in FIGURES)
    for name, figure in (*drawn, *_of_the_page(data)):
        if figure is None:
            continue
        for kind in _FORMATS:
            content = _printed(figure, kind)
            written.append(write_file(figures / f"{name}.{kind}", content))
            if kind == "png" and name in _SLIDES:
                slides.append(write_file(folder / f"{_SLIDES[name]}.png", content))
    names = {path.name for path in written}
    for path in figures.iterdir():
        if path.stem.startswith((*FIGURES, *_OF_THE_PAGE)) and path.name not in names:
            path.unlink()  # of an earlier report: what it showed holds no more
    return [*slides, *written]


def _of_the_page(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Figures of the page that are one file each, with their names and, below, the marks of the layers."""
    with colors_for(data.layers), in_place_of_page(_PALETTE), drawing_style(_PALETTE):
        for beginning in _OF_THE_PAGE:
            with collected_figures() as figures:
                pictures = page_pictures(data, beginning.removesuffix("-"))
            names: list[str] = []
            for figure, picture in zip(figures, pictures, strict=True):
                name = beginning + shorten_file_name(_UNUSUAL.sub("_", picture.title.removesuffix(" (generated)")))
                names.append(name)
                suffix = f"-{names.count(name)}" if names.count(name) > 1 else ""
                depths = int(data.lambdas["depth"].max()) if beginning == "paths-" else 0
                _add_key(figure, data.layers if beginning != "paths-" else [], depths, lines=beginning == "curves-")
                yield name + suffix, figure


def _add_key(figure: Figure, layers: Sequence[str], depths: int, *, lines: bool) -> None:
    """Put the key below a panel, which becomes higher by it."""
    handles = [
        Line2D([], [], color=_PALETTE.depth(number), label=name) for number, name in enumerate(depth_names(depths))
    ]
    if depths:
        muted = _PALETTE["muted"]
        handles += [
            Line2D([], [], color=muted, label="λ₁"), Line2D([], [], color=muted, linestyle="--", label="λ₂")
        ]  # fmt: skip
    for layer in layers:
        mark, name = _PALETTE.mark(layer), _PALETTE.name(layer)
        style: dict[str, Any] = {"linestyle": mark.line} if lines else {"linestyle": "none", "marker": mark.shape}
        handles.append(Line2D([], [], color=mark.color, markerfacecolor=_PALETTE.face(mark), label=name, **style))
    figure.patch.set_alpha(1)
    figure.patch.set_facecolor(_PALETTE["paper"])
    columns = 2 if depths else 3
    below = (8 + _LINE * math.ceil(len(handles) / columns)) / 72
    width, height = figure.get_size_inches()
    for axes in figure.axes:
        box = axes.get_position()
        total = height + below
        axes.set_position((box.x0, (box.y0 * height + below) / total, box.width, box.height * height / total))
    figure.set_size_inches(width, height + below)
    figure.legend(handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=10)


def figure_file(data: ReportData, name: str, kind: _Format) -> bytes | None:
    """One figure as a file, the same bytes for the same study; ``None`` if there is nothing to show.

    Args:
        data: see :class:`lcat.study.report.data.ReportData`.
        name: one of :data:`FIGURES`.
        kind: format.
    """
    figure = _figure(data, name)
    return None if figure is None else _printed(figure, kind)


def _figure(data: ReportData, name: str) -> Figure | None:
    with colors_for(data.layers):
        sheet = _SHEETS[name](data)
        return _drawn(sheet) if sheet is not None else None


def _scores(data: ReportData) -> _Sheet | None:
    summary, selected = data.comparison.summary, data.selection.selected
    panels = []
    for dataset in data.datasets:
        rows = summary[(summary["dataset"] == dataset) & (summary["runs"] > 0)]
        if len(rows):
            runs = selected[selected["dataset"] == dataset]

            def draw(axes: Axes, rows=rows, runs=runs) -> None:  # type: ignore[no-untyped-def]
                draw_scores(axes, rows, runs, _PALETTE)

            panels.append(_Panel(dataset, scores_margins(rows, _PALETTE), draw))
    return _Sheet(panels, scores_legend(summary[summary["runs"] > 0], selected)) if panels else None


def _lambdas(data: ReportData) -> _Sheet | None:
    panels = []
    for dataset in data.datasets:
        ends = data.lambdas[data.lambdas["dataset"] == dataset]
        if len(ends):
            layers = set(ends["layer"])
            runs = [run for run in data.runs if run.cell.dataset == dataset and run.cell.layer in layers]

            def draw(axes: Axes, ends=ends, runs=runs) -> None:  # type: ignore[no-untyped-def]
                draw_triangle(axes, ends, runs, _PALETTE)

            panels.append(_Panel(dataset, TRIANGLE_MARGINS, draw))
    if not panels:
        return None
    return _Sheet(
        panels,
        words="Marks: values at the best epoch of each run.",
        depths=int(data.lambdas["depth"].max()),
        layers=list(dict.fromkeys(data.lambdas["layer"])),
    )


def _regret(data: ReportData) -> _Sheet | None:
    table = data.regret
    if table.empty:
        return None

    def draw(axes: Axes) -> None:
        draw_regret(axes, table, _PALETTE)

    return _Sheet([_Panel("", regret_margins(table, _PALETTE), draw)], regret_legend(table))


def _equivalence(data: ReportData) -> _Sheet | None:
    pairs = data.comparison.pairs
    panels = []
    for dataset in data.datasets:
        table = pairs[pairs["dataset"] == dataset]
        if len(table):

            def draw(axes: Axes, table=table) -> None:  # type: ignore[no-untyped-def]
                draw_equivalence(axes, table, _PALETTE)

            panels.append(_Panel(dataset, equivalence_margins(table, _PALETTE), draw))
    return _Sheet(panels, equivalence_legend(pairs)) if panels else None


def _ranks(data: ReportData) -> _Sheet | None:
    ranking = data.comparison.ranking
    if ranking is None:
        return None

    def draw(axes: Axes) -> None:
        draw_ranking(axes, ranking, _PALETTE)

    return _Sheet([_Panel("", ranking_margins(ranking), draw)])


_SHEETS: dict[str, Callable[[ReportData], _Sheet | None]] = {
    "scores": _scores,
    "lambdas": _lambdas,
    "regret": _regret,
    "equivalence": _equivalence,
    "ranks": _ranks,
}
#: Names of the figures in ``figures/``.
FIGURES = tuple(_SHEETS)


def _drawn(sheet: _Sheet) -> Figure:
    columns = min(2, len(sheet.panels))
    lines = [sheet.panels[start : start + columns] for start in range(0, len(sheet.panels), columns)]
    heights = [max(panel.height for panel in line) for line in lines]
    words = _wrapped(sheet.words, _LETTERS * columns)
    handles = _key(sheet)
    key_columns = 2 * columns
    below = 8 + _LINE * (len(words) + math.ceil(len(handles) / key_columns))
    with drawing_style(_PALETTE):
        total = math.fsum(heights) + below
        figure = Figure(figsize=(columns * WIDTH / 72, total / 72), dpi=72)
        figure.patch.set_facecolor(_PALETTE["paper"])
        top = total
        for line, height in zip(lines, heights, strict=True):
            for column, panel in enumerate(line):
                x = column * WIDTH
                panel.draw(add_axes(figure, panel.margins, x, top - panel.above - panel.margins.height))
                middle = (x + WIDTH / 2) / (columns * WIDTH)
                figure.text(middle, (top - 8) / total, panel.title, ha="center", va="top", fontsize=11)
            top -= height
        for number, text in enumerate(words):
            y = (below - 6 - _LINE * number) / total
            figure.text(0.5, y, text, ha="center", va="top", fontsize=10, color=_PALETTE["muted"])
        if handles:
            figure.legend(handles=handles, loc="lower center", ncols=key_columns, frameon=False, fontsize=10)
    return figure


def _key(sheet: _Sheet) -> list[Line2D]:
    """Colors of the layers of a model, and shapes of the layers that are compared."""
    colors = [
        Line2D([], [], color=_PALETTE.depth(number), label=name)
        for number, name in enumerate(depth_names(sheet.depths))
    ]
    marks = [
        Line2D([], [], color=_PALETTE["muted"], marker=_PALETTE.mark(layer).shape, linestyle="none",
               label=_PALETTE.name(layer))
        for layer in sheet.layers
    ]  # fmt: skip
    return [*colors, *marks]


def _wrapped(words: str, letters: int) -> list[str]:
    lines: list[str] = []
    for word in words.split():
        if lines and len(lines[-1]) + len(word) < letters:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _printed(figure: Figure, kind: _Format) -> bytes:
    """The canvas is named, so that no display and no global pyplot state is ever involved; files hold no date."""
    buffer = io.BytesIO()
    with drawing_style(_PALETTE):
        matplotlib.rcParams.update(_IN_FILES)
        if kind == "png":
            FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=200)
        elif kind == "pdf":
            FigureCanvasPdf(figure).print_figure(buffer, format="pdf", metadata={"CreationDate": None})
        else:
            FigureCanvasSVG(figure).print_figure(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
