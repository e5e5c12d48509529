"""Batches are a function of the seed, the epoch and their number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch_geometric.typing
from torch_geometric import EdgeIndex
from torch_geometric.data import Data, HeteroData
from torch_geometric.sampler import BaseSampler, NodeSamplerInput, SamplerOutput

from lcat.data import (
    CSCGraph,
    FeatureFile,
    NodeBatchLoader,
    SeedBatches,
    SubgraphLoader,
    TorchNeighborSampler,
    csbm,
    neighbor_loader,
    open_stores,
    partition_loader,
    random_walk_loader,
)
from lcat.graph import Graph
from lcat.nn.models import GAT
from lcat.ops import _native
from tests.support.long import long


@pytest.fixture
def data():
    data = csbm(n=120, seed=0)
    data.edge_attr = torch.arange(float(data.num_edges))
    return data


def seen(batches):
    return [(b.n_id.tolist(), b.e_id.tolist(), b.edge_index.tolist(), b.input_id.tolist()) for b in batches]


@pytest.mark.parametrize("workers", [0, 1])
def test_edges_come_grouped(data, workers, monkeypatch):
    """The same edges; layers, trimmed or not, compute the same and sort nothing."""
    options = {"batch_size": 16, "backend": "torch", "num_workers": workers}
    plain, grouped = (
        list(neighbor_loader(data, [3, 3], data.train_mask, group_edges=group, **options)) for group in (False, True)
    )
    assert seen(plain) == seen(grouped)
    model = GAT(data.num_features, 8, 2, out_channels=2, heads=2).eval()
    names = ("num_sampled_nodes", "num_sampled_edges")
    for batch, other in zip(plain, grouped, strict=True):
        assert isinstance(other.edge_index, EdgeIndex)
        hops = [{f"{name}_per_hop": one[name] for name in names} for one in (batch, other)]
        for first, second in ({}, {}), hops:
            expected = model(batch.x, batch.edge_index, **first)[: batch.batch_size]
            with monkeypatch.context() as patch:
                for name in ("group_edges", "transpose_groups"):
                    patch.setattr(_native, name, None)
                if not first:
                    patch.setattr(Graph, "grouped", None)
                    out = model(other.x, other.edge_index, **second)[: batch.batch_size]
                    out.sum().backward()
            if first:
                out = model(other.x, other.edge_index, **second)[: batch.batch_size]
            torch.testing.assert_close(out, expected)


def test_grouped_edges_of_relations_and_matrices():
    data = HeteroData()
    data["a"].x, data["b"].x = torch.randn(6, 2), torch.randn(4, 2)
    data["a", "to", "b"].edge_index = torch.tensor([[0, 1, 2, 5, 5], [3, 0, 3, 1, 0]])
    data["b", "to", "a"].edge_index = torch.tensor([[3, 0], [0, 1]])
    [batch] = neighbor_loader(data, [-1], ("b", None), batch_size=4, backend="torch", group_edges=True)
    for relation in batch.edge_types:
        edges = batch[relation].edge_index
        assert isinstance(edges, EdgeIndex)
        assert edges.sparse_size() == (batch[relation[0]].num_nodes, batch[relation[2]].num_nodes)
        assert edges._T_perm is not None
        edges.validate()
    moved = batch.to("cpu", non_blocking=True)
    assert moved["a", "to", "b"].edge_index._indptr is not None
    data = csbm(n=40, seed=0)

    def turned(batch):
        batch.edge_index = batch.edge_index.flip(1)
        return batch

    [batch] = neighbor_loader(data, [2], batch_size=40, backend="torch", group_edges=True, transform=turned)
    assert type(batch.edge_index) is torch.Tensor
    with pytest.raises(ValueError, match="group_edges"):
        neighbor_loader(data, [2], batch_size=40, group_edges="yes")


def test_every_seed_once_an_epoch(data):
    loader = neighbor_loader(data, [3, 3], data.train_mask, batch_size=16, shuffle=True, backend="torch")
    nodes = torch.cat([batch.n_id[: batch.batch_size] for batch in loader])
    assert torch.equal(nodes.sort().values, data.train_mask.nonzero().flatten())
    for batch in loader:
        assert torch.equal(batch.x, data.x[batch.n_id])
        assert torch.equal(batch.edge_attr, data.edge_attr[batch.e_id])
        assert torch.equal(batch.n_id[batch.edge_index], data.edge_index[:, batch.e_id])


def test_epochs_differ_and_repeat(data):
    first = neighbor_loader(data, [3, 2], batch_size=50, shuffle=True, seed=7, backend="torch")
    epochs = [seen(first) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    second = neighbor_loader(data, [3, 2], batch_size=50, shuffle=True, seed=7, backend="torch")
    assert seen(second.epoch(2)) == epochs[2]
    assert seen(second) == seen(first), "after epoch 2 comes epoch 3"
    assert seen(neighbor_loader(data, [3, 2], batch_size=50, shuffle=True, seed=8, backend="torch")) != epochs[0]
    assert seen(second.epoch(1, batch=1)) == epochs[1][1:]
    # Two epochs at a time, asked for before either is begun.
    pairs = list(zip(second.epoch(2), second.epoch(0), strict=True))
    assert [seen(part) for part in zip(*pairs, strict=True)] == [epochs[2], epochs[0]]


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), long("spawn", 1)])
def test_workers_change_nothing(data, context, workers):
    alone = neighbor_loader(data, [3, 2], batch_size=40, shuffle=True, seed=1, backend="torch")
    shared = neighbor_loader(
        data, [3, 2], batch_size=40, shuffle=True, seed=1, backend="torch",
        num_workers=workers, multiprocessing_context=context, persistent_workers=True,
    )  # fmt: skip
    for _ in range(2):
        assert seen(shared) == seen(alone)


def test_processes_share_the_batches_of_one(data):
    alone = neighbor_loader(data, [-1], batch_size=32, shuffle=True, seed=3, backend="torch")
    parts = [
        neighbor_loader(data, [-1], batch_size=32, shuffle=True, seed=3, rank=rank, world_size=3, backend="torch")
        for rank in range(3)
    ]
    assert {len(part) for part in parts} == {len(alone)}
    for whole, *shares in zip(alone, *parts, strict=True):
        dealt = torch.cat([share.input_id for share in shares])
        assert torch.equal(dealt.sort().values, whole.input_id.sort().values)
        assert max(share.batch_size for share in shares) - min(share.batch_size for share in shares) <= 1


def test_a_sampler_of_another_make_is_seeded_too(data):
    """PyG's own samplers draw from torch's generator: stands for them where their library is missing."""

    class Draws(BaseSampler):
        def sample_from_nodes(self, index, **kwargs):
            none = torch.empty(0, dtype=torch.long)
            node = torch.cat([index.node, torch.randint(0, 120, (2,))])
            return SamplerOutput(node, none, none, none, metadata=(index.input_id, index.time))

        def sample_from_edges(self, index, neg_sampling=None):
            raise NotImplementedError

    loader = NodeBatchLoader(data, Draws(), batch_size=30, shuffle=True, seed=2)
    state = torch.get_rng_state()
    first = [batch.n_id.tolist() for batch in loader.epoch(0)]
    assert torch.equal(torch.get_rng_state(), state), "the caller's generator is left alone"
    torch.rand(5)
    assert first == [batch.n_id.tolist() for batch in loader.epoch(0)]
    assert first != [batch.n_id.tolist() for batch in loader.epoch(1)]


def test_called_like_any_node_loader(data):
    loader = neighbor_loader(data, [3], batch_size=30, backend="torch")
    assert loader([4, 5]).n_id[:2].tolist() == [4, 5]
    assert len(loader.dataset) == 120


def test_drop_last_and_lengths():
    assert [len(SeedBatches(10, 4, drop_last=drop)) for drop in (False, True)] == [3, 2]
    assert len(list(SeedBatches(10, 4, drop_last=True))) == 2
    assert [b.positions.tolist() for b in SeedBatches(5, 2)] == [[0, 1], [2, 3], [4]]
    assert list(SeedBatches(0, 2)) == []


def test_refusals(data):
    with pytest.raises(ValueError, match="batch_size must be 1 or more; got 0"):
        SeedBatches(5, 0)
    with pytest.raises(ValueError, match=r"rank must lie in 0 .. world_size - 1 = 1; got 2"):
        SeedBatches(5, 2, rank=2, world_size=2)
    with pytest.raises(ValueError, match="3 batches; got epoch 0, batch 4"):
        SeedBatches(5, 2).start_at(0, 4)
    with pytest.raises(TypeError, match="no 'generator'"):
        NodeBatchLoader(data, TorchNeighborSampler(data, [1]), generator=torch.Generator())
    with pytest.raises(ValueError, match="backend must be one of auto, torch, pyg; got 'dgl'"):
        neighbor_loader(data, [1], backend="dgl")
    with pytest.raises(TypeError, match=r"whole numbers or a boolean mask; got torch.float32"):
        neighbor_loader(data, [1], torch.tensor([0.5]))
    with pytest.raises(ValueError, match=r"mask of 3 entries, and the graph has 120 nodes"):
        neighbor_loader(data, [1], torch.ones(3, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"no 'subgraph_type', unlike PyG's NodeLoader"):
        neighbor_loader(data, [1], subgraph_type="induced")


@pytest.mark.skipif(
    torch_geometric.typing.WITH_PYG_LIB or torch_geometric.typing.WITH_TORCH_SPARSE, reason="a native library is there"
)
def test_pyg_without_its_libraries(data):
    with pytest.raises(ImportError, match="backend='torch' does without"):
        neighbor_loader(data, [1], backend="pyg")


@pytest.fixture
def typed():
    graph = HeteroData()
    graph["a"].x, graph["b"].x = torch.randn(6, 2), torch.randn(10, 2)
    graph["b", "to", "a"].edge_index = torch.stack([torch.randint(10, (30,)), torch.randint(6, (30,))])
    return graph


@pytest.fixture
def stores(data, tmp_path):
    CSCGraph.from_edges(data.edge_index, 120).save(tmp_path / "graph")
    FeatureFile.write(tmp_path / "x.npy", data.x)
    return open_stores(tmp_path)


@pytest.mark.parametrize(
    ("kind", "seeds", "error", "words"),
    [
        ("data", np.array([0.5, 1.0]), TypeError, "whole numbers or a boolean mask; got torch.float64"),
        ("data", [1.5], TypeError, "whole numbers or a boolean mask; got torch.float32"),
        ("data", np.array([True, False]), ValueError, "a mask of 2 entries, and the graph has 120 nodes"),
        ("data", torch.ones(120, 1).bool(), ValueError, r"a mask of \[120, 1\] entries"),
        ("data", torch.tensor([[1, 2]]), ValueError, r"a vector of node numbers; got \[1, 2\]"),
        ("data", [0, 120], ValueError, "numbered 0 .. 119; got 0 .. 120"),
        ("data", [-1], ValueError, "numbered 0 .. 119; got -1 .. -1"),
        ("data", ("a", [1]), ValueError, "have no types; got the type 'a'"),
        ("data", "train", TypeError, "whole numbers or a boolean mask; got str"),
        ("typed", ("a", torch.ones(4).bool()), ValueError, "a mask of 4 entries, and of type 'a' there are 6 nodes"),
        ("typed", ("a", np.ones(7, dtype=bool)), ValueError, "a mask of 7 entries, and of type 'a' there are 6 nodes"),
        ("typed", ("b", [10]), ValueError, "numbered 0 .. 9; got 10 .. 10"),
        ("typed", ("c", None), ValueError, "no nodes of type 'c'; there are 'a', 'b'"),
        ("typed", None, ValueError, r"a type or \(type, nodes\), with one of 'a', 'b'"),
        ("typed", torch.arange(3), ValueError, r"a type or \(type, nodes\)"),
        ("stores", torch.ones(3).bool(), ValueError, "a mask of 3 entries, and the graph has 120 nodes"),
        ("stores", [120], ValueError, "numbered 0 .. 119"),
    ],
)
def test_seeds_fit_the_graph(kind, seeds, error, words, request):
    with pytest.raises(error, match=words):
        neighbor_loader(request.getfixturevalue(kind), [2], seeds, 200, backend="torch")


@pytest.mark.parametrize(
    ("kind", "seeds", "nodes"),
    [
        ("data", None, range(120)),
        ("data", [3, 1], [3, 1]),
        ("data", [], []),
        ("data", np.array([3, 1]), [3, 1]),
        ("data", np.arange(120) == 7, [7]),
        ("data", (torch.arange(120) == 7).tolist(), [7]),
        ("typed", "a", range(6)),
        ("typed", ("a", None), range(6)),
        ("typed", ("b", torch.arange(10) > 7), [8, 9]),
        ("stores", None, range(120)),
        ("stores", torch.arange(120) == 7, [7]),
    ],
)
def test_seeds_in_every_form(kind, seeds, nodes, request):
    loader = neighbor_loader(request.getfixturevalue(kind), [2], seeds, 200, backend="torch")
    batches = list(loader)
    name = seeds if isinstance(seeds, str) else seeds[0] if isinstance(seeds, tuple) else None
    stores_of = [batch if name is None else batch[name] for batch in batches]
    assert [n for store in stores_of for n in store.n_id[: store.batch_size].tolist()] == list(nodes)


def test_numbers_may_be_those_of_numpy(data):
    plain = Data(edge_index=data.edge_index, num_nodes=np.int64(120))
    loader = neighbor_loader(plain, [np.int64(2)], batch_size=np.int64(50), seed=np.int64(1), backend="torch")
    assert [batch.batch_size for batch in loader] == [50, 50, 20]
    assert {type(value) for value in loader.signature().values()} <= {int, bool, str}
    for wrong in (50.0, "3"):
        with pytest.raises(ValueError, match="batch_size must be a whole number"):
            neighbor_loader(data, [2], batch_size=wrong, backend="torch")
    with pytest.raises(ValueError, match="num_neighbors must be a list"):
        neighbor_loader(data, 5, backend="torch")


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo, torch.sparse_csc])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_sparse_matrix_gives_batches_with_one(layout, workers):
    """What ``T.ToSparseTensor()`` makes without torch-sparse."""
    edges = torch.randint(30, (2, 90)).unique(dim=1)
    values = torch.arange(1.0, edges.shape[1] + 1)
    matrix = torch.sparse_coo_tensor(edges.flip(0), values, (30, 30)).coalesce()
    whole = matrix.to_dense()
    if layout != torch.sparse_coo:
        matrix = matrix.to_sparse(layout=layout)
    data = Data(x=torch.randn(30, 2), adj_t=matrix)
    seen = []
    loader = neighbor_loader(
        data, [-1], batch_size=7, backend="torch", num_workers=workers, transform=lambda batch: seen.append(1) or batch
    )
    for batch in loader:
        assert batch.adj_t.layout == layout
        assert "edge_index" not in batch
        dense = batch.adj_t.to_dense()
        assert torch.equal(dense[: batch.batch_size], whole[batch.n_id][:, batch.n_id][: batch.batch_size])
        assert torch.equal(batch.x, data.x[batch.n_id])
    assert workers or len(seen) == 5
    assert "adj_t" in data, "the data are as they were"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"time_attr": "time"}, "no 'time_attr', unlike PyG's NodeLoader: there is no temporal sampling"),
        ({"is_sorted": True}, "no 'is_sorted', unlike PyG's NodeLoader: edges may come in any order"),
        ({"num_worker": 1}, r"no 'num_worker' \(did you mean num_workers"),
        ({"batch_sampler": [[0]]}, "no 'batch_sampler': its batches follow"),
    ],
)
def test_options_that_loaders_do_not_have(data, options, words):
    with pytest.raises(TypeError, match=words):
        neighbor_loader(data, [1], backend="torch", **options)


def test_subgraphs_name_what_they_need(data):
    edges = data.edge_index
    matrix = torch.sparse_coo_tensor(edges.flip(0), torch.ones(edges.shape[1]), (120, 120))
    for wrong in (Data(adj_t=matrix, num_nodes=120), Data(edge_index=edges, adj_t=matrix, num_nodes=120)):
        with pytest.raises(ValueError, match="subgraphs are cut from"):
            random_walk_loader(wrong, 5, 2, 2)
    with pytest.raises(TypeError, match="takes no 'shuffle': its batches are those of 'batches'"):
        random_walk_loader(data, 5, 2, 2, shuffle=True)
    with pytest.raises(TypeError, match="no 'walks'"):
        partition_loader(data, 3, method="grown", walks=3)
    plain = Data(edge_index=edges, num_nodes=np.int64(120))
    assert len(list(random_walk_loader(plain, 5, 2, 2))) == 2
    assert sum(batch.num_nodes for batch in partition_loader(plain, 3, method="grown")) == 120


@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR) tensor support")
@pytest.mark.parametrize(
    "make",
    [
        lambda data: neighbor_loader(data, [3, 2], batch_size=50),
        lambda data: random_walk_loader(data, 20, 2, 2),
        lambda data: partition_loader(data, 4),
        lambda data: SubgraphLoader(data, lambda batch: batch.positions, SeedBatches(data.num_nodes, 40)),
    ],
    ids=["neighbors", "walks", "parts", "own"],
)
def test_features_in_a_sparse_matrix(make):
    data = csbm(n=120, seed=0)
    data.x = data.x * (data.x > 0)
    dense = data.clone()
    data.x = dense.x.to_sparse_coo()
    for batch, expected in zip(make(data), make(dense), strict=True):
        assert torch.equal(batch.n_id, expected.n_id)
        assert torch.equal(batch.x.to_dense(), expected.x)
    data.x = dense.x.to_sparse_csr()
    with pytest.raises(ValueError, match=r"rows of 'x', .*sparse_csr: use \.to_dense\(\), or \.to_sparse_coo\(\)"):
        make(data)
    for matrix in (dense.x.to_sparse_csc(), dense.x.to_sparse_bsr((1, 1))):
        data.x = matrix
        with pytest.raises(ValueError, match="rows of 'x', which torch cannot"):
            make(data)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_features_of_types_in_a_sparse_matrix():
    data = HeteroData()
    data["a"].x = torch.eye(4)
    data["b"].words, data["b"].num_nodes = torch.eye(4).to_sparse_csr(), 4
    data["a", "to", "b"].edge_index = torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="rows of 'words'"):
        neighbor_loader(data, [2], "b")


def test_a_graph_alone_has_no_batches():
    graph = CSCGraph.from_edges(torch.tensor([[0], [1]]), 2)
    with pytest.raises(TypeError, match="got a CSCGraph, which has no features: put it into a FileGraphStore"):
        neighbor_loader(graph, [2])


@pytest.mark.parametrize("arguments", [("0",), (0.5,), (None,), (True,), (0, "1")])
def test_epochs_and_batches_are_whole_numbers(arguments):
    data = csbm(n=20, seed=0)
    halves = SubgraphLoader(data, lambda batch: batch.positions, SeedBatches(20, 10))
    for loader in (neighbor_loader(data, [2]), halves):
        with pytest.raises(ValueError, match="epoch and batch must be whole numbers"):
            loader.epoch(*arguments)
    with pytest.raises(ValueError, match="epoch and batch must be whole numbers"):
        next(SeedBatches(20, 10).epoch(*arguments))


def test_a_transform_is_a_function():
    data = csbm(n=20, seed=0)
    with pytest.raises(TypeError, match="transform must be a function of a batch, or None; got 'T'"):
        neighbor_loader(data, [2], transform="T")
    with pytest.raises(TypeError, match="transform must be a function of a batch, or None; got 'T'"):
        SubgraphLoader(data, lambda batch: batch.positions, SeedBatches(20, 10), transform="T")


def test_seeds_of_bytes_are_ambiguous():
    data = csbm(n=20, seed=0)
    with pytest.raises(TypeError, match=r"uint8 may be a mask or numbers: pass \.bool\(\)"):
        neighbor_loader(data, [2], data.train_mask.to(torch.uint8))
    with pytest.raises(TypeError, match=r"uint8 may be a mask or numbers: pass \.bool\(\)"):
        neighbor_loader(data, [2], data.train_mask.numpy().astype("uint8"))
    seeds = NodeSamplerInput(None, data.train_mask.to(torch.uint8))
    with pytest.raises(TypeError, match="seed nodes of type uint8"):
        TorchNeighborSampler(data, [2]).sample_from_nodes(seeds)


@pytest.mark.parametrize("name", ["rank", "world_size"])
def test_numbers_of_processes_are_whole(name):
    for value in ("0", 1.5, None):
        with pytest.raises(ValueError, match=f"{name} must be a whole number; got {value!r}"):
            neighbor_loader(csbm(n=20, seed=0), [2], **{name: value})


@pytest.mark.parametrize("seed", ["a", 0.5])
def test_a_seed_is_checked_before_the_first_batch(seed):
    with pytest.raises(TypeError, match=f"expected a whole number as seed, got {seed!r}"):
        neighbor_loader(csbm(n=20, seed=0), [2], seed=seed)
