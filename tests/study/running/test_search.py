"""Searches go by validation alone, never pool cells whose test nodes overlap, and go on as if never stopped."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing

import pytest
import torch

from lcat.data import csbm
from lcat.study import EngineError, PlanError, Study, run_study
from lcat.study.plan.sources import Sources
from lcat.study.plan.splits import make_split
from lcat.study.running.engines import Note
from lcat.study.running.engines.base import CellRunner
from lcat.study.store.result import CellResult
from lcat.study.store.store import Store
from lcat.train import FitResult, History
from tests.study.study_support import plan_of

optuna = pytest.importorskip("optuna")

SPACE = {
    "lr": {"low": 1e-3, "high": 1.0, "log": True},
    "hidden_channels": [8, 16],
    "dropout": {"low": 0.0, "high": 0.8},
}
SEARCH = {"space": SPACE, "trials": 6}


def plan(**change):
    return plan_of(**{"overrides": {"epochs": 3, "heads": 2}, "search": SEARCH, **change})


@pytest.fixture
def untrained(monkeypatch):
    """A cell's validation is highest at lr 0.03 and dropout 0.2, and its test metric is the opposite."""
    calls = []

    def run_at_once(self, cell, on_epoch=None):
        calls.append(cell)
        val = 1 / (1 + (cell.hyper.lr - 0.03) ** 2 + (cell.hyper.dropout - 0.2) ** 2 + 0.01 * (cell.seed % 7))
        fit = FitResult("accuracy", 0.5, val, 1 - val, 0, 1, "epochs", 0.1, {}, History([1.0]))
        return CellResult(cell, fit, seconds=0.1)

    monkeypatch.setattr(CellRunner, "run", run_at_once)
    return calls


def tried(folder):
    return Study.load(folder).trials().drop(columns=["validation"]).to_dict("records")


def test_trials_are_counted_kept_and_judged_by_their_cells(tmp_path, untrained):
    outcome = run_study(plan(split="stratified:3", seeds=2, layers=["gcn", "gat"]), tmp_path, engine="inline")
    trials = outcome.study.trials()
    # Two layers, and on a graph that changes with the seed every fold of every seed has test nodes of its own.
    assert trials.groupby("unit").size().tolist() == [6] * (2 * 3 * 2)
    assert outcome.reason == "complete"
    assert trials["validation"].notna().all()
    frame = outcome.study.results().set_index("key")
    with Store(tmp_path) as store:
        for trial, value in zip(store.trials(), trials["validation"], strict=True):
            mine = frame.loc[trial.keys]
            assert mine["validation"].mean() == pytest.approx(value)
            assert set(mine["hyper.lr"]) == {trial.params["lr"]}
            assert set(mine["layer"]) == {trial.layer}


def test_the_search_finds_what_validates_best_and_never_sees_the_test_metric(tmp_path, untrained):
    run_study(plan(search={"space": SPACE, "trials": 40}), tmp_path / "a", engine="inline")
    trials = Study.load(tmp_path / "a").trials()
    first, last = trials["validation"][:10].mean(), trials["validation"][-10:].mean()
    assert last > first
    best = trials.loc[trials["validation"].idxmax()]
    assert abs(best["params.dropout"] - 0.2) < 0.1
    assert best["params.lr"] < 0.2


def test_searches_do_not_change_with_test_metrics(tmp_path, untrained, monkeypatch):
    run_study(plan(), tmp_path / "a", engine="inline")
    honest = CellRunner.run

    def other_test(self, cell, on_epoch=None):
        result = honest(self, cell, on_epoch)
        result.fit.test = hash(cell.key) % 100 / 100
        return result

    monkeypatch.setattr(CellRunner, "run", other_test)
    run_study(plan(), tmp_path / "b", engine="inline")
    assert tried(tmp_path / "a") == tried(tmp_path / "b")


def test_a_search_that_was_stopped_tries_the_same_points(tmp_path, untrained):
    whole = plan(layers=["gcn", "gat"], seeds=2, split="nested:3x2", noise={"edges": [0.1]})
    run_study(whole, tmp_path / "whole", engine="inline")
    expected = Study.load(tmp_path / "whole")
    for number in range(1000):
        stop_after = 7 + 5 * (number % 3)

        def stop(status, start=[None], stop_after=stop_after):  # noqa: B006 - the list is the memory of one call
            start[0] = status.done if start[0] is None else start[0]
            if status.done >= start[0] + stop_after:
                raise KeyboardInterrupt

        try:
            outcome = run_study(whole, tmp_path / "cut", engine="inline", on_status=stop)
        except KeyboardInterrupt:
            continue
        break
    assert number > 5
    assert outcome.reason == "complete"
    assert tried(tmp_path / "cut") == tried(tmp_path / "whole")
    assert {c.key for c in Study.load(tmp_path / "cut").cells()} == {c.key for c in expected.cells()}


def test_more_trials_extend_a_search_and_another_space_is_refused(tmp_path, untrained):
    run_study(plan(), tmp_path, engine="inline")
    before = tried(tmp_path)
    outcome = run_study(plan(search={**SEARCH, "trials": 9}), tmp_path, engine="inline")
    assert tried(tmp_path)[:6] == before
    assert len(tried(tmp_path)) == 9
    assert outcome.ran <= 3
    with pytest.raises(PlanError, match=r"search.space.hidden_channels: 8, 16 there, 8 here"):
        run_study(plan(search={**SEARCH, "space": {**SPACE, "hidden_channels": [8]}}), tmp_path, engine="inline")


def test_a_search_made_longer_tries_the_points_of_one_that_began_longer(tmp_path, untrained):
    for trials, folder in ((6, "grown"), (16, "grown"), (16, "long")):
        run_study(plan(search={**SEARCH, "trials": trials}), tmp_path / folder, engine="inline")
    assert tried(tmp_path / "grown") == tried(tmp_path / "long")


def test_a_budget_of_trials(tmp_path, untrained):
    outcome = run_study(plan(layers=["gcn", "gat"], budget={"trials": 5}), tmp_path, engine="inline")
    assert outcome.reason == "budget"
    assert "budget.trials = 5" in outcome.detail
    assert len(tried(tmp_path)) == 5
    assert run_study(plan(layers=["gcn", "gat"]), tmp_path, engine="inline").reason == "complete"
    assert len(tried(tmp_path)) == 12


def test_the_best_point_runs_under_noise(tmp_path, untrained):
    noisy = plan(noise={"edges": [0.1, 0.5], "features": [1.0]})
    run_study(noisy, tmp_path, engine="inline")
    frame = Study.load(tmp_path).results()
    clean = frame[frame["noise"] == "none"]
    best = clean.loc[clean["validation"].idxmax()]
    under = frame[frame["noise"] != "none"]
    assert under[["noise", "noise_level"]].values.tolist() == [["edges", 0.1], ["edges", 0.5], ["features", 1.0]]
    assert set(under["model"]) == {best["model"]}


def test_a_space_in_which_nothing_fits_is_refused():
    for heads in ([3], {"low": 3, "high": 7}, {"low": 3, "high": 7, "log": True}):
        search = {"space": {"hidden_channels": [8, 16], "heads": heads, "lr": [0.1, 0.2]}, "trials": 3}
        fits = isinstance(heads, dict)
        for layers in (["gat"], ["gcn", "gat"]):
            if fits:
                plan(layers=layers, search=search, overrides={"num_layers": 2})
                continue
            with pytest.raises(PlanError, match=r"no point of the search fits: .* heads 3 for gat on csbm:easy,n=60"):
                plan(layers=layers, search=search, overrides={"num_layers": 2})


def test_a_search_that_met_no_point_that_fits_is_named(tmp_path, untrained):
    space = {"hidden_channels": [8], "heads": [3, 5, 6, 7, 8]}
    notes = []

    def listen(status):
        if isinstance(status.event, Note):
            notes.append(status.event.text)

    for seed in range(20):
        search = {"space": space, "trials": 1, "seed": seed}
        searched = plan(layers=["gcn", "gat"], search=search, overrides={"num_layers": 2})
        run_study(searched, tmp_path / str(seed), engine="inline", on_status=listen)
        trials = Study.load(tmp_path / str(seed)).trials()
        fits = (trials.loc[trials["layer"] == "gat", "params.heads"] == 8).all()
        assert len(notes) == (0 if fits else 1)
        if not fits:
            assert notes[0].startswith("no result for gat on csbm:easy,n=60: ")
            return
    raise AssertionError("every search began with the one point that fits")


def test_no_value_is_a_value(tmp_path, untrained):
    search = {"space": {"clip_norm": ["none", 1.0]}, "trials": 8}
    run_study(plan(search={**search, "trials": 2}), tmp_path, engine="inline")
    run_study(plan(search=search), tmp_path, engine="inline")
    assert {cell.hyper.clip_norm for cell in untrained} == {None, 1.0}


def test_layers_get_the_settings_that_matter_to_them(tmp_path, untrained):
    search = {"space": {"heads": [1, 2, 4], "lr": [0.1, 0.2]}, "trials": 2}
    overrides = {"epochs": 3, "hidden_channels": 8}
    run_study(plan(layers=["gcn", "gat"], search=search, overrides=overrides), tmp_path, engine="inline")
    trials = Study.load(tmp_path).trials()
    assert trials[trials["layer"] == "gcn"]["params.heads"].isna().all()
    assert trials[trials["layer"] == "gat"]["params.heads"].notna().all()


@pytest.mark.parametrize("rule", ["own", "kfold:3", "repeated:3x2", "nested:3x2"])
def test_no_node_that_validates_in_a_search_is_tested_in_it(tmp_path, untrained, rule):
    """Own data with one graph and another split for every seed: where pooling would leak."""
    graph = csbm(n=60, seed=0)
    torch.save({"x": graph.x, "edge_index": graph.edge_index, "y": graph.y}, tmp_path / "mine.pt")
    name = str(tmp_path / "mine.pt")
    whole = plan(datasets=[name], seeds=2, split=rule, search={**SEARCH, "trials": 2})
    study = run_study(whole, tmp_path / "out", engine="inline").study
    cells = {cell.key: cell for cell in study.cells()}
    with closing(sqlite3.connect(tmp_path / "out/study.sqlite")) as connection, connection:
        rows = connection.execute("SELECT unit, keys FROM trials").fetchall()
    data = Sources().load(name, 0)
    sizes = []
    for unit in {row[0] for row in rows}:
        keys = {key for row in rows if row[0] == unit for key in json.loads(row[1])}
        splits = [make_split(cells[key].split, data, cells[key].seed) for key in keys]
        validated = torch.stack([split.val for split in splits]).any(0)
        tested = torch.stack([split.test for split in splits]).any(0)
        assert not bool((validated & tested).any())
        sizes.append(len({(cells[key].split, cells[key].seed) for key in keys}))
    # Inner folds and seeds on one test set are pooled, nothing else is.
    assert set(sizes) == {{"own": 1, "kfold:3": 2, "repeated:3x2": 2, "nested:3x2": 4}[rule]}


def test_optuna_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(EngineError, match=r"pip install 'lcat-gnn\[search\]'"):
        run_study(plan(), tmp_path, engine="inline")


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"space": {"lrr": [1]}}, ["search.space", "'lrr'", "did you mean lr"]),
        ({"space": {}}, ["search.space", "at least 1"]),
        ({"space": {"lr": []}}, ["search.space", "lr", "empty"]),
        ({"space": {"lr": 0.1}}, ["search.space", "lr", "low and high", "0.1"]),
        ({"space": {"lr": {"low": 1, "high": 0.1}}}, ["lr", "low must be below high", "low 1", "high 0.1"]),
        ({"space": {"lr": {"low": 0, "high": 1, "log": True}}}, ["lr", "log = true needs a positive low"]),
        ({"space": {"lr": {"low": 0.1, "hgih": 1}}}, ["lr", "hgih", "did you mean high"]),
        ({"space": {"norm": {"low": 0, "high": 1}}}, ["norm", "list of values"]),
        ({"space": {"hidden_channels": {"low": 0.5, "high": 8}}}, ["hidden_channels", "whole numbers", "0.5"]),
        ({"space": {"dropout": {"low": 0.0, "high": 1.0}}}, ["dropout", "less than 1"]),
        ({"space": {"epochs": [1, 2]}}, ["search.space and overrides both set epochs"]),
        ({**SEARCH, "trials": 0}, ["search.trials", "at least 1", "0"]),
        ({**SEARCH, "sampler": "grid"}, ["search.sampler", "'tpe' or 'random'", "'grid'"]),
    ],
)
def test_refusals(search, words):
    with pytest.raises(PlanError) as caught:
        plan(search=search)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
