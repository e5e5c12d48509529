"""Tasks through plan files, the command line, engines, searches, resuming and kills."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from lcat.study import Study, load_plan, make_plan, run_study
from lcat.study.store.store import Store
from tests.study.running.killing import Tally, Victim

PLAN = """
datasets = ["csbm:hard,n=80,q=0.1"]
layers = ["gcn", "lcat"]
seeds = 4
task = "link-prediction"
metric = "average-precision"
[overrides]
epochs = 25
patience = "none"
[run]
workers = 2
"""


def graphs_file(folder):
    edge = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    graphs = [
        Data(x=torch.full((3, 2), float(i % 3)), edge_index=edge, y=torch.tensor([float(i % 3)])) for i in range(30)
    ]
    torch.save(graphs, folder / "graphs.pt")
    return str(folder / "graphs.pt")


def numbers(study):
    return {result.cell.key: (result.status, result.fit.history) for result in study.cell_results(history=True)}


@pytest.mark.long
def test_engines_give_equal_numbers(tmp_path):
    settings = {"layers": ["gcn", "gat"], "seeds": 2, "overrides": {"epochs": 4, "batch_size": 8}}
    plan = make_plan(datasets=[graphs_file(tmp_path)], metric="rmse", **settings)
    inline = run_study(plan, tmp_path / "inline", engine="inline").study
    assert set(inline.results()["metric"]) == {"rmse"}
    processes = run_study(plan, tmp_path / "processes", engine="processes", workers=1).study
    assert numbers(inline) == numbers(processes)


def test_a_search_minimizes_errors(tmp_path):
    search = {"space": {"lr": [1e-6, 0.05]}, "trials": 8, "sampler": "random"}
    plan = make_plan(
        datasets=[graphs_file(tmp_path)], layers=["gcn"], seeds=1, search=search, metric="mae", overrides={"epochs": 25}
    )
    study = run_study(plan, tmp_path / "out", engine="inline").study
    trials = study.trials().groupby("params.lr")["validation"].mean()
    assert trials[0.05] < trials[1e-6]
    from lcat.study.analysis.selection import Selection

    assert Selection(study.results()).selected["hyper.lr"].tolist() == [0.05]


def test_the_task_and_the_metric_are_those_of_the_study(tmp_path):
    plan = {"datasets": ["csbm:easy,n=60"], "layers": ["gcn"], "seeds": 1, "overrides": {"epochs": 2}}
    first, links = make_plan(**plan), make_plan(**plan, task="link-prediction", metric="mrr")
    keys = {cells[0].key for cells in (first.cells(), links.cells(), make_plan(**plan, batching="cluster").cells())}
    assert len(keys) == 3
    run_study(links, tmp_path, engine="inline")
    assert run_study(links, tmp_path, engine="inline").ran == 0
    with pytest.raises(ValueError, match=r"another study .*metric: mrr there"):
        run_study(first, tmp_path, engine="inline")


def test_keys_of_cells_without_a_task_are_those_of_earlier_versions():
    """As stores of before tasks have them."""
    start = {"lambda1_init": 0.5, "lambda2_init": 0.5}  # which these versions had
    [cell] = make_plan(datasets=["cora"], layers=["gcn"], seeds=1, overrides=start).cells()
    assert cell.key == "5c9dbfd0bcab9c18"


@pytest.mark.long  # test_killing.py kills a study of nodes in every run
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")
def test_a_killed_study_of_links_goes_on(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    expected = numbers(run_study(load_plan(tmp_path / "plan.toml"), engine="inline").study)
    victim, generator = Victim(tmp_path / "victim", Tally()), random.Random(0)
    (tmp_path / "victim" / "plan.toml").write_text(PLAN)
    try:
        victim.start()
        end = time.monotonic() + 120
        while not victim.seen and time.monotonic() < end:
            time.sleep(0.2)
            victim.check()
        assert victim.kill("driver", generator) or victim.process.poll() == 0
        victim.start()
        assert victim.wait() == 0, (victim.folder / "stderr.txt").read_text()
        victim.check()
    finally:
        victim.close()
    assert numbers(Study.load(victim.out)) == expected
    assert (victim.tally.lost, victim.tally.changed, victim.repeated()) == (0, 0, 0)


def test_the_command_line(tmp_path):
    file = graphs_file(tmp_path)
    options = ["--task", "graph-regression", "--metric", "mae", "--epochs", "3", "--seeds", "2", "--engine", "inline"]
    options += ["--set", "pooling=max", "--grid", "batch_size=8,16", "-l", "gcn", "-l", "lcat"]
    command = [sys.executable, "-m", "lcat.cli", "study", "-d", file, *options, "-o", str(tmp_path / "out"), "--quiet"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "", "MPLBACKEND": "Agg", "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "mae" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "test MAE" in page
    assert "in %" not in page.split("<h2")[1]
    assert (tmp_path / "out" / "tables" / "metrics.csv").is_file()
    with Store(tmp_path / "out") as store:
        assert {result.task for result in store.results()} == {"graph-regression"}
