"""Evaluation layer by layer is exact for every layer and recipe, and own models are measured as they compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GAT as PyGGAT  # noqa: N811
from torch_geometric.nn import GraphConv, SAGEConv

from lcat.data import csbm, from_data
from lcat.nn import GCNConv, models
from lcat.study import LAYERS, HyperParameters, build_model, make_plan, register_model, run_study
from lcat.study.models.layers import THEORY_LAYERS
from lcat.study.models.own_classifier import OwnClassifier
from lcat.study.tasks import evaluation
from lcat.study.tasks.evaluation import EvaluatedGraph
from lcat.train import LayerStep, layerwise_inference

CPU = torch.device("cpu")
RECIPES = {
    "plain": {},
    "residual": {"residual": "identity", "norm": "layer", "linear_in": True},
    "tuned": {"residual": "linear", "norm": "batch", "linear_in": True, "linear_out": True, "activation": "gelu"},
    "norm first": {"residual": "identity", "norm": "batch", "norm_first": True, "linear_in": True, "bias": False},
    "pair": {"residual": "linear", "norm": "pair", "linear_out": True},
    "pair first": {"residual": "linear", "norm": "pair", "norm_first": True, "linear_in": True, "linear_out": True},
    "cat": {"jk": "cat", "linear_out": True, "norm": "layer", "num_layers": 3},
    "max": {"jk": "max", "linear_out": True, "norm": "pair"},
    "lstm": {"jk": "lstm", "linear_out": True, "num_layers": 1},
    "separate": {"separate_self": True, "self_loops": False, "edge_dropout": 0.5},
}


def graph(nodes=50, edges=260, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Data(
        x=torch.randn(nodes, 6, generator=generator),
        edge_index=torch.randint(nodes, (2, edges), generator=generator),
        edge_weight=torch.rand(edges, generator=generator),
        edge_attr=torch.randn(edges, 3, generator=generator),
        y=torch.arange(nodes) % 2,
    )


@pytest.mark.parametrize("recipe", RECIPES)
@torch.no_grad()
def test_every_layer_with_every_recipe_is_exact(recipe):
    data, values = graph(), ("edge_weight", "edge_attr")
    for layer in (name for name in LAYERS if name not in THEORY_LAYERS):
        hyper = HyperParameters(**{"hidden_channels": 8, "heads": 2, "num_layers": 2, **RECIPES[recipe]})
        model = build_model(layer, 6, 2, hyper, edge_dim=3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        model.use_edge_values(data)
        whole = model.eval()(data.x, data.edge_index)
        taken = {key: data[key] for key in evaluation._edge_keys(model, data)}
        assert set(taken) <= set(values)
        blocks = layerwise_inference(model.gnn, data.x, data.edge_index, rows=13, edges=40, **taken)
        assert torch.allclose(blocks, whole, atol=1e-5, rtol=1e-5), layer
        by_layers = EvaluatedGraph(data, 2, "layerwise", CPU).outputs(model)
        torch.testing.assert_close(by_layers, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("recipe", [{}, {"residual": "linear", "linear_out": True}], ids=["plain", "recipe"])
@torch.no_grad()
def test_normalized_features(recipe):
    data = graph()
    data.x = data.x.abs() * 3
    model = build_model("gat", 6, 2, HyperParameters(hidden_channels=8, heads=2, normalize_features=True, **recipe))
    model.eval().use_edge_values(data)
    whole = model(data.x, data.edge_index)
    assert not torch.allclose(whole, model.gnn(data.x, data.edge_index, edge_weight=data.edge_weight))
    for how in ("layerwise", "whole", "auto"):
        outputs = EvaluatedGraph(data, 2, how, CPU).outputs(model)
        torch.testing.assert_close(outputs, whole, atol=1e-5, rtol=1e-5)


class Layered(nn.Module):
    """An own model that says what its layers are."""

    def __init__(self, in_channels, num_classes, wrong=False):
        super().__init__()
        self.conv, self.last, self.wrong = GCNConv(in_channels, in_channels), nn.Linear(in_channels, num_classes), wrong

    def forward(self, x, edge_index, edge_weight=None):
        return self.last(x + self.conv(x, edge_index, edge_weight).relu())

    def layer_steps(self):
        if self.wrong:
            return [LayerStep(self.conv, then=lambda out, x: self.last(out.relu()))]
        return [LayerStep(self.conv, then=lambda out, x: self.last(x + out.relu()))]


class Plain(nn.Module):
    """One that does not."""

    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv = SAGEConv(in_channels, num_classes)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index)


class Doubled(models.GCN):
    """A model of the library with a forward of its own."""

    def forward(self, x, edge_index):
        return 2 * super().forward(x, edge_index)


class OtherLayers(models.GCN):
    """A model of the library with other layers."""

    def init_conv(self, in_channels, out_channels, **kwargs):
        return GraphConv(in_channels, out_channels)


class Centered(nn.Module):
    """A layer that looks at all nodes."""

    def forward(self, x, edge_index):
        return x - x.mean(dim=0)


class Everywhere(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.convs, self.last = nn.ModuleList([Centered()]), nn.Linear(in_channels, num_classes)

    def forward(self, x, edge_index):
        return self.last(self.convs[0](x, edge_index))

    def layer_steps(self):
        return [LayerStep(self.convs[0], then=lambda out, x: self.last(out))]


@pytest.fixture
def ways(monkeypatch):
    """Which way outputs were computed, in order."""
    made = []

    def by_layers(*arguments, **keywords):
        made.append("layers")
        return layerwise_inference(*arguments, **keywords)

    monkeypatch.setattr(evaluation, "layerwise_inference", by_layers)
    return made


@pytest.mark.parametrize(
    ("make", "by_layers"),
    [
        (lambda: Layered(6, 2), True),
        (lambda: models.LCAT(6, 8, 2, 2, heads=2, edge_dim=3), True),
        (lambda: PyGGAT(6, 8, 2, 2, edge_dim=3), True),  # takes edge_attr, and no edge_weight
        (lambda: models.GCN(6, 8, 2, 2, jk="cat"), True),
        (lambda: OtherLayers(6, 8, 2, 2), True),
        (lambda: Plain(6, 2), False),
        (lambda: Doubled(6, 8, 2, 2), False),
        (lambda: Everywhere(6, 2), False),
    ],
    ids=["steps", "lcat", "pyg", "jk", "init_conv", "plain", "forward", "all nodes"],
)
@torch.no_grad()
def test_own_models_are_measured_as_they_compute(ways, make, by_layers):
    data, model = graph(), OwnClassifier(make(), "own").eval()
    whole = EvaluatedGraph(data, 2, "whole", CPU).outputs(model)
    assert ways == []
    auto = EvaluatedGraph(data, 2, "auto", CPU)
    for _ in range(2):
        torch.testing.assert_close(auto.outputs(model), whole, atol=1e-5, rtol=1e-5)
    # Once on a few edges, before the first time.
    assert ways == (["layers"] * 3 if by_layers else [])
    if not by_layers:
        with pytest.raises(ValueError, match=r'needs a model whose layers are known: .*evaluation = "whole"'):
            EvaluatedGraph(data, 2, "layerwise", CPU).outputs(model)


@torch.no_grad()
def test_layers_of_another_model_are_refused():
    data, model = graph(), OwnClassifier(Layered(6, 2, wrong=True), "own").eval()
    for how in ("auto", "layerwise"):
        with pytest.raises(ValueError, match=r"layer_steps\(\) of Layered computes something else than its forward"):
            EvaluatedGraph(data, 2, how, CPU).outputs(model)
    EvaluatedGraph(data, 2, "whole", CPU).outputs(model)


@torch.no_grad()
def test_graphs_without_edges_and_of_one_node():
    for nodes in (1, 3):
        data = Data(x=torch.randn(nodes, 6), edge_index=torch.zeros(2, 0, dtype=torch.long), y=torch.arange(nodes))
        model = OwnClassifier(Layered(6, 2), "own").eval()
        whole = EvaluatedGraph(data, 2, "whole", CPU).outputs(model)
        torch.testing.assert_close(EvaluatedGraph(data, 2, "layerwise", CPU).outputs(model), whole)


def test_a_study_of_a_recipe_and_an_own_model_in_both_ways():
    register_model("LayeredNet", Layered)
    register_model("PlainNet", Plain)
    drawn = csbm(n=90, regime="hard", seed=0)
    own = from_data(Data(x=drawn.x, edge_index=drawn.edge_index, y=drawn.y), "drawn")

    def study(evaluation, layers):
        plan = make_plan(
            datasets=["drawn"],
            own=["drawn"],
            layers=layers,
            seeds=1,
            batching={"kind": "cluster", "num_parts": 3, "evaluation": evaluation},
            overrides={"epochs": 3, "residual": "linear", "linear_in": True, "norm": "batch", "hidden_channels": 16},
        )
        return run_study(plan, own={"drawn": own}).study

    columns = ["loss", "train", "validation", "test"]
    layers = ["gcn", "lcat", "LayeredNet"]
    by_layers, whole = (study(way, layers).histories()[columns].to_numpy() for way in ("layerwise", "whole"))
    assert by_layers == pytest.approx(whole)
    results = study("layerwise", ["gcn", "PlainNet"]).results()
    failures = results[results["status"] == "failed"]
    assert failures["layer"].tolist() == ["PlainNet"]
    assert "evaluation by layers needs a model whose layers are known" in failures["error"].iloc[0]
    assert study("auto", ["PlainNet"]).failures().empty
