"""A study in memory answers what one in a folder does, and both say what they hold."""

from __future__ import annotations

import pandas as pd

from lcat.study import Study, run_study
from lcat.study.store.store import STORE_NAME
from tests.study.study_support import made_up, plan_of

#: What differs between two runs of the same cells.
OF_THE_RUN = ["seconds", "epoch_seconds", "peak_memory", "started", "finished"]


def test_in_memory_and_in_a_folder_the_same(tmp_path):
    plan = plan_of(layers=["gcn", "lcat"], seeds=2)
    here, there = run_study(plan).study, run_study(plan, tmp_path, engine="inline").study
    assert here.folder is None
    assert here.plan == there.plan == plan
    assert here.cells() == there.cells() == plan.cells()
    frames = [study.results().drop(columns=OF_THE_RUN) for study in (here, there)]
    pd.testing.assert_frame_equal(*frames)
    pd.testing.assert_frame_equal(here.histories(), there.histories())
    pd.testing.assert_frame_equal(here.lambdas(), there.lambdas())
    assert here.compare().summary["test"].tolist() == there.compare().summary["test"].tolist()
    assert here.versions() == there.versions()
    assert here.failures().empty


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
