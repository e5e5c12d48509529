"""On Ray, the same numbers as inline; and a study that ends complete although a node of the cluster dies."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from lcat.data import csbm
from lcat.study import EngineError, OutputError, RunSettings, Study, run_study
from lcat.study.running.engines import Finished, make_engine
from tests.study.models.test_own_models import NET
from tests.study.study_support import plan_of

ray = pytest.importorskip("ray")


def numbers(folder):
    return [
        (result.cell, result.fit.history, result.split_hash, result.test_set)
        for result in Study.load(folder).cell_results(history=True)
    ]


@pytest.mark.long
def test_ray_gives_the_numbers_of_inline(tmp_path):
    """pytest -m long tests/study/running/test_ray.py"""
    plan = plan_of(layers=["gcn", "gat", "lcat"], seeds=4, overrides={"epochs": 20, "dropout": 0.4})
    run_study(plan, tmp_path / "inline", engine="inline")
    outcome = run_study(plan, tmp_path / "ray", engine="ray", workers=2)
    assert outcome.done == 12
    assert numbers(tmp_path / "ray") == numbers(tmp_path / "inline")
    assert not ray.is_initialized()
    assert len({result.worker for result in outcome.study.cell_results()}) == 2


@pytest.mark.long
def test_own_models_on_ray_have_the_numbers_of_inline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NET)
    plan = plan_of(layers=["gcn", "nets.py:Net"], seeds=1)
    run_study(plan, tmp_path / "inline", engine="inline")
    run_study(plan, tmp_path / "ray", engine="ray", workers=1)
    assert numbers(tmp_path / "ray") == numbers(tmp_path / "inline")


@pytest.mark.long
def test_a_node_that_dies_in_mid_study(tmp_path):
    """Two local nodes with one CPU each; the second is killed while it runs a cell."""
    from ray.cluster_utils import Cluster

    plan = plan_of(layers=["gcn", "lcat"], seeds=6, overrides={"epochs": 1500, "patience": "none"})
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        killed = []

        def kill(status):
            if isinstance(status.event, Finished) and status.done >= 3 and not killed:
                killed.append(status.done)
                cluster.remove_node(second, allow_graceful=False)

        outcome = run_study(plan, tmp_path / "ray", engine="ray", workers=2, address=cluster.address, on_status=kill)
        assert killed
        assert killed[0] < 12
        assert (outcome.done, outcome.failed, outcome.left) == (12, 0, 0)
    finally:
        if ray.is_initialized():
            ray.shutdown()
        cluster.shutdown()
    run_study(plan, tmp_path / "inline", engine="inline")
    assert numbers(tmp_path / "ray") == numbers(tmp_path / "inline")


@pytest.mark.long
def test_all_results_that_are_there_come_at_once(tmp_path):
    """As after Ctrl-C, which asks once."""
    engine = make_engine(RunSettings(engine="ray", workers=2))
    try:
        for cell in plan_of(seeds=2).cells():
            engine.submit(cell)
        ray.wait(list(engine._running), num_returns=2, timeout=60)
        assert [event.result.ok for event in engine.wait(0)] == [True, True]
        assert engine.wait(0) == []
    finally:
        engine.close()


@pytest.mark.long
def test_a_split_that_cannot_be_kept_ends_the_study(tmp_path):
    (tmp_path / "splits").write_text("in the way, as a full disk would be")
    with pytest.raises(OutputError, match=r"cannot write .*splits.*npz: File exists"):
        run_study(plan_of(), tmp_path, engine="ray", workers=1)
    assert Study.load(tmp_path).results().empty
    assert not ray.is_initialized()


@pytest.mark.long
def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(EngineError, match=r"the Ray cluster at 127\.0\.0\.1:1 cannot be reached") as caught:
        run_study(plan_of(), tmp_path, engine="ray", address="127.0.0.1:1")
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def address():
    """A cluster that is there before, as on several machines: one start for many studies."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster.address
    if ray.is_initialized():
        ray.shutdown()
    cluster.shutdown()


def write_data(folder):
    """Graphs with numbers, numbers of nodes, and several labels per node."""
    edge = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    graphs = [Data(x=torch.full((3, 2), i % 3.0), edge_index=edge, y=torch.tensor([i % 3.0])) for i in range(24)]
    torch.save(graphs, folder / "graphs.pt")
    data = csbm(n=60, seed=0)
    nodes = {"x": data.x, "edge_index": data.edge_index}
    torch.save({**nodes, "y": 5 * data.x.sum(dim=1), "task": "node-regression"}, folder / "numbers.pt")
    labels = torch.stack([data.y, 1 - data.y], dim=1).float()
    torch.save({**nodes, "y": labels, "task": "node-multilabel"}, folder / "labels.pt")


@pytest.mark.long
@pytest.mark.parametrize(
    "change",
    [
        {"datasets": ["graphs.pt"], "metric": "rmse", "overrides": {"epochs": 4, "batch_size": 7, "dropout": 0.3}},
        {"datasets": ["graphs.pt"], "task": "graph-regression", "search": {"space": {"lr": [0.01, 0.1]}, "trials": 3}},
        {"datasets": ["numbers.pt"], "metric": "mae"},
        {"datasets": ["labels.pt"], "metric": "macro-f1"},
        {"task": "link-prediction", "metric": "hits@20"},
        {"batching": "neighbor", "overrides": {"epochs": 4, "batch_size": 16, "residual": "linear"}},
        {"batching": {"kind": "cluster", "num_parts": 3}, "metric": "balanced-accuracy"},
    ],
    ids=lambda change: ", ".join(f"{key} {value}" for key, value in change.items() if key != "overrides"),
)
def test_all_tasks_have_the_numbers_of_inline(tmp_path, monkeypatch, address, change):
    """pytest -m long tests/study/running/test_ray.py -k all_tasks"""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    settings = {"layers": ["gcn", "lcat"], "seeds": 2, "overrides": {"epochs": 4, "dropout": 0.3}, **change}
    plan = plan_of(**settings)
    run_study(plan, tmp_path / "inline", engine="inline")
    outcome = run_study(plan, tmp_path / "ray", engine="ray", workers=2, address=address)
    assert outcome.failed == 0
    assert outcome.done >= 4
    assert numbers(tmp_path / "ray") == numbers(tmp_path / "inline")
    figures = [
        {result.cell.key: result.figures for result in Study.load(tmp_path / name).cell_results()}
        for name in ("ray", "inline")
    ]
    assert figures[0] == figures[1]
    assert all(one["test"] for one in figures[0].values())
