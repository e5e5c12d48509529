"""Inductive splits: training and validation see nothing of nodes that appear later."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from lcat.data import DataError, NodeDataset, csbm, from_indices, splits_from_masks
from lcat.study import make_plan, run_study
from lcat.study.plan.as_task import as_task
from lcat.study.plan.sources import Sources
from lcat.study.tasks.snapshots import snapshots

NODES = 90
_DATA = csbm(n=NODES, q=0.1, seed=0)
_STAGES = torch.arange(NODES) % 3  # every third node appears for validation, every third for the test
_HAS_LABEL = torch.arange(NODES) % 5 > 0


def dataset(later=None, task="node-classification", metric="", values=False):
    """The data set; ``later`` changes all that belongs to nodes from this stage on."""
    x, edges, y = _DATA.x.clone(), _DATA.edge_index, _DATA.y.clone()
    weight = torch.ones(edges.size(1))
    if later is not None:
        changed = later <= _STAGES
        x[changed] = -3 * x[changed] + 7
        y[changed & (y >= 0)] = 1 - y[changed & (y >= 0)]
        touched = changed[edges].any(dim=0)
        # Half of their edges are gone, and there are others.
        others = torch.stack([changed.nonzero().view(-1), torch.arange(int(changed.sum()))])
        keep = ~touched | (torch.arange(edges.size(1)) % 2 == 0)
        weight = torch.cat([torch.where(touched, 5.0, weight)[keep], torch.full((others.size(1),), 2.0)])
        edges = torch.cat([edges[:, keep], others], dim=1)
    y[~_HAS_LABEL] = -1
    graph = Data(x=x, edge_index=edges, y=y.float() * 2 + x[:, 0] if task == "node-regression" else y)
    if values:
        graph.edge_weight = weight
        graph.edge_attr = weight.view(-1, 1).repeat(1, 2)
    masks = [(stage == _STAGES) & _HAS_LABEL for stage in range(3)]
    return NodeDataset("later", graph, splits_from_masks(*masks), metric, task=task, stages=_STAGES)


def curves(own, layers=("gcn", "lcat"), **change):
    settings = {"seeds": 1, "overrides": {"epochs": 2, "dropout": 0.3, "batch_size": 16}, **change}
    plan = make_plan(datasets=["later"], own=["later"], layers=list(layers), **settings)
    study = run_study(plan, own={"later": own}).study
    assert study.failures().empty, study.failures()["error"].iloc[0]
    return study.histories()


def test_every_stage_has_its_nodes_and_their_edges():
    whole = dataset(values=True)
    for stage in range(3):
        graph = whole.graph_at(stage)
        assert graph.n_id.tolist() == (stage >= _STAGES).nonzero().view(-1).tolist()
        assert torch.equal(graph.x, whole.data.x[graph.n_id])
        ends = whole.data.edge_index
        seen = (_STAGES[ends] <= stage).all(dim=0)
        assert torch.equal(graph.n_id[graph.edge_index], ends[:, seen])
        assert torch.equal(graph.edge_attr, whole.data.edge_attr[seen])
    assert whole.graph_at(2).num_edges == whole.data.num_edges
    split = whole.split(0)
    for name, mask in (("train", split.train), ("val", split.val), ("test", split.test)):
        graph, nodes = snapshots(whole, split)[name]
        assert torch.equal(graph.n_id[nodes], mask.nonzero().view(-1))
        assert torch.equal(graph.y[nodes], whole.data.y[mask])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"task": "node-regression", "layers": ("gcn", "sage")},
        {"values": True, "layers": ("lcatv2",)},
        {"batching": "neighbor", "layers": ("gcn",)},
        {"batching": {"kind": "cluster", "num_parts": 3}, "layers": ("gcn",)},
        {"batching": {"kind": "neighbor", "evaluation": "whole"}, "values": True, "layers": ("lcat",)},
    ],
    ids=str,
)
def test_nothing_of_later_nodes_reaches_earlier_stages(change):
    """Other features, labels and edges of later nodes change no number of what was before."""
    own = {key: change[key] for key in ("task", "values") if key in change}
    run = {key: value for key, value in change.items() if key not in own}
    before, other_test, other_both = (curves(dataset(later, **own), **run) for later in (None, 2, 1))
    for column in ("loss", "train", "validation"):
        assert before[column].tolist() == other_test[column].tolist()
    for column in ("loss", "train"):
        assert before[column].tolist() == other_both[column].tolist()
    # What changed is seen where it should be seen.
    assert before["test"].tolist() != other_test["test"].tolist()
    assert before["validation_loss"].tolist() != other_both["validation_loss"].tolist()
    # In one graph for all, every number would be another one.
    whole = dataset(**own)
    transductive = curves(NodeDataset("later", whole.data, whole.splits, task=whole.task), **run)
    assert before["loss"].tolist() != transductive["loss"].tolist()


def test_batches_and_whole_graphs_measure_the_same():
    """In evaluation both compute the same function of the same graphs."""
    from lcat.study import Batching, HyperParameters
    from lcat.study.models.layers import build_model
    from lcat.study.tasks.node import InductiveNodes, NodeBatches

    own = dataset(values=True)
    split, hyper, cpu = own.split(0), HyperParameters(), torch.device("cpu")
    model = build_model("lcat", own.num_features, 2, hyper, edge_dim=2).eval()
    whole = InductiveNodes(own, split, hyper, is_own=False, device=cpu).parts(model)
    batches = NodeBatches(
        own, split, hyper, batching=Batching(kind="neighbor"), is_own=False, device=cpu, seed=0
    ).parts(model)
    for name, part in whole.items():
        torch.testing.assert_close(batches[name].outputs, part.outputs)
        assert torch.equal(batches[name].y, part.y)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (torch.zeros(NODES), r"stages must be integers \[90\], one per node; got torch.float32 \[90\]"),
        (torch.zeros(3, dtype=torch.long), r"integers \[90\], one per node; got torch.int64 \[3\]"),
        ([0] * NODES, "got list"),
        (torch.full((NODES,), 3), r"0 \(training\), 1 \(validation\) or 2 \(test\); got 3 .. 3"),
    ],
)
def test_stages_are_checked(stages, words):
    own = dataset()
    with pytest.raises(DataError, match=words):
        NodeDataset("later", own.data, own.splits, stages=stages)


def test_what_would_train_on_later_nodes_is_refused():
    own = dataset()
    labeled = _HAS_LABEL.nonzero().view(-1)
    with pytest.raises(DataError, match="training nodes that appear later than the graph of the training"):
        own.checked(from_indices(NODES, labeled[:30], labeled[30:40], labeled[40:50]))
    for rule in ("kfold:3", "stratified:3", "nested:3x2"):
        plan = make_plan(datasets=["later"], own=["later"], layers=["gcn"], seeds=1, split=rule)
        with pytest.raises(DataError, match=rf"{rule} would train on nodes that appear later, .* take split = 'own'"):
            run_study(plan, own={"later": own})
    with pytest.raises(DataError, match="its split is inductive, and links are predicted in one graph"):
        as_task(own, "link-prediction", None)
    plan = make_plan(datasets=["later"], own=["later"], layers=["gcn"], seeds=1, noise={"edges": [0.2]})
    failures = run_study(plan, own={"later": own}).study.failures()
    assert len(failures) == 1
    assert "noise is for graphs that training sees whole; later is inductive" in failures["error"].iloc[0]


def test_the_stages_are_part_of_the_data():
    own = dataset()
    other = NodeDataset("later", own.data, own.splits)
    assert Sources().fingerprint(own) != Sources().fingerprint(other)
    assert len(other.tensors()) == 3  # hashes of other data sets stay
