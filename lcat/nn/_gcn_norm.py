"""The symmetric normalization of GCN: self-loops, degrees, and what multiplies each message.

Edges of weight 1 need one factor per node, :math:`1 / sqrt(d_i)`, which multiplies a message at both ends. Other
weights need one per edge, :math:`w_ij / sqrt(d_j d_i)`. What depends on nothing but the graph is cached with it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lcat._edge_formats import EdgeList
from lcat.graph import CacheKey, Graph
from lcat.ops import aggregate

_PER_NODE: CacheKey[tuple[Graph, Tensor]] = CacheKey("GCN: graph with self-loops, a factor per node")
_PER_EDGE: CacheKey[tuple[Graph, Tensor]] = CacheKey("GCN: graph with self-loops, a factor per edge")


class NormalizedEdges(NamedTuple):
    """The edges of one call, and what multiplies their messages.

    Attributes:
        graph: the edges that the layer uses, with self-loops where it adds them.
        edge_list: the edges as the caller passed them; ``None`` if they come from the layer's own cache and nobody
            looks at messages.
        weight: a factor per edge of ``graph``, [E'], or ``None``.
        scale: s of the factor ``s_j s_i``, [N], or ``None``.
    """

    graph: Graph
    edge_list: EdgeList | None
    weight: Tensor | None
    scale: Tensor | None = None


def normalized_per_node(
    input_graph: Graph, dtype: torch.dtype, *, add_self_loops: bool, statistic: Tensor | None = None
) -> tuple[Graph, Tensor]:
    """For edges of weight 1: the graph with its self-loops, and ``1 / sqrt(d_i)``, [N].

    ``statistic`` is the latter, where it is known (:func:`inverse_sqrt_degree`).
    """
    if statistic is not None:
        return _with_loops(input_graph, add_self_loops), statistic.to(dtype)

    def make() -> tuple[Graph, Tensor]:
        graph = _with_loops(input_graph, add_self_loops)
        return graph, _degree_scale(graph, dtype).to(dtype)

    return input_graph.cached(_PER_NODE, make, add_self_loops, dtype)


def normalized_per_edge(
    input_graph: Graph,
    weight: Tensor | None,
    dtype: torch.dtype,
    *,
    add_self_loops: bool,
    improved: bool,
    statistic: Tensor | None = None,
) -> tuple[Graph, Tensor]:
    """The graph with its self-loops, and ``w_ij / sqrt(d_j d_i)`` for every edge, [E'].

    ``statistic`` is ``1 / sqrt(d_i)``, [N], where it is known (:func:`inverse_sqrt_degree`).
    """

    def make() -> tuple[Graph, Tensor]:
        graph, factor = _with_loop_weights(input_graph, weight, dtype, add_self_loops=add_self_loops, improved=improved)
        wide = factor.to(_at_least_single(factor.dtype))
        scale = _weighted_degree_scale(graph, wide) if statistic is None else statistic
        return graph, (scale[graph.source] * wide * per_target(graph, scale)).to(factor.dtype)

    if weight is not None or statistic is not None:
        return make()
    return input_graph.cached(_PER_EDGE, make, add_self_loops, dtype)


def inverse_sqrt_degree(
    input_graph: Graph, weight: Tensor | None, dtype: torch.dtype, *, add_self_loops: bool, improved: bool
) -> Tensor:
    """``1 / sqrt(d_i)`` for every node, [N], self-loops included, in float32 at least; 0 where the degree is 0."""
    if weight is None:
        return _degree_scale(_with_loops(input_graph, add_self_loops), dtype)
    graph, factor = _with_loop_weights(input_graph, weight, dtype, add_self_loops=add_self_loops, improved=improved)
    return _weighted_degree_scale(graph, factor.to(_at_least_single(factor.dtype)))


def _with_loops(input_graph: Graph, add_self_loops: bool) -> Graph:
    return input_graph.with_self_loops(input_graph.num_targets) if add_self_loops else input_graph


def _with_loop_weights(
    input_graph: Graph, weight: Tensor | None, dtype: torch.dtype, *, add_self_loops: bool, improved: bool
) -> tuple[Graph, Tensor]:
    """The graph with its self-loops, and the weights of its edges: a loop has its old weight, or that of a new one."""
    graph = _with_loops(input_graph, add_self_loops)
    if weight is None:  # as in PyG, where ``improved`` has no effect without edge weights
        return graph, torch.ones(graph.num_edges, dtype=dtype, device=graph.device)
    if not add_self_loops:
        return graph, weight
    return graph, weights_with_loops(input_graph, graph, weight, missing=2.0 if improved else 1.0)


def weights_with_loops(input_graph: Graph, graph: Graph, weight: Tensor, *, missing: float) -> Tensor:
    """The weights of the edges of ``graph``, which is ``input_graph`` with self-loops: a loop keeps its weight.

    A loop that the input does not have gets the weight ``missing``.
    """
    # Of parallel loops the last one counts, as in PyG; the others get no gradient (in PyG, a wrong one).
    num_edges = input_graph.num_edges
    no_loop = input_graph.source != input_graph.target
    position = torch.arange(num_edges, device=graph.device).masked_fill(no_loop, -1)
    last = position.new_full((graph.num_loops,), -1).scatter_reduce(0, input_graph.source, position, "amax")
    with_new = torch.cat([weight, weight.new_full((1,), missing)])
    loops = with_new[last.masked_fill(last < 0, num_edges)]
    return torch.cat([graph.select(weight), loops])


def symmetric_factors(graph: Graph, weight: Tensor) -> Tensor:
    """``w_ij / sqrt(d_j d_i)`` for every edge of ``graph``, [E']; ``weight`` [E'] are the :math:`w_{ij}`."""
    wide = weight.to(_at_least_single(weight.dtype))
    scale = _weighted_degree_scale(graph, wide)
    return (scale[graph.source] * wide * per_target(graph, scale)).to(weight.dtype)


def per_target(graph: Graph, per_node: Tensor) -> Tensor:
    """The number of the target of every edge, [E']; 0 for dead edges."""
    at_target = torch.cat([per_node, per_node.new_zeros(1)]) if graph.padded else per_node
    return at_target[graph.target]


def _degree_scale(graph: Graph, dtype: torch.dtype) -> Tensor:
    return inverse_sqrt(graph.in_degree.to(_at_least_single(dtype)))


def _weighted_degree_scale(graph: Graph, weight: Tensor) -> Tensor:
    return inverse_sqrt(aggregate(weight.new_ones(graph.num_sources, 1), graph, weight).squeeze(1))


def inverse_sqrt(degree: Tensor) -> Tensor:
    """``degree ** -0.5``, and 0 where the degree is 0, with a gradient of 0."""
    zero = degree == 0  # its root has an infinite gradient, which must not meet a factor of 0
    return degree.masked_fill(zero, 1.0).pow(-0.5).masked_fill(zero, 0.0)


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    """The type that degrees are counted in: those of large nodes are infinite in float16."""
    return torch.promote_types(dtype, torch.float32)
