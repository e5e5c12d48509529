"""The critical-difference diagram of Demsar: average ranks, and bars over layers that are not distinguished."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from lcat._text import counted
from lcat.study.analysis.compare import Ranking
from lcat.study.report.palette import PAGE, Palette
from lcat.study.report.svg import WIDTH, Margins, Picture, panel, svg

__all__ = ["draw_ranking", "ranking_margins", "ranking_picture"]

#: Points from above to the axis of ranks, and between two layers below it.
_AXIS, _STEP = 56.0, 22.0
#: Points from the axis to the first bar, and between two bars.
_FIRST_BAR, _BARS = 9.0, 7.0
#: Points between the end of a layer's line and the rank 1: the average rank is written there.
_FIGURES = 34.0


def ranking_margins(ranking: Ranking) -> Margins:
    """Of the panel that :func:`draw_ranking` fills."""
    half = (len(ranking.average_ranks) + 1) // 2
    return Margins(_first_layer(ranking) + _STEP * (half - 1) + 14, left=0, right=0, top=0, bottom=0)


def _first_layer(ranking: Ranking) -> float:
    # The average ranks stand above the lines of the layers, and below all bars.
    return _AXIS + _FIRST_BAR + _BARS * len(ranking.groups) + 16


def draw_ranking(axes: Axes, ranking: Ranking, palette: Palette = PAGE) -> None:
    """Ranks on an axis, and from each a line to its layer.

    Args:
        axes: to draw on.
        ranking: of :func:`lcat.study.compare`.
        palette: colors and names.
    """
    ranks = ranking.average_ranks
    count = len(ranks)
    side = 26 + 6.0 * max(len(palette.name(str(name))) for name in ranks.index)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(ranking_margins(ranking).height, 0)
    axes.axis("off")
    low, high = 1, max(count, 2)
    start, stop = side + _FIGURES, WIDTH - side - _FIGURES

    def x(rank: float) -> float:
        return start + (stop - start) * (rank - low) / (high - low)

    axes.plot([start, stop], [_AXIS, _AXIS], color=palette["muted"], linewidth=1)
    every = math.ceil(15 / (x(2) - x(1)))
    for tick in range(low, high + 1):
        axes.plot([x(tick)] * 2, [_AXIS - 5, _AXIS], color=palette["muted"], linewidth=1)
        if (tick - low) % every == 0:
            axes.text(x(tick), _AXIS - 8, str(tick), ha="center", va="bottom", fontsize=10)
    _draw_difference(axes, ranking, start, stop, x(2) - x(1), palette)
    for number, (layer, rank) in enumerate(ranks.items()):
        at_left = number < (count + 1) // 2
        level = _first_layer(ranking) + _STEP * (number if at_left else count - 1 - number)
        _draw_layer(axes, str(layer), rank, x(rank), level, side if at_left else WIDTH - side, palette)
    for number, group in enumerate(ranking.groups):
        ends = [ranks[layer] for layer in group]
        level = _AXIS + _FIRST_BAR + _BARS * number
        axes.plot([x(min(ends)) - 4, x(max(ends)) + 4], [level, level], color=palette["ink"], linewidth=3.2,
                  solid_capstyle="round", alpha=0.75)  # fmt: skip


def _draw_difference(axes: Axes, ranking: Ranking, start: float, stop: float, unit: float, palette: Palette) -> None:
    """The critical difference as a bar of its length, above the axis."""
    known = math.isfinite(ranking.critical_difference)
    width = ranking.critical_difference * unit if known else stop - start
    note = f"critical difference {ranking.critical_difference:.2f}" if known else "too few data sets: no ranks differ"
    shown = min(width, stop - start)
    axes.plot([start, start + shown], [24, 24], color=palette["ink"], linewidth=1.4)
    for end in (start, start + shown):
        axes.plot([end, end], [20, 28], color=palette["ink"], linewidth=1.4)
    more = " (wider than all ranks)" if shown < width else ""
    axes.text(WIDTH / 2, 16, note + more, ha="center", va="bottom", fontsize=10)


def _draw_layer(axes: Axes, layer: str, rank: float, x: float, level: float, edge: float, palette: Palette) -> None:
    """The line of one layer, its rank above it, its mark and name at its end: layers of one rank share a dot."""
    away = -1 if edge < WIDTH / 2 else 1
    mark = palette.mark(layer)
    axes.plot([x, x, edge], [_AXIS, level, level], color=palette["muted"], linewidth=0.9)
    for at, height in ((x, _AXIS), (edge + 7 * away, level)):
        axes.plot(
            at, height, mark.shape, color=mark.color, markersize=5.5, markerfacecolor=palette.face(mark), zorder=3
        )
    axes.text(edge + 15 * away, level, palette.name(layer), ha="right" if away < 0 else "left", va="center",
              fontsize=10.5)  # fmt: skip
    axes.text(edge - 3 * away, level - 2, f"{rank:.2f}", ha="left" if away < 0 else "right", va="bottom",
              fontsize=10, color=palette["muted"])  # fmt: skip


def ranking_picture(ranking: Ranking) -> Picture:
    """The ranks of layers over data sets, see :func:`draw_ranking`."""
    figure, axes = panel(ranking_margins(ranking))
    draw_ranking(axes, ranking)
    ranks: pd.Series = ranking.average_ranks
    order = ", ".join(f"{layer} {rank:.2f}" for layer, rank in ranks.items())
    groups = "; ".join(", ".join(group) for group in ranking.groups) or "none"
    shared = " Layers of equal rank share a mark on the axis." if ranks.round(2).duplicated().any() else ""
    caption = (
        f"Average ranks over {counted(ranking.friedman.datasets, 'data set')} (1 is best): {order}.{shared} "
        f"A bar joins layers that Nemenyi's test at {ranking.alpha:g} does not distinguish: {groups}."
    )
    return Picture("ranks", "Critical-difference diagram", caption, svg(figure, "ranks", caption))
