"""Features that are mostly zero reach the layers as a sparse matrix; the numbers are those of the dense ones."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from lcat.study.models import sparse_input
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.layers import DEFAULT_LAYERS, build_model
from lcat.study.models.sparse_input import map_features, sparse_features

EDGES = torch.randint(0, 60, (2, 200), generator=torch.Generator().manual_seed(0))


def bags_of_words(width=200, share=0.03):
    torch.manual_seed(0)
    return torch.rand(60, width) * (torch.rand(60, width) < share)


@pytest.mark.parametrize("layer", [*DEFAULT_LAYERS, "sage", "transformer"])
@pytest.mark.parametrize(
    "recipe",
    [{}, {"residual": "linear", "norm": "batch"}, {"residual": "identity", "linear_in": True, "linear_out": True}],
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


def test_which_features_are_sparse():
    x = bags_of_words()
    matrix = sparse_features(x)
    assert sparse_features(x) is matrix
    assert torch.equal(matrix.to_dense(), x)
    x[0] = 1.0  # new contents are seen
    assert torch.equal(sparse_features(x).to_dense(), x)
    for other in (bags_of_words(100), bags_of_words(share=0.2), bags_of_words().half(), x.clone().requires_grad_()):
        assert sparse_features(other) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert sparse_features(x) is None


def test_a_matrix_lives_as_long_as_its_features():
    x = bags_of_words()
    sparse_features(x)
    number = id(x)
    assert number in sparse_input._seen
    del x
    gc.collect()
    assert number not in sparse_input._seen


def test_map_features():
    linear, x = nn.Linear(200, 3), bags_of_words()
    torch.testing.assert_close(map_features(linear, sparse_features(x)), map_features(linear, x))
