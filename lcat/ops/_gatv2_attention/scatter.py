"""gatv2_attention by torch-scatter's segment kernels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lcat.graph import Graph
from lcat.ops._scatter import segments
from lcat.ops._segment import linear


def gatv2_attention(
    key: Tensor,
    query: Tensor,
    value: Tensor,
    att: Tensor,
    graph: Graph,
    negative_slope: float,
    edge_key: Tensor | None,
    edge_weight: Tensor | None,
    dropout: float,
    edge_attr: Tensor | None = None,
    edge_matrix: Tensor | None = None,
) -> Tensor:
    """``y_i = sum_{j -> i} w_ij softmax_j(att . LeakyReLU(k_j + q_i + e_ij)) v_j``, segment by segment."""
    edges = segments(graph)
    hidden = edges.from_source(key) + edges.from_target(query)
    if edge_key is not None:
        hidden = hidden + edges.per_edge(edge_key)
    if edge_attr is not None and edge_matrix is not None:
        hidden = hidden + linear(edges.per_edge(edge_attr), edge_matrix).view_as(hidden)
    alpha = edges.softmax((F.leaky_relu(hidden, negative_slope) * att).sum(dim=-1))
    alpha = F.dropout(alpha, dropout, training=dropout > 0)
    if edge_weight is not None:
        alpha = alpha * edges.per_edge(edge_weight).unsqueeze(-1)
    return edges.sum(alpha.unsqueeze(-1) * edges.from_source(value))
