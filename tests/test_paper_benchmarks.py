"""Scripts of the tables of results: what they compute from studies, and that their plans can be run."""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.utils import add_self_loops

from lcat.data import as_dataset, csbm
from lcat.study import load_plan, make_plan, recipe_hyper_parameters, run_study
from lcat.study.models.layers import build_model
from tests.support.benchmark_scripts import runner

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "paper"
SCRIPTS = ("cost", "pyg_reference", "question", "robustness", "scalars", "separation", "strong_recipe", "theory")


@pytest.fixture
def script(monkeypatch):
    return runner(monkeypatch, "paper")


@pytest.fixture
def in_this_process(script, tmp_path, monkeypatch):
    """Plans are those of ``tmp_path``, and no process is started for their cells."""
    script("question")
    monkeypatch.setattr(sys.modules["_paper"], "PLANS", tmp_path)
    monkeypatch.setattr(sys.modules["_paper"], "run_study", functools.partial(run_study, engine="inline"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_what_it_takes(name, script, capsys):
    with pytest.raises(SystemExit) as end:
        script(name, "--help")
    assert end.value.code == 0
    assert "--quick" in capsys.readouterr().out
    assert {path.stem for path in FOLDER.glob("*.py")} == {*SCRIPTS, "_paper", "scaled"}


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "plans").glob("*.toml")))
def test_every_plan_can_be_run(name):
    plan = load_plan(ROOT / "plans" / name)
    assert plan.cells()
    for value in plan.published:
        assert value.dataset in plan.datasets, name
        assert value.layer in plan.layers, name


def test_regret_over_data_sets(script):
    overall = script("question")["overall"]
    regret = [0.001, -0.002, 0.003, 0.0]
    frame = pd.DataFrame(
        {"question": "v1", "regret": regret, "verdict": ["equivalent", "better", "undecided", "worse"]}
    )
    [row] = overall(frame, 0.01)
    # Student's t with 3 degrees of freedom: the 95 % point is 2.353.
    half = 2.353363 * np.std(regret, ddof=1) / 2
    assert row["regret"] == pytest.approx(0.0005)
    assert (row["low"], row["high"]) == pytest.approx((0.0005 - half, 0.0005 + half))
    assert row["verdict"] == "equivalent"
    for shift, verdict in ((0.1, "worse"), (-0.1, "better")):
        assert overall(frame.assign(regret=frame["regret"] + shift), 0.01)[0]["verdict"] == verdict
    assert overall(frame.assign(regret=[0.3, -0.2, 0.1, 0.0]), 0.01)[0]["verdict"] == "undecided"
    assert overall(frame[:1], 0.01)[0]["verdict"] == "undecided"


def test_the_start_of_scalars_is_chosen_by_validation_over_all_data_sets(script):
    losses = script("scalars")["losses"]
    rows = []
    scores = {
        ("one", 0.5): (0.80, 0.82),
        ("one", 0.9): (0.85, 0.85),
        ("two", 0.5): (0.70, 0.70),
        ("two", 0.9): (0.6, 0.7),
    }
    for (dataset, start), values in scores.items():
        for seed, value in enumerate(values):
            row = {"dataset": dataset, "layer": "lcat", "seed": seed, "validation": value, "test": 1 - value}
            rows.append({**row, "hyper.lambda1_init": start, "hyper.lambda2_init": 0.5, "hyper.scalar_lr": 1.0})
    rows.append({**rows[0], "dataset": "three", "validation": 0.0})  # has one setting only
    table = losses(pd.DataFrame(rows))
    assert table["hyper.lambda1_init"].tolist() == [0.5, 0.9]
    assert table["mean_loss"].tolist() == pytest.approx([0.02, 0.025])
    assert table["max_loss"].tolist() == pytest.approx([0.04, 0.05])


def test_separation_is_compared_run_by_run(script):
    differences = script("separation")["differences"]
    rows = []
    for seed, (mixed, apart) in enumerate([(0.50, 0.53), (0.52, 0.56), (0.54, 0.59)]):
        base = {"dataset": "d", "layer": "gat", "metric": "accuracy", "seed": seed}
        rows += [
            {**base, "hyper.separate_self": side, "test": value} for side, value in ((False, mixed), (True, apart))
        ]
    [row] = differences(pd.DataFrame(rows))
    assert (row["mixed"], row["separate"], row["difference"]) == pytest.approx((52.0, 56.0, 4.0))
    assert row["low"] < 4 < row["high"]
    assert differences(pd.DataFrame(rows[:1])) == []


def test_values_beside_published_ones(script):
    plan = make_plan(
        datasets=["csbm:easy,n=60"],
        layers=["gcn", "gat"],
        seeds=3,
        overrides={"epochs": 2},
        published=[{"dataset": "csbm:easy,n=60", "layer": "gcn", "mean": 50.0, "std": 2.0, "runs": 4}],
    )
    frame = run_study(plan).study.results()
    gcn, gat = script("strong_recipe")["beside_published"]("part", frame, plan)
    scores = 100 * frame.query("layer == 'gcn'")["test"]
    assert gcn["mean"] == pytest.approx(scores.mean(), rel=1e-5)
    error = math.sqrt(scores.var() / 3 + 2.0**2 / 4)
    assert gcn["standard_errors"] == pytest.approx((scores.mean() - 50) / error, rel=1e-4)
    assert "published" not in gat


@pytest.mark.parametrize("dataset", ["computers", "photo", "physics", "chameleon-filtered"])
@pytest.mark.parametrize("layer", ["gcn", "gat"])
def test_the_reference_is_the_model_of_the_recipe(dataset, layer, script):
    """PyG's layers put together by hand, with the weights of lcat's model."""
    graph = csbm(n=40, seed=0)
    hyper = recipe_hyper_parameters("tuned", dataset, layer)
    ours = build_model(layer, graph.num_features, 3, hyper).eval()
    reference = script("pyg_reference")["Reference"](layer, graph.num_features, 3, hyper).eval()
    torch.manual_seed(0)
    for weight in reference.parameters():
        nn.init.normal_(weight, std=0.3)
    ours.gnn.load_state_dict(reference.state_dict())
    edges, _ = add_self_loops(graph.edge_index)
    features = graph.x.abs() * 3
    x = features / features.sum(dim=1, keepdim=True).clamp(min=1.0) if hyper.normalize_features else features
    torch.testing.assert_close(ours(features, graph.edge_index), reference(x, edges), rtol=1e-4, atol=1e-4)


def test_runs_of_the_reference_are_kept(script, tmp_path, monkeypatch):
    """The first best epoch counts, and what was run is not run again."""
    out, arguments = tmp_path / "out.json", ["--datasets", "photo", "--layers", "gcn", "--quick", "--out"]
    dataset = as_dataset(csbm(n=60, seed=0), "photo")
    names = script("pyg_reference")
    runs = names["train"](dataset, "gcn", 0, 4), names["train"](dataset, "gcn", 0, 4)
    assert runs[0]["tests"] == runs[1]["tests"]
    assert runs[0]["test"] == pytest.approx(runs[0]["tests"][runs[0]["best_epoch"]], abs=1e-4)
    assert 0 <= runs[0]["validation"] <= 1
    rows = names["summary"]([{**runs[0], "test": value} for value in (0.5, 0.7)])
    assert rows == [{"dataset": "photo", "layer": "gcn", "runs": 2, "mean": 60.0, "std": pytest.approx(14.1421)}]
    out.write_text(json.dumps({"runs": [runs[0]]}))
    monkeypatch.setattr("lcat.data.load", lambda *args, **kwargs: pytest.fail("it is there already"))
    script("pyg_reference", *arguments, str(out))
    assert json.loads(out.read_text())["runs"] == [runs[0]]
    monkeypatch.setattr("lcat.data.load", lambda *args, **kwargs: as_dataset(csbm(n=60, seed=0), "computers"))
    script("pyg_reference", *arguments, str(out), "--datasets", "computers")
    written = json.loads(out.read_text())
    assert [run["dataset"] for run in written["runs"]] == ["photo", "computers"]
    assert written["measured"][-1]["cells"] == [["computers", "gcn", 0]]
    assert {row["dataset"]: row["runs"] for row in written["rows"]} == {"photo": 1, "computers": 1}
    assert all(run["split_hash"] for run in written["runs"])


@pytest.mark.usefixtures("in_this_process")
def test_seeds_of_another_day_are_added(script, tmp_path):
    plan = 'datasets = ["csbm:hard,n=60"]\nlayers = ["gat"]\nseeds = 4\n[overrides]\nepochs = 2\n'
    (tmp_path / "separation.toml").write_text(plan)

    def report(seeds, out, *options):
        arguments = ["--folder", str(tmp_path / out), "--out", str(tmp_path / "out.json"), "--workers", "1", *options]
        script("separation", *arguments, "--seeds", seeds)
        return json.loads((tmp_path / "out.json").read_text())

    with pytest.raises(SystemExit, match="nothing to write"):
        report("0-3", "none", "--parts", "separate")
    [whole] = report("0-3", "whole", "--parts", "separation")["rows"]
    report("0-1", "first")
    [row] = report("1-3", "second", "--add")["rows"]  # one seed is in both
    assert row == whole
    assert (row["runs"], row["low"] < row["high"]) == (4, True)


def test_collected_before_its_end_a_study_says_what_ran(script, tmp_path, monkeypatch):
    script("separation")
    monkeypatch.setattr(sys.modules["_paper"], "PLANS", tmp_path)
    (tmp_path / "separation.toml").write_text('datasets = ["csbm:hard,n=60"]\nlayers = ["gat"]\nseeds = 4\n')
    plan = load_plan(tmp_path / "separation.toml", {"overrides": {"epochs": 2}})

    def stop(status):
        if status.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan, tmp_path / "separation", engine="inline", on_status=stop)
    script("separation", "--folder", str(tmp_path), "--collect", "--out", str(tmp_path / "out.json"))
    report = json.loads((tmp_path / "out.json").read_text())
    assert [run["seed"] for run in report["runs"]] == [0, 1]
    parts = {"separation": {"datasets": ["csbm:hard,n=60"], "layers": ["gat"], "seeds": [0, 1]}}
    assert report["measured"][0]["parts"] == parts


def test_attention_inside_the_class(script):
    inside = script("theory")["inside"]
    # Node 0 hears from 1 (its class) and 2 (the other); node 1 from itself and 2.
    edge_index = torch.tensor([[1, 2, 1, 2], [0, 0, 1, 1]])
    data = Data(y=torch.tensor([0, 0, 1]), edge_index=edge_index, num_nodes=3)
    weights = torch.tensor([[0.75, 0.5], [0.25, 0.5], [0.9, 0.9], [0.1, 0.1]])
    assert inside(data.edge_index, weights, data) == pytest.approx((0.75 + 0.0 + 0.5 + 0.0) / 4)
    assert inside(data.edge_index, weights[:, 0], data) == pytest.approx(0.75 / 2)


def test_a_table_is_run_continued_and_written(script, tmp_path):
    """The smallest part of one table; the results trace every number."""
    options = ["--quick", "--folder", str(tmp_path / "runs"), "--out", str(tmp_path / "theory.json"), "--workers", "1"]
    options += ["--datasets", "csbm:easy,q=0.1,n=1000", "--layers", "gcn", "gat-theory"]
    script("theory", *options)
    report = json.loads((tmp_path / "theory.json").read_text())
    assert [(run["layer"], run["seed"]) for run in report["runs"]] == [
        (layer, seed) for seed in (0, 1) for layer in ("gcn", "gat-theory")
    ]
    assert all(run["split_hash"] and 0 <= run["test"] <= 1 for run in report["runs"])
    [measured] = report["measured"]
    assert measured["parts"]["theory"]["layers"] == ["gcn", "gat-theory"]
    assert {row["layer"] for row in report["rows"]} == {"gcn", "gat-theory"}
    assert report["attention"][0]["gat-theory"] > report["attention"][0]["edges"]
    assert {"processor", "torch"} <= measured["machine"].keys()


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process")
def test_a_part_of_a_table_is_added_to_the_rest(script, tmp_path):
    first, second = "csbm:easy,n=60", "csbm:hard,n=60"

    def plan(epochs):
        text = f'datasets = ["{first}", "{second}"]\nlayers = ["gcn", "gat", "cat", "lcat"]\nseeds = 3\n'
        (tmp_path / "question.toml").write_text(f"{text}[overrides]\nepochs = {epochs}\n")

    def report(folder, out, *options):
        arguments = ["--folder", str(tmp_path / folder), "--out", str(tmp_path / out), "--workers", "1", *options]
        script("question", *arguments)
        return json.loads((tmp_path / out).read_text())

    plan(2)
    whole = report("whole", "whole.json")
    report("one", "parts.json", "--datasets", first)
    parts = report("two", "parts.json", "--datasets", second, "--add")
    again = report("two", "parts.json", "--datasets", second, "--add")
    for name in ("plans", "overall", "margin"):
        assert parts[name] == again[name] == whole[name]
    assert whole["overall"][0]["datasets"] == 2

    def without_times(rows):
        timed = ("seconds", "ratio")
        return [{key: value for key, value in row.items() if not key.endswith(timed)} for row in rows]

    for name in ("summary", "regret"):
        assert without_times(parts[name]) == without_times(again[name]) == without_times(whole[name])
    assert sorted(run["test"] for run in again["runs"]) == sorted(run["test"] for run in whole["runs"])
    assert [entry["parts"]["question"]["datasets"] for entry in again["measured"]] == [[first], [second], [second]]

    for part in (["--seeds", "0-1"], ["--layers", "gcn"]):
        with pytest.raises(SystemExit, match="takes whole data sets"):
            report("three", "parts.json", "--add", *part)
    plan(3)
    with pytest.raises(SystemExit, match="overrides of the plan 'question' differ"):
        report("three", "parts.json", "--datasets", second, "--add")


@pytest.mark.long
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_quick_look_at_every_table(name, tmp_path):
    data = os.environ.get("LCAT_TEST_DATA")
    if data is None:
        pytest.skip("real data: set LCAT_TEST_DATA")
    command = [
        sys.executable,
        str(FOLDER / f"{name}.py"),
        "--quick",
        "--out",
        str(tmp_path / "out.json"),
        "--data",
        data,
    ]
    command += [] if name in ("cost", "pyg_reference") else ["--folder", str(tmp_path / "runs")]
    if name == "strong_recipe":  # others of its data sets are not among the real data of these tests
        command += ["--datasets", "photo", "minesweeper", "chameleon-filtered"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["rows" if name == "cost" else "runs"]
