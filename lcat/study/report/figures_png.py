"""The figures of the page that go on slides, as PNG files: scores and learned lambdas of every data set."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lcat.study._folder import write_file
from lcat.study.report.data import ReportData
from lcat.study.report.figures_scores import draw_scores, scores_margins
from lcat.study.report.figures_training import TRIANGLE_MARGINS, draw_triangle
from lcat.study.report.palette import LIGHT, Palette
from lcat.study.report.svg import WIDTH, Margins, add_axes, drawing_style

__all__ = ["lambdas_png", "scores_png", "write_pngs"]

_PALETTE = Palette(LIGHT)
#: Points above a panel, for its title.
_TITLE = 24.0
#: Points below all panels, for the key.
_KEY = 26.0


@dataclass(frozen=True)
class _Panel:
    title: str
    margins: Margins
    draw: Callable[[Axes], None]

    @property
    def height(self) -> float:
        return self.margins.height + _TITLE


def write_pngs(data: ReportData, folder: Path) -> list[Path]:
    """Write ``accuracy.png`` and ``lambda.png``, each where it has something to show."""
    contents = {"accuracy": scores_png(data), "lambda": lambdas_png(data)}
    return [write_file(folder / f"{name}.png", content) for name, content in contents.items() if content is not None]


def scores_png(data: ReportData) -> bytes | None:
    """The scores of every data set; ``None`` if nothing finished."""
    summary, selected = data.comparison.summary, data.selection.selected
    panels = []
    for dataset in data.datasets:
        rows = summary[(summary["dataset"] == dataset) & (summary["runs"] > 0)]
        if len(rows):
            runs = selected[selected["dataset"] == dataset]

            def draw(axes: Axes, rows=rows, runs=runs) -> None:  # type: ignore[no-untyped-def]
                draw_scores(axes, rows, runs, _PALETTE)

            panels.append(_Panel(dataset, scores_margins(rows), draw))
    return _png(panels) if panels else None


def lambdas_png(data: ReportData) -> bytes | None:
    """The learned lambdas of every data set; ``None`` if nothing learned any."""
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
    return _png(panels, depths=int(data.lambdas["depth"].max()))


def _png(panels: Sequence[_Panel], depths: int = 0) -> bytes:
    """Panels in two columns, with a key of the layers of a model if there are any."""
    columns = min(2, len(panels))
    lines = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in line) for line in lines]
    below = _KEY if depths else 0.0
    with drawing_style(_PALETTE):
        figure = Figure(figsize=(columns * WIDTH / 72, (sum(heights) + below) / 72), dpi=72)
        figure.patch.set_facecolor(_PALETTE["paper"])
        total = math.fsum(heights) + below
        top = total
        for line, height in zip(lines, heights, strict=True):
            for column, panel in enumerate(line):
                x = column * WIDTH
                panel.draw(add_axes(figure, panel.margins, x, top - _TITLE - panel.margins.height))
                figure.text(
                    (x + WIDTH / 2) / (columns * WIDTH),
                    (top - 8) / total,
                    panel.title,
                    ha="center",
                    va="top",
                    fontsize=11,
                )
            top -= height
        handles = [Line2D([], [], color=_PALETTE.depth(i), label=f"layer {i + 1} of the model") for i in range(depths)]
        if handles:
            figure.legend(handles=handles, loc="lower center", ncols=min(4, depths), frameon=False, fontsize=9)
        buffer = io.BytesIO()
        # The canvas is named here, so that no display and no global pyplot state is ever involved.
        FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=200)
    return buffer.getvalue()
