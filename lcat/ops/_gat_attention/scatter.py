"""gat_attention by torch-scatter's segment kernels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lcat.graph import Graph
from lcat.ops._scatter import segments


def gat_attention(
    source_score: Tensor,
    target_score: Tensor | None,
    value: Tensor,
    graph: Graph,
    negative_slope: float,
    edge_score: Tensor | None,
    edge_weight: Tensor | None,
    dropout: float,
) -> Tensor:
    """``y_i = sum_{j -> i} w_ij softmax_j(LeakyReLU(s_j + t_i + e_ij)) v_j``, segment by segment."""
    edges = segments(graph)
    score = edges.from_source(source_score)
    if target_score is not None:
        score = score + edges.from_target(target_score)
    if edge_score is not None:
        score = score + edges.per_edge(edge_score)
    alpha = edges.softmax(F.leaky_relu(score, negative_slope))
    alpha = F.dropout(alpha, dropout, training=dropout > 0)
    if edge_weight is not None:
        alpha = alpha * edges.per_edge(edge_weight).unsqueeze(-1)
    return edges.sum(alpha.unsqueeze(-1) * edges.from_source(value))
