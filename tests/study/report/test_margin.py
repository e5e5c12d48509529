"""Without a margin, verdicts on errors in the unit of the targets are not to be relied on, and the report says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lcat.study import PlanError, Study, StudyRecord, make_plan, run_until_decided
from lcat.study.report.data import ReportData
from lcat.study.report.page import make_report
from lcat.study.report.remarks import margin_sentence
from lcat.study.report.sentences import regret_sentences
from lcat.study.report.unit import margin_remark
from tests.study.report.studies import made_up_study


def record(*metrics, layers=("gcn", "gat"), margin=None):
    datasets = ("cora", "photo", "citeseer")[: len(metrics)]
    plan, results = made_up_study(datasets=datasets, layers=layers, seeds=3, levels=(0.0,), fail=False)
    own = dict(zip(datasets, metrics, strict=True))
    results = [replace(result, metric=own[result.cell.dataset]) for result in results]
    return StudyRecord.in_memory(plan.model_copy(update={"margin": margin}), results)


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_the_report_asks_for_a_margin(metric):
    data = ReportData.of(record(metric))
    sentence = margin_sentence(data)
    assert sentence.startswith(f"No margin is named for {metric.upper()} on cora. The default, 0.01, is one percentage")
    assert sentence in make_report(data).html.replace("&#39;", "'")


@pytest.mark.parametrize("metric", ["accuracy", "r2"])
def test_other_metrics_have_a_default(metric):
    assert margin_sentence(ReportData.of(record(metric))) == ""


def test_a_margin_that_somebody_named_is_theirs():
    assert margin_sentence(ReportData.of(record("mae", margin=0.01))) == ""
    assert margin_sentence(ReportData.of(record("mae"), margin=0.01)) == ""
    assert ReportData.of(record("mae", margin=0.3)).margin == 0.3
    assert margin_sentence(ReportData.of(record("mae", layers=("gcn",)))) == ""  # nothing is compared


def test_every_data_set_is_named():
    assert "MAE on photo, citeseer. The" in margin_sentence(ReportData.of(record("accuracy", "mae", "mae")))
    assert "RMSE on a and MAE on b. The" in margin_remark(0.01, {"a": "rmse", "b": "mae"})
    assert margin_remark(0.01, {"a": "mine", "b": "hits@20", "c": ""}) == ""


def test_a_plan_without_a_margin_has_the_default():
    settings = {"datasets": ["cora"], "layers": ["gcn", "gat"], "seeds": 1}
    assert make_plan(**settings).margin is None
    assert make_plan(**settings).margin_or_default == 0.01
    assert make_plan(**settings, margin=0.02).margin_or_default == 0.02


def test_deciding_asks_for_a_margin(tmp_path):
    torch = pytest.importorskip("torch")
    from torch_geometric.data import Data

    from lcat.data import csbm, from_data

    data = csbm(n=40, seed=0)
    own = from_data(Data(x=data.x, edge_index=data.edge_index, y=data.x.sum(dim=1)), "sums", task="node-regression")
    settings = {"datasets": ["sums"], "own": ["sums"], "layers": ["gcn", "gat"], "seeds": 3, "overrides": {"epochs": 1}}
    words = "margin: expected the largest difference that does not matter, .*, got none: for mae it cannot be guessed"
    with pytest.raises(PlanError, match=words):
        run_until_decided(make_plan(**settings, metric="mae"), tmp_path / "known", own={"sums": own}, engine="inline")
    assert not (tmp_path / "known").exists()  # nothing ran
    judged = replace(own, metric="mae")
    with pytest.raises(PlanError, match=words):
        run_until_decided(make_plan(**settings), tmp_path / "later", own={"sums": judged}, engine="inline")
    assert len(Study.load(tmp_path / "later").results()) == 6  # which are kept
    named = make_plan(**settings, margin=torch.finfo().max / 2)
    decision = run_until_decided(named, tmp_path / "later", own={"sums": judged}, engine="inline", max_looks=1)
    assert decision.looks


def test_regrets_of_different_units_have_no_mean():
    layers = ("gcn", "gat", "cat", "lcat")
    [sentence] = regret_sentences(ReportData.of(record("mae", "accuracy", layers=layers)))
    assert "has no mean: the metrics of the 2 data sets have different units." in sentence
    assert "on average" not in sentence
    [sentence] = regret_sentences(ReportData.of(record("mae", "mae", layers=layers)))
    assert "of the test metric on average over 2 data sets" in sentence
