"""dot_attention, as its formula reads: the oracle of every other implementation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lcat.graph import Graph
from lcat.ops._segment import from_source, from_target, softmax_over_in_edges, sum_to_target


def dot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: Graph,
    scale: float,
    edge_attr: Tensor | None,
    query_edge: Tensor | None,
    edge_weight: Tensor | None,
    dropout: float,
    keep: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """``y_i = sum_{j -> i} w_ij softmax_j(scale (q_i . k_j + u_i . e_ij)) v_j``, messages written out.

    With ``edge_attr`` also the same sum of ``e_ij``. ``keep`` is a dropout already drawn: ``[E, H]`` factors of the
    coefficients.
    """
    score = (from_target(query, graph) * from_source(key, graph)).sum(dim=-1)
    if edge_attr is not None and query_edge is not None:
        score = score + (from_target(query_edge, graph) * edge_attr.unsqueeze(1)).sum(dim=-1)
    alpha = softmax_over_in_edges(score * scale, graph)
    if dropout > 0.0:
        alpha = F.dropout(alpha, dropout)
    if keep is not None:
        alpha = alpha * keep.to(alpha.dtype)
    if edge_weight is not None:
        alpha = alpha * edge_weight.unsqueeze(-1)
    out = sum_to_target(alpha.unsqueeze(-1) * from_source(value, graph), graph)
    if edge_attr is None:
        return out
    return out, sum_to_target(alpha.unsqueeze(-1) * edge_attr.unsqueeze(1), graph)
