"""A study in memory answers what one in a folder does, and both say what they hold."""

from __future__ import annotations

import copy
import pickle

import pandas as pd
import pytest

from lcat.study import Study, make_plan, run_study
from lcat.study.store.store import STORE_NAME
from tests.study.study_support import made_up, plan_of

#: What differs between two runs of the same cells.
OF_THE_RUN = ["seconds", "epoch_seconds", "peak_memory", "started", "finished"]


def test_in_memory_and_in_a_folder_the_same(tmp_path):
    plan = plan_of(layers=["gcn", "lcat"], seeds=2)
    in_memory, in_folder = run_study(plan).study, run_study(plan, tmp_path, engine="inline").study
    assert in_memory.folder is None
    assert in_memory.plan == in_folder.plan == plan
    assert in_memory.cells() == in_folder.cells() == plan.cells()
    frames = [study.results().drop(columns=OF_THE_RUN) for study in (in_memory, in_folder)]
    pd.testing.assert_frame_equal(*frames)
    pd.testing.assert_frame_equal(in_memory.histories(), in_folder.histories())
    pd.testing.assert_frame_equal(in_memory.lambdas(), in_folder.lambdas())
    assert in_memory.compare().summary["test"].tolist() == in_folder.compare().summary["test"].tolist()
    assert in_memory.versions() == in_folder.versions()
    assert in_memory.failures().empty


def test_a_study_says_what_it_holds(tmp_path):
    plan = plan_of(seeds=3)
    results = [made_up(seed=0), made_up(seed=1, error="Traceback ...\nValueError: boom")]
    cells = len(plan.cells()) + len(results)
    assert repr(Study.in_memory(plan, results)) == f"Study(in memory: {cells} cells, 2 with a result, 1 failed)"
    study = Study.create(plan, tmp_path)
    assert repr(study) == f"Study('{tmp_path}': 3 cells, 0 with a result)"
    for path in tmp_path.glob(f"{STORE_NAME}*"):
        path.unlink()
    assert repr(study) == f"Study('{tmp_path}': cannot be read)"


def test_a_study_outlives_a_change_of_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1)
    study = Study.create(plan, "runs")
    assert str(study.folder) == "runs"
    sent = pickle.dumps(study)
    monkeypatch.chdir(tmp_path / "other")
    assert study.folder == tmp_path / "runs"
    assert study.plan == plan
    assert pickle.loads(sent).plan == copy.deepcopy(study).plan == plan
    assert list((tmp_path / "other").iterdir()) == []
    monkeypatch.chdir(tmp_path)
    assert str(study.folder) == "runs"


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, pickle.dumps])
def test_a_study_in_memory_is_not_copied(copied):
    study = Study.in_memory(make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1))
    with pytest.raises(TypeError, match=r"expected a study in a folder, got one in memory"):
        copied(study)
