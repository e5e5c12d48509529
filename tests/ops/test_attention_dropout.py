"""Dropout by counter: known numbers, statistics, and one mask in all passes."""

from __future__ import annotations

import pytest
import torch

from lcat.graph import Graph
from lcat.ops import _native, dot_attention, gat_attention, gatv2_attention, use_implementation
from lcat.ops._attention_dropout import dropout_factors, philox
from lcat.ops._dot_attention import naive as dot_naive
from lcat.ops._gat_attention import naive as gat_naive
from lcat.ops._gatv2_attention import naive as gatv2_naive
from tests.ops.cases import distance, make_graph

native = pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")


def test_philox_gives_the_known_words() -> None:
    """The first words of the reference implementation (Random123's known-answer file) for counter 0 and key 0."""
    words = philox(torch.tensor([0]), torch.tensor([0])).flatten().tolist()
    assert words == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def mask_of_call(heads: int, dropout: float, seed: int, edges: int = 4_000) -> torch.Tensor:
    """The factors that gat_attention applied, read off a graph in which every target has one in-edge."""
    order = torch.randperm(edges, generator=torch.Generator().manual_seed(1))
    graph = Graph(order, torch.arange(edges), edges, edges)
    torch.manual_seed(seed)
    out = gat_attention(torch.zeros(edges, heads), None, torch.ones(edges, heads, 1), graph, dropout=dropout)
    return out.squeeze(-1)


@native
@pytest.mark.parametrize("heads", [1, 2, 3, 4, 8])
def test_statistics(heads: int) -> None:
    for dropout in (0.1, 0.5, 0.9):
        factors = mask_of_call(heads, dropout, seed=0)
        values = factors.unique()
        torch.testing.assert_close(values, torch.tensor([0.0, 1 / (1 - dropout)]))
        retained = (factors > 0).double()
        spread = (dropout * (1 - dropout) / retained.numel()) ** 0.5
        assert abs(float(retained.mean()) - (1 - dropout)) < 5 * spread
        if heads > 1:  # heads are drawn independently
            assert abs(float(torch.corrcoef(retained.T)[0, 1])) < 5 / retained.shape[0] ** 0.5
        neighbors = torch.corrcoef(torch.stack([retained[1:, 0], retained[:-1, 0]]))[0, 1]
        assert abs(float(neighbors)) < 5 / retained.shape[0] ** 0.5


@native
def test_seed_decides() -> None:
    one, same, other = (mask_of_call(2, 0.5, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@native
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_all_passes_use_the_mask_that_is_documented(heads: int) -> None:
    """Outputs and gradients are those of the naive path with the mask of dropout_factors."""
    graph = make_graph("hub", edges=200)
    dropout = 0.4
    draw = torch.Generator().manual_seed(0)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()

    s, t = tensor(graph.num_sources, heads), tensor(graph.num_targets, heads)
    k, v, q = (tensor(n, heads, 5) for n in (graph.num_sources, graph.num_sources, graph.num_targets))
    att, weight = tensor(heads, 5), tensor(graph.num_edges)
    attr, u = tensor(graph.num_edges, 2), tensor(graph.num_targets, heads, 2)
    torch.manual_seed(4)
    seed = torch.randint(0, 2**62, (1,))
    keep = dropout_factors(seed, graph.num_edges, heads, dropout)

    with use_implementation("native"):
        torch.manual_seed(4)
        ours_gat = gat_attention(s, t, v, graph, edge_weight=weight, dropout=dropout)
        torch.manual_seed(4)
        ours_gatv2 = gatv2_attention(k, q, v, att, graph, edge_weight=weight, dropout=dropout)
        torch.manual_seed(4)
        features = {"edge_attr": attr, "query_edge": u}
        ours_dot = dot_attention(q, k, v, graph, scale=0.6, edge_weight=weight, dropout=dropout, **features)
    theirs_dot = dot_naive.dot_attention(q, k, v, graph, 0.6, attr, u, weight, 0.0, keep=keep)
    theirs_gat = gat_naive.gat_attention(s, t, v, graph, 0.2, None, weight, 0.0, keep)
    theirs_gatv2 = gatv2_naive.gatv2_attention(k, q, v, att, graph, 0.2, None, weight, 0.0, keep=keep)
    for ours, theirs, inputs in (
        (ours_gat, theirs_gat, (s, t, v, weight)),
        (ours_gatv2, theirs_gatv2, (k, q, v, att, weight)),
        (torch.cat(ours_dot, dim=-1), torch.cat(theirs_dot, dim=-1), (q, k, v, attr, u, weight)),
    ):
        assert distance(ours, theirs) < 1e-12
        cotangent = torch.randn_like(ours)
        gradients = torch.autograd.grad(ours, inputs, cotangent)
        expected = torch.autograd.grad(theirs, inputs, cotangent)
        assert all(distance(a, b) < 1e-11 for a, b in zip(gradients, expected, strict=True))


@native
def test_dropping_everything() -> None:
    graph = make_graph("random")
    v = torch.randn(graph.num_sources, 2, 4, requires_grad=True)
    out = gat_attention(torch.randn(graph.num_sources, 2), None, v, graph, dropout=1.0)
    assert torch.equal(out, torch.zeros_like(out))
    out.sum().backward()
    assert torch.equal(v.grad, torch.zeros_like(v))
