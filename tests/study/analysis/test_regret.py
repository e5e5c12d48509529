"""The regret of always taking L-CAT, on numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lcat.study.analysis.compare import compare
from lcat.study.analysis.regret import regret
from tests.study.frames import cells, runs_of

# Three seeds, each with its own split. Validation picks gat, cat, gat: tests 0.80, 0.75, 0.70.
ROWS = [
    *runs_of("gcn", [0.99, 0.60, 0.60], [0.50, 0.50, 0.50], seconds=1.0),
    *runs_of("gat", [0.80, 0.90, 0.70], [0.70, 0.60, 0.70], seconds=2.0),
    *runs_of("cat", [0.60, 0.75, 0.95], [0.60, 0.80, 0.60], seconds=3.0),
    *runs_of("lcat", [0.79, 0.76, 0.70], [0.10, 0.10, 0.10], seconds=4.0),
]


def test_by_hand():
    [row] = regret(cells(*ROWS)).to_dict("records")
    difference = np.array([0.01, -0.01, 0.0])
    assert (row["question"], row["always"], row["candidates"], row["runs"]) == ("v1", "lcat", "gcn, gat, cat", 3)
    assert row["cross_validated"] == pytest.approx(0.75)
    assert row["always_test"] == pytest.approx(0.75)
    assert row["regret"] == pytest.approx(0, abs=1e-15)
    # 20 test nodes: accuracies come in steps of 1 / 20.
    spread = math.hypot(difference.std(ddof=1), 1 / 20 / math.sqrt(6))
    half = stats.t.ppf(0.975, 2) * spread * math.sqrt(1 / 3 + 20 / 60)
    assert (row["low"], row["high"]) == (pytest.approx(-half), pytest.approx(half))
    assert row["p_value"] == pytest.approx(1.0)
    assert row["picked"] == "gat 2, cat 1"
    assert (row["cross_validated_seconds"], row["always_seconds"], row["compute_ratio"]) == (18.0, 12.0, 1.5)


def test_on_one_test_set_the_seeds_choose_together():
    frame = cells(*({**row, "test_set": "public", "split_hash": "public"} for row in ROWS))
    # Mean validation: gcn 0.5, gat and cat 2 / 3.
    frame.loc[frame["layer"] == "gat", "validation"] += 0.01
    [row] = regret(frame).to_dict("records")
    assert row["picked"] == "gat 3"
    assert row["regret"] == pytest.approx(0.8 - 0.75)
    difference = np.subtract([0.80, 0.90, 0.70], [0.79, 0.76, 0.70])
    t = difference.mean() / (math.hypot(difference.std(ddof=1), 1 / 20 / math.sqrt(6)) / math.sqrt(3))
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(t, 2))


def test_settings_count_on_both_sides():
    more = [
        *runs_of("gcn", [0.5] * 3, [0.95] * 3, model="gcn wide", seconds=10.0),
        *runs_of("lcat", [0.6] * 3, [0.90] * 3, model="lcat wide", seconds=20.0),
    ]
    [row] = regret(cells(*ROWS, *more)).to_dict("records")
    assert row["picked"] == "gcn 3"
    assert row["regret"] == pytest.approx(0.5 - 0.6)
    assert (row["cross_validated_seconds"], row["always_seconds"]) == (18.0 + 30.0, 12.0 + 60.0)


def test_both_versions_and_all_data_sets():
    v2 = [{**row, "layer": {"gat": "gatv2", "cat": "catv2", "lcat": "lcatv2"}.get(row["layer"])} for row in ROWS[3:]]
    frame = cells(*ROWS, *v2, *({**row, "dataset": "photo"} for row in ROWS))
    regrets = regret(frame)
    assert regrets[["dataset", "question"]].values.tolist() == [["cora", "v1"], ["cora", "v2"], ["photo", "v1"]]
    assert regrets["candidates"].tolist() == ["gcn, gat, cat", "gcn, gatv2, catv2", "gcn, gat, cat"]


def test_what_cannot_be_answered_is_left_out():
    assert regret(cells(*ROWS[:9])).empty  # no L-CAT
    assert regret(cells(*ROWS[:3], *ROWS[9:])).empty  # GCN alone is no choice
    two = regret(cells(*ROWS[3:]))
    assert two["candidates"].tolist() == ["gat, cat"]
    assert list(two.columns) == list(regret(cells(*ROWS[:9])).columns)


def test_a_split_on_which_one_failed_is_left_out():
    frame = cells(*ROWS)
    frame.loc[(frame["layer"] == "cat") & (frame["seed"] == 1), "status"] = "failed"
    [row] = regret(frame).to_dict("records")
    assert (row["runs"], row["picked"], row["cross_validated_seconds"]) == (2, "gat 2", 12.0)


def test_own_questions():
    [row] = regret(cells(*ROWS), questions={"mine": ("gat", ("gcn", "cat"))}).to_dict("records")
    assert (row["question"], row["always"], row["picked"]) == ("mine", "gat", "cat 3")


def test_the_test_metric_chooses_nothing():
    frame = cells(*ROWS)
    for seed in range(5):
        shuffled = frame.assign(test=np.random.default_rng(seed).permutation(frame["test"]))
        assert regret(shuffled)["picked"].item() == "gat 2, cat 1"


@pytest.mark.parametrize("function", [compare, regret])
@pytest.mark.parametrize("wrong", ["1%", -1, float("nan")])
def test_margins_that_are_no_numbers_above_zero(function, wrong):
    with pytest.raises(ValueError, match="margin must be"):
        function(cells(*ROWS), margin=wrong)


@pytest.mark.parametrize("alpha", [5, "0.05", float("nan")])
def test_levels_without_an_answer(alpha):
    with pytest.raises(ValueError, match=r"alpha must be between 0 and 0\.5"):
        regret(cells(*ROWS), alpha=alpha)


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        (["gcn"], "questions must be a table"),
        ({"a": ("gcn", "gat")}, "a list of candidates"),
        ({"a": "gcn"}, "a list of candidates"),
        ({"a": ("gcnn", ["gat"])}, "got 'gcnn' .did you mean gcn"),
        ({"a": ("gcn", ["gat", "lcatt"])}, "got 'lcatt' .did you mean lcat"),
    ],
)
def test_what_is_no_question(questions, message):
    with pytest.raises((TypeError, ValueError), match=message):
        regret(cells(*ROWS), questions=questions)


def test_questions_about_layers_that_did_not_run_stay_unanswered():
    results = cells(*runs_of("gcn", [0.8, 0.7]), *runs_of("gat", [0.7, 0.6]))
    assert regret(results, questions={"a": ("lcat", ["sage", "gat"])}).empty
