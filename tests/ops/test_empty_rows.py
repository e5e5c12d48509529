"""Sizes of 0 (heads, features, edge features, nodes, edges): the numbers of the formula, from no foreign memory."""

from __future__ import annotations

import itertools

import pytest
import torch

from lcat import ops
from lcat.graph import Graph, graph_view

GRAPHS = [(0, 0), (1, 0), (5, 9), (300, 2000)]
SIZES = [sizes for sizes in itertools.product((0, 1, 3, 8), (0, 1, 8), (None, 0, 2)) if 0 in sizes]


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def gat(graph: Graph, heads: int, width: int, edge_width: int | None):
    edge_score = None if edge_width is None else leaf(graph.num_edges, heads)
    tensors = [leaf(graph.num_sources, heads), leaf(graph.num_targets, heads), leaf(graph.num_sources, heads, width)]
    return [*tensors, edge_score], lambda a, b, v, e: ops.gat_attention(a, b, v, graph, edge_score=e)


def gat_of_values(graph: Graph, heads: int, width: int, edge_width: int | None):
    del edge_width
    tensors = [leaf(graph.num_sources, heads, width), leaf(heads, width), leaf(heads, width)]
    return tensors, lambda v, a, b: ops.gat_attention_of_values(v, a, b, graph)


def gatv2(graph: Graph, heads: int, width: int, edge_width: int | None):
    has_features = edge_width is not None
    tensors = [
        leaf(graph.num_sources, heads, width),
        leaf(graph.num_targets, heads, width),
        leaf(heads, width),
        leaf(graph.num_edges, edge_width) if has_features else None,
        leaf(heads * width, edge_width) if has_features else None,
        leaf(graph.num_edges),
    ]
    return tensors, lambda k, q, a, e, m, w: ops.gatv2_attention(
        k, q, k, a, graph, edge_attr=e, edge_matrix=m, edge_weight=w
    )


def dot(graph: Graph, heads: int, width: int, edge_width: int | None):
    has_features = edge_width is not None
    tensors = [
        leaf(graph.num_targets, heads, width),
        leaf(graph.num_sources, heads, width),
        leaf(graph.num_sources, heads, width),
        leaf(graph.num_edges, edge_width) if has_features else None,
        leaf(graph.num_targets, heads, edge_width) if has_features else None,
    ]
    return tensors, lambda q, k, v, e, qe: ops.dot_attention(q, k, v, graph, scale=0.5, edge_attr=e, query_edge=qe)


def aggregate(reduce: str):
    def call(graph: Graph, heads: int, width: int, edge_width: int | None):
        del edge_width
        return [leaf(graph.num_sources, heads, width)], lambda x: ops.aggregate(x, graph, reduce=reduce)

    return call


CALLS = {"gat": gat, "gat_of_values": gat_of_values, "gatv2": gatv2, "dot": dot,
         **{reduce: aggregate(reduce) for reduce in ("sum", "mean", "max")}}  # fmt: skip


def results(call, tensors, name):
    with ops.use_implementation(name):
        out = call(*tensors)
    outs = out if isinstance(out, tuple) else (out,)
    total = sum((part * part.detach().cos()).sum() for part in outs)
    wanted = [tensor for tensor in tensors if tensor is not None]
    gradients = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
    return [*outs, *gradients]


@pytest.mark.parametrize("call", CALLS)
def test_same_as_the_formula(call):
    if ops.native_status().instruction_set is None:
        pytest.skip(f"no compiled kernels: {ops.native_status().problem}")
    torch.manual_seed(0)
    compared = 0
    for (nodes, edges), sizes in itertools.product(GRAPHS, SIZES):
        graph, _ = graph_view(torch.randint(0, max(nodes, 1), (2, edges)), nodes, nodes)
        tensors, function = CALLS[call](graph, *sizes)
        expected = results(function, tensors, "naive")
        # What is freed here, the next allocations of these sizes get: numbers that nobody wrote are nan.
        junk = [
            torch.full((size,), float("nan"), dtype=torch.float64) for size in (1, 3, 5, 8, 9, 15, 18, 40, 300, 900)
        ]
        del junk
        try:
            actual = results(function, tensors, "native")
        except RuntimeError as error:
            assert "was requested, but cannot run" in str(error)  # noqa: PT017 - the formula runs instead
            continue
        compared += 1
        for one, other in zip(actual, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert compared >= len(GRAPHS) * len(SIZES) // 3
