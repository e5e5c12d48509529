"""Tasks: their losses, what a step sees, and that links of tests are nowhere in a training."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.data import Data

import lcat.ops._aggregate.sparse_features as sparse
from lcat._checksum import checksum
from lcat.data import (
    DataError,
    GraphDataset,
    LinkDataset,
    NodeDataset,
    as_dataset,
    csbm,
    from_data,
    from_graphs,
    from_indices,
    random_splits,
    read_file,
    sample_no_links,
    splits_from_masks,
)
from lcat.study import Batching, HyperParameters, PlanError, make_plan, register_model, run_study
from lcat.study.models.classifier import NodeClassifier
from lcat.study.plan.as_task import as_task
from lcat.study.tasks.graph import GraphTask
from lcat.study.tasks.link import LinkTask
from lcat.study.tasks.losses import losses_of

CPU = torch.device("cpu")
HYPER = HyperParameters()


def regression():
    data = csbm(n=60, seed=0)
    graph = Data(x=data.x, edge_index=data.edge_index, y=10 * data.x.sum(dim=1) + 3)
    return NodeDataset("numbers", graph, random_splits(torch.zeros(60, dtype=torch.long)), task="node-regression")


def several():
    data = csbm(n=60, seed=0)
    y = torch.stack([data.y, 1 - data.y], dim=1).float()
    y[::7, 1] = math.nan
    return NodeDataset(
        "labels", Data(x=data.x, edge_index=data.edge_index, y=y), random_splits(data.y), task="node-multilabel"
    )


def targets(gaps=True):
    data = csbm(n=60, seed=0)
    y = torch.stack([10 * data.x.sum(dim=1) + 300, -0.01 * data.x[:, 0]], dim=1)
    if gaps:
        y[::5, 1] = math.nan
        y[3] = math.nan
    graph = Data(x=data.x, edge_index=data.edge_index, y=y)
    return from_data(graph, "targets", task="node-regression")


def graphs(count=30, label=lambda number: number % 2):
    edge = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    return [Data(x=torch.full((3, 2), float(i % 2)), edge_index=edge, y=label(i)) for i in range(count)]


def run(dataset, **change):
    settings = {"layers": ["gcn", "lcat"], "seeds": 1, "overrides": {"epochs": 60, "lr": 0.05}, **change}
    plan = make_plan(datasets=["mine"], own=["mine"], **settings)
    return run_study(plan, own={"mine": dataset}).study


def test_losses_by_hand():
    y = torch.tensor([1.0, 3.0])
    losses = losses_of("node-regression", HYPER, y, 1)
    assert float(losses.train(torch.zeros(2, 1), y)) == pytest.approx(1.0)  # -1 and 1 after scaling
    labels = torch.tensor([[1.0, math.nan], [0.0, 1.0]])
    outputs = torch.zeros(2, 2)
    assert float(losses_of("node-multilabel", HYPER, labels, 2).train(outputs, labels)) == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match="label_smoothing is a setting of classes; node-regression has none"):
        losses_of("node-regression", HyperParameters(label_smoothing=0.1), y, 1)


def test_the_loss_of_several_targets_by_hand():
    nan = math.nan
    y = torch.tensor([[1.0, 20.0], [3.0, nan], [nan, 40.0]])
    losses = losses_of("node-regression", HYPER, y, 2)
    assert losses.scale.mean.tolist() == [2.0, 30.0]
    assert losses.scale.std.tolist() == [1.0, 10.0]
    outputs = torch.tensor([[0.0, 1.0], [1.0, 5.0], [5.0, 1.0]], requires_grad=True)
    loss = losses.train(outputs, y)  # errors 1, 2, 0 and 0 of the known ones
    assert float(loss) == pytest.approx(5 / 4)
    loss.backward()
    assert outputs.grad.tolist() == [[0.5, 1.0], [0.0, 0.0], [0.0, 0.0]]
    column = y[:2, :1]
    one, alone = losses_of("node-regression", HYPER, column, 1), losses_of("node-regression", HYPER, column[:, 0], 1)
    assert float(one.train(outputs[:2, :1], column)) == float(alone.train(outputs[:2, :1], column[:, 0]))


def test_a_target_without_training_items_fails_the_cell():
    dataset = targets()
    dataset.data.y[dataset.split(0).train, 1] = math.nan
    error = run(dataset).failures()["error"][0]
    assert "every target to be known for at least one training item, got none for target 1: leave it out" in error


def test_scaling_the_targets_changes_nothing():
    """Each target has its own scale, so their units do not decide what is learned."""
    first, other = targets(), targets()
    other.data.y *= torch.tensor([1e-3, 1e4])
    one, two = (run(dataset, layers=["gcn"], metric="r2").results()["test"][0] for dataset in (first, other))
    assert one == pytest.approx(two, rel=1e-3)


@pytest.mark.parametrize("batching", ["neighbor", "cluster"])
def test_several_targets_in_batches(batching):
    overrides = {"epochs": 30, "lr": 0.05, "batch_size": 16, "dropout": 0.0}
    results = run(targets(), batching=batching, overrides=overrides).results()
    assert results["status"].tolist() == ["done", "done"], results["error"].tolist()
    assert results["test"].min() > 0.3


@pytest.mark.parametrize(
    ("make", "task", "metric", "bound"),
    [
        (regression, "node-regression", "r2", 0.5),
        (targets, "node-regression", "r2", 0.5),
        (
            lambda: from_graphs(
                graphs(label=lambda i: torch.tensor([[50.0 * (i % 2), i % 2 - 9.0]])), "g", metric="r2"
            ),
            "graph-regression",
            "r2",
            0.9,
        ),
        (several, "node-multilabel", "micro-f1", 0.7),
        (lambda: from_graphs(graphs(), "g"), "graph-classification", "accuracy", 0.9),
        (lambda: LinkDataset("l", csbm(n=60, q=0.02, seed=1)), "link-prediction", "roc-auc", 0.6),
    ],
)
def test_every_task_learns(make, task, metric, bound):
    results = run(make()).results()
    assert results["status"].tolist() == ["done", "done"], results["error"].tolist()
    assert set(results["task"]) == {task}
    assert set(results["metric"]) == {metric}
    assert results["test"].min() > bound


def test_lower_is_better_where_the_metric_is_an_error():
    study = run(from_graphs(graphs(label=lambda number: 3.0 * (number % 2)), "g"))
    result = study.cell_results(history=True)[0]
    assert result.metric == "mae"
    assert result.fit.val == min(result.fit.history.val)
    assert result.fit.test < 0.5


@pytest.mark.parametrize("pooling", ["mean", "add", "max"])
def test_own_models_of_graphs_pool_or_are_pooled(pooling):
    class Nodes(nn.Module):
        def __init__(self, in_channels, num_classes):
            super().__init__()
            self.map = nn.Linear(in_channels, num_classes)

        def forward(self, x, edge_index):
            return self.map(x)

    class Graphs(Nodes):
        def forward(self, x, edge_index, batch):
            return super().forward(x, edge_index).new_zeros(int(batch.max()) + 1, 2) + self.map.bias

    register_model(f"Nodes{pooling}", Nodes)
    register_model(f"Graphs{pooling}", Graphs)
    layers = [f"Nodes{pooling}", f"Graphs{pooling}"]
    results = run(
        from_graphs(graphs(), "g"), layers=layers, overrides={"epochs": 60, "lr": 0.05, "pooling": pooling}
    ).results()
    assert results["status"].tolist() == ["done", "done"], results["error"].tolist()
    assert results["test"].iloc[0] > 0.9


class SeesFeatures(nn.Module):
    """An own model that notes which features it gets."""

    layouts: ClassVar[list[torch.layout]] = []

    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, x, edge_index):
        self.layouts.append(x.layout)
        return self.linear(x)


@pytest.mark.parametrize(
    ("task", "change", "is_inductive"),
    [
        ("node-classification", {}, False),
        ("node-regression", {}, False),
        ("link-prediction", {}, False),
        ("node-classification", {}, True),
        ("node-regression", {"batching": {"kind": "cluster", "num_parts": 2, "evaluation": "whole"}}, False),
    ],
    ids=str,
)
def test_sparse_features_are_looked_for_once(task, change, is_inductive, monkeypatch):
    torch.manual_seed(0)
    data = csbm(n=60, seed=0)
    x = torch.rand(60, 200) * (torch.rand(60, 200) < 0.03)
    y, of_nodes = x.sum(dim=1) if task == "node-regression" else data.y, task.startswith("node-")
    dataset = from_data(Data(x=x, edge_index=data.edge_index, y=y), "mine", task=task if of_nodes else None)
    if is_inductive:
        stages = torch.arange(60) % 3
        splits = splits_from_masks(*(stages == stage for stage in range(3)))
        dataset = NodeDataset("mine", dataset.data, splits, stages=stages)
    register_model("sees_features", SeesFeatures)
    settings = {"epochs": 5, "normalize_features": True, "input_dropout": 0.0, "dropout": 0.0}
    change = {"task": task, "layers": ["gcn", "lcat", "sees_features"], "overrides": settings, **change}
    expected = run(dataset, **change).cell_results()
    monkeypatch.setattr(sparse, "_MIN_SIZE", 1)
    evaluated, seen = [], []
    forward = NodeClassifier.forward

    def noted_forward(model, features, edges):
        if not model.training:
            evaluated.append(features.layout)
        return forward(model, features, edges)

    monkeypatch.setattr(NodeClassifier, "forward", noted_forward)
    monkeypatch.setattr(sparse, "checksum", lambda *args: (seen.append(args), checksum(*args))[1])
    monkeypatch.setattr(SeesFeatures, "layouts", [])
    results = run(dataset, **change).cell_results()
    assert set(evaluated) == {torch.sparse_csr}
    if "batching" not in change:
        assert len(seen) == (6 if is_inductive else 2)  # once for each of two cells, and each of three graphs
    assert set(SeesFeatures.layouts) == {torch.strided} == {x.layout}
    for ours, others in zip(results, expected, strict=True):
        assert ours.error is None
        assert ours.fit.test == pytest.approx(others.fit.test, rel=1e-3)
        assert ours.fit.val == pytest.approx(others.fit.val, rel=1e-3)


def test_batches_of_graphs_hold_every_training_graph_once():
    dataset = from_graphs(graphs(), "g")
    task = GraphTask(dataset, dataset.split(0), HyperParameters(batch_size=7), device=CPU, seed=0)
    first, again = ([int(batch.num_graphs) for batch in task.batches(epoch)] for epoch in (0, 1))
    assert first == again == [7, 7, 7, 3]
    orders = [torch.cat([batch.y for batch in task.batches(epoch)]).tolist() for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


class Positions(nn.Module):
    """Remembers what it is called with."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x, edge_index):
        self.seen = edge_index
        return x * self.weight


def test_links_of_tests_are_nowhere_in_a_training():
    data = csbm(n=40, q=0.2, seed=0)
    loops = torch.arange(40).repeat(2, 1)
    dataset = LinkDataset("l", Data(x=data.x, edge_index=torch.cat([data.edge_index, loops], dim=1)))
    split = dataset.split(0)
    graph = dataset.visible(split)
    hidden = {tuple(pair) for pair in dataset.pairs[:, split.val | split.test].T.tolist()}
    passed = {tuple(sorted(edge)) for edge in graph.edge_index.T.tolist()}
    assert not passed & hidden
    assert passed - {(i, i) for i in range(40)} == {tuple(pair) for pair in dataset.pairs[:, split.train].T.tolist()}
    assert {(i, i) for i in range(40)} <= passed

    task = LinkTask(dataset, split, graph, HYPER, seed=0)
    model = Positions(graph.x.size(1))
    linked = {tuple(pair) for pair in dataset.pairs.T.tolist()}
    for epoch in range(2):
        [(pairs, y)] = task.batches(epoch)
        of_training = {tuple(pair) for pair in pairs[:, y == 1].T.tolist()}
        assert not of_training & hidden
        others = [tuple(pair) for pair in pairs[:, y == 0].T.tolist()]
        assert len(set(others)) == len(others) == int(split.train.sum())
        assert not set(others) & of_training
        task.loss(model, (pairs, y))
        assert torch.equal(model.seen, graph.edge_index)
    assert not torch.equal(next(iter(task.batches(0)))[0], next(iter(task.batches(1)))[0])
    for name, mask in (("val", split.val), ("test", split.test)):
        pairs, y = task._pairs[name]
        assert {tuple(pair) for pair in pairs[:, y == 1].T.tolist()} == {
            tuple(p) for p in dataset.pairs[:, mask].T.tolist()
        }
        assert not {tuple(pair) for pair in pairs[:, y == 0].T.tolist()} & linked


def test_scores_of_links_are_dot_products():
    data = Data(x=torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 1.0]]),
                edge_index=torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]))  # fmt: skip
    dataset = LinkDataset("l", data)
    assert dataset.pairs.tolist() == [[0, 0, 1, 2], [1, 3, 2, 3]]
    split = from_indices(4, torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3]))
    task = LinkTask(dataset, split, dataset.visible(split), HYPER, seed=0)
    parts = task.parts(Positions(2))
    assert parts["val"].outputs[0] == 3  # of nodes 1 and 2
    assert parts["test"].outputs[0] == 3  # of nodes 2 and 3
    expected = F.binary_cross_entropy_with_logits(parts["val"].outputs, parts["val"].y)
    assert task.measure(Positions(2)).val_loss == pytest.approx(float(expected))


def test_pairs_without_a_link_are_drawn_evenly():
    pairs = torch.tensor([[0], [1]])
    counts = torch.zeros(4, 4)
    for seed in range(600):
        first, second = sample_no_links(4, pairs, 1, seed)[:, 0].tolist()
        counts[first, second] += 1
    drawn = counts[counts > 0]
    assert drawn.numel() == 5
    assert drawn.min() > 80  # of 120 expected
    with pytest.raises(DataError, match="every pair of nodes is linked"):
        sample_no_links(2, pairs, 1, 0)


def test_an_undefined_metric_fails_the_cell_and_says_why():
    data = csbm(n=60, seed=0)
    y = torch.zeros(60, dtype=torch.long)
    y[:5] = 1
    split = from_indices(60, torch.arange(40), torch.arange(40, 50), torch.arange(50, 60))
    dataset = NodeDataset("rare", Data(x=data.x, edge_index=data.edge_index, y=y), lambda seed: split)
    study = run(dataset, metric="average-precision")
    assert set(study.results()["status"]) == {"failed"}
    assert (
        "average-precision is undefined for the validation items of this split: all 10" in study.failures()["error"][0]
    )
    metrics = run(dataset).metrics()
    row = metrics[(metrics["metric"] == "roc-auc") & (metrics["part"] == "test")].iloc[0]
    assert math.isnan(row["value"])
    assert row["undefined"] == "all 10 items are of class 0"


@pytest.mark.parametrize(
    "batching", ["neighbor", {"kind": "cluster", "num_parts": 4}, {"kind": "neighbor", "evaluation": "whole"}]
)
def test_batches_of_nodes(batching):
    overrides = {"epochs": 15, "lr": 0.05, "batch_size": 16, "dropout": 0.0}
    plan = make_plan(
        datasets=["csbm:easy,n=100"], layers=["gcn", "lcat"], seeds=1, batching=batching, overrides=overrides
    )
    results = run_study(plan).study.results()
    assert results["status"].tolist() == ["done", "done"], results["error"].tolist()
    assert results["test"].min() > 0.8


def test_evaluation_by_layers_gives_the_numbers_of_the_whole_graph():
    results = {}
    for evaluation in ("layerwise", "whole"):
        batching = {"kind": "cluster", "num_parts": 3, "evaluation": evaluation}
        plan = make_plan(
            datasets=["csbm:hard,n=90"], layers=["gat", "lcat"], seeds=1, batching=batching, overrides={"epochs": 4}
        )
        results[evaluation] = run_study(plan).study.histories()[["train", "validation", "test"]].to_numpy()
    assert results["layerwise"] == pytest.approx(results["whole"])


def test_batching_that_does_not_fit():
    assert Batching(kind="neighbor", num_neighbors=5).neighbors_of(3) == [5, 5, 5]
    with pytest.raises(ValueError, match="2 hops, and the model has 3 layers"):
        Batching(kind="neighbor", num_neighbors=(5, 5)).neighbors_of(3)
    for wrong, words in (
        ({"kind": "cluster", "num_parts": 2, "parts_per_batch": 3}, "parts_per_batch must be at most num_parts"),
        ({"kind": "neighbor", "num_neighbors": 0}, "at least 1 in every hop"),
    ):
        with pytest.raises(PlanError, match=words):
            make_plan(datasets=["cora"], layers=["gcn"], seeds=1, batching=wrong)
    study = run(from_graphs(graphs(), "g"), batching="neighbor")
    assert "batching is for tasks on nodes" in study.failures()["error"][0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: from_graphs([], "g"), "at least one graph"),
        (
            lambda: from_graphs([Data(x=torch.ones(1, 1), edge_index=torch.zeros(2, 0, dtype=torch.long))], "g"),
            r"graph 0 must have one number in y, or \[1, targets\] for several; got NoneType$",
        ),
        (
            lambda: from_graphs(graphs(label=lambda i: torch.ones(2)), "g"),
            r"graph 0 must have one number .*; got \[2\]: y.view\(1, -1\) for several",
        ),
        (
            lambda: from_graphs(graphs(label=lambda i: torch.ones(1, 2 + i)), "g"),
            "graph 1 must have as many targets as graph 0, 2; got 3",
        ),
        (
            lambda: from_graphs(graphs(label=lambda i: torch.tensor([[i, 1]])), "g"),
            r'int64 labels \[30\], one per graph .*"graph-regression" takes numbers \[G\] or \[G, targets\]',
        ),
        (
            lambda: from_graphs(graphs(label=lambda i: torch.tensor([[float(i), 1.0]])), "g"),
            r"two different numbers in target 1, y\[:, 1\]; got \[1.0\]: leave this target out",
        ),
        (
            lambda: from_data(
                Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]]), y=torch.rand(2, 3, 1)),
                task="node-regression",
            ),
            r"\[2\] with one per node or \[2, targets\] with several .*; got torch.float32 \[2, 3, 1\]",
        ),
        (lambda: GraphDataset("g", graphs(), torch.zeros(30, dtype=torch.long)), "at least two classes"),
        (lambda: GraphDataset("g", graphs(), torch.arange(29) % 2), r"int64 labels \[30\], one per graph"),
        (
            lambda: GraphDataset(
                "g",
                [*graphs(2), Data(x=torch.ones(1, 5), edge_index=torch.zeros(2, 0, dtype=torch.long))],
                torch.tensor([0, 1, 0]),
            ),
            "as many columns of x; got 2, 5",
        ),
        (
            lambda: GraphDataset("g", graphs(), torch.arange(30) % 2, metric="mae"),
            "metric of graph-classification must be one of",
        ),
        (
            lambda: LinkDataset("l", Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]]))),
            "three linked pairs of nodes; got 1",
        ),
        (
            lambda: NodeDataset(
                "n",
                Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]]), y=torch.tensor([1.0, 1.0])),
                lambda seed: None,
                task="node-regression",
            ),
            "two different numbers",
        ),
        (
            lambda: NodeDataset(
                "n",
                Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]]), y=torch.tensor([[2.0], [1.0]])),
                lambda seed: None,
                task="node-multilabel",
            ),
            "hold 0 and 1, and nan where unknown; got 2",
        ),
    ],
)
def test_data_sets_that_cannot_be_used(make, words):
    with pytest.raises(DataError, match=words):
        make()


def test_files_of_every_kind(tmp_path):
    torch.save(graphs(), tmp_path / "graphs.pt")
    data = csbm(n=60, seed=0)
    torch.save(
        {"x": data.x, "edge_index": data.edge_index, "y": data.x[:, 0], "task": "node-regression"},
        tmp_path / "numbers.pt",
    )
    torch.save({"x": data.x, "edge_index": data.edge_index}, tmp_path / "links.pt")
    for name, task, expected in (
        ("graphs.pt", None, "graph-classification"),
        ("graphs.pt", "graph-regression", "graph-regression"),
        ("numbers.pt", None, "node-regression"),
        ("links.pt", "link-prediction", "link-prediction"),
    ):
        plan = make_plan(datasets=[str(tmp_path / name)], layers=["gcn"], seeds=1, task=task, overrides={"epochs": 2})
        assert run_study(plan).study.results()["task"].tolist() == [expected]
    plan = make_plan(
        datasets=[str(tmp_path / "numbers.pt")],
        layers=["gcn"],
        seeds=1,
        task="graph-regression",
        overrides={"epochs": 2},
    )
    with pytest.raises(DataError):
        run_study(plan)


def test_labels_of_graphs_of_one_node_are_what_the_task_says(tmp_path):
    """`y` of [1, T] has a row per node, and a row per graph."""
    none = torch.zeros(2, 0, dtype=torch.long)
    ones = [Data(x=torch.tensor([[i / 9]]), edge_index=none, y=torch.tensor([[i / 9, 1.0 - i]])) for i in range(10)]
    assert as_dataset(ones, task="node-regression").num_items == 10
    of_graphs = as_dataset(ones, task="graph-regression")
    assert isinstance(of_graphs, GraphDataset)
    assert of_graphs.y.shape == (10, 2)
    torch.save(ones, tmp_path / "ones.pt")
    assert isinstance(read_file(tmp_path / "ones.pt", task="graph-regression"), GraphDataset)


def test_classes_of_graphs_that_are_unknown_are_no_numbers():
    dataset = from_graphs(graphs(label=lambda i: i % 3 - 1), "g")
    numbers = as_task(dataset, "graph-regression", None)
    assert numbers.y[:3].isnan().tolist() == [True, False, False]
    assert numbers.classes[:3].tolist() == [-1, 0, 0]


@pytest.mark.real_data
@pytest.mark.skipif("LCAT_TEST_DATA" not in os.environ, reason="LCAT_TEST_DATA is not set")
def test_mutag(tmp_path):
    shutil.copytree(Path(os.environ["LCAT_TEST_DATA"]) / "TUDataset" / "MUTAG", tmp_path / "TUDataset" / "MUTAG")
    plan = make_plan(datasets=["tu:MUTAG"], layers=["gcn"], seeds=1, split="stratified:10", overrides={"epochs": 5})
    study = run_study(plan, data=str(tmp_path)).study
    results = study.results()
    assert results["status"].tolist() == ["done"] * 10, results["error"].tolist()
    labels = tmp_path / "TUDataset" / "MUTAG" / "raw" / "MUTAG_graph_labels.txt"
    assert results["test_nodes"].sum() == len(labels.read_text().split())
    assert study.cell_results()[0].graph["features"] == 7
