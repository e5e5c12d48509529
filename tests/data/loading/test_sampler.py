"""Samples of neighborhoods: what is in them, and that they are drawn as they should be."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import combinations

import pytest
import torch
import torch_geometric.typing
from scipy import stats
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import EdgeSamplerInput, NodeSamplerInput
from torch_geometric.utils import k_hop_subgraph

from lcat.data import CSCGraph, TorchNeighborSampler
from lcat.data.loading import sampler as sampler_module
from lcat.nn.models import GAT, GATv2


def random_graph(nodes=200, edges=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(0, nodes, (2, edges), generator=generator)
    edge_index[:, :50] = edge_index[:, 50:100]  # parallel edges
    edge_index[1] = edge_index[1].clamp(max=nodes - 10)  # and nodes without in-edges
    return Data(x=torch.arange(nodes).float().view(-1, 1), edge_index=edge_index, num_nodes=nodes)


def draw(sampler, nodes, seed=0):
    return sampler.sample_from_nodes(NodeSamplerInput(torch.arange(len(nodes)), nodes), seed=seed)


@pytest.mark.parametrize("table_limit", [1 << 24, 0], ids=["table", "sorted"])
@pytest.mark.parametrize("disjoint", [False, True], ids=["shared", "disjoint"])
@pytest.mark.parametrize("replace", [False, True], ids=["without", "with replacement"])
@pytest.mark.parametrize("fanout", [[5], [4, 3], [-1, 2, 3], [2, 0, 2]], ids=str)
def test_sample_is_part_of_the_graph(table_limit, disjoint, replace, fanout, monkeypatch):
    monkeypatch.setattr(sampler_module, "TABLE_LIMIT", table_limit)
    data = random_graph()
    sampler = TorchNeighborSampler(data, fanout, replace=replace, disjoint=disjoint)
    seeds = torch.randperm(200)[:40]
    out = draw(sampler, seeds)
    assert torch.equal(out.node[:40], seeds)
    # Edges are those of the graph, under their own numbers.
    assert torch.equal(torch.stack([out.node[out.row], out.node[out.col]]), data.edge_index[:, out.edge])
    # Sorted by target over all hops, and trimmed by hop.
    assert bool((out.col.diff() >= 0).all())
    assert out.num_sampled_nodes[0] == 40
    assert sum(out.num_sampled_nodes) == out.node.numel()
    assert sum(out.num_sampled_edges) == out.row.numel() == out.edge.numel()
    degree = torch.bincount(data.edge_index[1], minlength=200)
    first, node_end, edge_end = 0, 40, 0
    for hop, count in enumerate(fanout):
        frontier = torch.arange(first, node_end)
        columns = out.col[edge_end : edge_end + out.num_sampled_edges[hop]]
        drawn = torch.bincount(columns, minlength=out.node.numel())
        assert int(drawn.sum()) == int(drawn[frontier].sum()), "a hop draws for its own frontier only"
        have = degree[out.node[frontier]]
        if count < 0:
            wanted = have
        elif replace:
            wanted = torch.where(have > 0, count, 0)
        else:
            wanted = have.clamp(max=count)
        assert torch.equal(drawn[frontier], wanted)
        edge_end += out.num_sampled_edges[hop]
        assert int(out.row[:edge_end].max()) < node_end + out.num_sampled_nodes[hop + 1]
        first, node_end = node_end, node_end + out.num_sampled_nodes[hop + 1]
    if not replace:
        owner = out.edge if out.batch is None else out.edge + 10_000 * out.batch[out.row]
        assert owner.unique().numel() == owner.numel(), "no edge twice"
    if disjoint:
        assert torch.equal(out.batch[:40], torch.arange(40))
        assert torch.equal(out.batch[out.row], out.batch[out.col])
        pairs = out.node + 200 * out.batch
        assert pairs.unique().numel() == pairs.numel()
    else:
        assert out.batch is None
        assert out.node.unique().numel() == out.node.numel()


def test_table_and_sorted_numbering_agree(monkeypatch):
    data = random_graph()
    seeds = torch.tensor([3, 7, 3, 11, 190])  # one twice, one without in-edges perhaps
    first = draw(TorchNeighborSampler(data, [4, 3, 2]), seeds, seed=5)
    monkeypatch.setattr(sampler_module, "TABLE_LIMIT", 0)
    second = draw(TorchNeighborSampler(data, [4, 3, 2]), seeds, seed=5)
    for field in ("node", "row", "col", "edge", "num_sampled_nodes", "num_sampled_edges"):
        one, two = getattr(first, field), getattr(second, field)
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


def test_all_neighbors_are_the_hop_neighborhood():
    data = random_graph(edges=600)
    out = draw(TorchNeighborSampler(data, [-1, -1]), torch.tensor([5, 17]))
    nodes, *_ = k_hop_subgraph([5, 17], 2, data.edge_index, num_nodes=200)
    assert set(out.node.tolist()) == set(nodes.tolist())
    inner, *_ = k_hop_subgraph([5, 17], 1, data.edge_index, num_nodes=200)
    wanted = torch.isin(data.edge_index[1], inner).nonzero().flatten()
    assert torch.equal(out.edge.sort().values, wanted)


def star(degree):
    return Data(edge_index=torch.stack([torch.arange(1, degree + 1), torch.zeros(degree).long()]), num_nodes=degree + 1)


@pytest.mark.parametrize(("degree", "count"), [(5, 2), (6, 3), (7, 6), (4, 1)])
def test_every_subset_is_equally_likely(degree, count):
    sampler = TorchNeighborSampler(star(degree), [count], disjoint=True)
    draws = 200 * len(list(combinations(range(degree), count)))
    out = draw(sampler, torch.zeros(draws).long(), seed=1)
    seen = Counter(map(tuple, out.edge.view(draws, count).sort(dim=1).values.tolist()))
    wanted = list(combinations(range(degree), count))
    assert set(seen) == set(wanted)
    assert stats.chisquare([seen[subset] for subset in wanted]).pvalue > 1e-4


@pytest.mark.parametrize("replace", [False, True])
def test_inclusion_probability(replace):
    degree, count, draws = 100, 10, 4000
    sampler = TorchNeighborSampler(star(degree), [count], disjoint=True, replace=replace)
    edges = draw(sampler, torch.zeros(draws).long(), seed=2).edge
    seen = torch.bincount(edges, minlength=degree).double()
    assert int(seen.sum()) == draws * count
    if replace:
        assert stats.chisquare(seen.numpy()).pvalue > 1e-4
        return
    # Without replacement counts vary less than a multinomial's: the variance is p (1 - p), not p.
    probability = count / degree
    statistic = float(((seen - draws * probability) ** 2).sum() / (draws * probability * (1 - probability)))
    assert stats.chi2.sf(statistic * (degree - 1) / degree, degree - 1) > 1e-4


def test_draws_of_different_nodes_are_independent():
    """Two stars in one call: the pair of what they draw is uniform over all pairs."""
    edge_index = torch.cat([torch.stack([torch.arange(2, 5), torch.full((3,), hub)]) for hub in (0, 1)], dim=1)
    sampler = TorchNeighborSampler(Data(edge_index=edge_index, num_nodes=5), [1])
    seen = Counter(tuple(draw(sampler, torch.tensor([0, 1]), seed=s).edge.tolist()) for s in range(1800))
    assert stats.chisquare([seen[a, b] for a in range(3) for b in range(3, 6)]).pvalue > 1e-4


def hetero():
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data["paper"].x = torch.arange(60.0).view(-1, 1)
    data["author"].x = torch.arange(30.0).view(-1, 1)
    data["venue"].num_nodes = 4
    for source, name, target, sizes in (
        ("paper", "cites", "paper", (60, 60)),
        ("author", "writes", "paper", (30, 60)),
        ("paper", "written", "author", (60, 30)),
    ):
        ends = [torch.randint(0, size, (300,), generator=generator) for size in sizes]
        data[source, name, target].edge_index = torch.stack(ends)
        data[source, name, target].edge_attr = torch.arange(300.0)
    return data


@pytest.mark.parametrize("disjoint", [False, True])
def test_typed_nodes(disjoint):
    data = hetero()
    fanouts = {("paper", "cites", "paper"): [3, 2], ("author", "writes", "paper"): [2, 2]}
    fanouts["paper", "written", "author"] = [4, 1]
    sampler = TorchNeighborSampler(data, fanouts, disjoint=disjoint)
    batch = next(iter(NodeLoader(data, sampler, input_nodes=("paper", torch.arange(20, 30)), batch_size=10)))
    assert batch["paper"].batch_size == 10
    assert torch.equal(batch["paper"].n_id[:10], torch.arange(20, 30))
    assert torch.equal(batch["author"].x.flatten().long(), batch["author"].n_id)
    for kind in ("paper", "author"):
        assert sum(batch[kind].num_sampled_nodes) == batch[kind].n_id.numel()
    for relation, counts in fanouts.items():
        source, _, target = relation
        store = batch[relation]
        assert torch.equal(
            torch.stack([batch[source].n_id[store.edge_index[0]], batch[target].n_id[store.edge_index[1]]]),
            data[relation].edge_index[:, store.e_id],
        )
        assert torch.equal(store.edge_attr.long(), store.e_id)
        assert bool((store.edge_index[1].diff() >= 0).all())
        degree = torch.bincount(data[relation].edge_index[1], minlength=data[target].num_nodes)
        end = 0
        for hop, count in enumerate(counts):  # nodes of the target type found in hop - 1 draw
            frontier = torch.arange(end, end + batch[target].num_sampled_nodes[hop])
            end += frontier.numel()
            drawn = torch.bincount(store.edge_index[1], minlength=batch[target].num_nodes)[frontier]
            assert torch.equal(drawn, degree[batch[target].n_id[frontier]].clamp(max=count))
    assert batch["venue"].num_nodes == 0
    if disjoint:
        assert torch.equal(
            batch["paper"].batch[batch["paper", "cites", "paper"].edge_index[0]],
            batch["paper"].batch[batch["paper", "cites", "paper"].edge_index[1]],
        )


@pytest.mark.parametrize("model_class", [GAT, GATv2])
def test_trimming_layer_by_layer_changes_nothing(model_class):
    data = random_graph()
    data.x = torch.randn(200, 8)
    model = model_class(8, 8, num_layers=3, out_channels=3, heads=2).eval()
    loader = NodeLoader(data, TorchNeighborSampler(data, [4, 3, 2]), input_nodes=torch.arange(30), batch_size=30)
    batch = next(iter(loader))
    whole = model(batch.x, batch.edge_index)[:30]
    trimmed = model(
        batch.x,
        batch.edge_index,
        num_sampled_nodes_per_hop=batch.num_sampled_nodes,
        num_sampled_edges_per_hop=batch.num_sampled_edges,
    )[:30]
    torch.testing.assert_close(trimmed, whole)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_formats_give_one_sample():
    data = random_graph()
    source, target = data.edge_index
    order = torch.argsort(target, stable=True)
    csr = torch.sparse_csr_tensor(
        torch.cat([torch.zeros(1).long(), torch.bincount(target, minlength=200).cumsum(0)]),
        source[order],
        torch.ones(2000),
        (200, 200),
    )
    graph = CSCGraph.from_edges(data.edge_index, 200)
    small = CSCGraph(graph.indptr, graph.indices.int(), edge_ids=graph.edge_ids.int())
    outs = [
        draw(TorchNeighborSampler(representation, [3, 3]), torch.arange(20), seed=4)
        for representation in (data, Data(adj_t=csr, num_nodes=200), graph, small)
    ]
    for out in outs[1:]:
        assert torch.equal(out.node, outs[0].node)
        assert torch.equal(out.row, outs[0].row)
    assert torch.equal(outs[3].edge, outs[0].edge)


def test_seeds():
    sampler = TorchNeighborSampler(random_graph(), [3, 3])
    nodes = torch.arange(50)
    assert torch.equal(draw(sampler, nodes, 1).edge, draw(sampler, nodes, 1).edge)
    assert not torch.equal(draw(sampler, nodes, 1).edge, draw(sampler, nodes, 2).edge)
    torch.manual_seed(3)
    first = sampler.sample_from_nodes(NodeSamplerInput(None, nodes)).edge
    second = sampler.sample_from_nodes(NodeSamplerInput(None, nodes)).edge
    torch.manual_seed(3)
    assert torch.equal(first, sampler.sample_from_nodes(NodeSamplerInput(None, nodes)).edge)
    assert not torch.equal(first, second)


def test_a_sampler_pickles_without_its_tables():
    sampler = TorchNeighborSampler(random_graph(), [3, 3])
    out = draw(sampler, torch.arange(50))
    again = draw(pickle.loads(pickle.dumps(sampler)), torch.arange(50))
    assert torch.equal(out.node, again.node)


def test_a_failed_call_leaves_nothing_behind(monkeypatch):
    sampler = TorchNeighborSampler(random_graph(), [3, 3])
    before = draw(sampler, torch.arange(50))
    real, calls = sampler_module.pick_slots, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(sampler_module, "pick_slots", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw(sampler, torch.arange(50))
    monkeypatch.undo()
    assert torch.equal(draw(sampler, torch.arange(50)).node, before.node)


@pytest.mark.parametrize("nodes", [[], [195]])
def test_nothing_to_draw(nodes):
    out = draw(TorchNeighborSampler(random_graph(), [3, 3]), torch.tensor(nodes).long())
    assert out.node.tolist() == nodes
    assert out.edge.numel() == 0
    assert out.num_sampled_edges == [0, 0]


@pytest.mark.skipif(
    not (torch_geometric.typing.WITH_PYG_LIB or torch_geometric.typing.WITH_TORCH_SPARSE),
    reason="needs pyg-lib or torch-sparse",
)
@pytest.mark.parametrize("replace", [False, True])
def test_agrees_with_pyg_in_distribution(replace):
    """How often every edge is drawn, in both hops, by PyG's compiled sampler and by ours."""
    from torch_geometric.sampler import NeighborSampler

    data = random_graph(nodes=40, edges=300)
    ours = TorchNeighborSampler(data, [3, 2], replace=replace)
    theirs = NeighborSampler(data, [3, 2], replace=replace)
    inputs = NodeSamplerInput(torch.arange(10), torch.arange(10))
    counts = []
    for sampler in (ours, theirs):
        total = torch.zeros(300)
        for _ in range(3000):
            out = sampler.sample_from_nodes(inputs)
            permutation = sampler.edge_permutation
            edge = out.edge if permutation is None else permutation[out.edge]
            total += torch.bincount(edge, minlength=300)
        counts.append(total)
    drawn = (counts[0] + counts[1]) > 0
    table = torch.stack(counts)[:, drawn]
    assert stats.chi2_contingency(table.numpy()).pvalue > 1e-4


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda d: TorchNeighborSampler([1], [3]), TypeError, "a Data, a HeteroData.*got list"),
        (lambda d: TorchNeighborSampler(d, []), ValueError, "list of whole numbers"),
        (lambda d: TorchNeighborSampler(d, [3, -2]), ValueError, "-1 for all neighbors; got"),
        (lambda d: TorchNeighborSampler(d, [2.5]), ValueError, "whole numbers"),
        (lambda d: TorchNeighborSampler(Data(num_nodes=3), [2]), ValueError, "neither 'edge_index' nor 'adj_t'"),
        (lambda d: TorchNeighborSampler(hetero(), {("a", "b", "c"): [1]}), ValueError, "no entry for the edge type"),
        (lambda d: draw(TorchNeighborSampler(d, [3]), torch.tensor([200])), ValueError, "0 .. 199; got 200 .. 200"),
        (lambda d: draw(TorchNeighborSampler(d, [3]), torch.tensor([-1])), ValueError, "0 .. 199; got -1 .. -1"),
        (
            lambda d: TorchNeighborSampler(Data(edge_index=torch.tensor([[0], [9]]), num_nodes=3), [1]),
            IndexError,
            "larger than 2",
        ),
        (
            lambda d: TorchNeighborSampler(d, [1]).sample_from_edges(EdgeSamplerInput(None, d.x[:1], d.x[:1])),
            NotImplementedError,
            "LinkNeighborLoader",
        ),
        (
            lambda d: TorchNeighborSampler(d, [1]).sample_from_nodes(
                NodeSamplerInput(None, torch.tensor([0]), torch.tensor([0]))
            ),
            ValueError,
            "no time stamps",
        ),
        (
            lambda d: TorchNeighborSampler(hetero(), [1]).sample_from_nodes(
                NodeSamplerInput(None, torch.tensor([0]), None, "book")
            ),
            ValueError,
            "no nodes of type 'book'; there are 'paper'",
        ),
    ],
)
def test_refusals(build, error, words):
    with pytest.raises(error, match=words):
        build(random_graph())
