"""Plans of public tables, and published values in a report."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lcat.study import PlanError, load_plan, make_plan, run_study
from lcat.study.report.data import ReportData
from lcat.study.report.page import make_report
from lcat.study.report.sentences import plan_toml

PLANS = sorted((Path(__file__).parents[3] / "plans").glob("*.toml"))


def test_there_are_plans():
    assert len(PLANS) >= 6


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_plan_of_the_repository_loads(path):
    plan = load_plan(path)
    assert plan.cells()
    pairs = set(plan.pairs())
    assert all((one.dataset, one.layer) in pairs for one in plan.published)
    assert len({(one.dataset, one.layer) for one in plan.published}) == len(plan.published)


def test_published_values_stand_beside_those_of_the_study(tmp_path):
    published = [
        {"dataset": "csbm:easy,n=60", "layer": "gcn", "mean": 90.0, "std": 2.0, "runs": 4},
        {"dataset": "csbm:easy,n=60", "layer": "gat", "mean": 90.0},
        {"dataset": "cora", "layer": "gcn", "mean": 80.0, "std": 1.0, "runs": 3},
    ]
    settings = {"datasets": ["csbm:easy,n=60"], "layers": ["gcn", "gat"], "seeds": 3, "overrides": {"epochs": 3}}
    plan = make_plan(**settings, published=published)
    study = run_study(plan, tmp_path, engine="inline").study
    report = make_report(ReportData.of(study))
    frame = report.tables["published"].frame
    assert frame["layer"].tolist() == ["gcn", "gat"]
    test = study.results().query("layer == 'gcn'")["test"]
    error = math.sqrt(test.var() / 3 + 0.02**2 / 4)
    assert frame["errors"][0] == pytest.approx((test.mean() - 0.9) / error)
    assert math.isnan(frame["errors"][1])
    assert "Beside published values" in report.html
    # They decide no result, and are in the plan of the report.
    assert run_study(make_plan(**settings), tmp_path, engine="inline").ran == 0
    (tmp_path / "again.toml").write_text(plan_toml(plan))
    assert load_plan(tmp_path / "again.toml").published == plan.published


def test_published_values_are_checked():
    settings = {"datasets": ["cora"], "layers": ["gcn"], "seeds": 1}
    with pytest.raises(PlanError, match=r"published.mean: must be at most 100; got 810"):
        make_plan(**settings, published=[{"dataset": "cora", "layer": "gcn", "mean": 810}])
    with pytest.raises(PlanError, match=r"published.meen: .*did you mean mean"):
        make_plan(**settings, published=[{"dataset": "cora", "layer": "gcn", "mean": 81, "meen": 1}])
