"""The figure of regret: what always using L-CAT costs on every data set, with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lcat.study.report.interval_bars import bars_leave, draw_bar
from lcat.study.report.palette import PAGE, Palette
from lcat.study.report.svg import WIDTH, Margins, Picture, panel, svg
from lcat.study.report.unit import PERCENT, Unit, unit_of

__all__ = ["draw_regret", "regret_legend", "regret_margins", "regret_picture"]

_ROW = 21.0
#: Width of a letter in points.
_LETTER = 6.0


def regret_margins(table: pd.DataFrame, palette: Palette = PAGE) -> Margins:
    """Of the panel that :func:`draw_regret` fills."""
    lines = len(table) + table["dataset"].nunique()
    left = 16 + 6.2 * max(len(palette.name(name)) for name in table["always"])
    return Margins(66 + _ROW * lines, left=left, right=72, top=4, bottom=58)


def draw_regret(axes: Axes, table: pd.DataFrame, palette: Palette = PAGE) -> None:
    """A line with the name of each data set, and below it one per version of L-CAT.

    Args:
        axes: to draw on.
        table: of :func:`lcat.study.regret`.
        palette: colors and names.
    """
    unit, factor = _unit(table), _unit(table).factor
    margins = regret_margins(table, palette)
    reach = 1.08 * _reach(table)
    axes.set_xlim(-reach, reach)
    ticks: list[tuple[int, str]] = []
    line = 0
    for dataset, rows in table.groupby("dataset", sort=False):
        axes.annotate(_cut(str(dataset)), (0, line), xycoords=("axes fraction", "data"), xytext=(4 - margins.left, -3),
                      textcoords="offset points", va="center", fontweight="bold", annotation_clip=False,
                      bbox={"facecolor": palette["paper"], "edgecolor": "none", "pad": 1.5})  # fmt: skip
        for row in rows.itertuples():
            line += 1
            ticks.append((line, palette.name(row.always)))
            mark = palette.mark(row.always)
            draw_bar(axes, factor * row.low, factor * row.high, line, mark.color)
            if not math.isnan(row.low_equivalent):  # of L-CAT minus the others; the regret is the other way round
                ends = (max(-factor * row.high_equivalent, -reach), min(-factor * row.low_equivalent, reach))
                if ends[0] < ends[1]:
                    axes.plot(ends, (line, line), color=mark.color, linewidth=3.2, solid_capstyle="butt", alpha=0.75)
            axes.annotate(row.verdict, (1, line), xycoords=("axes fraction", "data"), xytext=(6, 0), va="center",
                          textcoords="offset points", fontsize=10, color=palette["muted"],
                          annotation_clip=False)  # fmt: skip
            axes.plot(factor * row.regret, line, mark.shape, color=mark.color, markersize=6.5)
        line += 1
    axes.axvline(0, color=palette["ink"], linewidth=0.9)
    margin = factor * float(table["margin"].iloc[0])
    axes.axvspan(-margin, margin, color=palette["lcat"], alpha=0.10, linewidth=0)
    axes.set_ylim(line - 0.4, -0.6)
    axes.set_yticks([number for number, _ in ticks], [name for _, name in ticks])
    axes.set_xlabel(f"regret in {unit.differences}", labelpad=20)
    for x, side, words in ((0, "left", "← L-CAT better"), (1, "right", "L-CAT worse →")):
        axes.annotate(words, (x, 0), xycoords="axes fraction", xytext=(0, -22), textcoords="offset points", ha=side,
                      va="top", fontsize=10, color=palette["muted"], annotation_clip=False)  # fmt: skip
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=palette["rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=6)


def regret_legend(table: pd.DataFrame) -> str:
    """What the bars are, as far as there are any."""
    if table["low"].isna().all():
        return "One run per layer, so no interval." if (table["runs"] == 1).all() else "No interval: too few runs."
    unit = _unit(table)
    reach = 1.08 * _reach(table) / unit.factor
    some = table["low"].isna().any()
    return (
        f"Shaded: the margin of {unit.sized(table['margin'].iloc[0])}. Bar: 95 % confidence interval; "
        "thick: 90 % interval, which lies within the margin if both are equivalent"
        + (" (where there are enough runs)" if some else "")
        + ("; arrow: it continues." if bars_leave(table, -reach, reach) else ".")
    )


def regret_picture(table: pd.DataFrame) -> Picture:
    """The regret of always using L-CAT, see :func:`draw_regret`."""
    figure, axes = panel(regret_margins(table))
    draw_regret(axes, table)
    unit = _unit(table)
    worst = max(table.itertuples(), key=lambda row: row.regret)
    if len(table) == 1:
        summary = f"{unit.difference(worst.regret)}{unit.points}"
    else:
        means = [
            f"{always} {unit.difference(rows['regret'].mean())}" for always, rows in table.groupby("always", sort=False)
        ]
        count = table["dataset"].nunique()
        over = f"Mean over {count} data sets" if count > 1 else "Points" if unit.is_percent else "Regret"
        largest = f"{unit.difference(worst.regret)} on {worst.dataset} ({worst.always})"
        summary = f"{over}: {', '.join(means)}" + (f"; largest {largest}" if count > 1 else "")
    caption = f"{summary}. {regret_legend(table)}"
    title = "Test metric lost by always using L-CAT"
    return Picture("regret", title, caption, svg(figure, "regret", caption))


def _unit(table: pd.DataFrame) -> Unit:
    return unit_of(table["metric"]) if "metric" in table else PERCENT


def _reach(table: pd.DataFrame) -> float:
    """Half the width of the axis: all means, and intervals up to three times the widest mean or median interval."""
    unit = _unit(table)
    means = (unit.factor * table["regret"]).abs()
    ends = (unit.factor * table[["low", "high"]]).abs().replace(math.inf, math.nan)
    halves: Sequence[float] = ends.max(axis=1).dropna().tolist()
    widest = float(means.max())
    if halves:
        widest = max(widest, min(max(halves), 3 * max(float(np.median(halves)), widest)))
    return max(widest, 0.2 * unit.narrowest, unit.factor * float(table["margin"].iloc[0]))


def _cut(name: str) -> str:
    """Both ends of a name that is too long for its line: own files differ at the end, generated graphs too."""
    length = int((WIDTH - 8) / _LETTER)
    if len(name) <= length:
        return name
    half = (length - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
