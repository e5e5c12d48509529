"""What torch.jit.script compiles, in a process that has made no layer of PyG, and what it is told of the rest."""

import subprocess
import sys

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

import lcat.nn
from lcat.nn import models
from tests.support.long import long

COMPILED = """
import torch
from torch import nn
from lcat.nn import GINConv, GraphConv, SAGEConv, TransformerConv

torch.manual_seed(0)
x, edge_index = torch.randn(6, 5), torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])


class Model(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.conv(x, edge_index)


for layer in ({}):
    kind, expected = type(layer), layer(x, edge_index)
    torch.testing.assert_close(torch.jit.script(Model(layer))(x, edge_index), expected)
    assert type(layer) is kind
    torch.testing.assert_close(layer(x, edge_index), expected)
"""


@pytest.mark.parametrize(
    "layers",
    [
        "SAGEConv(5, 4), SAGEConv(5, 4, aggr='max')",
        long("GraphConv(5, 4), GraphConv(5, 4, aggr='mean')"),
        long("GINConv(nn.Linear(5, 4)), "),
        long("TransformerConv(5, 4, heads=2), TransformerConv(5, 4, heads=2, beta=True)"),
    ],
)
def test_layers_are_scripted_without_a_layer_of_pyg_before(layers, tmp_path):
    (tmp_path / "scripted.py").write_text(COMPILED.format(layers))  # TorchScript reads the source
    command = [sys.executable, "-W", "ignore", str(tmp_path / "scripted.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def upgraded():
    model = pyg.GCN(5, 4, 2)
    lcat.nn.upgrade(model)
    return model


class Mine(lcat.nn.GATConv):
    """A subclass of a user."""


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: lcat.nn.GATConv(5, 4), "GATConv"),
        (lambda: lcat.nn.LCATv2Conv(5, 4), "LCATv2Conv"),
        (lambda: lcat.nn.LCATGCN2Conv(5, 0.1), "LCATGCN2Conv"),
        (lambda: lcat.nn.LCATPNAConv(5, 4, ["mean"], ["identity"], torch.tensor([0, 5])), "LCATPNAConv"),
        (lambda: Mine(5, 4), "Mine"),
        (lambda: nn.Sequential(nn.Linear(5, 5), lcat.nn.CATConv(5, 4)), "CATConv"),
        (lambda: models.GCN(5, 4, 2), "GCN"),
        (lambda: nn.ModuleDict({"a": models.LCAT(5, 4, 2)}), "LCAT"),
        (lambda: models.LCATGCN2(5, 4, 2), "LCATGCN2Conv"),
        (upgraded, "UpgradedGCNConv"),
    ],
)
def test_what_cannot_be_scripted_is_named_with_the_way_out(make, name):
    with pytest.raises(TypeError, match=rf"^torch\.jit\.script cannot compile {name}: use torch\.jit\.trace"):
        torch.jit.script(make())
