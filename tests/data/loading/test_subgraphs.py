"""Subgraphs of random walks and of parts: what is in them, and how often."""

from __future__ import annotations

import pytest
import torch
import torch_geometric.typing
from scipy import stats
from torch_geometric.data import Data
from torch_geometric.loader import RandomNodeLoader
from torch_geometric.utils import stochastic_blockmodel_graph, subgraph

from lcat.data import (
    CSCGraph,
    SeedBatches,
    SeededLoader,
    SubgraphLoader,
    csbm,
    partition_loader,
    partition_nodes,
    random_walk_loader,
)
from lcat.nn.models import GAT
from lcat.train import MinibatchConfig, NodeObjective, WholeGraph, fit_minibatch


@pytest.fixture
def data():
    data = csbm(n=150, q=0.05, regime="easy", seed=0)
    data.edge_attr = torch.arange(float(data.num_edges))
    data.name = "kept"
    return data


def seen(batches):
    return [(batch.n_id.tolist(), batch.e_id.tolist()) for batch in batches]


@pytest.mark.parametrize(
    "loader_of",
    [
        lambda data, **o: random_walk_loader(data, 20, 2, 4, **o),
        lambda data, **o: partition_loader(data, 8, 3, **o),
    ],
    ids=["walks", "parts"],
)
def test_batches_are_induced_subgraphs_and_repeat(data, loader_of):
    loader = loader_of(data, seed=3)
    epochs = [seen(loader), seen(loader)]
    assert epochs[0] != epochs[1]
    assert seen(loader_of(data, seed=3, num_workers=1).epoch(1)) == epochs[1]
    assert seen(loader.epoch(1, 2)) == epochs[1][2:]
    for batch in loader.epoch(0):
        wanted, attr = subgraph(batch.n_id, data.edge_index, data.edge_attr, relabel_nodes=True, num_nodes=150)
        order = torch.argsort(batch.e_id)
        assert torch.equal(batch.edge_index[:, order], wanted)
        assert torch.equal(batch.edge_attr[order], attr)
        assert torch.equal(batch.x, data.x[batch.n_id])
        assert torch.equal(batch.train_mask, data.train_mask[batch.n_id])
        assert bool((batch.edge_index[1].diff() >= 0).all())
        assert batch.name == "kept"


def test_walks_are_uniform():
    """From either end of a path walks step to each neighbor with probability 1 / degree; a sink is not left."""
    edge_index = torch.tensor([[0, 0, 0, 1, 2], [1, 2, 3, 0, 0]])  # 3 has no way on
    loader = random_walk_loader(Data(edge_index=edge_index, num_nodes=4), 1, 1, 4000, seed=1)
    counts: dict[tuple, int] = {}
    for batch in loader:
        counts[tuple(batch.n_id.tolist())] = counts.get(tuple(batch.n_id.tolist()), 0) + 1
    # {0, 1}: from 0 by a third, from 1 always; {0, 2} the same; {0, 3}: from 0; {3}: stays.
    wanted = {(0, 1): 1 / 12 + 1 / 4, (0, 2): 1 / 12 + 1 / 4, (0, 3): 1 / 12, (3,): 1 / 4}
    assert set(counts) == set(wanted)
    assert stats.chisquare([counts[key] for key in wanted], [4000 * p for p in wanted.values()]).pvalue > 1e-4


def test_walks_of_several_processes_are_different(data):
    parts = [random_walk_loader(data, 21, 0, 3, rank=rank, world_size=2) for rank in range(2)]
    for one, two in zip(*parts, strict=True):
        assert one.num_nodes <= 11
        assert two.num_nodes <= 10
        assert one.n_id.tolist() != two.n_id.tolist()


@pytest.mark.skipif(not torch_geometric.typing.WITH_TORCH_SPARSE, reason="needs torch-sparse")
def test_walks_agree_with_pyg_in_distribution(data):
    from torch_geometric.loader import GraphSAINTRandomWalkSampler

    counts = []
    for loader in (
        random_walk_loader(data, 10, 3, 2000),
        GraphSAINTRandomWalkSampler(Data(edge_index=data.edge_index, num_nodes=150), 10, 3, num_steps=2000),
    ):
        sizes = [min(batch.num_nodes, 40) for batch in loader]
        counts.append(torch.bincount(torch.tensor(sizes), minlength=41))
    table = torch.stack(counts)
    assert stats.chi2_contingency(table[:, table.sum(0) > 10].numpy()).pvalue > 1e-4


def test_every_node_is_in_one_part(data):
    for method in ("grown", "random", "auto"):
        loader = partition_loader(data, 7, 2, method=method)
        assert len(loader) == 4
        nodes = torch.cat([batch.n_id for batch in loader])
        assert torch.equal(nodes.sort().values, torch.arange(150))


def test_partition_are_even_and_cut_few_edges():
    torch.manual_seed(0)
    blocks = 20
    probability = torch.full((blocks, blocks), 0.002).fill_diagonal_(0.2)
    edge_index = stochastic_blockmodel_graph([60] * blocks, probability)
    graph = Data(edge_index=edge_index, num_nodes=60 * blocks)

    def cut(part):
        return float((part[edge_index[0]] != part[edge_index[1]]).double().mean())

    grown, drawn = (partition_nodes(graph, 5, method=method) for method in ("grown", "random"))
    assert grown.bincount().max() < 1.5 * 240
    assert cut(grown) < 0.75 * cut(drawn)
    assert torch.equal(grown, partition_nodes(graph, 5, method="grown"))


def test_parts_of_an_odd_graph():
    graph = Data(edge_index=torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]), num_nodes=40)  # most nodes have no edge
    part = partition_nodes(graph, 6, method="grown")
    assert part.bincount(minlength=6).tolist() == [7, 7, 7, 7, 6, 6]
    assert partition_nodes(Data(edge_index=torch.empty(2, 0).long(), num_nodes=2), 5, method="grown").max() < 5


def test_trains_on_walks_and_on_parts(data):
    evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask})
    for loader in (
        random_walk_loader(data, 30, 2, 5),
        partition_loader(data, 6, 2),
        SeededLoader(RandomNodeLoader(data, num_parts=3, shuffle=True)),
    ):
        torch.manual_seed(0)
        model = GAT(data.num_features, 8, 1, 2)
        config = MinibatchConfig(epochs=12, lr=0.05)
        assert fit_minibatch(model, loader, evaluate, config, objective=NodeObjective(mask="train_mask")).test > 0.9


def test_a_foreign_loader_resumes(data):
    loader = SeededLoader(RandomNodeLoader(data, num_parts=5, shuffle=True), seed=2)
    whole = [batch.x.tolist() for batch in loader.epoch(4)]
    torch.rand(3)
    rest = []
    for batch in loader.epoch(4, 2):
        rest.append(batch.x.tolist())
        torch.rand(1)  # a training draws between batches
    assert rest == whole[2:]
    state = torch.get_rng_state()
    list(loader.epoch(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert [batch.x.tolist() for batch in loader.epoch(5)] != whole


def test_refusals(data):
    with pytest.raises(ValueError, match="num_steps must be a whole number, 1 or more; got 0"):
        random_walk_loader(data, 5, 2, 0)
    with pytest.raises(ValueError, match="method must be one of auto, metis, grown, random; got 'kmeans'"):
        partition_nodes(data, 3, method="kmeans")
    with pytest.raises(ValueError, match="num_parts must be a whole number, 1 or more; got 0"):
        partition_nodes(data, 0)
    with pytest.raises(ValueError, match=r"a number in 0 .. 1 for each of 150 nodes"):
        partition_loader(data, 2, part=torch.full((150,), 2))
    with pytest.raises(TypeError, match=r"pass parts_per_batch instead of batch_size"):
        partition_loader(data, 2, batch_size=2)


@pytest.mark.skipif(
    torch_geometric.typing.WITH_METIS or torch_geometric.typing.WITH_TORCH_SPARSE, reason="a METIS is there"
)
def test_metis_without_its_library(data):
    with pytest.raises(ImportError, match="method='grown' does without"):
        partition_nodes(data, 2, method="metis")


@pytest.mark.parametrize("method", ["auto", "grown", "random"])
def test_parts_are_of_a_data(method):
    graph = CSCGraph.from_edges(torch.tensor([[0], [1]]), 2)
    with pytest.raises(ValueError, match="subgraphs are cut from a Data with 'edge_index', got CSCGraph"):
        partition_nodes(graph, 2, method=method)


def test_subgraph_loaders_name_what_does_not_fit():
    data = csbm(n=20, q=0.2, seed=0)
    batches = SeedBatches(20, 10)
    with pytest.raises(TypeError, match="choose must be a function of a SeedBatch that returns its nodes; got None"):
        SubgraphLoader(data, None, batches)
    for wrong in (10, torch.arange(20), None):
        with pytest.raises(TypeError, match=rf"batches must be lcat.data.SeedBatches.*; got {type(wrong).__name__}"):
            SubgraphLoader(data, lambda batch: batch.positions, wrong)


@pytest.mark.parametrize(
    ("returned", "error", "match"),
    [
        ([1, 2], TypeError, "choose must return a tensor with the numbers of nodes, got list"),
        (None, TypeError, "choose must return a tensor .* got NoneType"),
        (torch.tensor([0, 20]), ValueError, "choose must return nodes in 0 .. 19, got 0 .. 20"),
        (torch.tensor([-1, 3]), ValueError, "choose must return nodes in 0 .. 19, got -1 .. 3"),
        (torch.ones(20, dtype=torch.bool), ValueError, r"got torch.bool: make numbers of a mask with .nonzero\(\)"),
        (torch.tensor([1.0]), ValueError, "choose must return the numbers of nodes as integers, got torch.float32"),
    ],
)
def test_what_choose_may_return(returned, error, match):
    """A mask was read as nodes 0 and 1, and -1 as the last node."""
    data = csbm(n=20, q=0.2, seed=0)
    with pytest.raises(error, match=match):
        next(iter(SubgraphLoader(data, lambda batch: returned, SeedBatches(20, 10))))
    for good in (torch.tensor([3, 1, 3]), torch.tensor([3, 1], dtype=torch.int32), torch.tensor([], dtype=torch.long)):
        subgraph = next(iter(SubgraphLoader(data, lambda batch, good=good: good, SeedBatches(20, 10))))
        assert subgraph.n_id.tolist() == sorted(set(good.tolist()))


def test_random_walks_need_a_node():
    empty = Data(x=torch.zeros(0, 3), edge_index=torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match="at least one node; got 0 nodes"):
        random_walk_loader(empty, 5, 2, 2)
