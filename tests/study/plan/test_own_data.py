"""Own data sets of a plan: CSV, npz and Python functions; other data under the same name are refused."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from lcat.data import DataError, UnknownDataset, csbm, from_networkx
from lcat.study import PlanError, Study, make_plan, run_study
from lcat.study.plan.own_data import own_data

MAKE = """
import torch
from lcat.data import csbm

def make_data():
    return csbm(n=60, seed=3)
"""
FAST = {"layers": ["gcn"], "seeds": 2, "overrides": {"epochs": 3}}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.py").write_text(MAKE)


def write_csv(folder, size=60):
    data = csbm(n=size, seed=0)
    nodes = pd.DataFrame({"id": range(size), "label": data.y.tolist()})
    nodes = pd.concat([nodes, pd.DataFrame(data.x.numpy()).add_prefix("x")], axis=1)
    nodes.to_csv(folder / "nodes.csv", index=False)
    pd.DataFrame(data.edge_index.T.numpy(), columns=["source", "target"]).to_csv(folder / "edges.csv", index=False)


def run(dataset, folder="study", **change):
    return run_study(make_plan(datasets=[dataset], **{**FAST, **change}), folder, engine="inline")


def test_a_function_makes_a_data_set():
    outcome = run("data.py:make_data")
    assert (outcome.done, outcome.failed) == (2, 0)
    row = outcome.study.datasets().iloc[0]
    assert row["dataset"] == "data.py:make_data"
    assert row["source"] == MAKE
    assert row["files"] == ["data.py"]
    assert row["steps"].startswith("made by make_data")
    assert run("data.py:make_data").ran == 0


def test_a_csv_file_and_options(tmp_path):
    write_csv(tmp_path)
    outcome = run("nodes.csv,undirected,scaled")
    assert outcome.failed == 0
    steps = outcome.study.datasets()["steps"][0]
    assert "0 reverses of edges added" in steps
    assert "features scaled to mean 0" in steps
    assert outcome.study.datasets()["files"][0] == ["nodes.csv", "edges.csv"]


def test_a_function_with_a_seed_draws_a_graph_for_every_seed(tmp_path):
    text = MAKE.replace("make_data()", "make_data(seed)").replace("seed=3", "seed=seed")
    (tmp_path / "data.py").write_text(text)
    outcome = run("data.py:make_data")
    assert outcome.failed == 0
    assert outcome.study.results()["test_set"].nunique() == 2
    (tmp_path / "data.py").write_text(text.replace("n=60", "n=70"))
    with pytest.raises(PlanError, match="has changed"):
        run("data.py:make_data", seeds=3)


@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_functions_run_on_every_engine(engine):
    plan = make_plan(datasets=["data.py:make_data"], **FAST)
    results = run_study(plan, engine, engine=engine, workers=1).study.results()
    assert results["status"].tolist() == ["done", "done"]
    expected = run("data.py:make_data", "other").study.results()
    assert results["test"].tolist() == expected["test"].tolist()


def test_other_data_under_the_same_name_are_refused_before_anything_runs(tmp_path):
    run("data.py:make_data")
    (tmp_path / "data.py").write_text(MAKE.replace("seed=3", "seed=4"))
    with pytest.raises(PlanError, match=r"data\.py:make_data is not the data set that study has .*: data\.py has"):
        run("data.py:make_data", seeds=3)
    assert len(Study.load("study").results()) == 2
    # Another text that makes the same data is the same data set.
    (tmp_path / "data.py").write_text(MAKE + "\n# a comment\n")
    assert run("data.py:make_data", seeds=3).ran == 1


def test_other_data_in_memory_are_refused():
    plan = make_plan(datasets=["ours"], own=["ours"], **FAST)
    run_study(plan, "study", own={"ours": csbm(n=60, seed=0)}, engine="inline")
    longer = make_plan(datasets=["ours"], own=["ours"], **{**FAST, "seeds": 3})
    with pytest.raises(PlanError, match=r"ours is not the data set .*: the data set in own= has changed \(graph"):
        run_study(longer, "study", own={"ours": csbm(n=60, seed=1)}, engine="inline")
    assert run_study(longer, "study", own={"ours": csbm(n=60, seed=0)}, engine="inline").ran == 1


def test_data_without_results_may_change(tmp_path):
    plan = make_plan(datasets=["data.py:make_data"], **{**FAST, "budget": {"cells": 1}})
    Study.create(plan, "study")
    (tmp_path / "data.py").write_text(MAKE.replace("seed=3", "seed=4"))
    assert run("data.py:make_data").failed == 0


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("def make_data():\n    return 7\n", "make_data: expected one graph, .*got a int; or a NetworkX graph"),
        ("def make_data():\n    return {}['x']\n", r"data\.py:make_data failed: KeyError: 'x' \(data\.py, line 2\)"),
        ("import nothing_like_this\n", r"data\.py cannot be imported: ModuleNotFoundError: No module named 'nothing"),
        ("def make_date():\n    return 7\n", r"data\.py has no 'make_data' \(did you mean make_date\?\)"),
        ("make_data = 7\n", r"data\.py:make_data: expected a function that returns the data, got a int"),
        (
            "from torch_geometric.data import Data\nmake_data = Data(edge_index=None)\n",
            r"got a Data: write def make_data\(\): return",
        ),
        ("import sys\nsys.exit(2)\n", r"data\.py cannot be imported: SystemExit: 2 \(data\.py, line 2\)"),
        ("def make_data():\n    exit('no licence')\n", r"make_data failed: SystemExit: no licence"),
        ("def make_data(path):\n    return 7\n", "expected a function without arguments, .* needs path: give them"),
    ],
)
def test_wrong_functions_end_the_study_with_one_line(tmp_path, text, match):
    (tmp_path / "data.py").write_text(text)
    with pytest.raises(DataError, match=match) as caught:
        run("data.py:make_data")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("gone.py:make_data", r"there is no file gone\.py; an own data set is a \.pt, \.npz or \.csv file, or a func"),
        ("gone.csv", r"there is no file gone\.csv"),
        ("gone.csv,undirect", r"'undirect' is no option; write any of undirected, scaled"),
        ("mine.txt", r"there is no data set called 'mine\.txt'.*data\.py:make_data"),
    ],
)
def test_names_that_lead_nowhere(name, match):
    with pytest.raises(PlanError, match=match):
        make_plan(datasets=[name], **FAST)


def test_names_and_options():
    own = own_data("a,b/nodes.csv,scaled,undirected")
    assert own is not None
    assert (own.path, own.options) == ("a,b/nodes.csv", ("scaled", "undirected"))
    assert own_data("csbm:easy,q=0.4") is None
    assert own_data("cora") is None
    with pytest.raises(UnknownDataset, match="is no option"):
        own_data("data.py:make,what")


@pytest.mark.parametrize("kind", ["data", "list", "dict", "frames", "networkx"])
def test_own_data_in_memory_may_be_anything(kind):
    import networkx

    data = csbm(n=60, seed=0)
    nodes = pd.DataFrame(data.x.numpy()).add_prefix("x").assign(label=data.y.tolist())
    edges = pd.DataFrame(data.edge_index.T.numpy(), columns=["source", "target"])
    graph = networkx.DiGraph()
    graph.add_nodes_from((i, {"label": int(data.y[i]), "x": data.x[i].tolist()}) for i in range(60))
    graph.add_edges_from(data.edge_index.T.tolist())
    arrays = {key: data[key].numpy() for key in ("x", "y", "edge_index")}
    values = {"data": data, "list": [data], "dict": arrays, "frames": (nodes, edges), "networkx": graph}
    plan = make_plan(datasets=["ours"], own=["ours"], **FAST)
    outcome = run_study(plan, own={"ours": values[kind]})
    assert outcome.failed == 0
    assert torch.equal(from_networkx(graph).data.x, data.x)


def test_a_csv_file_with_several_targets(tmp_path):
    write_csv(tmp_path)
    nodes = pd.read_csv(tmp_path / "nodes.csv")
    nodes["label.a"], nodes["label.b"] = nodes["x0"] * 2, 5 - nodes["x1"]
    nodes.loc[::4, "label.b"] = None
    nodes.drop(columns="label").to_csv(tmp_path / "nodes.csv", index=False)
    study = run("nodes.csv", metric="rmse").study
    results = study.results()
    assert results["status"].tolist() == ["done", "done"], results["error"].tolist()
    assert set(results["task"]) == {"node-regression"}
    assert "labels: label.a, label.b; 15 single labels unknown" in study.datasets()["steps"][0]
    assert study.cell_results()[0].graph["classes"] == 2
