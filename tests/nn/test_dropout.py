"""Dropout of features in models: torch's where tensors are small, by counter where they are large."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import lcat.ops
from lcat.nn import Dropout, models
from lcat.nn.dropout import _MANY

MANY = (_MANY // 64, 64)


def drawn(drop, x, seed=0):
    torch.manual_seed(seed)
    return drop(x)


def test_small_tensors_have_the_numbers_of_torch():
    x = torch.randn(_MANY // 64 - 1, 64)
    assert torch.equal(drawn(Dropout(0.3), x), drawn(nn.Dropout(0.3), x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_tensors_are_dropped_by_counter(dtype):
    x = torch.randn(MANY, dtype=dtype, requires_grad=True)
    y = drawn(Dropout(0.25), x)
    assert torch.equal(y, drawn(lambda x: lcat.ops.dropout(x, 0.25), x))
    nonzero = y != 0
    # 16,384 draws: the share has a standard deviation of 0.0034.
    assert abs(nonzero.float().mean() - 0.75) < 0.02
    torch.testing.assert_close(y[nonzero], x[nonzero] / 0.75)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, nonzero.to(dtype) / 0.75)


def test_half_precision_is_that_of_torch():
    x = torch.ones(MANY, dtype=torch.bfloat16)
    assert torch.equal(drawn(Dropout(0.5), x), drawn(nn.Dropout(0.5), x))


def test_evaluation_returns_the_input():
    x = torch.ones(MANY)
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()


def test_in_place_is_that_of_torch():
    x = torch.ones(MANY)
    y = drawn(Dropout(0.5, inplace=True), x)
    assert y is x
    assert torch.equal(y, drawn(nn.Dropout(0.5), torch.ones(MANY)))


def test_it_is_a_dropout_of_torch():
    drop = Dropout(0.5)
    assert isinstance(drop, nn.Dropout)
    assert repr(drop) == "Dropout(p=0.5, inplace=False)"
    for twin in (copy.deepcopy(drop), pickle.loads(pickle.dumps(drop))):
        assert torch.equal(drawn(twin, torch.ones(MANY)), drawn(drop, torch.ones(MANY)))
    scripted = torch.jit.script(drop)
    assert torch.equal(drawn(scripted, torch.ones(MANY)), drawn(nn.Dropout(0.5), torch.ones(MANY)))
    assert torch.equal(scripted.eval()(torch.ones(MANY)), torch.ones(MANY))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Dropout(1.5), ValueError, "'p' of Dropout is 1.5"),
        (lambda: Dropout("half"), ValueError, "'p' of Dropout is 'half'"),
        (lambda: Dropout(0.5, inplace=2), ValueError, "'inplace' of Dropout is 2"),
        (lambda: Dropout(0.5)([1.0]), TypeError, "'input' of Dropout is a list"),
        (lambda: Dropout(0.5)(torch.ones(3, dtype=torch.long)), ValueError, "torch.int64; it takes a floating"),
    ],
)
def test_wrong_use(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_complex_numbers_are_dropped_whole():
    y = drawn(Dropout(0.5), torch.ones(100, dtype=torch.complex64) * (1 + 1j))
    assert set(y.tolist()) == {0j, 2 + 2j}


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC) tensor support")
def test_stored_entries_of_a_sparse_matrix_are_dropped(layout):
    torch.manual_seed(0)
    x = torch.randn(200, 200) * (torch.rand(200, 200) < 0.4)
    matrix = getattr(x, f"to_sparse_{layout}")()
    y = Dropout(0.25)(matrix)
    assert y.layout is matrix.layout
    y, stored = y.to_dense(), x != 0
    assert not y[~stored].any()
    torch.testing.assert_close(y[y != 0], x[y != 0] / 0.75)
    assert abs((y[stored] != 0).float().mean() - 0.75) < 0.02  # 16,000 draws
    assert Dropout(0.25).eval()(matrix) is matrix
    weight = torch.nn.Parameter(torch.ones(5, 200))
    nn.functional.linear(Dropout(0.25)(matrix), weight).sum().backward()
    assert weight.grad.any()


@pytest.mark.filterwarnings("ignore:Sparse BSR tensor support")
def test_layouts_without_a_dropout():
    with pytest.raises(ValueError, match=r"sparse_bsr: convert it with .to_dense\(\)"):
        Dropout(0.5)(torch.ones(4, 4).to_sparse_bsr((2, 2)))
    nested = torch.nested.nested_tensor([torch.ones(3), torch.ones(2)], layout=torch.jagged)
    assert Dropout(0.5)(nested).layout is torch.jagged


def test_entries_of_one_place_are_one_number():
    matrix = torch.sparse_coo_tensor(torch.tensor([[0, 0], [1, 1]]), torch.ones(2), (1, 2))
    seen = {Dropout(0.5)(matrix).to_dense()[0, 1].item() for _ in range(50)}
    assert seen == {0.0, 4.0}


@pytest.mark.parametrize("name", ["GCN", "GAT", "LCAT", "LCATv2", "LCATGCN2", "LCATv2GCN2"])
@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC) tensor support")
def test_models_train_on_sparse_features(name, layout):
    model = getattr(models, name)(8, 16, 2, out_channels=3, dropout=0.5)
    edges, x = torch.tensor([[0, 1, 2], [1, 0, 0]]), torch.eye(8)[:3]
    matrix = getattr(x, f"to_sparse_{layout}")()
    model(matrix, edges).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    torch.testing.assert_close(model(matrix, edges), model(x, edges))


@pytest.mark.parametrize("name", ["GCN", "LCAT", "LCATGCN2"])
def test_models_drop_features_by_it(name, monkeypatch):
    calls = []
    monkeypatch.setattr("lcat.nn.dropout.dropout", lambda x, p: calls.append(x.shape) or lcat.ops.dropout(x, p))
    model = getattr(models, name)(8, 64, 2, out_channels=3, dropout=0.5)
    edges = torch.tensor([[0, 1], [1, 0]])
    model(torch.randn(MANY[0], 8), edges)
    assert calls
    assert set(calls) == {MANY}
    calls.clear()
    model.eval()(torch.randn(MANY[0], 8), edges)
    model.train()(torch.randn(MANY[0] - 1, 8), edges)
    assert not calls


def test_compiled_models_use_that_of_torch():
    drop = Dropout(0.5)
    explanation = torch._dynamo.explain(lambda x: drop(x) + 1)(torch.ones(MANY))
    assert explanation.graph_break_count == 0
    [module] = explanation.graphs
    assert "lcat" not in module.code
