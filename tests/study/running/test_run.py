"""Cells run, repeat themselves, and a failing one does not stop the rest."""

from __future__ import annotations

import pytest
import torch

from lcat.data import DataError, NodeDataset, Split, csbm, from_data, random_splits
from lcat.study import CellResult, run_study
from lcat.study.plan.sources import Sources
from lcat.study.running.engines import Note, Progress
from tests.study.study_support import FAST, plan_of, trained


def test_every_layer_trains_on_every_kind_of_source(tmp_path):
    torch.save(csbm(n=60, seed=1), tmp_path / "mine.pt")
    own = {"ours": NodeDataset("ours", data := csbm(n=60, seed=2), random_splits(data.y))}
    layers = ["gcn", "gcn-mean", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2", "lcat-theory"]
    names = ["csbm:easy,n=60", str(tmp_path / "mine.pt"), "ours"]
    plan = plan_of(datasets=names, layers=layers, own=["ours"], overrides={**FAST, "hidden_channels": 16, "heads": 2})
    results = trained(plan, own=own)
    assert [result.error for result in results] == [None] * (9 + 8 + 8)
    assert [result.cell for result in results] == plan.cells()
    assert all(result.parameters > 0 and result.split_sizes == (36, 12, 12) for result in results)


def test_files_are_judged_by_the_metric_of_the_plan(tmp_path):
    torch.save(csbm(n=60, seed=1), tmp_path / "mine.pt")
    for metric in ("roc-auc", "accuracy"):
        plan = plan_of(datasets=[str(tmp_path / "mine.pt")], metric=metric)
        assert [result.metric for result in trained(plan)] == [metric]


def test_the_same_plan_gives_the_same_numbers():
    plan = plan_of(layers=["gat", "lcat"], overrides={**FAST, "dropout": 0.5})
    one, two = ([result.fit.history for result in trained(plan)] for _ in range(2))
    assert one == two


def test_the_order_of_cells_does_not_matter():
    forward = {r.cell.key: r.fit.history for r in trained(plan_of(layers=["gcn", "lcat"], seeds=[0, 1]))}
    backward = {r.cell.key: r.fit.history for r in trained(plan_of(layers=["lcat", "gcn"], seeds=[1, 0]))}
    assert forward == backward


def test_a_failing_cell_keeps_its_traceback_and_the_rest_goes_on():
    data = csbm(n=60, seed=0)
    good = random_splits(data.y)

    def rule(seed):
        if seed == 1:
            raise RuntimeError("no split for seed 1")
        return good(seed)

    own = {"flaky": NodeDataset("flaky", data, rule)}
    results = trained(plan_of(datasets=["flaky"], own=["flaky"], seeds=[0, 1, 2]), own=own)
    assert [result.ok for result in results] == [True, False, True]
    assert "Traceback" in results[1].error
    assert "no split for seed 1" in results[1].error
    assert CellResult.from_dict(results[1].to_dict()) == results[1]


def test_divergence_is_a_failed_cell():
    [result] = trained(plan_of(overrides={"epochs": 30, "optimizer": "sgd", "lr": 1e38, "num_layers": 2}))
    assert not result.ok
    assert "NonFiniteLoss" in result.error


def test_ctrl_c_passes():
    def stop(status):
        if isinstance(status.event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan_of(), on_status=stop)


def test_missing_data_stops_before_anything_is_trained(tmp_path, monkeypatch):
    from lcat.study.plan import sources

    def offline(name, root=None, **kwargs):
        raise DataError(f"data set {name!r}: could not be downloaded")

    monkeypatch.setattr(sources, "load", offline)
    # The first cell would be a synthetic one, which needs no file; the error comes before it.
    with pytest.raises(DataError, match="cora"):
        run_study(plan_of(datasets=["csbm:easy,n=60", "cora"]), data=str(tmp_path))


def test_synthetic_graphs_change_with_the_seed_and_own_ones_do_not():
    sources = Sources(own={"ours": NodeDataset("ours", data := csbm(n=60, seed=2), random_splits(data.y))})
    assert not torch.equal(sources.load("csbm:easy,n=60", 0).data.x, sources.load("csbm:easy,n=60", 1).data.x)
    assert sources.load("ours", 0).data is sources.load("ours", 1).data
    drawn = sources.load("csbm:hard,n=60,q=0.3", 5)
    expected = csbm(n=60, q=0.3, regime="hard", seed=5)
    assert torch.equal(drawn.data.edge_index, expected.edge_index)
    assert torch.equal(drawn.split(5).test, expected.test_mask)


def test_bad_numbers_in_a_synthetic_name_are_told_before_training():
    with pytest.raises(DataError, match=r"csbm:easy,q=2.*q is a probability.*got 2\.0"):
        run_study(plan_of(datasets=["csbm:easy,q=2"]))


def test_splits_of_another_graph_are_refused():
    data = csbm(n=60, seed=0)
    part = torch.arange(50) % 3
    own = {"odd": NodeDataset("odd", data, lambda seed: Split(part == 0, part == 1, part == 2))}
    with pytest.raises(DataError, match="has 50 nodes and the graph 60"):
        run_study(plan_of(datasets=["odd"], own=["odd"]), own=own)


@pytest.mark.parametrize(
    ("layers", "noise"),
    [
        (["gcn", "gcn-mean", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2"], {}),
        (["gcn", "gat", "lcatv2"], {"edges": [0.5], "features": [0.5]}),
    ],
)
def test_weights_and_features_of_edges_reach_the_layers_that_can_use_them(layers, noise):
    graph = csbm(n=60, seed=0)
    generator = torch.Generator().manual_seed(0)
    values = {
        "edge_weight": torch.rand(graph.num_edges, generator=generator),
        "edge_attr": torch.randn(graph.num_edges, 3, generator=generator),
    }
    overrides = {**FAST, "hidden_channels": 8, "heads": 2, "dropout": 0.0}
    plan = plan_of(datasets=["ours"], own=["ours"], layers=layers, overrides=overrides, noise=noise)
    losses, notes = {}, {}
    for name in ("plain", *values):
        data = graph.clone()
        if name != "plain":
            data[name] = values[name]
        notes[name] = []

        def listen(status, lines=notes[name]):
            if isinstance(status.event, Note):
                lines.append(status.event.text)

        results = run_study(plan, own={"ours": from_data(data, "ours")}, on_status=listen).study.cell_results(
            history=True
        )
        assert [result.error for result in results] == [None] * len(results)
        losses[name] = {(result.cell.layer, result.cell.noise): result.fit.history.loss for result in results}
    changed = {name: {key for key in losses[name] if losses[name][key] != losses["plain"][key]} for name in values}
    assert changed["edge_weight"] == set(losses["plain"])
    assert changed["edge_attr"] == {key for key in losses["plain"] if not key[0].startswith("gcn")}
    assert notes["plain"] == []
    assert [line.partition(" ")[0] for line in notes["edge_weight"] + notes["edge_attr"]] == ["ours:", "ours:"]
