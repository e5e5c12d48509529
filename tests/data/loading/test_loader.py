"""Batches are a function of the seed, the epoch and their number."""

from __future__ import annotations

import pytest
import torch
import torch_geometric.typing
from torch_geometric.sampler import BaseSampler, SamplerOutput

from lcat.data import NodeBatchLoader, SeedBatches, TorchNeighborSampler, csbm, neighbor_loader


@pytest.fixture
def data():
    data = csbm(n=120, seed=0)
    data.edge_attr = torch.arange(float(data.num_edges))
    return data


def seen(batches):
    return [(b.n_id.tolist(), b.e_id.tolist(), b.edge_index.tolist(), b.input_id.tolist()) for b in batches]


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


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
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
