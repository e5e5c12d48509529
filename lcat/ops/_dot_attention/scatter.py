"""dot_attention by torch-scatter's segment kernels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lcat.graph import Graph
from lcat.ops._scatter import segments


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
) -> Tensor | tuple[Tensor, Tensor]:
    """``y_i = sum_{j -> i} w_ij softmax_j(scale (q_i . k_j + u_i . e_ij)) v_j``, segment by segment."""
    edges = segments(graph)
    attr = None if edge_attr is None else edges.per_edge(edge_attr).unsqueeze(1)
    score = (edges.from_target(query) * edges.from_source(key)).sum(dim=-1)
    if attr is not None and query_edge is not None:
        score = score + (edges.from_target(query_edge) * attr).sum(dim=-1)
    alpha = F.dropout(edges.softmax(score * scale), dropout, training=dropout > 0)
    if edge_weight is not None:
        alpha = alpha * edges.per_edge(edge_weight).unsqueeze(-1)
    out = edges.sum(alpha.unsqueeze(-1) * edges.from_source(value))
    return out if attr is None else (out, edges.sum(alpha.unsqueeze(-1) * attr))
