"""lcat study add, export and model."""

from __future__ import annotations

import importlib.util

import pandas as pd
import pytest
import torch
from torch_geometric.data import Batch, Data

from lcat.study import Study, load_model


def test_add_extends_a_finished_study(call, plan_file, tmp_path):
    call("study", "plan.toml", "--quiet")
    before = Study.load(tmp_path / "plan-study").results()
    (tmp_path / "models.py").write_text(
        "import torch\nclass Mine(torch.nn.Linear):\n    def forward(self, x, e):\n        return super().forward(x)\n"
    )
    plan_file.unlink()  # the store has the plan
    code, out, err = call("study", "add", "plan-study", "-l", "lcat", "-l", "models.py:Mine", "--quiet")
    assert (code, err) == (0, "")
    assert "Mine" in out
    after = Study.load(tmp_path / "plan-study").results()
    assert set(after["layer"]) == {*before["layer"], "lcat", "Mine"}
    same = after.set_index("key").loc[before["key"]]
    assert same["finished"].tolist() == before["finished"].tolist()
    assert len(after) == 2 * len(before)
    assert "Mine" in (tmp_path / "plan-study/report.html").read_text(encoding="utf-8")
    seeds = sorted(set(before["seed"]))
    assert call("study", "add", "plan-study", "--seeds", f"{seeds[-1] + 1},", "--quiet")[0] == 0
    assert sorted(set(Study.load(tmp_path / "plan-study").results()["seed"])) == [*seeds, seeds[-1] + 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "expected a data set, a layer or a seed that the study does not have; it has"),
        (["-l", "gcn"], "expected a data set, a layer or a seed that the study does not have"),
        (["-l", "gta"], "there is no layer 'gta'"),
        (["--seeds", "x"], "--seeds: expected seeds such as"),
        (["-d", "coraa"], "there is no data set called 'coraa'"),
    ],
)
def test_add_refuses_in_one_line(call, plan_file, options, words):
    call("study", "plan.toml", "--quiet")
    code, out, err = call("study", "add", "plan-study", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


@pytest.mark.parametrize("command", [["add", "nowhere", "-l", "gcn"], ["export", "nowhere", "--to", "parquet"]])
def test_a_folder_without_a_study(call, command, tmp_path):
    code, out, err = call("study", *command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "there is no study in nowhere" in err
    assert not (tmp_path / "nowhere").exists()


def test_export_names_what_is_missing_or_wrong(call, plan_file, monkeypatch):
    call("study", "plan.toml", "--quiet")
    code, _, err = call("study", "export", "plan-study", "--to", "parket")
    assert (code, err.count("\n")) == (2, 1)
    assert "--to: expected one of parquet, mlflow, tensorboard, optuna (did you mean parquet?); got 'parket'" in err
    if importlib.util.find_spec("pyarrow") is None:
        code, _, err = call("study", "export", "plan-study", "--to", "parquet")
        assert (code, err.count("\n")) == (1, 1)
        assert "pip install 'lcat-gnn[parquet]'" in err


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
def test_export_writes_files(call, plan_file, tmp_path):
    call("study", "plan.toml", "--quiet")
    code, out, err = call("study", "export", "plan-study", "--to", "parquet")
    assert (code, err) == (0, "")
    assert "Written to plan-study/export/parquet: results.parquet" in out
    keys = Study.load(tmp_path / "plan-study").results()["key"].tolist()
    written = pd.read_parquet(tmp_path / "plan-study/export/parquet/results.parquet")
    assert written["key"].tolist() == keys


def test_model_writes_a_file_that_loads(call, plan_file, tmp_path):
    call("study", "plan.toml", "--quiet", "--keep", "models")
    study = Study.load(tmp_path / "plan-study")
    dataset = study.plan.datasets[0]
    code, out, err = call("study", "model", "plan-study", "-d", dataset, "-l", "gcn", "--out", "best.pt")
    assert (code, err) == (0, "")
    assert "lcat.study.load_model('best.pt')" in out
    assert (tmp_path / "best.pt").read_bytes() == study.best_model(dataset, "gcn").read_bytes()
    assert sum(value.numel() for value in load_model(tmp_path / "best.pt").parameters()) > 0
    code, _, err = call("study", "model", "plan-study", "-d", dataset, "-l", "gatt")
    assert (code, err.count("\n")) == (2, 1)
    assert "--layer: expected one of the study's, gcn, gat; got 'gatt' (did you mean gat?)" in err


def test_model_of_graphs_with_several_targets(call, tmp_path):
    edge = torch.tensor([[0, 1], [1, 0]])
    graphs = [
        Data(x=torch.full((2, 1), i / 9), edge_index=edge, y=torch.tensor([[500.0 + i, i % 3]])) for i in range(30)
    ]
    torch.save(graphs, tmp_path / "graphs.pt")
    options = ("-l", "gcn", "--seeds", "1", "--epochs", "2", "--keep", "models", "--engine", "inline", "-o", "out")
    code, out, _ = call("study", "-d", "graphs.pt", *options, "--quiet")
    assert code == 0
    assert "60 nodes, 60 edges (both directions of each), 1 feature, 2 targets;" in out
    assert call("study", "model", "out", "-d", "graphs.pt", "-l", "gcn", "--out", "best.pt")[0] == 0
    said = load_model(tmp_path / "best.pt")(Batch.from_data_list(graphs))
    assert said.shape == (30, 2)
    assert abs(float(said[:, 0].mean()) - 515) < 30
