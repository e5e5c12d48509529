"""Which weights orthogonal_groups picks, from torch, PyG and lcat layers."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn

from lcat.optim import POGO, orthogonal_groups, orthogonality_error


def chosen(groups):
    return {row.name: row.matrices for row in groups.table if row.orthogonal}


def mlp(*widths):
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_hidden_linear_layers():
    model = mlp(8, 16, 16, 12, 3)
    groups = orthogonal_groups(model, lr=1e-3, weight_decay=0.1, orthogonal_options={"lr": 0.2})
    assert chosen(groups) == {"2.weight": "(16x16), rows", "4.weight": "(12x16), rows"}
    assert [g["orthogonal"] for g in groups] == [True, False]
    assert (groups[0]["lr"], groups[1]["lr"], groups[1]["weight_decay"]) == (0.2, 1e-3, 0.1)
    optimizer = POGO(groups, lr=0.1)
    assert optimizer.orthogonality_error() < 1e-5
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))
    assert optimizer.param_groups[0]["param_names"] == ["2.weight", "4.weight"]
    text = str(groups)
    for word in ("2.weight", "orthogonal", "first layer", "last layer", "vector or scalar"):
        assert word in text


def test_first_and_last():
    assert len(chosen(orthogonal_groups(mlp(8, 16, 3), first=True, last=True))) == 2
    with pytest.raises(ValueError, match=r"no weight is left.*first layer.*last layer.*first=True"):
        orthogonal_groups(mlp(8, 16, 3))


def test_include_and_exclude():
    model = mlp(8, 16, 16, 16, 3)
    assert set(chosen(orthogonal_groups(model, include="0.*ght"))) == {"0.weight"}
    assert set(chosen(orthogonal_groups(model, exclude=["2.weight"]))) == {"4.weight"}
    with pytest.raises(ValueError, match=r"no parameter is called 'nothing'.*0.weight"):
        orthogonal_groups(model, exclude="nothing")
    with pytest.raises(ValueError, match=r"'2.bias'.*no matrix"):
        orthogonal_groups(model, include="2.*")


def test_weights_become_orthonormal_the_nearest_way():
    model = mlp(8, 16, 16, 3)
    before = model[2].weight.detach().clone()
    U, _, Vh = torch.linalg.svd(before)
    orthogonal_groups(model)
    torch.testing.assert_close(model[2].weight.detach(), U @ Vh, rtol=0, atol=1e-5)
    again = model[2].weight.detach().clone()
    orthogonal_groups(model)
    torch.testing.assert_close(model[2].weight.detach(), again, rtol=0, atol=1e-6)


def test_orthogonalize_none_leaves_the_weights():
    model = mlp(8, 16, 16, 3)
    before = model[2].weight.detach().clone()
    groups = orthogonal_groups(model, orthogonalize=None)
    assert torch.equal(before, model[2].weight)
    with pytest.raises(ValueError, match=r"'2.weight'.*not orthonormal.*orthogonalize_"):
        POGO(groups, lr=0.1)


def test_torch_modules():
    model = nn.ModuleDict(
        {
            "first": nn.Linear(4, 8),
            "conv": nn.Conv2d(4, 6, 3),
            "attention": nn.MultiheadAttention(8, 2),
            "rnn": nn.LSTM(8, 5),
            "gru": nn.GRU(8, 5, bidirectional=True),
            "norm": nn.LayerNorm(8),
            "embedding": nn.Embedding(10, 8),
            "last": nn.Linear(8, 4),
        }
    )
    got = chosen(orthogonal_groups(model))
    assert got == {
        "conv.weight": "(6x36), rows",
        "attention.in_proj_weight": "3 x (8x8), rows",
        "attention.out_proj.weight": "(8x8), rows",
        "rnn.weight_hh_l0": "4 x (5x5), rows",
        "gru.weight_hh_l0": "3 x (5x5), rows",
        "gru.weight_hh_l0_reverse": "3 x (5x5), rows",
    }
    POGO(orthogonal_groups(model), lr=0.1)


class Stack(nn.Module):
    def __init__(self, *convs):
        super().__init__()
        self.convs = nn.ModuleList(convs)


def test_pyg_layers():
    from torch_geometric.nn import GATConv, GATv2Conv, GCNConv, GINConv, TransformerConv

    model = Stack(
        GCNConv(10, 32),
        GCNConv(32, 32),
        GATConv(32, 8, heads=4, edge_dim=3, residual=True),
        GATv2Conv(32, 8, heads=4, share_weights=True),
        TransformerConv(32, 8, heads=4),
        GINConv(mlp(32, 32, 32)),
        GATConv(32, 5),
    )
    assert chosen(orthogonal_groups(model)) == {
        "convs.1.lin.weight": "(32x32), rows",
        "convs.2.lin.weight": "4 x (8x32), rows",
        "convs.3.lin_l.weight": "4 x (8x32), rows",
        "convs.4.lin_key.weight": "4 x (8x32), rows",
        "convs.4.lin_query.weight": "4 x (8x32), rows",
        "convs.4.lin_value.weight": "4 x (8x32), rows",
        "convs.5.nn.0.weight": "(32x32), rows",
        "convs.5.nn.2.weight": "(32x32), rows",
    }
    joint = chosen(orthogonal_groups(model, heads="joint"))
    assert joint["convs.2.lin.weight"] == "(32x32), rows"
    with pytest.raises(ValueError, match="heads must be 'split' or 'joint'"):
        orthogonal_groups(model, heads="both")


def test_pyg_heads_train_orthonormal():
    from torch_geometric.nn import GATConv

    torch.manual_seed(0)
    model = Stack(GATConv(6, 4, heads=2), GATConv(8, 4, heads=2), GATConv(8, 3))
    optimizer = POGO(orthogonal_groups(model, lr=1e-2), lr=0.1, base="vadam")
    x, edge_index = torch.randn(10, 6), torch.randint(0, 10, (2, 40))
    for _ in range(5):
        optimizer.zero_grad()
        h = x
        for conv in model.convs:
            h = conv(h, edge_index).relu()
        h.square().mean().backward()
        optimizer.step()
    weight = model.convs[1].lin.weight
    for head in weight.detach().view(2, 4, 8):
        torch.testing.assert_close(head @ head.T, torch.eye(4), rtol=0, atol=1e-5)
    assert orthogonality_error(weight) > 0.1  # the heads are orthonormal each, not together


def test_hetero_linear_is_a_batch():
    from torch_geometric.nn import HeteroLinear

    model = Stack(nn.Linear(4, 6), HeteroLinear(6, 6, num_types=3), nn.Linear(6, 4))
    assert chosen(orthogonal_groups(model)) == {"convs.1.weight": "3 x (6x6), rows"}


def test_lcat_layers():
    lcat_nn = pytest.importorskip("lcat.nn")
    convs = [lcat_nn.GATConv(10, 8, heads=4)]
    for name in ("GCNConv", "CATConv", "CATv2Conv", "LCATConv", "LCATv2Conv", "GATv2Conv"):
        layer = getattr(lcat_nn, name)
        convs.append(layer(32, 32) if name == "GCNConv" else layer(32, 8, heads=4))
    convs.append(lcat_nn.GATConv(32, 5))
    model = Stack(*convs)
    got = chosen(orthogonal_groups(model))
    assert {name.split(".")[1] for name in got} == {"1", "2", "3", "4", "5", "6"}
    assert all(".lin" in name and name.endswith("weight") for name in got)
    assert got["convs.1.lin.weight"] == "(32x32), rows"
    assert all(reading == "4 x (8x32), rows" for name, reading in got.items() if not name.startswith("convs.1."))
    POGO(orthogonal_groups(model), lr=0.1)


def test_lazy_layers_are_told_to_run():
    from torch_geometric.nn import GCNConv

    model = Stack(GCNConv(-1, 8), GCNConv(8, 8), GCNConv(8, 3))
    with pytest.raises(ValueError, match=r"convs.0.lin.weight.*lazy.*Run one forward"):
        orthogonal_groups(model)


def test_shared_and_frozen_weights():
    model = mlp(8, 8, 8, 8, 8)
    model[4].weight = model[2].weight
    assert set(chosen(orthogonal_groups(model))) == {"2.weight"}
    model = mlp(8, 8, 8, 8)
    model[2].weight.requires_grad_(False)
    with pytest.raises(ValueError, match="no weight is left"):
        orthogonal_groups(model)


def test_a_weight_that_cannot_be_made_orthonormal_is_named():
    model = mlp(8, 8, 8, 8)
    nn.init.zeros_(model[2].weight)
    with pytest.raises(ValueError, match=r"'2.weight'.*cannot be made orthonormal"):
        orthogonal_groups(model)


def test_importing_lcat_optim_imports_no_pyg():
    code = "import sys, lcat.optim; sys.exit(any(m.split('.')[0] == 'torch_geometric' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
