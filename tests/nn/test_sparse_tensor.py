"""torch_sparse.SparseTensor as edges: with the package where it is installed, else with a stand-in of its interface."""

from __future__ import annotations

import sys
import types

import pytest
import torch

import lcat.nn
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, LAYERS

EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5], [1, 0, 3, 3, 2, 0, 1]])


class _StandIn:
    """The part of SparseTensor's interface that lcat reads: a matrix [targets, sources] kept row by row."""

    def __init__(self, row, col, value=None, sparse_sizes=None):
        order = torch.argsort(row * sparse_sizes[1] + col, stable=True)
        self._row, self._col = row[order], col[order]
        self._value = None if value is None else value[order]
        self._sizes = sparse_sizes

    def coo(self):
        return self._row, self._col, self._value

    def size(self, dim):
        return self._sizes[dim]

    def sparse_sizes(self):
        return self._sizes


@pytest.fixture(params=["torch_sparse", "stand-in"])
def sparse_tensor(request, monkeypatch):
    if request.param == "torch_sparse":
        return pytest.importorskip("torch_sparse").SparseTensor
    module = types.ModuleType("torch_sparse")
    module.SparseTensor = _StandIn
    monkeypatch.setitem(sys.modules, "torch_sparse", module)
    return _StandIn


def _matrix(cls, value=None, sizes=(6, 6)):
    return cls(row=EDGES[1], col=EDGES[0], value=value, sparse_sizes=sizes)


@pytest.mark.parametrize("name", LAYERS)
def test_same_numbers(name, sparse_tensor):
    layer, x = getattr(lcat.nn, name)(8, 4), torch.randn(6, 8)
    assert_same(layer(x, _matrix(sparse_tensor)), layer(x, EDGES), "output", 1e-6)


def test_entries_are_weights_of_gcn(sparse_tensor):
    layer, x, weight = lcat.nn.GCNConv(8, 4), torch.randn(6, 8), torch.rand(7)
    assert_same(layer(x, _matrix(sparse_tensor, weight)), layer(x, EDGES, weight), "output", 1e-6)


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_comes_back_in_a_sparse_tensor(name, sparse_tensor):
    layer, x = getattr(lcat.nn, name)(8, 4, heads=2), torch.randn(6, 8)
    out, matrix = layer(x, _matrix(sparse_tensor), return_attention_weights=True)
    expected, (edge_index, alpha) = layer(x, EDGES, return_attention_weights=True)
    assert_same(out, expected, "output", 1e-6)
    assert isinstance(matrix, sparse_tensor)
    row, col, value = matrix.coo()
    dense = torch.zeros(6, 6, 2).index_put((row, col), value, accumulate=True)
    assert_same(dense, torch.zeros(6, 6, 2).index_put((edge_index[1], edge_index[0]), alpha, accumulate=True), "", 1e-6)


@pytest.mark.parametrize("name", ATTENTION)
def test_edge_features(name, sparse_tensor):
    x, attr = torch.randn(6, 8), torch.randn(7, 3)
    matrix = _matrix(sparse_tensor, attr)
    layer = getattr(lcat.nn, name)(8, 4, edge_dim=3, add_self_loops=False)
    assert_same(layer(x, matrix), layer(x, EDGES, edge_attr=attr), "output", 1e-6)
    with pytest.raises(NotImplementedError, match="add_self_loops=False"):
        getattr(lcat.nn, name)(8, 4, edge_dim=3)(x, matrix)


def test_wrong_size_and_flow(sparse_tensor):
    with pytest.raises(ValueError, match=r"made for 7 .*but there are 6"):
        lcat.nn.GATConv(8, 4)(torch.randn(6, 8), _matrix(sparse_tensor, sizes=(7, 7)))
    with pytest.raises(ValueError, match="target_to_source"):
        lcat.nn.GATConv(8, 4, flow="target_to_source")(torch.randn(6, 8), _matrix(sparse_tensor))


def test_targets_without_features(sparse_tensor):
    matrix = sparse_tensor(row=torch.tensor([0, 1]), col=torch.tensor([4, 2]), sparse_sizes=(3, 6))
    x = torch.randn(6, 8)
    edges = torch.tensor([[4, 2], [0, 1]])
    layer = lcat.nn.GATConv((8, 8), 4, add_self_loops=False)
    assert_same(layer((x, None), matrix), layer((x, None), edges, size=(6, 3)), "output", 1e-6)
