"""The bar of a confidence interval, in every figure: where it continues beyond the axes, an arrow says so."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

__all__ = ["bars_leave", "draw_bar"]

#: Size of an arrow in points.
_ARROW = 5.0


def draw_bar(axes: Axes, low: float, high: float, line: float, color: str) -> None:
    """A horizontal bar from ``low`` to ``high``; nothing if one of them is not a number.

    Args:
        axes: with its final limits of x.
        low: lower end, in units of the axis; minus infinity if there is none.
        high: upper end; infinity if there is none.
        line: height of the bar, in units of the axis.
        color: of the bar.
    """
    if math.isnan(low) or math.isnan(high):
        return
    left, right = axes.get_xlim()
    axes.plot([max(low, left), min(high, right)], [line, line], color=color, linewidth=1.8)
    # The tip of an arrow is at the edge, not beyond it, where the names of the layers stand.
    inside = _ARROW / 2 * (right - left) / _points(axes)
    if low < left:
        axes.plot(left + inside, line, "<", color=color, markersize=_ARROW, markeredgewidth=0)
    if high > right:
        axes.plot(right - inside, line, ">", color=color, markersize=_ARROW, markeredgewidth=0)


def bars_leave(rows: pd.DataFrame, left: float, right: float) -> bool:
    """Whether the interval of a row, ``low`` to ``high``, continues beyond ``left`` or ``right``."""
    return bool(((rows["low"] < left) | (rows["high"] > right))[rows["low"].notna() & rows["high"].notna()].any())


def _points(axes: Axes) -> float:
    """Width of the axes in points."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return float(axes.get_position().width * figure.get_size_inches()[0] * 72)
