"""Explainers find the one edge that brings something, on every layer, with and without self-loops in the graph."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.explain import (
    AttentionExplainer,
    CaptumExplainer,
    Explainer,
    GNNExplainer,
    ModelConfig,
)

import lcat.nn
from tests.support.layers import ATTENTION, FAMILIES, LAYERS

# Of the in-neighbors of node 0, only node 2 has features.
PLANTED = (2, 0)
EDGES = torch.tensor([[1, 0, 2, 3, 4, 1, 4], [0, 1, 0, 0, 0, 3, 1]])
LOOPS = torch.tensor([[1, 3, 0, 2, 3, 0, 4, 1, 4], [0, 3, 1, 0, 0, 0, 0, 3, 1]])
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


def features():
    x = torch.zeros(5, 6)
    x[2] = 4.0 * torch.tensor([1.0, -0.5, 0.8, 0.3, -1.0, 0.6])
    return x


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
@pytest.mark.parametrize("name", [*LAYERS, *FAMILIES])
def test_gnn_explainer(name, edges):
    model, x = Net(name), features()
    torch.manual_seed(1)
    explainer = explained(model, GNNExplainer(epochs=100, lr=0.1, edge_ent=0.0))
    assert_found(explainer(x, edges, index=0).edge_mask, edges)


@GRAPHS
@pytest.mark.parametrize("name", [*LAYERS, *FAMILIES])
def test_captum_explainer(name, edges):
    explainer = explained(Net(name).eval(), CaptumExplainer("IntegratedGradients", n_steps=10))
    assert_found(explainer(features(), edges, index=0).edge_mask.abs(), edges)


@GRAPHS
@pytest.mark.parametrize("name", [*ATTENTION, *FAMILIES])
def test_attention_explainer(name, edges):
    model, x = Net(name), features()
    assert_found(explained(model, AttentionExplainer())(x, edges, index=0).edge_mask, edges)
