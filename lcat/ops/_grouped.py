"""The edges of a graph in the order in which fused kernels read them, kept with the graph: outside of traces."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat._edge_formats import Side
from lcat._memory import has_memory
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
    edges = graph.grouped(side)  # an int64 copy is kept by nobody
    return SortedEdges(edges.indptr, edges.indices.to(torch.int32), edges.edge_ids.to(torch.int32))


def _is_compiled(graph: Graph) -> bool:
    """Whether the compiled kernels sort the edges."""
    return graph.device.type == "cpu" and type(graph.source) is Tensor and _native.STATUS.instruction_set is not None


def _take_groups(graph: Graph, side: Side) -> SortedEdges | None:
    """A copy of the groups that the input has brought, if it has, and if they are groups of its edges."""
    groups = graph.input_groups(side)
    if groups is None or graph.padded or is_capturing():  # a captured CUDA graph cannot wait for the check
        return None
    pointer, order = groups
    row, other, rows, others = graph.target, graph.source, graph.num_targets, graph.num_sources
    if side == "by_source":
        row, other, rows, others = other, row, others, rows
    if pointer.shape != (rows + 1,) or (order is not None and order.shape != row.shape):
        return None
    if not has_memory(pointer) or (order is not None and not has_memory(order)):
        return None
    pointer, order = pointer.contiguous(), None if order is None else order.contiguous()
    if _is_compiled(graph):
        return _native.take_groups(row, other, rows, others, pointer=pointer, order=order)
    count = row.shape[0]
    slots = torch.arange(count, device=row.device)
    edge_ids = slots if order is None else order.clamp(0, count - 1)
    fits = (pointer[0] == 0) & (pointer[-1] == count) & (pointer.diff() >= 0).all()
    fits &= (row[edge_ids] == torch.searchsorted(pointer, slots, right=True) - 1).all()
    if order is not None:
        fits &= (edge_ids == order).all() & (torch.zeros_like(slots).index_fill(0, edge_ids, 1) == 1).all()
    if not bool(fits):
        return None
    return SortedEdges(pointer.clone(), other[edge_ids].to(torch.int32), edge_ids.to(torch.int32))


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
