"""The edges of a graph in the order in which fused kernels read them, kept with the graph."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat._edge_formats import Side
from lcat.graph import CacheKey, Graph, SortedEdges
from lcat.ops import _native

__all__ = ["SORTED", "sorted_edges"]

SORTED: CacheKey[SortedEdges] = CacheKey("edges for fused kernels")


def sorted_edges(graph: Graph, side: Side) -> SortedEdges:
    """``graph.by_target`` or ``graph.by_source``, with ``indices`` and ``edge_ids`` in int32.

    A compiled model, in which sizes may be symbols, gets the graph's own int64.

    Raises:
        IndexError: an edge leaves the graph: see :func:`lcat.ops._native.changed_unseen`.
    """
    if torch.compiler.is_compiling():
        edges: SortedEdges = getattr(graph, side)
        return edges
    return graph.cached(SORTED, lambda: _sort(graph, side), side)


def _sort(graph: Graph, side: Side) -> SortedEdges:
    grouped = graph.input_groups(side)
    if grouped is not None:
        indptr, indices, edge_ids = grouped
        nodes = graph.num_sources if side == "by_target" else graph.num_targets
        on_cpu = indices.device.type == "cpu" and indices.numel() > 0
        if on_cpu and not 0 <= int(indices.min()) <= int(indices.max()) < nodes:
            raise _native.changed_unseen(graph.num_sources, graph.num_targets)
        return SortedEdges(indptr.contiguous(), indices.to(torch.int32), edge_ids.to(torch.int32))
    if graph.device.type == "cpu" and type(graph.source) is Tensor and _native.STATUS.instruction_set is not None:
        return _sort_compiled(graph, side)
    edges: SortedEdges = getattr(graph, side)
    return SortedEdges(edges.indptr, edges.indices.to(torch.int32), edges.edge_ids.to(torch.int32))


def _sort_compiled(graph: Graph, side: Side) -> SortedEdges:
    """By counting sorts, and from groups that are already known, if possible."""
    loopless = None if graph.padded else graph.before_self_loops()
    if loopless is not None and (side == "by_target" or loopless.input_groups(side) is not None):
        known = loopless.is_cached(SORTED, side) or loopless.input_groups(side) is not None
        groups = sorted_edges(loopless, side) if known else _sort_compiled(loopless, side)
        return _native.insert_loops(groups, graph.num_loops)
    if side == "by_source":
        return _native.transpose_groups(sorted_edges(graph, "by_target"), graph.num_sources)
    return _native.group_edges(graph.target, graph.source, graph.num_targets, graph.num_sources)
