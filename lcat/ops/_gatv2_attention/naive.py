"""gatv2_attention, as its formula reads: the oracle of every other implementation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lcat.graph import Graph
from lcat.ops._segment import from_source, from_target, linear, softmax_over_in_edges, sum_to_target


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
    keep: Tensor | None = None,
) -> Tensor:
    """``y_i = sum_{j -> i} w_ij softmax_j(att . LeakyReLU(k_j + q_i + e_ij)) v_j``, messages written out.

    ``e_ij`` is ``edge_key`` plus ``edge_attr`` projected by ``edge_matrix``. ``keep`` is a dropout already drawn:
    ``[E, H]`` factors of the coefficients.
    """
    hidden = from_source(key, graph) + from_target(query, graph)
    if edge_key is not None:
        hidden = hidden + edge_key
    if edge_attr is not None and edge_matrix is not None:
        hidden = hidden + linear(edge_attr, edge_matrix).view_as(hidden)
    score = (F.leaky_relu(hidden, negative_slope) * att).sum(dim=-1)
    alpha = softmax_over_in_edges(score, graph)
    if dropout > 0.0:
        alpha = F.dropout(alpha, dropout)
    if keep is not None:
        alpha = alpha * keep.to(alpha.dtype)
    if edge_weight is not None:
        alpha = alpha * edge_weight.unsqueeze(-1)
    return sum_to_target(alpha.unsqueeze(-1) * from_source(value, graph), graph)
