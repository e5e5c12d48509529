"""Bars of confidence intervals: an arrow at each end that continues beyond the axes, and nothing over the names."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from matplotlib.axes import Axes

from lcat.study.report.figures_regret import draw_regret, regret_legend, regret_margins, regret_picture
from lcat.study.report.figures_scores import draw_scores, scores_legend, scores_margins, scores_picture
from lcat.study.report.interval_bars import draw_bar
from lcat.study.report.svg import Margins, drawing_style, panel

_INFINITE = math.inf


def _arrows(axes: Axes) -> list[tuple[str, float]]:
    """The arrows of a figure: their direction and height, sorted."""
    return sorted(
        (line.get_marker(), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() in ("<", ">")
    )


def _regret_table(*intervals: tuple[float, float]) -> pd.DataFrame:
    rows = [
        {
            "dataset": f"graph {number}",
            "always": "lcat",
            "runs": 3,
            "regret": 0.0,
            "low": low,
            "high": high,
            "margin": 0.01,
            "low_equivalent": -high / 2,
            "high_equivalent": -low / 2,
            "verdict": "undecided",
        }
        for number, (low, high) in enumerate([(-0.01, 0.01), (-0.02, 0.02), *intervals])
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("low", "high", "arrows"),
    [
        (-0.9, 0.01, "<"),
        (-0.01, 0.9, ">"),
        (-0.9, 0.9, "<>"),
        (-_INFINITE, 0.01, "<"),
        (-0.01, _INFINITE, ">"),
        (-_INFINITE, _INFINITE, "<>"),
        (-0.01, 0.01, ""),
        (math.nan, math.nan, ""),
    ],
)
def test_regret_has_an_arrow_at_each_end_that_continues(low, high, arrows):
    table = _regret_table((low, high), (-0.01, 0.02))
    with drawing_style():
        _, axes = panel(regret_margins(table))
        draw_regret(axes, table)
        regret_picture(table)
    assert _arrows(axes) == [(arrow, 5.0) for arrow in arrows]
    assert ("arrow: it continues" in regret_legend(table)) == bool(arrows)
    bars = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] == 5.0]
    assert len(bars) == (0 if math.isnan(low) else 2)  # the thick one is that of the test of equivalence
    left, right = axes.get_xlim()
    assert all(left <= end <= right for line in bars for end in line.get_xdata())


def test_the_margin_is_shaded_and_every_row_has_its_verdict():
    table = _regret_table().assign(verdict=["equivalent", "undecided"], margin=0.015)
    with drawing_style():
        _, axes = panel(regret_margins(table))
        draw_regret(axes, table)
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == (pytest.approx(-1.5), pytest.approx(1.5))
    assert [text.get_text() for text in axes.texts if text.get_text() in ("equivalent", "undecided")] == [
        "equivalent", "undecided",
    ]  # fmt: skip
    assert "the margin of 1.5 points" in regret_legend(table)


def test_all_intervals_without_an_end_leave_an_axis_for_the_means():
    table = _regret_table()[:1].assign(low=-_INFINITE, high=_INFINITE, regret=0.03)
    with drawing_style():
        _, axes = panel(regret_margins(table))
        draw_regret(axes, table)
    assert _arrows(axes) == [("<", 1.0), (">", 1.0)]
    assert axes.get_xlim()[1] == pytest.approx(1.08 * 3)


@pytest.mark.parametrize(
    ("low", "high", "arrows"), [(0.2, 0.81, "<"), (0.79, 1.0, ">"), (0.2, 1.0, "<>"), (0.79, 0.82, "")]
)
def test_scores_have_an_arrow_at_each_end_that_continues(low, high, arrows):
    rows = pd.DataFrame(
        {
            "dataset": "cora", "layer": ["gcn", "gat"], "metric": "accuracy", "test": [0.8, 0.81], "std": 0.01,
            "low": [0.79, low], "high": [0.81, high], "runs": 2, "best": [False, True],
        }
    )  # fmt: skip
    runs = pd.DataFrame({"dataset": "cora", "layer": ["gcn", "gcn", "gat", "gat"], "test": [0.795, 0.805, 0.8, 0.82]})
    with drawing_style():
        _, axes = panel(scores_margins(rows))
        draw_scores(axes, rows, runs)
        caption = scores_picture(0, rows, runs).caption
    assert _arrows(axes) == [(arrow, 1.0) for arrow in arrows]
    assert ("arrow: it continues" in caption) == ("arrow: it continues" in scores_legend(rows, runs)) == bool(arrows)


def test_arrows_stay_inside_the_axes():
    """Names of layers stand directly to the left of the axes."""
    with drawing_style():
        figure, axes = panel(Margins(60))
        axes.set_xlim(-1, 1)
        draw_bar(axes, -5, 5, 0.5, "#000000")
        figure.canvas.draw()
        box = axes.get_window_extent()
        tips = [line.get_window_extent() for line in axes.lines if line.get_marker() in ("<", ">")]
    assert len(tips) == 2
    assert all(box.x0 - 0.5 <= tip.x0 and tip.x1 <= box.x1 + 0.5 for tip in tips)
