"""Random walks walk along edges, repeat by seed, and cut out whole subgraphs."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from lcat.ogb.walks import WalkBatches
from lcat.train.distributed import Processes
from tests.ogb.ogb_support import random_graph


def batches(graph, roots=6, length=2, steps=4, group=None, seed=0):
    return WalkBatches(graph, roots, length, steps, seed, group or Processes())


def test_subgraphs_are_whole_and_belong_together():
    graph = random_graph(edge_dim=3)
    pairs = {pair: row for row, pair in enumerate(map(tuple, graph.edge_index.t().tolist()))}
    for batch in batches(graph).epoch(0):
        assert batch.x.equal(graph.x[batch.n_id])
        assert batch.y.equal(graph.y[batch.n_id])
        assert batch.train_mask.equal(graph.train_mask[batch.n_id])
        found = list(map(tuple, batch.n_id[batch.edge_index].t().tolist()))
        inside = set(batch.n_id.tolist())
        assert sorted(found) == sorted(pair for pair in pairs if set(pair) <= inside)
        assert batch.edge_attr.equal(graph.edge_attr[[pairs[pair] for pair in found]])


def test_walks_go_along_edges_and_stay_where_there_is_none():
    ring = Data(edge_index=torch.stack([torch.arange(50), (torch.arange(50) + 1) % 50]), num_nodes=60)
    ring.x = torch.zeros(60, 1)
    for batch in batches(ring, roots=1, length=4, steps=40).epoch(0):
        nodes = batch.n_id.tolist()
        if nodes[0] >= 50:
            assert len(nodes) == 1  # no in-edge: the walk stays
        else:
            assert len(nodes) == 5  # five in a row on the ring
            assert any({(start - k) % 50 for k in range(5)} == set(nodes) for start in nodes)


def test_every_neighbour_is_as_likely():
    star = Data(edge_index=torch.stack([torch.arange(1, 5), torch.zeros(4, dtype=torch.long)]), num_nodes=5)
    star.x = torch.zeros(5, 1)
    counts = torch.zeros(5)
    for batch in batches(star, roots=1, length=1, steps=4000).epoch(0):
        if batch.n_id[0] == 0 and batch.n_id.numel() == 2:
            counts[batch.n_id[1]] += 1
    expected = counts.sum() / 4
    assert (
        float(((counts[1:] - expected) ** 2 / expected).sum()) < 16.3
    )  # chi squared, three degrees, one in a thousand


def test_repeats_by_seed_and_starts_anywhere():
    graph = random_graph()
    one, two = (list(batches(graph).epoch(3)) for _ in range(2))
    assert all(a.n_id.equal(b.n_id) for a, b in zip(one, two, strict=True))
    rest = list(batches(graph).epoch(3, 2))
    assert [batch.n_id.tolist() for batch in rest] == [batch.n_id.tolist() for batch in one[2:]]
    others = [next(iter(batches(graph, seed=seed).epoch(epoch))).n_id for seed, epoch in ((1, 3), (0, 4))]
    assert not any(other.equal(one[0].n_id) for other in others)
    assert len(batches(graph)) == len(one)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_walks(world_size):
    graph = random_graph()
    [whole] = batches(graph, steps=1).epoch(0)
    parts = [next(batches(graph, steps=1, group=Processes(rank, world_size)).epoch(0)) for rank in range(world_size)]
    assert torch.cat([part.n_id for part in parts]).unique().equal(whole.n_id)
