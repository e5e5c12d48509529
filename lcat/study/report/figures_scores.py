"""The figure of scores: the metric of every layer on one data set, with its runs and its interval."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lcat._measures import sign_of
from lcat._text import counted
from lcat.study.report.interval_bars import bars_leave, draw_bar
from lcat.study.report.palette import PAGE, Palette
from lcat.study.report.svg import Margins, Picture, panel, svg
from lcat.study.report.unit import metric_name, unit_of

__all__ = ["draw_scores", "scores_legend", "scores_margins", "scores_picture"]

#: Points per layer.
_ROW = 24.0
#: Runs are drawn so far above the mean, as a share of a row, that bar and mark do not hide them.
_ABOVE = 0.3


def scores_margins(rows: pd.DataFrame, palette: Palette = PAGE) -> Margins:
    """Of the panel that :func:`draw_scores` fills.

    Args:
        rows: of ``Comparison.summary`` for one data set, those with runs.
        palette: names of layers.
    """
    left = 12 + 6.2 * max(len(palette.name(name)) for name in rows["layer"])
    return Margins(52 + _ROW * len(rows), left=left, right=84, top=8, bottom=40)


def draw_scores(axes: Axes, rows: pd.DataFrame, runs: pd.DataFrame, palette: Palette = PAGE) -> None:
    """One data set: the mean of every layer with its confidence interval, its runs above, the figures beside.

    Args:
        axes: to draw on.
        rows: of ``Comparison.summary`` for the data set, those with runs.
        runs: chosen rows of the frame for the data set.
        palette: colors and names.
    """
    unit = unit_of(rows["metric"])
    left, right = _limits(rows, runs)
    axes.set_xlim(left, right)
    for position, row in enumerate(rows.itertuples()):
        mark = palette.mark(row.layer)
        values = unit.factor * runs.loc[runs["layer"] == row.layer, "test"].to_numpy(dtype=float)
        if row.best:
            axes.axhspan(position - 0.48, position + 0.42, color=mark.color, alpha=0.13, linewidth=0)
        draw_bar(axes, unit.factor * row.low, unit.factor * row.high, position, mark.color)
        if values.size > 1:
            axes.plot(values, np.full(values.size, position - _ABOVE), "o", color=mark.color, alpha=0.75,
                      markersize=3.2, markeredgewidth=0)  # fmt: skip
        face = palette.face(mark)
        axes.plot(unit.factor * row.test, position, mark.shape, color=mark.color, markerfacecolor=face, markersize=6.5)
        spread = f" ± {unit.value(row.std)}" if math.isfinite(row.std) else ""
        axes.annotate(
            unit.value(row.test) + spread,
            (1, position),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=10.5,
            fontweight="bold" if row.best else "normal",
        )
    axes.set_yticks(range(len(rows)), [palette.name(layer) for layer in rows["layer"]])
    axes.set_ylim(len(rows) - 0.45, -0.6)
    axes.set_xlabel(unit.axis(f"test {metric_name(rows['metric'].iloc[0])}"))
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.locator_params(axis="x", nbins=5)
    # Room beside the ends is no score: no share is below 0 or above 100 %.
    axes.set_xticks([tick for tick in axes.get_xticks() if max(left, unit.low) <= tick <= min(right, unit.high)])
    axes.grid(axis="x", color=palette["rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def scores_legend(rows: pd.DataFrame, runs: pd.DataFrame) -> str:
    """What dots, bars and figures of :func:`draw_scores` are, as far as it draws any.

    Args:
        rows: of ``Comparison.summary``, those with runs; of one data set or several.
        runs: chosen rows of the frame for the same data sets.
    """
    fewest, largest = int(rows["runs"].min()), int(rows["runs"].max())
    if largest < 2:
        return "One run per layer, so no interval."
    words = [f"Dots: {counted(fewest, 'run')} of each layer" if fewest == largest else "Dots: runs"]
    if rows["low"].notna().any():
        words.append("bar: 95 % confidence interval of the mean")
        if any(_leave(of_one, runs[runs["dataset"] == dataset]) for dataset, of_one in rows.groupby("dataset")):
            words.append("arrow: it continues")
    return "; ".join([*words, "beside: mean ± standard deviation"]) + "."


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
    unit, sign = unit_of(rows["metric"]), sign_of(str(rows["metric"].iloc[0]))
    order = rows.sort_values("test", ascending=sign < 0).head(3)
    means = ", ".join(f"{row.layer} {unit.value(row.test)}" for row in order.itertuples())
    best = "Highest" if sign > 0 else "Lowest"
    caption = f"{f'{best} means' if len(rows) > 1 else 'Mean'}: {means}. {scores_legend(rows, runs)}"
    name = f"accuracy-{number}"
    return Picture(name, dataset, caption, svg(figure, name, f"{dataset}. {caption}"))


def _leave(rows: pd.DataFrame, runs: pd.DataFrame) -> bool:
    left, right = _limits(rows, runs)
    factor = unit_of(rows["metric"]).factor
    return bars_leave(rows, left / factor, right / factor)


def _limits(rows: pd.DataFrame, runs: pd.DataFrame) -> tuple[float, float]:
    """Of the axis, from the runs and means: an interval of two runs may be ten times as wide and continue outside."""
    unit = unit_of(rows["metric"])
    values = unit.factor * np.concatenate([runs["test"].to_numpy(dtype=float), rows["test"].to_numpy(dtype=float)])
    ends = unit.factor * np.concatenate(
        [rows["low"].dropna().to_numpy(dtype=float), rows["high"].dropna().to_numpy(dtype=float)]
    )
    low, high = values.min(), values.max()
    room = max(high - low, 0.5 * unit.narrowest, 1e-3 * abs(high))
    if ends.size:
        low, high = (
            max(ends.min(), low - 0.6 * room, unit.low),
            min(max(ends.max(), high), high + 0.6 * room, unit.high),
        )
        low, high = min(low, values.min()), max(high, values.max())
    pad = max(0.05 * (high - low), 0.5 * (unit.narrowest - (high - low)), 1e-4 * abs(high))  # one point at least
    return low - pad, high + pad
