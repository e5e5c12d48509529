"""Which weights orthogonal_groups picks, from torch, PyG and lcat layers."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from lcat.optim import POGO, Landing, NoWeightToConstrain, orthogonal_groups, orthogonality_error
from tests.support.versions import needs_to_hetero


def constrained(groups):
    return {row.name: row.matrices for row in groups.table if row.orthogonal}


def mlp(*widths):
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_hidden_linear_layers():
    model = mlp(8, 16, 16, 12, 3)
    groups = orthogonal_groups(model, lr=1e-3, weight_decay=0.1, orthogonal_options={"lr": 0.2})
    assert constrained(groups) == {"2.weight": "(16x16), rows", "4.weight": "(12x16), rows"}
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
    assert len(constrained(orthogonal_groups(mlp(8, 16, 3), first=True, last=True))) == 2
    with pytest.raises(ValueError, match=r"no weight is left.*first layer.*last layer.*first=True"):
        orthogonal_groups(mlp(8, 16, 3))


def test_include_and_exclude():
    model = mlp(8, 16, 16, 16, 3)
    assert set(constrained(orthogonal_groups(model, include="0.*ght"))) == {"0.weight"}
    assert set(constrained(orthogonal_groups(model, exclude=["2.weight"]))) == {"4.weight"}
    with pytest.raises(ValueError, match=r"no parameter is called 'nothing'.*0.weight"):
        orthogonal_groups(model, exclude="nothing")
    groups = orthogonal_groups(model, include="2.*")
    assert set(constrained(groups)) == {"2.weight"}
    assert {row.name: row.why for row in groups.table}["2.bias"] == "included pattern, but no matrix"
    for alone in ("2.bias", "*.bias", ["2.*", "0.bias"]):
        with pytest.raises(
            ValueError, match=r"bias' has shape \(16,\) and is no matrix, and '.*' matches nothing else"
        ):
            orthogonal_groups(model, include=alone)


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
    got = constrained(orthogonal_groups(model))
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
    assert constrained(orthogonal_groups(model)) == {
        "convs.1.lin.weight": "(32x32), rows",
        "convs.2.lin.weight": "4 x (8x32), rows",
        "convs.3.lin_l.weight": "4 x (8x32), rows",
        "convs.4.lin_key.weight": "4 x (8x32), rows",
        "convs.4.lin_query.weight": "4 x (8x32), rows",
        "convs.4.lin_value.weight": "4 x (8x32), rows",
        "convs.5.nn.0.weight": "(32x32), rows",
        "convs.5.nn.2.weight": "(32x32), rows",
    }
    joint = constrained(orthogonal_groups(model, heads="joint"))
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
    assert constrained(orthogonal_groups(model)) == {"convs.1.weight": "3 x (6x6), rows"}


def test_lcat_layers():
    lcat_nn = pytest.importorskip("lcat.nn")
    convs = [lcat_nn.GATConv(10, 8, heads=4)]
    for name in ("GCNConv", "CATConv", "CATv2Conv", "LCATConv", "LCATv2Conv", "GATv2Conv"):
        layer = getattr(lcat_nn, name)
        convs.append(layer(32, 32) if name == "GCNConv" else layer(32, 8, heads=4))
    convs.append(lcat_nn.GATConv(32, 5))
    model = Stack(*convs)
    got = constrained(orthogonal_groups(model))
    assert {name.split(".")[1] for name in got} == {"1", "2", "3", "4", "5", "6"}
    assert all(".lin" in name and name.endswith("weight") for name in got)
    assert got["convs.1.lin.weight"] == "(32x32), rows"
    assert all(reading == "4 x (8x32), rows" for name, reading in got.items() if not name.startswith("convs.1."))
    POGO(orthogonal_groups(model), lr=0.1)


HETERO = (["a", "b"], [("a", "x", "b"), ("b", "y", "a"), ("a", "z", "a")])


@needs_to_hetero
def test_edge_types_side_by_side_are_one_layer():
    from torch_geometric.nn import GATConv, HeteroConv, SAGEConv, to_hetero

    model = Stack(*(
        HeteroConv({edge: SAGEConv((a, a), b) for edge in HETERO[1]}) for a, b in ((8, 6), (6, 6), (6, 3))
    ))  # fmt: skip
    assert {name.split(".")[1] for name in constrained(orthogonal_groups(model))} == {"1"}
    assert len(constrained(orthogonal_groups(model))) == 6  # three edge types, neighbors and self

    class GAT(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = nn.Linear(8, 6)
            self.c1 = GATConv((6, 6), 6, add_self_loops=False)
            self.c2 = GATConv((6, 6), 3, add_self_loops=False)

        def forward(self, x, edge_index):
            return self.c2(self.c1(self.start(x).relu(), edge_index).relu(), edge_index)

    got = constrained(orthogonal_groups(to_hetero(GAT(), HETERO)))
    assert {name.split(".")[0] for name in got} == {"c1"}
    assert len(got) == 6  # three edge types, source and target


def test_layers_stand_in_the_order_of_the_model_whatever_is_frozen_or_shared():
    model = mlp(8, 16, 16, 16, 3)
    model[0].weight.requires_grad_(False)
    model[6].weight.requires_grad_(False)
    assert set(constrained(orthogonal_groups(model))) == {"2.weight", "4.weight"}
    tied = nn.ModuleList([nn.Embedding(5, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 5)])
    tied[3].weight = tied[0].weight
    assert set(constrained(orthogonal_groups(tied))) == {"2.weight"}


def test_weights_that_pyg_layers_hold_themselves():
    from torch_geometric.nn import GatedGraphConv, GCN2Conv, HGTConv, RGCNConv

    types = HETERO[0], HETERO[1][:2]
    model = Stack(
        nn.Linear(4, 8),
        GCN2Conv(8, alpha=0.1, shared_weights=False),
        RGCNConv(8, 8, num_relations=3),
        RGCNConv(8, 8, num_relations=3, num_bases=2),
        GatedGraphConv(8, num_layers=2),
        HGTConv(8, 8, types, heads=2),
        nn.Linear(8, 4),
    )
    groups = orthogonal_groups(model)
    got = constrained(groups)
    expected = {
        "convs.1.weight1": "(8x8), rows",
        "convs.1.weight2": "(8x8), rows",
        "convs.2.weight": "3 x (8x8), rows",
        "convs.2.root": "(8x8), rows",
        "convs.4.weight": "2 x (8x8), rows",
        "convs.4.rnn.weight_hh": "3 x (8x8), rows",
        "convs.5.kqv_lin.lins.a.weight": "6 x (4x8), rows",
    }
    assert expected.items() <= got.items()
    assert not any(name.startswith("convs.3.") for name in got)  # bases of weights are no weights
    assert {row.name: row.why for row in groups.table}["convs.3.weight"] == "not known as a feature map"
    joint = constrained(orthogonal_groups(model, heads="joint"))
    assert joint["convs.5.kqv_lin.lins.a.weight"] == "3 x (8x8), rows"


def test_side_projections_stay_free():
    from torch_geometric.nn import FAConv, FiLMConv

    model = Stack(nn.Linear(4, 8), FiLMConv(8, 8), FAConv(8), nn.Linear(8, 4))
    assert set(constrained(orthogonal_groups(model))) == {"convs.1.lins.0.weight"}


def test_grouped_and_transposed_kernels():
    model = nn.Sequential(
        nn.Linear(1, 1), nn.Conv2d(8, 8, 3, groups=4), nn.Conv1d(6, 6, 3, groups=6), nn.ConvTranspose2d(4, 6, 2),
        nn.Linear(1, 1),
    )  # fmt: skip
    assert constrained(orthogonal_groups(model)) == {
        "1.weight": "4 x (2x18), rows",
        "2.weight": "6 x (1x3), rows",
        "3.weight": "(4x24), rows",
    }


def test_mistyped_options_are_refused_and_nothing_changes():
    model = mlp(8, 16, 16, 3)
    before = model[2].weight.detach().clone()
    with pytest.raises(TypeError, match=r"unexpected option 'frist' \(did you mean 'first'"):
        orthogonal_groups(model, frist=True)
    with pytest.raises(TypeError, match=r"unexpected option 'normall' \(did you mean 'normal_step'"):
        orthogonal_groups(model, orthogonal_options={"normall": "best"})
    with pytest.raises(TypeError, match=r"'color'; the optimizers of lcat.optim have no such option"):
        orthogonal_groups(model, color="red")
    for name in ("params", "orthogonal"):
        with pytest.raises(TypeError, match=rf"unexpected option '{name}'"):
            orthogonal_groups(model, **{name: []})
    with pytest.raises(ValueError, match=r"orthogonalize must be None or one of qr, nearest, got 'svd'"):
        orthogonal_groups(model, orthogonalize="svd")
    broken = mlp(8, 16, 16, 16, 3)
    nn.init.zeros_(broken[4].weight)
    untouched = broken[2].weight.detach().clone()
    with pytest.raises(ValueError, match=r"'4.weight'"):
        orthogonal_groups(broken)
    assert torch.equal(before, model[2].weight)
    assert torch.equal(untouched, broken[2].weight)


def test_groups_serve_several_optimizers():
    groups = orthogonal_groups(mlp(8, 16, 16, 3), lr=1e-3)
    first, second = POGO(groups, lr=0.1), Landing(groups, lr=0.5)
    assert [g["lr"] for g in first.param_groups] == [0.1, 1e-3]
    assert [g["lr"] for g in second.param_groups] == [0.5, 1e-3]


def test_lazy_layers_must_run_first():
    from torch_geometric.nn import GCNConv

    model = Stack(GCNConv(-1, 8), GCNConv(8, 8), GCNConv(8, 3))
    with pytest.raises(ValueError, match=r"convs.0.lin.weight.*lazy.*Run one forward"):
        orthogonal_groups(model)


def test_shared_and_frozen_weights():
    model = mlp(8, 8, 8, 8, 8)
    model[4].weight = model[2].weight
    assert set(constrained(orthogonal_groups(model))) == {"2.weight"}
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


@pytest.mark.parametrize(
    ("make", "name", "reading"),
    [
        (lambda: nn.RNN(3, 16), "weight_hh_l0", "(16x16), rows"),
        (lambda: nn.LSTM(3, 16), "weight_hh_l0", "4 x (16x16), rows"),
        (lambda: nn.GRU(3, 16), "weight_hh_l0", "3 x (16x16), rows"),
        (lambda: nn.RNNCell(3, 16), "weight_hh", "(16x16), rows"),
        (lambda: nn.LSTMCell(3, 16), "weight_hh", "4 x (16x16), rows"),
        (lambda: nn.GRUCell(3, 16), "weight_hh", "3 x (16x16), rows"),
    ],
)
def test_recurrent_weights_are_hidden_weights(make, name, reading):
    """First in the model, last in it, alone in it, or beside one other layer."""
    linear = nn.Linear(16, 2)
    for layers in ([make(), linear], [linear, make()], [make()], [make(), make()], [nn.Linear(3, 3), make(), linear]):
        model = nn.ModuleList(layers)
        groups = orthogonal_groups(model)
        expected = {f"{i}.{name}": reading for i, m in enumerate(layers) if isinstance(m, (nn.RNNBase, nn.RNNCellBase))}
        assert constrained(groups) == expected
        why = {row.name: row.why for row in groups.table}
        assert {why[n] for n in expected} == {"recurrent weight"}
        ih = next(iter(expected)).replace("hh", "ih")
        assert why[ih] == "input weight of a recurrent layer"
        POGO(groups, lr=0.1)


def test_stacked_recurrent_layers():
    model = nn.LSTM(3, 8, num_layers=2, bidirectional=True, proj_size=4)
    got = constrained(orthogonal_groups(model))
    assert set(got) == {f"weight_hh_l{i}{end}" for i in (0, 1) for end in ("", "_reverse")}
    assert set(got.values()) == {"4 x (8x4), columns"}


def test_patterns_that_match_biases_too():
    model = nn.Sequential(nn.LSTM(3, 8))
    groups = orthogonal_groups(model, include="*hh*")
    assert constrained(groups) == {"0.weight_hh_l0": "4 x (8x8), rows"}
    assert {row.name: row.why for row in groups.table}["0.bias_hh_l0"] == "included pattern, but no matrix"
    assert constrained(orthogonal_groups(model, include="*_ih_*")) == {"0.weight_ih_l0": "4 x (8x3), columns"}


def test_models_without_a_weight_to_train_are_named():
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3))
    with pytest.raises(NoWeightToConstrain, match=r"all parameters of the model have requires_grad=False"):
        orthogonal_groups(model.requires_grad_(False))
    with pytest.raises(NoWeightToConstrain, match=r"the Sequential has no parameters"):
        orthogonal_groups(nn.Sequential())


def test_weights_without_values_cannot_be_made_orthonormal():
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)).to("meta")
    with pytest.raises(ValueError, match=r"'1.weight' is on the device 'meta'.*to_empty.*orthogonalize=None"):
        orthogonal_groups(model)
    assert [row.name for row in orthogonal_groups(model, orthogonalize=None).table if row.orthogonal] == ["1.weight"]


@pytest.mark.parametrize(
    ("option", "value", "pattern"),
    [
        ("include", 3, r"include must be a name or pattern.*got int"),
        ("include", [3], r"include must be a name or pattern.*got int"),
        ("exclude", [None], r"exclude must be a name or pattern.*got NoneType"),
        ("first", "x", r"first must be True or False, got 'x'"),
        ("last", 3, r"last must be True or False, got 3"),
        ("orthogonal_options", [1], r"orthogonal_options must be a dict of options"),
    ],
)
def test_arguments_of_another_kind_are_named(option, value, pattern):
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3))
    with pytest.raises(TypeError, match=pattern):
        orthogonal_groups(model, **{option: value})


@pytest.mark.parametrize("change", ["normalized", "pruned"])
def test_outer_layers_whose_weights_are_computed_are_the_outer_ones(change):
    model = mlp(4, 8, 8, 8, 8, 2)
    for layer in (model[0], model[-1]):
        if change == "normalized":
            nn.utils.parametrizations.weight_norm(layer)
        else:
            prune.random_unstructured(layer, "weight", 0.3)
    assert list(constrained(orthogonal_groups(model))) == ["2.weight", "4.weight", "6.weight"]
