"""The edges of a graph in the order in which fused kernels read them, kept with the graph: outside of traces."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat._edge_formats import Side
from lcat._tracing import is_capturing
from lcat.graph import CacheKey, Graph, SortedEdges, keep_slots
from lcat.ops import _native

__all__ = ["SORTED", "grouped_edges"]

SORTED: CacheKey[SortedEdges] = CacheKey("edges for fused kernels")


def grouped_edges(graph: Graph, side: Side) -> SortedEdges:
    """``graph.by_target`` or ``graph.by_source``, with ``indices`` and ``edge_ids`` in int32.

    Raises:
        IndexError: an edge leaves the graph: see :func:`lcat.ops._native.changed_unseen`.
    """
    return graph.cached(SORTED, lambda: _sort(graph, side), side)


def _sort(graph: Graph, side: Side) -> SortedEdges:
    if graph.kept_of is not None:
        whole, keep = graph.kept_of
        return keep_slots(grouped_edges(whole, side), keep)
    taken = _take_groups(graph, side)
    if taken is not None:
        return taken
    if _is_compiled(graph):
        return _sort_compiled(graph, side)
    loopless = None if graph.padded else graph.before_self_loops()
    if loopless is not None and (loopless.is_cached(SORTED, side) or loopless.input_groups(side) is not None):
        return _insert_loops(grouped_edges(loopless, side), graph.num_loops)
    if side == "by_source" and graph.is_cached(SORTED, "by_target"):
        return _transpose(grouped_edges(graph, "by_target"), graph)
    edges = graph.grouped(side)  # an int64 copy is kept by nobody
    return SortedEdges(edges.indptr, edges.indices.to(torch.int32), edges.edge_ids.to(torch.int32))


def _is_compiled(graph: Graph) -> bool:
    """Whether the compiled kernels sort the edges."""
    return graph.device.type == "cpu" and type(graph.source) is Tensor and _native.STATUS.instruction_set is not None


def _take_groups(graph: Graph, side: Side) -> SortedEdges | None:
    """A copy of the groups that the input has brought, if it has, and if they are groups of its edges."""
    groups = graph.input_groups(side)
    if groups is None or graph.padded:
        return None
    row, other, rows, others = graph.target, graph.source, graph.num_targets, graph.num_sources
    if side == "by_source":
        row, other, rows, others = other, row, others, rows
    pointer, order = groups.pointer, groups.order
    if _is_compiled(graph):
        if not groups.have_shape(row, rows):
            return None
        pointer, order = pointer.contiguous(), None if order is None else order.contiguous()
        return _native.take_groups(row, other, rows, others, pointer=pointer, order=order)
    if not (groups.have_shape(row, rows) and groups.are_known_to_fit):
        if is_capturing():  # a captured CUDA graph cannot wait for the check
            return None
        fits = groups.fit(row, rows)
        if fits is None or not bool(fits):
            return None
    edge_ids = torch.arange(row.shape[0], device=row.device) if order is None else order
    return SortedEdges(pointer.clone(), other[edge_ids].to(torch.int32), edge_ids.to(torch.int32))


def _transpose(by_target: SortedEdges, graph: Graph) -> SortedEdges:
    """The edges by source, by a sort of numbers of 32 bits: those by target are in order of the target already."""
    indptr, sources, edge_ids = by_target
    slots = torch.arange(sources.shape[0], device=sources.device)
    if graph.padded:  # dead edges come last here, too
        sources = torch.where(slots < indptr[-1], sources, graph.num_sources)
    targets = torch.searchsorted(indptr, slots, right=True, out_int32=True) - 1
    sources, order = torch.sort(sources, stable=True)
    bounds = torch.arange(graph.num_sources + 1, device=sources.device, dtype=sources.dtype)
    return SortedEdges(torch.searchsorted(sources, bounds), targets[order], edge_ids[order])


def _insert_loops(groups: SortedEdges, num_loops: int) -> SortedEdges:
    """The edges, none of them a loop, and a loop in each of the first ``num_loops`` groups; nothing is sorted.

    A loop stands before the first edge of its group whose other end has a larger number, and is edge ``E + row``.
    """
    indptr, indices, edge_ids = groups
    rows, count = indptr.shape[0] - 1, indices.shape[0]
    if num_loops == 0:
        return groups
    number = torch.arange(rows, device=indptr.device)
    slots = torch.arange(count, device=indptr.device)
    row = torch.repeat_interleave(number, indptr.diff(), output_size=count)
    larger = torch.where(indices > row, slots, count)
    first = torch.minimum(indptr[1:].scatter_reduce(0, row, larger, "amin", include_self=True), indptr[1:])
    moved = row.clamp(max=num_loops) + ((slots >= first[row]) & (row < num_loops))
    slots, loops = slots + moved, number[:num_loops]
    loop_slots = first[:num_loops] + loops
    new_indices, new_ids = (indices.new_empty(count + num_loops) for _ in range(2))
    new_indices[slots], new_ids[slots] = indices, edge_ids
    new_indices[loop_slots] = loops.to(indices.dtype)
    new_ids[loop_slots] = (loops + count).to(edge_ids.dtype)
    pointer = torch.arange(rows + 1, device=indptr.device).clamp(max=num_loops) + indptr
    return SortedEdges(pointer, new_indices, new_ids)


def _sort_compiled(graph: Graph, side: Side) -> SortedEdges:
    """By counting sorts, and from groups that are already known, if possible."""
    loopless = None if graph.padded else graph.before_self_loops()
    if loopless is not None and (side == "by_target" or loopless.input_groups(side) is not None):
        known = loopless.is_cached(SORTED, side) or loopless.input_groups(side) is not None
        groups = grouped_edges(loopless, side) if known else _sort_compiled(loopless, side)
        others = graph.num_sources if side == "by_target" else graph.num_targets
        return _native.insert_loops(groups, graph.num_loops, others)
    if side == "by_source":
        return _native.transpose_groups(grouped_edges(graph, "by_target"), graph.num_sources)
    return _native.group_edges(graph.target, graph.source, graph.num_targets, graph.num_sources)
