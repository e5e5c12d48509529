"""Explainers find the one edge that brings something, on every layer, with and without self-loops in the graph.

PGExplainer, which learns a network for all edges, does not find it on every layer, and not on PyG's own either.
"""

from __future__ import annotations

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn
from torch_geometric.explain import (
    AttentionExplainer,
    CaptumExplainer,
    Explainer,
    GNNExplainer,
    ModelConfig,
    PGExplainer,
)

import lcat.nn
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, FAMILIES, LAYERS

# Of the in-neighbors of node 0, only node 2 has features.
PLANTED = (2, 0)
EDGES = torch.tensor([[1, 0, 2, 3, 4, 1, 4], [0, 1, 0, 0, 0, 3, 1]])
LOOPS = torch.tensor([[1, 3, 0, 2, 3, 0, 4, 1, 4], [0, 3, 1, 0, 0, 0, 0, 3, 1]])
OF_PYG = ["TransformerConv", "SAGEConv", "SAGEConv max", "GraphConv", "GraphConv mean", "GINConv"]
GRAPHS = pytest.mark.parametrize("edges", [EDGES, LOOPS], ids=["no loops", "loops"])


class Net(nn.Module):
    """One layer, as a classifier of nodes."""

    def __init__(self, name, **options):
        super().__init__()
        torch.manual_seed(0)
        make = getattr(lcat.nn, name)
        self.initial = "GCN2" in name
        if self.initial:
            self.conv = make(6, 0.1, **options)
        elif "PNA" in name:
            self.conv = make(6, 3, ["sum", "max"], ["identity"], torch.tensor([0, 1, 1]), head_channels=6, **options)
        else:
            self.conv = make(6, 3, **options)
        with torch.no_grad():  # an attention that prefers what node 2 has: it can matter only where it is attended to
            for parameter in (getattr(self.conv, "att_src", None), getattr(self.conv, "att", None)):
                if parameter is not None:
                    direction = self.conv._maps()[0](features()[2])
                    parameter.copy_((direction / direction.norm()).view_as(parameter))

    def forward(self, x, edge_index):
        return self.conv(x, torch.zeros_like(x), edge_index) if self.initial else self.conv(x, edge_index)


def of_pyg(library, name):
    """A layer of PyG's, or lcat's of that name."""
    torch.manual_seed(0)
    if name == "GINConv":
        return library.GINConv(nn.Linear(6, 3))
    name, _, aggr = name.partition(" ")
    conv = getattr(library, name)(6, 3, **({"aggr": aggr} if aggr else {}))
    if name == "TransformerConv":  # attends to what node 2 has
        with torch.no_grad():
            key = conv.lin_key(features()[2]) - conv.lin_key.bias
            conv.lin_query.bias.copy_(key / key.norm())
            conv.lin_value.bias.zero_()
    return conv


def features():
    x = torch.zeros(5, 6)
    x[2] = 4.0 * torch.tensor([1.0, -0.5, 0.8, 0.3, -1.0, 0.6])
    return x


def made(name):
    return of_pyg(lcat.nn, name) if name in OF_PYG else Net(name)


def explained(model, algorithm, **options):
    config = ModelConfig(mode="multiclass_classification", task_level="node", return_type="raw")
    return Explainer(
        model, algorithm, explanation_type="model", model_config=config, edge_mask_type="object", **options
    )  # fmt: skip


def assert_found(mask, edges):
    """The planted edge has the largest mask of all edges into its target; loops of the graph are no rivals."""
    into = (edges[1] == PLANTED[1]) & (edges[0] != edges[1])
    best = mask.masked_fill(~into, float("-inf")).argmax()
    assert tuple(edges[:, best].tolist()) == PLANTED, mask


@GRAPHS
@pytest.mark.parametrize("name", [*LAYERS, *FAMILIES, *OF_PYG])
def test_gnn_explainer(name, edges):
    model, x = made(name), features()
    torch.manual_seed(1)
    explainer = explained(model, GNNExplainer(epochs=100, lr=0.1, edge_ent=0.0))
    assert_found(explainer(x, edges, index=0).edge_mask, edges)


@GRAPHS
@pytest.mark.parametrize("name", [*LAYERS, *FAMILIES, *OF_PYG])
def test_captum_explainer(name, edges):
    explainer = explained(made(name).eval(), CaptumExplainer("IntegratedGradients", n_steps=10))
    assert_found(explainer(features(), edges, index=0).edge_mask.abs(), edges)


@GRAPHS
@pytest.mark.parametrize("name", [*ATTENTION, *FAMILIES, "TransformerConv"])
def test_attention_explainer(name, edges):
    model, x = made(name), features()
    assert_found(explained(model, AttentionExplainer())(x, edges, index=0).edge_mask, edges)


def learned_mask(model, edges):
    """The mask of PGExplainer after training on the planted node."""
    x, config = features(), ModelConfig(mode="multiclass_classification", task_level="node", return_type="raw")
    torch.manual_seed(0)
    algorithm = PGExplainer(epochs=60, lr=0.03, edge_ent=0.1)
    explainer = Explainer(
        model, algorithm, explanation_type="phenomenon", model_config=config, edge_mask_type="object"
    )  # fmt: skip
    target = model(x, edges).argmax(dim=-1)
    for epoch in range(60):
        explainer.algorithm.train(epoch, model, x, edges, target=target, index=0)
    return explainer(x, edges, target=target, index=0).edge_mask


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # PyG's own float(loss)
@GRAPHS
@pytest.mark.parametrize("name", [*LAYERS, *(name for name in FAMILIES if name != "LCATv2PNAConv"), *OF_PYG])
def test_pg_explainer(name, edges):
    assert_found(learned_mask(made(name).eval(), edges), edges)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@GRAPHS
@pytest.mark.parametrize("name", [*OF_PYG, "GCNConv", "GATConv", "GATv2Conv"])
def test_pg_explainer_learns_what_it_learns_on_pygs_layer(name, edges):
    """The same mask, also for a GATv2Conv with random attention, on which it misses the edge."""
    ours, theirs = of_pyg(lcat.nn, name).eval(), of_pyg(pyg, name).eval()
    ours.load_state_dict(theirs.state_dict())
    mask = learned_mask(theirs, edges)
    assert_same(learned_mask(ours, edges), mask, "mask", 1e-3)
    if name == "GATv2Conv":
        with pytest.raises(AssertionError):
            assert_found(mask, edges)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_pg_explainer_misses_on_aggregations_of_pna_by_pyg_as_well():
    """A maximum of masked messages hides which of them brings something."""
    torch.manual_seed(4)
    theirs = pyg.PNAConv(6, 3, ["sum", "max"], ["identity"], torch.tensor([0, 1, 1])).eval()
    for model in (theirs, Net("LCATv2PNAConv").eval()):
        with pytest.raises(AssertionError):
            assert_found(learned_mask(model, EDGES), EDGES)
