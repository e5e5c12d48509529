"""The figure of equivalence: differences of pairs of layers, with their intervals, against the margin."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from lcat._measures import sign_of
from lcat.study.report.palette import PAGE, Palette
from lcat.study.report.svg import Margins, Picture, panel, svg
from lcat.study.report.unit import PERCENT, Unit, metric_name, unit_of

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
    factor = _unit(table).factor
    margin = factor * float(table["margin"].iloc[0])
    reach = _reach(table)
    colors = {"better": palette["lcat"], "worse": palette["cat"], "equivalent": palette["gat"]}
    for line, row in enumerate(table.itertuples()):
        color = colors.get(row.verdict, palette["muted"])
        for low, high, width in ((row.low, row.high, 1.2), (row.low_equivalent, row.high_equivalent, 3.6)):
            if math.isnan(low) or math.isnan(high):
                continue
            ends = (max(factor * low, -reach), min(factor * high, reach))
            if ends[0] < ends[1]:
                axes.plot(ends, (line, line), color=color, linewidth=width, solid_capstyle="butt")
        if not math.isnan(row.difference) and abs(factor * row.difference) <= reach:
            axes.plot(factor * row.difference, line, "o", color=color, markersize=6)
        axes.annotate(row.verdict, (1, line), xycoords=("axes fraction", "data"), xytext=(6, 0), va="center",
                      textcoords="offset points", fontsize=10, color=color, annotation_clip=False)  # fmt: skip
    axes.axvspan(-margin, margin, color=palette["gat"], alpha=0.10, linewidth=0)
    axes.axvline(0, color=palette["ink"], linewidth=0.9)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_yticks(range(len(table)), [_pair(row, palette) for row in table.itertuples()])
    axes.set_xlabel(_axis(table))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=palette["rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.locator_params(axis="x", nbins=6)


def equivalence_legend(table: pd.DataFrame) -> str:
    """What is shaded, and what the bars are."""
    return (
        f"Shaded: the margin of {_margin(table)}. Thick: 90 % interval, which lies within the margin if both are "
        f"equivalent; thin: 95 % interval. {_side(table)}"
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


def _metrics(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(map(str, table["metric"]))) if "metric" in table else []


def _unit(table: pd.DataFrame) -> Unit:
    metrics = _metrics(table)
    return unit_of(metrics) if metrics else PERCENT


def _axis(table: pd.DataFrame) -> str:
    """What the differences of one data set are counted in."""
    unit = _unit(table)
    return f"difference in {unit.differences if unit.is_percent else metric_name(_metrics(table)[0])}"


def _margin(table: pd.DataFrame) -> str:
    """The margin in the unit of each metric: figures of several data sets may have several."""
    margin = float(table["margin"].iloc[0])
    units = {unit_of([metric]) for metric in _metrics(table)} or {PERCENT}
    texts = [unit.sized(margin) for unit in sorted(units, key=lambda unit: not unit.is_percent)]
    if len(texts) > 1:
        return f"{texts[0]}, and of {texts[1]} where the metric is no share"
    return texts[0] if _unit(table).is_percent else f"{texts[0]} in the unit of the metric"


def _side(table: pd.DataFrame) -> str:
    """On which side of 0 the first layer is better: errors are better if they are smaller."""
    errors = [metric for metric in _metrics(table) if sign_of(metric) < 0]
    others = len(_metrics(table)) > len(errors)
    if not errors:
        return "Right of 0: the first layer is better."
    if not others:
        return "Left of 0: the first layer is better, as its error is smaller."
    names = " and ".join(map(metric_name, errors))
    return f"Right of 0: the first layer is better; for {names}, left of 0."


def _pair(row: object, palette: Palette) -> str:
    first, second = (palette.name(getattr(row, name)) for name in ("first", "second"))
    return _cut(f"{first} − {second}")


def _cut(text: str, letters: int = 28) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _reach(table: pd.DataFrame) -> float:
    """Half the width of the axis: all means, three margins, and intervals as far as they are not very wide."""
    factor = _unit(table).factor
    margin = factor * float(table["margin"].iloc[0])
    means = (factor * table["difference"]).abs().max()
    ends = (
        (factor * table[["low_equivalent", "high_equivalent"]]).abs().replace(math.inf, math.nan).max(axis=1).dropna()
    )
    widest = max(3 * margin, 0.0 if math.isnan(means) else 1.15 * float(means))
    return max(widest, min(1.1 * float(ends.max()), 3 * widest)) if len(ends) else widest
