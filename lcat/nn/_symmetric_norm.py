r"""The symmetric normalization of attention: GCN's, relative to that of a mean.

.. math:: n_i \, \frac{w_{ij}}{\sqrt{d_i d_j}}

multiplies the attention coefficient of an edge, with the number of in-edges :math:`n_i` and GCN's degree :math:`d_i`,
the sum of their weights. Without weights that is :math:`\sqrt{d_i / d_j}`. Equal coefficients, :math:`1 / n_i`, become
GCN's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lcat.graph import CacheKey, Graph
from lcat.nn._gcn_norm import inverse_sqrt
from lcat.ops import aggregate

_FACTOR: CacheKey[Tensor] = CacheKey("symmetric normalization of attention")


def symmetric_factor(graph: Graph, weight: Tensor | None, dtype: torch.dtype, *, one_set: bool) -> Tensor:
    """What multiplies the attention coefficient of each edge, [E], 0 where a degree is 0.

    Args:
        graph: the edges of the attention, self-loops included.
        weight: their weights, [E]; ``None`` means 1, and then the factors are kept with the graph.
        dtype: the type of the factors; they are computed in float32 at least.
        one_set: sources and targets are the same nodes. In a bipartite graph, a source has no in-edges, and the degree
            of a source is the sum of the weights of its out-edges.
    """
    if weight is None:
        return graph.cached(_FACTOR, lambda: _unweighted(graph, dtype, one_set), dtype, one_set)
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    in_degree = aggregate(wide.new_ones(graph.num_sources, 1), graph, wide).squeeze(1)
    if one_set:
        source_scale = _inverse_sqrt(in_degree)
    else:
        live = wide.masked_fill(graph.target == graph.num_targets, 0.0) if graph.padded else wide
        source_scale = _inverse_sqrt(wide.new_zeros(graph.num_sources).index_add(0, graph.source, live))
    target_scale = graph.in_degree.to(wide.dtype) * _inverse_sqrt(in_degree)
    return (_per_edge(graph, source_scale, target_scale) * wide).to(weight.dtype)


def _unweighted(graph: Graph, dtype: torch.dtype, one_set: bool) -> Tensor:
    wide = torch.promote_types(dtype, torch.float32)
    in_degree = graph.in_degree.to(wide)
    if one_set:
        out_degree = in_degree
    else:
        live = torch.ones_like(graph.source, dtype=wide)
        live = live.masked_fill(graph.target == graph.num_targets, 0.0) if graph.padded else live
        out_degree = live.new_zeros(graph.num_sources).index_add(0, graph.source, live)
    return _per_edge(graph, _inverse_sqrt(out_degree), in_degree.sqrt()).to(dtype)


def _per_edge(graph: Graph, source_scale: Tensor, target_scale: Tensor) -> Tensor:
    at_target = torch.cat([target_scale, target_scale.new_zeros(1)]) if graph.padded else target_scale
    return source_scale[graph.source] * at_target[graph.target]


def _inverse_sqrt(degree: Tensor) -> Tensor:
    return inverse_sqrt(degree.clamp(min=0.0))
