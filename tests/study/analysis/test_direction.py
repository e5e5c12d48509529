"""Where lower is better, everything that chooses, tests, ranks or shows turns."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from lcat.study import choose, compare, regret
from lcat.study.analysis.direction import are_shares, limits_of, shown
from lcat.study.analysis.selection import Selection
from lcat.study.report.unit import PERCENT, PLAIN, metric_name, unit_of
from tests.study.frames import cells


def errors(values, metric="mae", **change):
    """One row per layer and seed; validation is half of the test metric."""
    rows = [
        {"layer": layer, "seed": seed, "test": value, "validation": value / 2, "metric": metric, **change}
        for layer, scores in values.items()
        for seed, value in enumerate(scores)
    ]
    return cells(*rows)


SCORES = {
    "gcn": [5.0, 5.1, 4.9, 5.0],
    "gat": [3.0, 3.15, 2.85, 3.02],
    "cat": [9.0, 9.1, 8.9, 9.2],
    "lcat": [4.0, 4.1, 3.9, 4.05],
}


def test_the_lowest_error_is_best_and_its_layer_better():
    comparison = compare(errors(SCORES), margin=0.5)
    assert comparison.summary.loc[comparison.summary["best"], "layer"].tolist() == ["gat"]
    pairs = comparison.pairs.set_index(["first", "second"])
    row = pairs.loc[("gcn", "gat")]
    assert row["difference"] == pytest.approx(1.995)  # first minus second, as they are
    assert row["verdict"] == "worse"
    assert row["prob_worse"] > 0.95
    assert row["low_equivalent"] < 2.0 < row["high_equivalent"]
    assert row["high"] > 1.5  # no share, so it does not end at 1
    assert pairs.loc[("gat", "cat"), "verdict"] == "better"


def test_the_same_scores_as_shares_turn_the_verdict():
    share = {layer: [value / 10 for value in values] for layer, values in SCORES.items()}
    pairs = compare(errors(share, metric="accuracy")).pairs.set_index(["first", "second"])
    assert pairs.loc[("gcn", "gat"), "verdict"] == "better"


def test_the_settings_with_the_lowest_validation_error_are_chosen():
    frame = pd.concat([errors({"gcn": [5.0]}, model="a"), errors({"gcn": [3.0]}, model="b")], ignore_index=True)
    assert Selection(frame).selected["model"].tolist() == ["b"]
    choice = choose(pd.concat([frame, errors({"gat": [4.0]}, model="c")], ignore_index=True))
    assert choice.loc[choice["chosen"], "model"].tolist() == ["b"]


def test_regret_is_what_an_error_is_larger_by():
    row = regret(errors(SCORES)).iloc[0]
    assert row["picked"] == "gat 4"
    assert row["regret"] == pytest.approx(row["always_test"] - row["cross_validated"])
    assert row["regret"] == pytest.approx(1.0075)
    assert row["verdict"] == "worse"


def test_ranks_begin_with_the_lowest_error():
    frame = pd.concat([errors(SCORES, dataset=name) for name in ("a", "b", "c")], ignore_index=True)
    ranking = compare(frame).ranking
    assert ranking.average_ranks.index.tolist() == ["gat", "lcat", "gcn", "cat"]
    assert ranking.wins["gat"] == 3


def test_metrics_of_different_units_have_no_mean_difference():
    share = {layer: [value / 10 for value in values] for layer, values in SCORES.items()}
    parts = [errors(SCORES, dataset="a"), errors(share, metric="accuracy", dataset="b")]
    frame = pd.concat(parts, ignore_index=True)
    overall = compare(frame).overall.set_index(["first", "second"]).loc[("gcn", "gat")]
    assert (overall["wins"], overall["losses"]) == (1, 1)
    assert math.isnan(overall["difference"])
    assert math.isnan(overall["p_wilcoxon"])
    assert not are_shares(frame)


def test_ties_are_what_tables_show_alike():
    assert shown(pd.Series([0.81234, 0.81226]), "accuracy").nunique() == 1
    assert shown(pd.Series([12.3449, 12.3441]), "rmse").tolist() == [-12.34, -12.34]
    assert limits_of("mae") == (0.0, math.inf)


def test_units():
    assert unit_of(["accuracy", "macro-f1", ""]) is PERCENT
    assert unit_of(["accuracy", "rmse"]) is PLAIN
    assert (PLAIN.value(0.123456), PLAIN.difference(-2.0), PLAIN.title("test")) == ("0.1235", "−2", "test")
    assert (PERCENT.value(0.5), PERCENT.difference(0.02), PERCENT.axis("test")) == ("50.0", "+2.00", "test in %")
    assert metric_name("hits@20") == "Hits@20"


def test_a_notebook_shows_errors_in_their_own_unit():
    page = compare(errors(SCORES))._repr_html_()
    assert "5 ± 0.08165" in page
    assert "500.0" not in page
    assert "Test metric (shares in %)" in page
    share = {layer: [value / 10 for value in values] for layer, values in SCORES.items()}
    page = compare(errors(share, metric="accuracy"))._repr_html_()
    assert "50.0 ± 0.8" in page
    assert "Test metric in %" in page
