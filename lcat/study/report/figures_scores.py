"""Figures of scores: the metric of every layer, ranks over data sets, and the regret of always taking L-CAT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lcat.study.analysis.compare import Ranking
from lcat.study.report.palette import PAGE, Palette
from lcat.study.report.svg import Margins, Picture, panel, svg
from lcat.study.report.table import percent, percent_points

__all__ = [
    "draw_scores",
    "metric_name",
    "ranking_picture",
    "regret_picture",
    "scores_margins",
    "scores_picture",
]

_ROW = 21.0


def metric_name(metric: str) -> str:
    """As it stands on axes."""
    return {"accuracy": "accuracy", "roc-auc": "ROC-AUC"}.get(metric, metric)


def scores_margins(rows: pd.DataFrame) -> Margins:
    """Of the panel that :func:`draw_scores` fills.

    Args:
        rows: of ``Comparison.summary`` for one data set, those with runs.
    """
    left = 12 + 6.2 * max(len(name) for name in rows["layer"])
    return Margins(52 + _ROW * len(rows), left=left, right=82, top=8, bottom=38)


def draw_scores(axes: Axes, rows: pd.DataFrame, runs: pd.DataFrame, palette: Palette = PAGE) -> None:
    """One data set: every run as a small dot, the mean with its confidence interval, the figures beside.

    Args:
        axes: to draw on.
        rows: of ``Comparison.summary`` for the data set, those with runs.
        runs: chosen rows of the frame for the data set.
        palette: colors.
    """
    names = list(rows["layer"])
    for position, row in enumerate(rows.itertuples()):
        mark = palette.mark(row.layer)
        values = 100 * runs.loc[runs["layer"] == row.layer, "test"].to_numpy(dtype=float)
        if row.best:
            axes.axhspan(position - 0.45, position + 0.45, color=mark.color, alpha=0.13, linewidth=0)
        axes.plot(values, np.full(values.size, position), ".", color=mark.color, alpha=0.35, markersize=4)
        if math.isfinite(row.low):
            axes.plot([100 * row.low, 100 * row.high], [position, position], color=mark.color, linewidth=1.8)
        face = palette.face(mark)
        axes.plot(100 * row.test, position, mark.shape, color=mark.color, markerfacecolor=face, markersize=6.5)
        spread = f" ± {100 * row.std:.1f}" if math.isfinite(row.std) else ""
        axes.annotate(
            percent(row.test) + spread,
            (1, position),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            fontweight="bold" if row.best else "normal",
        )
    _limits(axes, rows, runs)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlabel(f"test {metric_name(rows['metric'].iloc[0])} in %")
    axes.grid(axis="x", color=palette["rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def scores_picture(number: int, rows: pd.DataFrame, runs: pd.DataFrame) -> Picture:
    """The scores of one data set, see :func:`draw_scores`.

    Args:
        number: of the picture on the page.
        rows: of ``Comparison.summary`` for the data set.
        runs: chosen rows of the frame for the data set.
    """
    dataset = rows["dataset"].iloc[0]
    rows = rows[rows["runs"] > 0]
    figure, axes = panel(scores_margins(rows))
    draw_scores(axes, rows, runs)
    order = rows.sort_values("test", ascending=False)
    first = ", ".join(f"{row.layer} {percent(row.test)}" for row in order.head(3).itertuples())
    counts = f"{rows['runs'].min()}" if rows["runs"].min() == rows["runs"].max() else "the"
    caption = f"Highest means: {first}. Small dots: {counts} runs. Bar: 95 % confidence interval of the mean."
    name = f"accuracy-{number}"
    return Picture(name, dataset, caption, svg(figure, name, f"{dataset}. {caption}"))


def _limits(axes: Axes, rows: pd.DataFrame, runs: pd.DataFrame) -> None:
    """From the runs and means; an interval of two runs may be ten times as wide and leave through the side."""
    values = 100 * np.concatenate([runs["test"].to_numpy(dtype=float), rows["test"].to_numpy(dtype=float)])
    ends = 100 * np.concatenate(
        [rows["low"].dropna().to_numpy(dtype=float), rows["high"].dropna().to_numpy(dtype=float)]
    )
    low, high = values.min(), values.max()
    room = max(high - low, 0.5)
    if ends.size:
        low, high = max(ends.min(), low - 0.6 * room, 0), min(max(ends.max(), high), high + 0.6 * room, 100)
        low, high = min(low, values.min()), max(high, values.max())
    pad = max(0.05 * (high - low), 0.5 * (1.0 - (high - low)))  # one point at least is shown
    axes.set_xlim(low - pad, high + pad)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.locator_params(axis="x", nbins=5)


def ranking_picture(ranking: Ranking) -> Picture:
    """The critical-difference diagram of Demsar: average ranks, and bars over layers that are not distinguished."""
    ranks = ranking.average_ranks
    count = len(ranks)
    half = (count + 1) // 2
    bars = len(ranking.groups)
    top, step = 54.0, 19.0
    below = 12 + 7.0 * bars
    height = top + below + step * half + 8
    side = 12 + 6.0 * max(len(name) for name in ranks.index)
    figure, axes = panel(Margins(height, left=0, right=0, top=0, bottom=0))
    axes.set_xlim(0, 360)
    axes.set_ylim(height, 0)
    axes.axis("off")
    low, high = 1, max(count, 2)

    def x(rank: float) -> float:
        return side + 14 + (360 - 2 * side - 28) * (rank - low) / (high - low)

    axes.plot([x(low), x(high)], [top, top], color=PAGE["muted"], linewidth=1)
    for tick in range(low, high + 1):
        axes.plot([x(tick)] * 2, [top - 5, top], color=PAGE["muted"], linewidth=1)
        axes.text(x(tick), top - 8, str(tick), ha="center", va="bottom", fontsize=10)
    start, known = x(low), math.isfinite(ranking.critical_difference)
    width = x(1 + ranking.critical_difference) - x(1) if known else x(high) - start
    note = f"critical difference {ranking.critical_difference:.2f}" if known else "too few data sets: no ranks differ"
    shown = min(width, x(high) - start)
    axes.plot([start, start + shown], [24, 24], color=PAGE["ink"], linewidth=1.4)
    for end in (start, start + shown):
        axes.plot([end, end], [20, 28], color=PAGE["ink"], linewidth=1.4)
    axes.text(
        start, 16, note + (" (wider than all ranks)" if shown < width else ""), ha="left", va="bottom", fontsize=10
    )
    for number, (layer, rank) in enumerate(ranks.items()):
        at_left = number < half
        line = number if at_left else count - 1 - number
        level = top + below + step * line
        edge = side if at_left else 360 - side
        mark = PAGE.mark(str(layer))
        axes.plot([x(rank), x(rank), edge], [top, level, level], color=PAGE["muted"], linewidth=0.9)
        axes.plot(x(rank), top, mark.shape, color=mark.color, markersize=5.5,
                  markerfacecolor=PAGE.face(mark), zorder=3)  # fmt: skip
        axes.text(
            edge + (-4 if at_left else 4),
            level,
            str(layer),
            ha="right" if at_left else "left",
            va="center",
            fontsize=10.5,
        )
        axes.text(edge + (2 if at_left else -2), level - 2, f"{rank:.2f}", ha="left" if at_left else "right",
                  va="bottom", fontsize=9, color=PAGE["muted"])  # fmt: skip
    for number, group in enumerate(ranking.groups):
        ends = [ranks[layer] for layer in group]
        level = top + 9 + 7.0 * number
        axes.plot([x(min(ends)) - 4, x(max(ends)) + 4], [level, level], color=PAGE["ink"], linewidth=3.2,
                  solid_capstyle="round", alpha=0.75)  # fmt: skip
    order = ", ".join(f"{layer} {rank:.2f}" for layer, rank in ranks.items())
    groups = "; ".join(", ".join(group) for group in ranking.groups) or "none"
    caption = (
        f"Average ranks over {ranking.friedman.datasets} data sets (1 is best): {order}. "
        f"A bar joins layers that Nemenyi's test at {ranking.alpha:g} does not distinguish: {groups}."
    )
    return Picture("ranks", "Critical-difference diagram", caption, svg(figure, "ranks", caption))


def regret_picture(table: pd.DataFrame) -> Picture:
    """The regret of always using L-CAT on every data set, with its confidence interval."""
    rows = list(table.itertuples())
    names = [f"{row.dataset} · {row.always}" for row in rows]
    left = min(14 + 5.7 * max(len(name) for name in names), 190)
    figure, axes = panel(Margins(58 + 20.0 * len(rows), left=left, right=16, top=8, bottom=44))
    ends = [100 * value for row in rows for value in (row.regret, row.low, row.high) if math.isfinite(value)]
    reach = 1.08 * max(_reach(rows), 0.2)
    for position, row in enumerate(rows):
        mark, low, high = PAGE.mark(row.always), 100 * row.low, 100 * row.high
        if math.isfinite(row.low):
            axes.plot([max(low, -reach), min(high, reach)], [position, position], color=mark.color, linewidth=1.8)
            for end, sign in ((low, -1), (high, 1)):
                if abs(end) > reach and end * sign > 0:
                    axes.plot(
                        sign * reach, position, ">" if sign > 0 else "<", color=mark.color, markersize=5, clip_on=False
                    )
        axes.plot(100 * row.regret, position, mark.shape, color=mark.color, markersize=6.5)
    axes.axvline(0, color=PAGE["ink"], linewidth=0.9)
    axes.axvspan(-reach, 0, color=PAGE["lcat"], alpha=0.07, linewidth=0)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [_cut(name, left) for name in names])
    axes.set_xlabel("regret in percentage points\n← L-CAT better    cross-validation better →", fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=PAGE["rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=6)
    worst = max(rows, key=lambda row: row.regret)
    caption = (
        f"Mean {percent_points(np.mean([row.regret for row in rows]))} points over {len(rows)} rows; largest "
        f"{percent_points(worst.regret)} on {worst.dataset} ({worst.always}). Bar: 95 % confidence interval"
        + ("; arrows: it continues." if any(abs(end) > reach for end in ends) else ".")
    )
    title = "Test metric lost by always using L-CAT"
    return Picture("regret", title, caption, svg(figure, "regret", caption))


def _reach(rows: Sequence[Any]) -> float:
    """Half the width of the axis: all means, and intervals up to three times the widest mean or median interval."""
    means = [abs(100 * row.regret) for row in rows]
    halves = [100 * max(abs(row.low), abs(row.high)) for row in rows if math.isfinite(row.low)]
    if not halves:
        return float(max(means))
    return float(max(*means, min(max(halves), 3 * max(float(np.median(halves)), max(means)))))


def _cut(name: str, left: float) -> str:
    max_length = int((left - 14) / 5.7)
    return name if len(name) <= max_length else name[: max_length - 1] + "…"
