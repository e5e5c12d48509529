"""The figure of equivalence: in the unit of the metric, with the margin and the side on which a layer is better."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from lcat.study import StudyRecord
from lcat.study.report.data import ReportData
from lcat.study.report.figures_equivalence import (
    draw_equivalence,
    equivalence_legend,
    equivalence_margins,
    equivalence_picture,
)
from lcat.study.report.figures_files import figure_file
from lcat.study.report.svg import drawing_style, panel
from tests.study.report.studies import made_up_study


def pairs(metric, margin, scale=1.0):
    rows = [
        {
            "dataset": "graph",
            "metric": metric,
            "first": "gcn",
            "second": layer,
            "difference": scale * difference,
            "low": scale * (difference - 0.02),
            "high": scale * (difference + 0.02),
            "low_equivalent": scale * (difference - 0.01),
            "high_equivalent": scale * (difference + 0.01),
            "margin": margin,
            "verdict": verdict,
        }
        for layer, difference, verdict in (("gat", 0.03, "better"), ("lcat", 0.001, "undecided"))
    ]
    return pd.DataFrame(rows)


def drawn(table):
    with drawing_style():
        _, axes = panel(equivalence_margins(table))
        draw_equivalence(axes, table)
    return axes


@pytest.mark.parametrize(
    ("metric", "margin", "scale", "label", "factor"),
    [
        ("accuracy", 0.015, 1.0, "difference in percentage points", 100),
        ("mae", 2.5, 100.0, "difference in MAE", 1),
        ("rmse", 1e-4, 0.01, "difference in RMSE", 1),
        ("r2", 0.01, 1.0, "difference in R²", 1),
    ],
)
def test_differences_and_the_margin_are_in_the_unit_of_the_metric(metric, margin, scale, label, factor):
    table = pairs(metric, margin, scale)
    axes = drawn(table)
    assert axes.get_xlabel() == label
    (band,) = axes.patches
    assert band.get_x() + band.get_width() == pytest.approx(factor * margin)
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert means == pytest.approx((factor * table["difference"]).tolist())
    right = axes.get_xlim()[1]
    assert max(means) < right < 10 * max(factor * table["difference"].max(), 3 * factor * margin)


@pytest.mark.parametrize(
    ("metric", "margin", "words", "side"),
    [
        ("accuracy", 0.01, "the margin of 1 point. Thick", "Right of 0: the first layer is better."),
        ("accuracy", 0.02, "the margin of 2 points. Thick", "Right of 0: the first layer is better."),
        ("r2", 0.01, "the margin of 0.01 in the unit of the metric. Thick", "Right of 0: the first layer is better."),
        (
            "mae",
            2.5,
            "the margin of 2.5 in the unit of the metric. Thick",
            "Left of 0: the first layer is better, as its error is smaller.",
        ),
    ],
)
def test_the_legend_names_the_margin_and_the_side(metric, margin, words, side):
    legend = equivalence_legend(pairs(metric, margin))
    assert words in legend
    assert legend.endswith(side)
    assert equivalence_picture(0, pairs(metric, margin)).caption.endswith(side)


def test_a_figure_of_several_units():
    both = pd.concat([pairs("accuracy", 0.01), pairs("rmse", 0.01).assign(dataset="other")])
    legend = equivalence_legend(both)
    assert "the margin of 1 point, and of 0.01 where the metric is no share" in legend
    assert legend.endswith("Right of 0: the first layer is better; for RMSE, left of 0.")


def test_files_and_pages_of_a_study_of_errors():
    plan, results = made_up_study(datasets=("cora",), layers=("gcn", "gat"), seeds=4, levels=(0.0,), fail=False)
    results = [replace(result, metric="mae") for result in results]
    data = ReportData.of(StudyRecord.in_memory(plan, results))
    assert data.comparison.pairs["metric"].tolist() == ["mae"]
    file = figure_file(data, "equivalence", "svg").decode()
    assert "difference in MAE" in file
    assert "percentage points" not in file
