"""Which edges stay under edge dropout, and the graph that has only these."""

from __future__ import annotations

import pytest
import torch

import lcat.ops
from lcat.graph import graph_view
from lcat.ops import _edge_dropout, aggregate, draw_kept_edges
from lcat.ops._attention_dropout import dropout_factors
from lcat.ops._grouped import grouped_edges


def random_graph(num_edges=300, seed=0):
    edges = torch.randint(40, (2, num_edges), generator=torch.Generator().manual_seed(seed))
    return graph_view(edges, 40, 40)[0]


@pytest.mark.parametrize("num_edges", [0, 1, 3, 63, 64, 65, 1000])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1.0])
def test_the_rule_is_that_of_attention_dropout_with_one_head(num_edges, p):
    for seed in (0, 7, 2**61 + 12345):
        seed = torch.tensor([seed])
        expected = dropout_factors(seed, num_edges, 1, p).squeeze(1) > 0
        assert torch.equal(_edge_dropout.kept_edges(seed, num_edges, p), expected)


def test_without_the_compiled_kernels(monkeypatch):
    seed = torch.tensor([11])
    expected = _edge_dropout.kept_edges(seed, 500, 0.3)
    monkeypatch.setattr(_edge_dropout._native, "STATUS", lcat.ops.NativeStatus(None, (), "for a test"))
    assert torch.equal(_edge_dropout.kept_edges(seed, 500, 0.3), expected)


def test_a_share_of_the_edges_goes():
    torch.manual_seed(0)
    graph = random_graph(20_000)
    assert float(draw_kept_edges(graph, 0.3).double().mean()) == pytest.approx(0.7, abs=0.02)
    assert draw_kept_edges(graph, 0.0).all()
    state = torch.get_rng_state()
    draw_kept_edges(graph, 0.0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_groups_are_those_of_a_graph_of_these_edges(loops, p):
    graph = random_graph()
    graph = graph.with_self_loops(40) if loops else graph
    keep = draw_kept_edges(graph, p)
    thinned = graph.keeping(keep)
    live = keep.nonzero().flatten()
    alone, _ = graph_view(torch.stack([graph.source, graph.target])[:, keep], 40, 40)
    for side in ("by_target", "by_source"):
        for actual, expected in (
            (getattr(thinned, side), getattr(alone, side)),
            (grouped_edges(thinned, side), grouped_edges(alone, side)),
        ):
            count = int(actual.indptr[-1])
            assert torch.equal(actual.indptr, expected.indptr)
            assert torch.equal(actual.indices[:count], expected.indices)
            assert torch.equal(live[expected.edge_ids.long()], actual.edge_ids[:count].long())
            assert actual.edge_ids.sort().values.tolist() == list(range(graph.num_edges))
    assert torch.equal(thinned.in_degree, alone.in_degree)
    twice = thinned.keeping(torch.ones_like(keep))
    assert torch.equal(twice.by_target.indptr, alone.by_target.indptr)


def test_sums_over_it():
    graph, x = random_graph(), torch.randn(40, 3, dtype=torch.double)
    keep = draw_kept_edges(graph, 0.5)
    alone, _ = graph_view(torch.stack([graph.source, graph.target])[:, keep], 40, 40)
    for implementation in ("native", "naive"):
        with lcat.ops.use_implementation(implementation):
            torch.testing.assert_close(aggregate(x, graph.keeping(keep)), aggregate(x, alone))


def test_bad_input():
    graph = random_graph()
    with pytest.raises(TypeError, match=r"expected 'keep' of type torch\.Tensor, got list"):
        graph.keeping([True])
    with pytest.raises(ValueError, match=r"expected 'keep' of shape \[300\] and type bool"):
        graph.keeping(torch.ones(300))
    with pytest.raises(ValueError, match=r"got \[299\], torch.bool"):
        graph.keeping(torch.ones(299, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected a probability 'p'"):
        draw_kept_edges(graph, 1.5)
    with pytest.raises(TypeError, match="'graph'"):
        draw_kept_edges(torch.zeros(2, 3), 0.5)
