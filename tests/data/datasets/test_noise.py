"""Noise adds what it says and leaves the rest alone."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import is_undirected, to_undirected

from lcat.data import DataError, csbm, noisy_edges, noisy_features


def codes(data):
    row, col = data.edge_index
    return row * data.num_nodes + col


def ring(n, directed=False):
    edges = torch.stack([torch.arange(n), (torch.arange(n) + 1) % n])
    edges = edges if directed else to_undirected(edges)
    return Data(x=torch.randn(n, 4), edge_index=edges, y=torch.arange(n) % 2)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("level", [0.1, 0.5, 3.0])
def test_new_edges_are_new_and_as_many_as_asked(directed, level):
    data = ring(40, directed)
    noisy = noisy_edges(data, level, seed=1)
    count = round(40 * level) * (1 if directed else 2)
    assert noisy.num_edges == data.num_edges + count
    assert torch.equal(noisy.edge_index[:, : data.num_edges], data.edge_index)
    assert codes(noisy).unique().numel() == noisy.num_edges
    assert not noisy.has_self_loops()
    assert is_undirected(noisy.edge_index) != directed
    assert noisy.x is data.x
    assert torch.equal(noisy.y, data.y)


def test_a_graph_can_be_filled_and_no_more():
    data = ring(10)
    full = noisy_edges(data, 3.5, seed=0)
    assert full.num_edges == 90
    with pytest.raises(DataError, match="needs 36 new edges and the graph has room for 35"):
        noisy_edges(data, 3.6, seed=0)


def test_pairs_are_drawn_evenly():
    """Each of the 35 free pairs of a ring of ten comes about equally often, in the sparse and the dense way."""
    for level, drawn in ((0.5, 5), (2.0, 20)):
        seen = torch.zeros(100)
        for seed in range(600):
            noisy = noisy_edges(ring(10), level, seed)
            seen[codes(noisy)[20:]] += 1
        counts = seen[seen > 0]
        assert counts.numel() == 70
        expected = 600 * drawn / 35
        spread = (expected * (1 - drawn / 35)) ** 0.5
        assert float((counts - expected).abs().max()) < 4.5 * spread


def test_self_loops_and_index_types_stay():
    data = ring(20)
    data.edge_index = torch.cat([data.edge_index, torch.tensor([[3], [3]])], dim=1).int()
    noisy = noisy_edges(data, 0.5, seed=0)
    assert noisy.edge_index.dtype == torch.int32
    assert noisy.num_edges == 41 + 20


def test_features_get_noise_of_the_level():
    data = csbm(n=400, seed=0)
    noise = noisy_features(data, 0.5, seed=1).x - data.x
    assert abs(float(noise.std() / data.x.std()) - 0.5) < 0.03
    assert abs(float(noise.mean())) < 0.03 * float(data.x.std())
    assert torch.equal(noisy_features(data, 0.5, seed=1).x, noisy_features(data, 0.5, seed=1).x)
    assert torch.equal(noisy_features(data, 0.5, 1).edge_index, data.edge_index)


def test_the_seed_alone_decides():
    data = ring(40)
    torch.manual_seed(0)
    one = noisy_edges(data, 0.5, seed=4).edge_index
    torch.manual_seed(1)
    assert torch.equal(one, noisy_edges(data, 0.5, seed=4).edge_index)
    assert not torch.equal(one, noisy_edges(data, 0.5, seed=5).edge_index)


@pytest.mark.parametrize("level", [-0.1, float("nan"), float("inf")])
def test_refusals(level):
    for noise in (noisy_edges, noisy_features):
        with pytest.raises(DataError, match="level of noise must be 0 or more"):
            noise(ring(10), level, 0)


@pytest.mark.parametrize("noise", [noisy_edges, noisy_features])
def test_what_is_no_graph_or_no_level(noise):
    data = ring(10)
    for wrong in (data.edge_index, data.x, None, HeteroData(), {"x": data.x}):
        with pytest.raises(
            DataError, match=f"is for a torch_geometric.data.Data .*, got {type(wrong).__name__}: pass Da"
        ):
            noise(wrong, 0.1, 0)
    with pytest.raises(DataError, match=r"needs data.edge_index as a tensor \[2, E\], got NoneType"):
        noise(Data(x=data.x), 0.1, 0)
    for level in ("0.1", None, True, torch.ones(2)):
        with pytest.raises(DataError, match="level of noise must be a number"):
            noise(data, level, 0)
    assert noise(data, torch.tensor(0.5), 0).num_nodes == 10


def test_noise_on_features_needs_features():
    data = ring(10)
    with pytest.raises(DataError, match=r"needs data.x as a tensor of a floating-point type, got NoneType: set data.x"):
        noisy_features(Data(edge_index=data.edge_index, num_nodes=10), 0.1, 0)
    data.x = torch.ones(10, 2, dtype=torch.long)
    with pytest.raises(DataError, match=r"got torch.int64: .* data.x.float\(\)"):
        noisy_features(data, 0.1, 0)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_features_are_named(layout):
    data = csbm(n=40, seed=0)
    data.x = data.x.to_sparse(layout=layout)
    with pytest.raises(DataError, match=f"a dense data.x.*got {layout}.*to_dense"):
        noisy_features(data, 0.5, seed=0)
