"""Recipes: what a layer computes with each setting, and the published settings by name."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch_geometric.data import Data

from lcat.study import HyperParameters, PlanError, build_model, make_plan, recipe_hyper_parameters, run_study
from lcat.study.models.hyper import RECIPE_SETTINGS
from lcat.study.models.recipe_model import balanced_weights
from lcat.study.models.recipes import _TUNED

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
EDGES = torch.tensor([[0, 1, 2, 3, 4, 1], [1, 2, 3, 4, 0, 0]])
LAYERS = ("gcn", "gcn-mean", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2")
BASE = {"hidden_channels": 8, "heads": 2, "num_layers": 3, "dropout": 0.0}
VALUES = {
    "activation": "gelu",
    "residual": "linear",
    "linear_in": True,
    "linear_out": True,
    "norm_first": True,
    "jk": "max",
    "bias": False,
    "self_loops": False,
    "separate_self": True,
    "edge_dropout": 0.5,
}


def test_a_plain_model_is_that_of_before():
    hyper = HyperParameters(**BASE)
    assert not hyper.is_recipe
    assert not HyperParameters(label_smoothing=0.1, class_weights="balanced").is_recipe
    assert type(build_model("gat", 6, 3, hyper).gnn).__module__ == "lcat.nn.models"
    assert set(VALUES) == set(RECIPE_SETTINGS)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", VALUES)
def test_every_setting_changes_what_is_computed(layer, name):
    """Outputs of two models with the same weights wherever both have them."""
    extra = {"linear_out": True} if name == "jk" else {}
    extra |= {"norm": "layer"} if name == "norm_first" else {}
    plain = HyperParameters(**{**BASE, **extra, "residual": "identity" if name != "residual" else "none"})
    changed = HyperParameters(**{**plain.model_dump(), name: VALUES[name]})
    outputs = []
    for hyper in (plain, changed):
        torch.manual_seed(0)
        model = build_model(layer, 6, 3, hyper)
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter.data.uniform_(-1, 1) if parameter.numel() > 1 else None
        outputs.append((model.train() if name == "edge_dropout" else model.eval())(X, EDGES))
    assert [out.shape for out in outputs] == [(5, 3)] * 2
    same = torch.allclose(*outputs)
    assert same == (layer == "gcn" and name == "separate_self")


def test_the_published_layer():
    """Convolution plus linear map, norm, ReLU; a linear map last."""
    hyper = HyperParameters(
        hidden_channels=8, num_layers=2, dropout=0.0, norm="layer", residual="linear", linear_in=True, linear_out=True
    )
    model = build_model("gcn", 6, 3, hyper).eval()
    gnn = model.gnn
    h = gnn.first(X)
    for conv, skip, norm in zip(gnn.convs, gnn.skips, gnn.norms, strict=True):
        h = F.relu(norm(conv(h, EDGES) + skip(h)))
    torch.testing.assert_close(model(X, EDGES), gnn.last(h))


def test_tuned():
    gcn, gat, lcat = (recipe_hyper_parameters("tuned", "photo", layer) for layer in ("gcn", "gat", "lcat"))
    assert (gcn.hidden_channels, gcn.num_layers, gcn.epochs, gcn.norm, gcn.residual) == (
        256,
        6,
        1000,
        "layer",
        "linear",
    )
    assert (gat.hidden_channels, gat.num_layers, gat.heads, gat.bias, gat.patience) == (64, 3, 1, False, None)
    assert gat == lcat
    normalized = {name for name in _TUNED if recipe_hyper_parameters("tuned", name, "gcn").normalize_features}
    assert normalized == {"computers", "photo", "cs", "physics"}
    assert recipe_hyper_parameters("tuned", "roman-empire", "gcn").linear_in
    for layer in LAYERS:
        build_model(layer, 6, 3, recipe_hyper_parameters("tuned", "cs", layer))
    plan = make_plan(datasets=["photo"], layers=["gcn", "gat"], seeds=1, recipe="tuned", overrides={"epochs": 7})
    assert [(cell.hyper.num_layers, cell.hyper.epochs) for cell in plan.cells()] == [(6, 7), (3, 7)]
    sage = recipe_hyper_parameters("tuned", "photo", "sage")
    assert (sage.hidden_channels, sage.num_layers, sage.dropout, sage.bias) == (64, 6, 0.2, True)
    assert recipe_hyper_parameters("tuned-gcn", "photo", "lcat") == gcn
    assert recipe_hyper_parameters("tuned-gat", "photo", "gcn") == gat
    assert recipe_hyper_parameters("tuned-sage", "chameleon-filtered", "gcn").norm == "batch"
    with pytest.raises(PlanError, match=r"recipe tuned has no settings for tolokers; .*minesweeper"):
        make_plan(datasets=["tolokers"], layers=["gcn"], seeds=1, recipe="tuned")
    with pytest.raises(PlanError, match=r"recipe: .*plain"):
        make_plan(datasets=["photo"], layers=["gcn"], seeds=1, recipe="tunde")
    assert recipe_hyper_parameters("paper", "cora", "gat").heads == 8


def test_layers_beside_the_seven():
    """They compute what the classes of PyG compute; edge weights do not enter."""
    hyper = HyperParameters(hidden_channels=8, heads=2, num_layers=2, dropout=0.0)
    for layer, theirs in (("sage", pyg.SAGEConv(6, 8)), ("transformer", pyg.TransformerConv(6, 4, heads=2))):
        model = build_model(layer, 6, 3, hyper).eval()
        conv = model.gnn.convs[0]
        theirs.load_state_dict(conv.state_dict())
        torch.testing.assert_close(conv(X, EDGES), theirs(X, EDGES))
        plain = model(X, EDGES)
        model.use_edge_values(Data(edge_weight=torch.full((6,), 0.5)))
        torch.testing.assert_close(model(X, EDGES), plain)
    plan = make_plan(
        datasets=["csbm:easy,n=60"], layers=["gat", "sage", "transformer"], seeds=1, grid={"self_loops": [True, False]}
    )
    assert [cell.layer for cell in plan.cells()].count("sage") == 1
    assert len(plan.cells()) == 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"jk": "cat"}, "jk needs linear_out = true"),
        ({"residual": "linaer"}, "residual.*must be one of 'none', 'identity' or 'linear'"),
        ({"linear_out": True, "hidden_channels": 9, "heads": 2}, "multiple of heads"),
        ({"edge_dropout": 1}, "edge_dropout.*less than 1"),
    ],
)
def test_mistakes(settings, words):
    with pytest.raises(PlanError, match=words):
        make_plan(datasets=["csbm:easy,n=60"], layers=["gat"], seeds=1, overrides=settings)


def test_losses():
    assert balanced_weights(torch.tensor([0, 0, 0, 2]), 3).tolist() == pytest.approx([2 / 3, 0, 2])
    settings = {"datasets": ["csbm:easy,n=60"], "layers": ["gcn"], "seeds": 1}
    losses = [
        run_study(make_plan(**settings, overrides={"epochs": 2, **change})).study.histories()["loss"][0]
        for change in ({}, {"label_smoothing": 0.3}, {"class_weights": "balanced"})
    ]
    assert losses[1] != losses[0]
    assert losses[2] == pytest.approx(losses[0], rel=0.2)
