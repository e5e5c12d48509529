"""Frames say what results say, column by column."""

from __future__ import annotations

import pandas as pd
import pytest

from lcat.study import COLUMNS, Noise, SplitChoice, Study
from lcat.study.store.frame import history_frame, lambda_frame, results_frame
from lcat.study.store.store import Store
from tests.study.study_support import made_up, plan_of, trained

RESULTS = [
    made_up("lcatv2", 0, 0.8, lambdas={"a": [0.1, 0.2], "b": [1.0, 0.0]}),
    made_up("gcn-mean", 1, 0.5, epochs=3, noise=Noise(kind="edges", level=0.1)),
    made_up(
        "gat", 2, error="Traceback ...\nValueError: boom", split=SplitChoice(rule="nested:5x3", fold=4, inner_fold=0)
    ),
]


def test_results():
    frame = results_frame(RESULTS)
    assert list(frame.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert all(name.startswith("hyper.") for name in frame.columns[len(COLUMNS) :])
    assert frame["key"].tolist() == [result.cell.key for result in RESULTS]
    assert frame["family"].tolist() == ["lcat", "gcn", "gat"]
    assert frame["version"].tolist() == [2, pd.NA, 1]
    assert frame["variant"].tolist() == ["", "mean", ""]
    assert frame["test"].tolist()[:2] == [0.8, 0.5]
    assert pd.isna(frame["test"][2])
    assert frame["status"].tolist() == ["done", "done", "failed"]
    assert frame["error"].tolist()[2] == "ValueError: boom"
    assert frame["noise"].tolist() == ["none", "edges", "none"]
    assert frame["noise_level"].tolist() == [0.0, 0.1, 0.0]
    assert frame["fold"].tolist() == [pd.NA, pd.NA, 4]
    assert frame["inner_fold"].tolist() == [pd.NA, pd.NA, 0]
    assert frame["epoch_seconds"].tolist()[:2] == [0.25, pytest.approx(0.5 / 3)]
    assert frame["peak_memory"].dtype == "Int64"
    assert frame["hyper.lr"].tolist() == [0.01] * 3


def test_histories_and_lambdas():
    frame = history_frame(RESULTS)
    assert frame.groupby("key", sort=False).size().tolist() == [2, 3]
    first = frame[frame["key"] == RESULTS[0].cell.key]
    assert first["epoch"].tolist() == [0, 1]
    assert first["validation"].tolist() == RESULTS[0].fit.history.val
    assert first["lambda1.1"].tolist() == [0.5, 0.1]
    assert first["lambda2.2"].tolist() == [0.25, 0.0]
    assert frame[frame["key"] == RESULTS[1].cell.key]["lambda1.1"].isna().all()
    ends = lambda_frame(RESULTS)
    assert ends[["depth", "name", "lambda1_start", "lambda2_start", "lambda1", "lambda2"]].values.tolist() == [
        [1, "a", 0.5, 0.25, 0.1, 0.2],
        [2, "b", 0.5, 0.25, 1.0, 0.0],
    ]


def test_empty_frames_have_their_columns():
    assert list(results_frame([]).columns) == list(COLUMNS)
    assert "validation" in history_frame([])
    assert "lambda1" in lambda_frame([])


def test_a_study_read_from_its_folder(tmp_path):
    plan = plan_of(layers=["lcat", "gat"], seeds=[0, 1])
    study = Study.create(plan, tmp_path)
    assert study.cells() == plan.cells()
    assert Study.load(tmp_path).plan == plan
    assert study.results().empty
    results = trained(plan)
    with Store(tmp_path, write=True) as store:
        store.finish_many(results)
    pd.testing.assert_frame_equal(study.results(), results_frame(results))
    pd.testing.assert_frame_equal(study.histories(), history_frame(results))
    pd.testing.assert_frame_equal(study.lambdas(), lambda_frame(results))
    one = results[0].cell.key
    assert set(study.histories([one])["key"]) == {one}
    assert study.failures().empty
    assert study.versions() == [results[0].versions]


@pytest.mark.parametrize("wrong", [["lcat"], [3], [["a"]], ["lcat", None]])
def test_keys_of_no_cell_are_refused(wrong):
    plan = plan_of(layers=["lcat"], seeds=[0])
    study = Study.in_memory(plan, trained(plan))
    (key,) = study.results()["key"]
    for read in (study.histories, study.lambdas, study.metrics, study.classes):
        with pytest.raises(ValueError, match=r"the study has no cell .*: keys are in the column key of results\(\)"):
            read([key, *wrong])
        assert set(read(key for key in [key])["key"]) == {key}
        assert read([]).empty
