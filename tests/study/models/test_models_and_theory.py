"""The models of a study are the layers they are named after; the closed form wins and fails where theory says."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures

from lcat.data import Split, csbm
from lcat.nn import models
from lcat.study import LAYERS, Budget, Cell, HyperParameters, Noise, Overrides, Range, StudyPlan, build_model
from lcat.study.models.classifier import FeatureDropout, FeatureNorm
from lcat.study.models.theory import TheoryModel
from lcat.train import FitConfig, accuracy, fit, read_lambdas, seed_everything

HYPER = HyperParameters(
    hidden_channels=16, heads=4, num_layers=3, dropout=0.3, norm="batch", lambda1_init=0.3, lambda2_init=0.7
)


@pytest.mark.parametrize(
    ("layer", "kind", "lambdas"),
    [
        ("gcn", models.GCN, None),
        ("gcn-mean", models.LCAT, [0.0, 0.0]),
        ("gat", models.GAT, None),
        ("gatv2", models.GATv2, None),
        ("cat", models.CAT, [1.0, 1.0]),
        ("catv2", models.CATv2, [1.0, 1.0]),
        ("lcat", models.LCAT, [0.3, 0.7]),
        ("lcatv2", models.LCATv2, [0.3, 0.7]),
    ],
)
def test_models(layer, kind, lambdas):
    model = build_model(layer, 5, 3, HYPER)
    assert type(model.gnn) is kind
    assert len(model.gnn.convs) == 3
    assert model(torch.randn(4, 5), torch.tensor([[0, 1], [1, 2]])).shape == (4, 3)
    lambda_values = list(read_lambdas(model).values())
    assert lambda_values == ([] if lambdas is None else [pytest.approx(lambdas, abs=1e-6)] * 3)
    learned = [name for name, _ in model.named_parameters() if "lambda" in name]
    assert len(learned) == (6 if LAYERS[layer].learns_lambda else 0)
    assert [conv.dropout for conv in model.gnn.convs] == [0.3] * 3 if LAYERS[layer].attention else True


def test_attention_dropout_of_its_own():
    model = build_model("gat", 5, 3, HYPER.model_copy(update={"attention_dropout": 0.0}))
    assert {conv.dropout for conv in model.gnn.convs} == {0.0}
    assert model.gnn.dropout.p == 0.3


def test_gcn_mean_is_a_mean():
    model = build_model("gcn-mean", 2, 2, HyperParameters(num_layers=1, heads=1, dropout=0.0))
    x, edge_index = torch.randn(4, 2), torch.tensor([[0, 1, 2], [3, 3, 3]])
    conv = model.gnn.convs[0]
    h = x @ conv.lin.weight.t()
    torch.testing.assert_close(model(x, edge_index)[3], h.mean(0) + conv.bias)


def test_unknown_layer():
    with pytest.raises(ValueError, match=r"gcn, gcn-mean.*got 'gta'"):
        build_model("gta", 2, 2, HYPER)


def test_feature_dropout_is_dropout():
    layer = FeatureDropout(0.4)
    x = torch.zeros(200, 100)
    x[:, :10] = torch.rand(200, 10) + 0.5
    out = layer(x)
    retained = out != 0
    assert not bool(retained[:, 10:].any())
    torch.testing.assert_close(out[retained], x[retained] / 0.6)
    assert abs(float(retained[:, :10].float().mean()) - 0.6) < 5 * (0.24 / 2000) ** 0.5
    assert not torch.equal(layer(x), out)
    assert layer.eval()(x) is x
    # New contents of the same tensor are seen.
    layer.train()
    x[:, 50] = 1.0
    assert bool((layer(x)[:, 50] != 0).any())
    # Dense features take the ordinary way.
    torch.manual_seed(0)
    dense = layer(torch.ones(50, 50))
    torch.manual_seed(0)
    assert torch.equal(dense, F.dropout(torch.ones(50, 50), 0.4))


def test_feature_dropout_copies_and_pickles_after_use():
    layer = FeatureDropout(0.5)
    layer(torch.eye(20))
    assert copy.deepcopy(layer).p == pickle.loads(pickle.dumps(layer)).p == 0.5


def test_features_are_normalized_as_by_pyg():
    torch.manual_seed(0)
    x = torch.rand(30, 12) * (torch.rand(30, 12) < 0.4) * 3
    x[3] = 0.0
    x[4] = 0.05
    expected = NormalizeFeatures()(Data(x=x.clone())).x
    layer = FeatureNorm()
    assert x.min() == 0
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x[5:9]), expected[5:9])
    assert torch.autograd.gradcheck(layer, x.double().requires_grad_())
    matrix = x.to_sparse_csr()
    with torch.inference_mode():
        first = layer(matrix)
    assert first.layout is torch.sparse_csr
    assert not first.is_inference()
    assert layer(matrix) is first
    torch.testing.assert_close(first.to_dense(), expected)
    torch.testing.assert_close(layer((2 * x).to_sparse_csr()).to_dense()[5:], expected[5:])
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    assert all(torch.equal(one(x), layer(x)) for one in copies)


@pytest.mark.parametrize("layer", ["gcn", "gat", "lcat", "sage"])
@pytest.mark.parametrize("recipe", [{}, {"residual": "linear", "linear_out": True}], ids=["plain", "recipe"])
def test_a_model_that_normalizes_features(layer, recipe):
    torch.manual_seed(0)
    x, edge_index = torch.rand(8, 5) * 4, torch.tensor([[0, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]])
    hyper = HyperParameters(hidden_channels=8, heads=2, **recipe)
    plain = build_model(layer, 5, 3, hyper).eval()
    model = build_model(layer, 5, 3, HyperParameters(**{**hyper.model_dump(), "normalize_features": True})).eval()
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model(x, edge_index), plain(x / x.sum(1, keepdim=True).clamp(min=1), edge_index))
    assert not torch.allclose(model(x, edge_index), plain(x, edge_index))


def theory(data, lambda1, lambda2, epochs=60):
    split = Split(data.train_mask, data.val_mask, data.test_mask)
    seed_everything(0)
    model = TheoryModel(data.num_features, lambda1, lambda2, lambda2_init=0.01)
    return fit(model, data, split, FitConfig(epochs=epochs, lr=0.05, weight_decay=0.0, patience=None))


def mean_test(regime, q, lambda1, lambda2):
    tests = [theory(csbm(n=400, q=q, regime=regime, seed=seed), lambda1, lambda2).test for seed in range(3)]
    return sum(tests) / 3


def test_easy_features_and_useless_neighbors_gat_wins():
    assert mean_test("easy", 0.5, 1.0, 0.0) > 0.99
    assert mean_test("easy", 0.5, 0.0, 0.0) < 0.65
    assert mean_test("easy", 0.5, 1.0, 1.0) < 0.65
    assert mean_test("easy", 0.5, None, None) > 0.99


def test_hard_features_and_good_neighbors_averages_win():
    gat = mean_test("hard", 0.1, 1.0, 0.0)
    assert 0.6 < gat < 0.8  # what a linear classifier of single nodes reaches
    assert mean_test("hard", 0.1, 0.0, 0.0) > 0.97
    assert mean_test("hard", 0.1, 1.0, 1.0) > 0.97
    assert mean_test("hard", 0.1, None, None) > 0.9


def test_cat_separates_edges_where_gat_cannot():
    """Mean attention on an edge inside a class over one across, in decades: CAT far above GAT."""
    data = csbm(n=400, q=0.1, regime="hard", seed=0)
    same = data.y[data.edge_index[0]] == data.y[data.edge_index[1]]
    decades = []
    for lambda2 in (0.0, 1.0):
        conv = TheoryModel(data.num_features, 1.0, lambda2).conv.eval()
        _, (edges, alpha) = conv(data.x, data.edge_index, return_attention_weights=True)
        alpha = alpha[: same.numel()].detach().view(-1)
        assert torch.equal(edges[:, : same.numel()], data.edge_index)
        decades.append(float((alpha[same].mean() / alpha[~same].mean()).log10()))
    assert decades[0] < 0.3
    assert decades[1] > 1.0


def test_theory_value_is_the_projection_on_the_means():
    data = csbm(n=100, q=0.0, p=0.3, regime="easy", seed=0)
    model = TheoryModel(data.num_features, 0.0, 0.0)
    with torch.no_grad():
        logits = model(data.x, data.edge_index)
    assert accuracy(logits, data.y) == 1.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HyperParameters(lr=-1), "^lr: must be greater than 0; got -1$"),
        (lambda: HyperParameters(lr="x", heads=0), r"^heads: must be at least 1; got 0 \| lr: must be a number"),
        (lambda: HyperParameters(hedas=2), r"^there is no setting 'hedas' \(did you mean heads\?\); settings are"),
        (lambda: HyperParameters(patience=0), "^patience: must be at least 1, or .* got 0$"),
        (lambda: HyperParameters(lr=float("nan")), "^lr: must be a finite number; got nan$"),
        (lambda: Overrides(dropout=1.5), "^dropout: must be less than 1; got 1.5$"),
        (lambda: Cell(dataset="cora", layer="gcn", seed="x", hyper=HyperParameters()), "^seed: must be a whole number"),
        (lambda: Noise(kind="edgs"), "^kind: must be one of 'none', 'edges' or 'features' .did you mean edges"),
        (lambda: Range(low=1), "^high: missing; settings are low, high, log, step$"),
        (lambda: StudyPlan(datasets=["cora"], layers=["gnc"], seeds=1), r"^layers: there is no layer 'gnc' \(did"),
        (lambda: Budget(cells=-1), "^cells: must be at least 1; got -1$"),
    ],
)  # fmt: skip
def test_errors_of_settings_are_one_line(make, words):
    with pytest.raises(ValueError, match=words) as error:
        make()
    assert "\n" not in str(error.value)
    assert type(error.value) is ValueError  # not pydantic's


def test_a_table_in_place_of_settings():
    with pytest.raises(TypeError, match="HyperParameters"):
        build_model("gcn", 3, 2, {"heads": 2})
