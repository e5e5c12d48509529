"""Features that are mostly zero reach the layers as a sparse matrix; the numbers are those of the dense ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lcat.ops import sparse_features
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.layers import DEFAULT_LAYERS, build_model
from lcat.study.models.sparse_input import map_features

EDGES = torch.randint(0, 60, (2, 200), generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def small_features_are_sparse(monkeypatch):
    monkeypatch.setattr("lcat.ops._aggregate.sparse_features._MIN_SIZE", 1)


def bags_of_words():
    torch.manual_seed(0)
    return torch.rand(60, 200) * (torch.rand(60, 200) < 0.03)


@pytest.mark.parametrize("layer", [*DEFAULT_LAYERS, "sage", "transformer"])
@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"residual": "linear", "norm": "batch", "normalize_features": True},
        {"residual": "identity", "linear_in": True, "linear_out": True},
    ],
    ids=["plain", "skips", "linear ends"],
)
def test_outputs_and_gradients(layer, recipe, monkeypatch):
    torch.manual_seed(0)
    x, model = bags_of_words(), build_model(layer, 200, 4, HyperParameters(hidden_channels=16, heads=2, **recipe))
    model.eval()
    seen = []
    gnn = model.gnn.forward
    monkeypatch.setattr(
        model.gnn, "forward", lambda x, *rest, **named: (seen.append(x.layout), gnn(x, *rest, **named))[1]
    )
    out = model(x, EDGES)
    monkeypatch.setattr("lcat.study.models.classifier.sparse_features", lambda x: None)
    expected = model(x, EDGES)
    assert seen == [torch.sparse_csr, torch.strided]
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    weights = list(model.parameters())
    pairs = [torch.autograd.grad(y.square().sum(), weights, allow_unused=True) for y in (out, expected)]
    for gradient, other in zip(*pairs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-4)


def test_an_identity_skip_of_the_features():
    model = build_model("gcn", 200, 4, HyperParameters(hidden_channels=200, residual="identity")).eval()
    x = bags_of_words()
    torch.testing.assert_close(model(x, EDGES), model.gnn(x, EDGES), rtol=1e-4, atol=1e-5)


def test_map_features():
    linear, x = nn.Linear(200, 3), bags_of_words()
    torch.testing.assert_close(map_features(linear, sparse_features(x)), map_features(linear, x))
