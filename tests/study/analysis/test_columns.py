"""A wrong frame is refused by name: what is missing, what it holds instead, and the way out."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from lcat.study import StudyRecord, choose, compare, make_plan, regret, robustness
from lcat.study.analysis.summary import summary_frame
from tests.study.frames import cells, runs_of

FUNCTIONS = [compare, choose, regret, robustness, summary_frame]
GOOD = cells(*runs_of("gcn", [0.5, 0.6, 0.7]), *runs_of("lcat", [0.6, 0.7, 0.8]))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame(), "columns are missing: dataset, layer, .*; got no columns"),
        (pd.DataFrame({"a": [1]}), "columns are missing: dataset, .*; got a$"),
        (GOOD.drop(columns="test"), "columns are missing: test; got dataset"),
        (GOOD.rename(columns={"validation": "validaton"}), r"missing: validation \(did you mean validaton or "),
        (GOOD.drop(columns=["status", "model"]), "columns are missing: model, status"),
        (GOOD.rename(columns={"train": "test"}).assign(train=1.0), "got these more often: test"),
        (GOOD.assign(test="high"), r"column 'test' must hold numbers, got .*; convert it with frame\[\"test\"\]"),
        (GOOD.assign(noise_level="0"), "column 'noise_level' must hold numbers"),
        (GOOD.assign(status="finished"), "column 'status' must hold 'done' or 'failed', got 'finished'"),
        (GOOD.assign(validation=math.nan), "column 'validation' must be a number .*; it is none in 6 of 6 rows"),
        (GOOD.assign(test=[0.5] * 5 + [math.nan]), "column 'test' must be a number .*; it is none in 1 of 6 rows"),
        (GOOD.assign(layer=None), "column 'layer' must have a value in every row; it is missing in 6 rows"),
        (pd.concat([GOOD, GOOD.head(2)]), "got 2 rows with the dataset, .*of another.*frame.drop_duplicates"),
        (GOOD.assign(metric=3 * ["accuracy"] + 3 * ["roc-auc"]), "one metric, .*; cora has accuracy and roc-auc: keep"),
        (GOOD.assign(task=3 * ["a"] + 3 * ["b"]), r"one task, .*; cora has a and b: keep .*frame\['task'\] == 'a'"),
        (compare(GOOD).summary, r"columns are missing: model \(did you mean models\?\), seed, repeat"),
    ],
)  # fmt: skip
def test_wrong_frames_are_named(function, frame, words):
    with pytest.raises(ValueError, match=words) as error:
        function(frame)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("value", [None, [1, 2], {"layer": ["gcn"]}, GOOD["test"], "results.csv"])
def test_what_is_no_frame(function, value):
    with pytest.raises(TypeError, match=f"expected a frame of Study.results.., got {type(value).__name__}$"):
        function(value)


def test_a_study_is_not_its_results():
    plan = make_plan(datasets=["cora"], layers=["gcn"], seeds=1)
    with pytest.raises(TypeError, match=r"got StudyRecord: pass its .results\(\)"):
        compare(StudyRecord.in_memory(plan))


def test_two_studies_in_one_frame_have_any_index():
    other = GOOD.assign(dataset="photo")
    together = pd.concat([GOOD, other])  # every number of the index twice
    whole = pd.concat([GOOD, other], ignore_index=True)
    for function in (summary_frame, regret, robustness, choose):
        pd.testing.assert_frame_equal(function(together), function(whole))
    pd.testing.assert_frame_equal(compare(together).pairs, compare(whole).pairs)


@pytest.mark.parametrize("tests", [[0.99, 1.0], [0.0, 0.03], [1.0, 1.0]])
def test_intervals_of_shares_end_at_0_and_1(tests):
    frame = cells(*runs_of("gcn", tests), *runs_of("lcat", [1 - test for test in tests]))
    comparison = compare(frame)
    assert (comparison.summary["low"] >= 0).all()
    assert (comparison.summary["high"] <= 1).all()
    assert comparison.pairs["low"].min() >= -1
    assert comparison.pairs["high"].max() <= 1
    alone = compare(cells({"layer": "gcn", "test": 1.0}))
    assert alone.summary[["low", "high"]].isna().all(axis=None)


def test_a_comparison_is_short_to_look_at():
    comparison = compare(pd.concat([GOOD, GOOD.assign(dataset="photo<b>")], ignore_index=True))
    assert repr(comparison).startswith("Comparison(4 rows in summary, 2 in pairs, 1 in overall, ranking Ranking(over 2")
    assert "\n" not in repr(comparison)
    page = comparison._repr_html_()
    assert "60.0 ± 10.0" in page
    assert "photo&lt;b&gt;" in page
    assert compare(GOOD.head(0))._repr_html_().startswith("<p>Comparison(0 rows")
