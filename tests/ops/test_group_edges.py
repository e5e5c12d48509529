"""The compiled sort of edges gives the graph's own order."""

from __future__ import annotations

import pytest
import torch

from lcat.ops import _fused, _native
from tests.ops.cases import GRAPHS, make_graph

pytestmark = pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")


@pytest.mark.parametrize("kind", GRAPHS)
def test_same_order_as_the_graph(kind: str) -> None:
    for edges in (1, 90, 3_000):
        graph = make_graph(kind, edges=edges)
        for side in ("by_target", "by_source"):
            ours, theirs = _fused._sorted(graph, side), getattr(graph, side)
            assert torch.equal(ours.pointer, theirs.pointer)
            live = int(theirs.pointer[-1])
            assert torch.equal(ours.other[:live].long(), theirs.other[:live])
            assert torch.equal(ours.edge[:live].long(), theirs.edge[:live])
            assert torch.equal(ours.edge.long().sort().values, torch.arange(graph.num_edges))
            assert ours.other.dtype == ours.edge.dtype == torch.int32


def test_sorted_once() -> None:
    graph = make_graph("random")
    assert _fused._sorted(graph, "by_target") is _fused._sorted(graph, "by_target")


def test_strided_indices() -> None:
    graph = make_graph("random")
    pairs = torch.stack([graph.source, graph.target], dim=1)
    strided = type(graph)(pairs[:, 0], pairs[:, 1], graph.num_sources, graph.num_targets)
    assert not strided.source.is_contiguous()
    assert torch.equal(_fused._sorted(strided, "by_source").edge, _fused._sorted(graph, "by_source").edge)
