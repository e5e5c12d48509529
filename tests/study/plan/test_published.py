"""Plans of public tables, and published values in a report."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from lcat.study import PlanError, StudyRecord, load_plan, make_plan, run_study
from lcat.study.plan.published import metric_of_published
from lcat.study.plan.settings import Published
from lcat.study.report.data import ReportData
from lcat.study.report.page import make_report
from lcat.study.report.plan_toml import plan_toml
from tests.study.report.studies import made_up_study

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
    table = report.tables["published-csbm-easy-n-60"]
    assert table.frame["layer"].tolist() == ["gcn", "gat"]
    test = study.results().query("layer == 'gcn'")["test"]
    error = math.sqrt(test.var() / 3 + 0.02**2 / 4)
    assert table.frame["errors"][0] == pytest.approx((test.mean() - 0.9) / error)
    assert math.isnan(table.frame["errors"][1])
    assert table.rows()[0][3] == "90.00 ± 2.00"
    assert table.rows()[1][3:5] == ["90.00", "–"]
    assert "Beside published values" in report.html
    assert 'id="table-published-csbm-easy-n-60"' in report.html
    # They decide no result, and are in the plan of the report.
    assert run_study(make_plan(**settings), tmp_path, engine="inline").ran == 0
    (tmp_path / "again.toml").write_text(plan_toml(plan))
    assert load_plan(tmp_path / "again.toml").published == plan.published


def report_of(published, metric=None, datasets=("cora", "photo"), layers=("gcn", "gat")):
    plan, results = made_up_study(datasets=datasets, layers=layers, seeds=3, levels=(0.0,), fail=False)
    if metric is not None:
        results = [replace(result, metric=metric) for result in results]
    plan = plan.model_copy(update={"published": tuple(Published(**one) for one in published)})
    return make_report(ReportData.of(StudyRecord.in_memory(plan, results)))


def names(report):
    return sorted(name for name in report.tables if name.startswith("published"))


def test_every_data_set_has_its_own_table_in_all_forms(tmp_path):
    values = [
        {"dataset": dataset, "layer": layer, "mean": 80.0, "std": 1.0, "runs": 3}
        for dataset in ("cora", "photo")
        for layer in ("gcn", "gat")
    ]
    report = report_of(values)
    assert names(report) == ["published-cora", "published-photo"]
    assert [len(report.tables[name]) for name in names(report)] == [2, 2]
    (tmp_path / "tables").mkdir()
    for old in ("published.csv", "published-pubmed.tex", "published-notes.txt"):
        (tmp_path / "tables" / old).write_text("")
    report.write(tmp_path)
    written = {path.name for path in (tmp_path / "tables").glob("published*")}
    assert written == {
        *(f"published-{name}.{form}" for name in ("cora", "photo") for form in ("csv", "md", "tex")),
        "published-notes.txt",  # which no report wrote
    }
    latex = (tmp_path / "tables" / "published-photo.tex").read_text()
    assert "GCN" in latex
    assert "80.00 $\\pm$ 1.00" in latex
    assert "\\label{tab:published-photo}" in latex
    lines = (tmp_path / "tables" / "published-photo.csv").read_text().splitlines()
    assert lines[0].split(",")[:3] == ["dataset", "layer", "metric"]
    assert len(lines) == 3


def test_values_of_another_metric_are_left_out():
    values = [{"dataset": "cora", "layer": "gcn", "mean": 80.0}, {"dataset": "cora", "layer": "gat", "mean": 79.0}]
    assert names(report_of(values)) == ["published-cora"]
    assert names(report_of(values, metric="macro-f1")) == []  # those are of accuracy, the metric of cora
    values[0]["metric"] = "macro-f1"
    table = report_of(values, metric="macro-f1").tables["published-cora"]
    assert table.frame["layer"].tolist() == ["gcn"]
    assert table.caption.endswith("left out are values of other metrics, for gat")
    assert metric_of_published(Published(dataset="mine.pt", layer="gcn", mean=81), (), "micro-f1") == "micro-f1"
    assert metric_of_published(Published(dataset="cora", layer="gcn", mean=81), ("cora",), "micro-f1") == "micro-f1"


def test_values_that_are_no_shares_are_in_their_own_unit():
    value = {"dataset": "cora", "layer": "gcn", "metric": "mae", "mean": 250.0, "std": 1.0, "runs": 3}
    table = report_of([value], metric="mae").tables["published-cora"]
    row = table.frame.iloc[0]
    assert row["published"] == 250
    assert row["difference"] == pytest.approx(row["test"] - 250)
    assert table.rows()[0][3] == "250 ± 1"
    del value["metric"]  # then it would be a share
    value["mean"] = 25.0
    assert names(report_of([value], metric="mae")) == []


def test_names_of_data_sets_that_look_alike_have_tables_of_their_own():
    datasets = ("csbm:easy,n=60", "csbm:easy,n=600", "csbm:hard,n=60,q=0.1", "csbm:hard,n=60,q=0.01")
    values = [{"dataset": dataset, "layer": "gcn", "mean": 80.0} for dataset in datasets]
    report = report_of(values, datasets=datasets)
    assert len(names(report)) == 4
    assert {table.frame["dataset"][0] for name, table in report.tables.items() if name in names(report)} == {*datasets}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": 810}, r"published.mean: must be at most 100; got 810 \(in percent; of a metric that is no share"),
        ({"mean": -1}, r"published.mean: must be at least 0; got -1"),
        ({"mean": 50, "metric": "r2"}, r"published.mean: must be at most 1; got 50 \(as r2 is\)"),
        ({"mean": -5, "metric": "mae"}, r"published.mean: must be at least 0; got -5"),
        ({"mean": float("inf"), "metric": "mae"}, r"published.mean: must be a finite number"),
        ({"mean": 50, "metric": "acuracy"}, r"published.metric: must be one of .*did you mean accuracy"),
        ({"mean": 50, "meen": 1}, r"published.meen: .*did you mean mean"),
    ],
)
def test_published_values_are_checked(change, words):
    settings = {"datasets": ["cora"], "layers": ["gcn"], "seeds": 1}
    with pytest.raises(PlanError, match=words):
        make_plan(**settings, published=[{"dataset": "cora", "layer": "gcn", **change}])


def test_values_beyond_a_share_fit_the_metrics_that_have_them():
    for metric, mean in (("mae", 250.0), ("r2", -3.0), ("rmse", 0.5)):
        assert Published(dataset="cora", layer="gcn", metric=metric, mean=mean).mean == mean


CORA = {"datasets": ["cora", "Photo"], "layers": ["gcn", "lcat"], "seeds": 2}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"dataset": "cora", "layer": "gta"}, r"no layer 'gta' \(did you mean gat\?\); .* which has gcn, lcat"),
        ({"dataset": "cora", "layer": "GCN"}, r"no layer 'GCN' \(did you mean gcn\?\)"),
        ({"dataset": "phto", "layer": "gcn"}, r"no data set 'phto' \(did you mean photo\?\); .* which has cora, photo"),
    ],
)
def test_misspelt_names_of_published_values(value, words):
    with pytest.raises(PlanError, match=words):
        make_plan(**CORA, published=[{"mean": 81.5, **value}])


def test_names_of_published_values_are_those_of_the_plan():
    names = [
        ("Photo", "gcn"),
        ("cora", "models.py:MyNet"),
        ("citeseer", "gat"),
        ("cora", "GraphGPS"),
        ("csbm:hard,n=70", "gcn"),
    ]
    plan = make_plan(**CORA, published=[{"dataset": data, "layer": layer, "mean": 81.5} for data, layer in names])
    assert [(one.dataset, one.layer) for one in plan.published] == [
        ("photo", "gcn"),
        ("cora", "MyNet"),
        ("citeseer", "gat"),
        ("cora", "GraphGPS"),
        ("csbm:hard,n=70", "gcn"),
    ]


@pytest.mark.parametrize(("metric", "mean"), [(None, 0.815), ("roc-auc", 0.9), ("hits@20", 1.0), ("mrr", 1e-3)])
def test_published_shares_are_in_percent(metric, mean):
    with pytest.raises(PlanError, match=rf"mean: must be in percent, .*such as {100 * mean:g}; got {mean:g}"):
        make_plan(**CORA, published=[{"dataset": "cora", "layer": "gcn", "metric": metric, "mean": mean}])


@pytest.mark.parametrize(("metric", "mean"), [(None, 0), (None, 1.5), ("mae", 0.5), ("r2", 0.8)])
def test_published_values_that_may_be_small(metric, mean):
    value = {"dataset": "cora", "layer": "gcn", "metric": metric, "mean": mean}
    assert make_plan(**CORA, published=[value]).published[0].mean == mean
