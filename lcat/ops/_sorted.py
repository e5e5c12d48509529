"""The edges of a graph as fused kernels read them; in compiled models, from an operator that looks into the cache.

A compiler that sees how edges are sorted sorts them in every step. So grouping is an operator of its own,
``lcat::group_edges``. When the compiled model runs, it finds the view that eager mode keeps for the same edge tensor,
and returns copies: a compiler may use the memory of a result for something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lcat._edge_formats import Flow, Side
from lcat._tracing import allocates_for_cuda_graph, is_exporting, is_traced
from lcat.graph import Graph, SortedEdges, graph_view, keep_slots, passing_graph
from lcat.ops._fused import too_large
from lcat.ops._grouped import SORTED, grouped_edges
from lcat.ops._triton.schedule import share_schedules

__all__ = ["SCHEDULED", "SORTED", "sorted_edges"]

SCHEDULED = {"cuda"}  # the devices whose kernels use schedules; tests run these kernels on the CPU
_library = torch.library.Library("lcat", "FRAGMENT")
_tags = (torch.Tag.pt2_compliant_tag,)
_library.define(
    "group_edges(Tensor edge_index, SymInt num_sources, SymInt num_targets, SymInt? num_loops, str flow, str side, "
    "bool is_input=False) -> (Tensor, Tensor, Tensor)",
    tags=_tags,
)
_library.define(
    "sort_edges(Tensor source, Tensor target, SymInt num_sources, SymInt num_targets, bool padded, str side) "
    "-> (Tensor, Tensor, Tensor)",
    tags=_tags,
)


def sorted_edges(graph: Graph, side: Side) -> SortedEdges:
    """``graph.by_target`` or ``graph.by_source``, with ``indices`` and ``edge_ids`` in int32.

    An exported program, which may run without lcat, gets the graph's own int64, sorted by plain operations.

    Raises:
        IndexError: an edge leaves the graph: see :func:`lcat.ops._native.changed_unseen`.
    """
    if not is_traced():
        known = graph.known(SORTED, side)
        return grouped_edges(graph, side) if known is None else known
    if not torch.compiler.is_compiling():
        return grouped_edges(graph, side)
    if graph.kept_of is not None:
        whole, keep = graph.kept_of
        return keep_slots(sorted_edges(whole, side), keep)
    if is_exporting():
        edges: SortedEdges = getattr(graph, side)
        return edges
    traced, sizes = graph.traced_edges(), (graph.num_sources, graph.num_targets)
    if traced is None:
        return SortedEdges(*torch.ops.lcat.sort_edges(graph.source, graph.target, *sizes, graph.padded, side))
    return SortedEdges(
        *torch.ops.lcat.group_edges(traced.edge_index, *sizes, traced.num_loops, traced.flow, side),
    )


def _group_edges(
    edge_index: Tensor,
    num_sources: int,
    num_targets: int,
    num_loops: int | None,
    flow: Flow,
    side: Side,
    is_input: bool = False,
) -> tuple[Tensor, ...]:
    """Copies of the groups that are kept for ``edge_index``.

    Nothing is kept for a tensor that compiled code makes: it may write other edges into the same tensor, unseen. Nor is
    what would lie in the memory of a CUDA graph, or used there: replays do not look whether it still holds.
    """
    sizes = (num_sources, num_targets)
    if is_input and not allocates_for_cuda_graph():
        graph, _ = graph_view(edge_index, *sizes, flow=flow)
        if num_loops is not None:
            graph = graph.padded_with_self_loops(num_loops)
        edges = _small(graph, side)
        copy = SortedEdges(*(part.clone() for part in edges))
        if edge_index.device.type in SCHEDULED:
            share_schedules(edges, copy)
        return tuple(copy)
    rows = edge_index.to(torch.long)
    first, second = (0, 1) if flow == "source_to_target" else (1, 0)
    graph = passing_graph(rows[first], rows[second], *sizes)
    return tuple(_small(graph if num_loops is None else graph.pad_self_loops(num_loops), side))


def _sort_edges(
    source: Tensor, target: Tensor, num_sources: int, num_targets: int, padded: bool, side: Side
) -> tuple[Tensor, ...]:
    """The groups of edges whose origin is not known."""
    return tuple(_small(passing_graph(source, target, num_sources, num_targets, padded=padded), side))


def _small(graph: Graph, side: Side) -> SortedEdges:
    """The edges in groups, of a graph whose edges and nodes are counted in 31 bits."""
    if too_large(graph):
        raise ValueError(
            f"expected fewer than 2**31 nodes and edges in a compiled model, got {graph}: call it without "
            f"torch.compile, or inside `with lcat.ops.use_implementation('naive'):`"
        )
    return grouped_edges(graph, side)


def _fake_groups(
    edge_index: Tensor,
    num_sources: int,
    num_targets: int,
    num_loops: int | None,
    flow: Flow,
    side: Side,
    is_input: bool = False,
) -> tuple[Tensor, ...]:
    del flow, is_input
    _recognize_inputs()
    num_edges = edge_index.shape[1] + (0 if num_loops is None else num_loops)
    return _fake(edge_index, num_edges, num_targets if side == "by_target" else num_sources)


def _fake_sort(
    source: Tensor, target: Tensor, num_sources: int, num_targets: int, padded: bool, side: Side
) -> tuple[Tensor, ...]:
    del target, padded
    return _fake(source, source.shape[0], num_targets if side == "by_target" else num_sources)


def _fake(index: Tensor, num_edges: int, num_rows: int) -> tuple[Tensor, ...]:
    indices, edge_ids = (index.new_empty(num_edges, dtype=torch.int32) for _ in range(2))
    return index.new_empty(num_rows + 1, dtype=torch.int64), indices, edge_ids


for _name, _kernel, _shapes in (
    ("group_edges", _group_edges, _fake_groups),
    ("sort_edges", _sort_edges, _fake_sort),
):
    for _device in ("CPU", "CUDA"):
        _library.impl(_name, _kernel, _device)
    torch.library.register_fake(f"lcat::{_name}", _shapes, lib=_library)


@cache
def _recognize_inputs() -> None:
    """Have ``is_input`` set where AOTAutograd records a call with an input of the compiled function.

    Only there is it known which tensors are inputs: objects that the caller owns, that compiled code does not write to
    without counting. A compiler that does not ask gets groups that are sorted in every step.
    """
    from torch.fx.experimental import proxy_tensor  # a compiler has imported it already

    def record(mode: Any, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        edge_index, *others = args[:6]
        slot = proxy_tensor.get_proxy_slot(edge_index, mode.tracer, None)
        tracer = proxy_tensor._CURRENT_MAKE_FX_TRACER
        # The inputs of an inner graph (of torch.cond) may be intermediate results of the outer one.
        outermost = tracer is not None and tracer.parent_tracer is None and tracer.fx_tracer is mode.tracer
        is_input = outermost and slot is not None and slot.proxy.node.op in ("placeholder", "get_attr")
        return mode.__torch_dispatch__(function, types, (edge_index, *others, is_input), kwargs or {})

    torch.library.register_torch_dispatch(
        "lcat::group_edges", proxy_tensor.ProxyTorchDispatchMode, record, lib=_library
    )
