"""Edges that layers of PyG make anew in every call, kept with the view of the edges that they are made of.

PyG's layers add self-loops, normalize and select edges in ``forward``. What they make is a new tensor each time, which
would be checked and sorted each time. What is kept here lives as long as the caller's edges, is counted with their
views (:func:`lcat.graph.cache_info`), and is made again when they change.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from lcat._edge_formats import Flow
from lcat._tracing import is_capturing, is_traced, needs_static_shape
from lcat.graph import CacheKey, graph_view, own_edge_index
from lcat.nn._gcn_norm import normalized_per_edge

Edges: TypeAlias = tuple[Tensor, Any]

_EDGES: CacheKey[Tensor] = CacheKey("edges that a layer makes of these")
_EDGES_AND_WEIGHT: CacheKey[Edges] = CacheKey("edges that a layer makes of these, and their weights")
_WITH_LOOPS: CacheKey[Tensor] = CacheKey("edge_index with self-loops")


def can_keep(edge_index: Any) -> bool:
    """Whether these are edges that something can be kept for: a plain ``edge_index``, and no trace is made."""
    if type(edge_index) is not Tensor or edge_index.layout is not torch.strided or edge_index.dtype != torch.long:
        return False
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_index.is_inference():
        return False
    return not (is_traced() or needs_static_shape(edge_index) or is_capturing())


def keep_edges(
    edge_index: Tensor,
    num_nodes: int,
    make: Callable[[], Edges],
    *parameters: Hashable,
    flow: Flow,
    constant: bool,
) -> Edges:
    """What ``make()`` returns, new edges and their weights; the edges, at least, are those of the first call.

    Args:
        edge_index: the caller's edges, for which :func:`can_keep` is true.
        num_nodes: the number of nodes.
        make: makes the edges, which depend on ``edge_index``, ``num_nodes`` and ``parameters`` only.
        *parameters: name the kind of edges.
        flow: the direction of messages.
        constant: whether the weights depend on nothing else either.
    """
    graph, _ = graph_view(edge_index, num_nodes, num_nodes, flow=flow)

    def owned(edges: Tensor) -> Tensor:
        view, _ = graph_view(edges, num_nodes, num_nodes, flow=flow)
        return own_edge_index(view, flow, edges)

    if constant:

        def make_all() -> Edges:
            edges, weight = make()
            return owned(edges), weight

        return graph.cached(_EDGES_AND_WEIGHT, make_all, *parameters)
    edges, weight = make()
    return graph.cached(_EDGES, lambda: owned(edges), *parameters), weight


def kept_gcn_norm(
    edge_index: Any,
    edge_weight: Any = None,
    num_nodes: int | None = None,
    improved: bool = False,
    add_self_loops: bool = True,
    flow: str = "source_to_target",
    dtype: torch.dtype | None = None,
) -> Any:
    """PyG's ``gcn_norm``, whose edges are those of the first call, sorted once for all layers of a model."""
    plain_weight = edge_weight is None or (
        type(edge_weight) is Tensor and edge_weight.dim() == 1 and edge_weight.is_floating_point()
        and edge_weight.device == edge_index.device
    )  # fmt: skip
    if num_nodes is None or not plain_weight or not can_keep(edge_index):
        return gcn_norm(edge_index, edge_weight, num_nodes, improved, add_self_loops, flow, dtype)
    if edge_weight is not None and edge_weight.shape[0] != edge_index.shape[1]:
        return gcn_norm(edge_index, edge_weight, num_nodes, improved, add_self_loops, flow, dtype)
    direction: Flow = "target_to_source" if flow == "target_to_source" else "source_to_target"
    graph, _ = graph_view(edge_index, num_nodes, num_nodes, flow=direction)
    if edge_weight is not None:
        dtype = edge_weight.dtype
    with_loops, factor = normalized_per_edge(
        graph, edge_weight, dtype or torch.get_default_dtype(), add_self_loops=add_self_loops, improved=improved
    )
    if not add_self_loops:
        return edge_index, factor
    return graph.cached(_WITH_LOOPS, lambda: own_edge_index(with_loops, direction)), factor
