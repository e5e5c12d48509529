"""Figures of a model on a whole graph."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from lcat.data import csbm
from lcat.nn import GATConv
from lcat.nn.models import GAT, GCN, LCAT
from lcat.train import LayerStep, WholeGraph


def test_measures_the_parts():
    data = csbm(n=200, seed=0)
    model = GAT(data.num_features, 8, 1, 2).eval()
    evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask.nonzero().flatten()}, rows=50)
    figures = evaluate(model)
    with torch.no_grad():
        logits = model(data.x, data.edge_index)
    for part, mask in (("val", data.val_mask), ("test", data.test_mask)):
        assert figures[part] == pytest.approx(float((logits.argmax(1) == data.y)[mask].double().mean()))
    assert figures["val_loss"] == pytest.approx(float(F.cross_entropy(logits[data.val_mask], data.y[data.val_mask])))
    many = Data(x=data.x, edge_index=data.edge_index, y=torch.randint(0, 2, (200, 3)).float(), num_nodes=200)
    figures = WholeGraph(many, {"test": data.test_mask}, lambda logits, y: 0.25)(GAT(data.num_features, 8, 1, 3))
    assert figures == {"test": 0.25}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (torch.ones(3).bool(), r"'val' is a mask \[3\], and the graph has 100 nodes"),
        (torch.zeros(100).bool(), "'val' holds no node"),
        (torch.tensor([], dtype=torch.long), "'val' holds no node"),
        (torch.tensor([100]), r"'val' must name nodes 0 .. 99; got 100 .. 100"),
        (torch.tensor([1.0]), r"'val' must be a mask or a vector of node numbers; got torch.float32"),
        (torch.tensor([[1]]), r"'val' must be a mask or a vector of node numbers; got torch.int64 \[1, 1\]"),
        (torch.tensor([7, 8]), "'val' holds 1 nodes without a label"),
    ],
)
def test_parts_fit_the_graph(part, words):
    data = csbm(n=100, seed=0)
    data.y[7] = -1
    with pytest.raises(ValueError, match=words):
        WholeGraph(data, {"val": part, "test": torch.tensor([1])})


def test_one_call_and_layer_by_layer_agree():
    data = csbm(n=100, seed=0)
    data.edge_attr = torch.rand(data.num_edges, 3)
    model = LCAT(data.num_features, 8, num_layers=2, out_channels=2, heads=2, edge_dim=3).train()
    parts = {"val": data.val_mask, "test": data.test_mask.nonzero().flatten()}
    whole, layerwise, auto = (
        WholeGraph(data, parts, edge_attr=True, inference=inference)(model)
        for inference in ("whole", "layerwise", "auto")
    )
    assert auto == layerwise
    assert whole == pytest.approx(layerwise, abs=1e-5)
    assert model.training
    with pytest.raises(ValueError, match="inference must be one of auto, layerwise, whole; got 'all'"):
        WholeGraph(data, parts, inference="all")


def test_one_loss_for_the_training_and_the_measurement():
    """A loss per node, as NodeObjective takes it, a mean, or a name."""
    data = csbm(n=100, seed=0)
    model = GCN(data.num_features, 8, num_layers=1, out_channels=2)
    parts = {"val": data.val_mask, "test": data.test_mask}
    losses = [None, "cross-entropy", F.cross_entropy, torch.nn.CrossEntropyLoss(reduction="none")]
    values = [WholeGraph(data, parts, loss=loss)(model)["val_loss"] for loss in losses]
    assert values == pytest.approx([values[0]] * 4, rel=1e-6)
    for wrong in (lambda logits, y: logits, lambda logits, y: 1.0):
        with pytest.raises(ValueError, match=r"expected one loss per node, \[20\], or their mean from 'loss'"):
            WholeGraph(data, parts, loss=wrong)(model)


def test_a_model_that_mixes_rows_up_is_named():
    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = torch.nn.Linear(6, 2)

        def forward(self, x, edge_index):
            return self.lin(x).mean(dim=0, keepdim=True)

        def layer_steps(self):
            return [LayerStep(GATConv(6, 2), lambda out, _: out.mean(dim=0, keepdim=True))]

    data = csbm(n=100, d=6, seed=0)
    parts = {"val": data.val_mask, "test": data.test_mask}
    with pytest.raises(ValueError, match=r"one row per node from the model, 100, got \[1, 2\]"):
        WholeGraph(data, parts, inference="whole")(Pooled())
    with pytest.raises(ValueError, match=r"returned shape \[1, 2\] for a block of 100 nodes"):
        WholeGraph(data, parts)(Pooled())


def test_arguments_of_another_kind():
    data = csbm(n=60, seed=0)
    parts = {"val": data.val_mask, "test": data.test_mask}
    with pytest.raises(TypeError, match=r"got tuple: pass {'val': data.val_mask"):
        WholeGraph(data, (data.val_mask, data.test_mask))
    with pytest.raises(TypeError, match="as 'measure', got None"):
        WholeGraph(data, parts, None)
    unlabeled = data.clone()
    unlabeled.y = None
    with pytest.raises(ValueError, match=r"as data.y, got None: set data.y"):
        WholeGraph(unlabeled, parts)

    class Pair(GCN):
        def forward(self, *arguments):
            out = super().forward(*arguments)
            return out, out

    with pytest.raises(TypeError, match="got tuple: wrap the model"):
        WholeGraph(data, parts, inference="whole")(Pair(data.num_features, 8, num_layers=1, out_channels=2))


@pytest.mark.parametrize("inference", ["auto", "whole", "layerwise"])
def test_what_is_no_model(inference):
    data = csbm(n=60, seed=0)
    evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask}, inference=inference)
    for wrong, match in ((None, "got None"), ("gat", "got str"), (GAT, "got the class GAT: make one first")):
        with pytest.raises(TypeError, match=f"expected a .*model, {match}"):
            evaluate(wrong)


def test_a_misspelt_argument():
    data = csbm(n=60, seed=0)
    with pytest.raises(TypeError, match="did you mean rows"):
        WholeGraph(data, {"val": data.val_mask}, row=3)
