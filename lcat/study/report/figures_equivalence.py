"""The figure of equivalence: differences of pairs of layers, with their intervals, against the margin."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from lcat.study.report.palette import PAGE, Palette
from lcat.study.report.svg import Margins, Picture, panel, svg
from lcat.study.report.table import percent_points_size

__all__ = ["draw_equivalence", "equivalence_legend", "equivalence_margins", "equivalence_picture"]

_ROW = 19.0
_LETTER = 5.6


def equivalence_margins(table: pd.DataFrame, palette: Palette = PAGE) -> Margins:
    """Of the panel that :func:`draw_equivalence` fills."""
    longest = max(len(_pair(row, palette)) for row in table.itertuples())
    return Margins(56 + _ROW * len(table), left=min(14 + _LETTER * longest, 170), right=66, top=6, bottom=44)


def draw_equivalence(axes: Axes, table: pd.DataFrame, palette: Palette = PAGE) -> None:
    """A line per pair: mean difference, 95 % interval (thin), 90 % interval (thick), verdict.

    Args:
        axes: to draw on.
        table: the pairs of one data set, of :attr:`lcat.study.Comparison.pairs`.
        palette: colors and names.
    """
    margin = 100 * float(table["margin"].iloc[0])
    reach = _reach(table)
    colors = {"better": palette["lcat"], "worse": palette["cat"], "equivalent": palette["gat"]}
    for line, row in enumerate(table.itertuples()):
        color = colors.get(row.verdict, palette["muted"])
        for low, high, width in ((row.low, row.high, 1.2), (row.low_equivalent, row.high_equivalent, 3.6)):
            if math.isnan(low) or math.isnan(high):
                continue
            ends = (max(100 * low, -reach), min(100 * high, reach))
            if ends[0] < ends[1]:
                axes.plot(ends, (line, line), color=color, linewidth=width, solid_capstyle="butt")
        if not math.isnan(row.difference) and abs(100 * row.difference) <= reach:
            axes.plot(100 * row.difference, line, "o", color=color, markersize=6)
        axes.annotate(row.verdict, (1, line), xycoords=("axes fraction", "data"), xytext=(6, 0), va="center",
                      textcoords="offset points", fontsize=10, color=color, annotation_clip=False)  # fmt: skip
    axes.axvspan(-margin, margin, color=palette["gat"], alpha=0.10, linewidth=0)
    axes.axvline(0, color=palette["ink"], linewidth=0.9)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_yticks(range(len(table)), [_pair(row, palette) for row in table.itertuples()])
    axes.set_xlabel("difference in percentage points")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=palette["rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=6)


def equivalence_legend(table: pd.DataFrame) -> str:
    """What is shaded, and what the bars are."""
    margin = table["margin"].iloc[0]
    points = f"{percent_points_size(margin)} point{'' if margin == 0.01 else 's'}"
    return (
        f"Shaded: the margin of {points}. Thick: 90 % interval, which lies within the margin if both are equivalent; "
        "thin: 95 % interval. Right of 0: the first layer is better."
    )


def equivalence_picture(number: int, table: pd.DataFrame) -> Picture:
    """The pairs of one data set, see :func:`draw_equivalence`.

    Args:
        number: of the picture on the page.
        table: the pairs of the data set.
    """
    figure, axes = panel(equivalence_margins(table))
    draw_equivalence(axes, table)
    counts = table["verdict"].value_counts()
    words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in counts.index)
    caption = f"{words}. {equivalence_legend(table)}"
    name = f"equivalence-{number}"
    return Picture(name, str(table["dataset"].iloc[0]), caption, svg(figure, name, caption))


def _pair(row: object, palette: Palette) -> str:
    first, second = (palette.name(getattr(row, name)) for name in ("first", "second"))
    return _cut(f"{first} − {second}")


def _cut(text: str, letters: int = 28) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _reach(table: pd.DataFrame) -> float:
    """Half the width of the axis: all means, three margins, and intervals as far as they are not very wide."""
    margin = 100 * float(table["margin"].iloc[0])
    means = (100 * table["difference"]).abs().max()
    ends = (100 * table[["low_equivalent", "high_equivalent"]]).abs().replace(math.inf, math.nan).max(axis=1).dropna()
    widest = max(3 * margin, 0.0 if math.isnan(means) else 1.15 * float(means))
    return max(widest, min(1.1 * float(ends.max()), 3 * widest)) if len(ends) else widest
