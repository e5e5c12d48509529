"""gat_attention, as its formula reads: the oracle of every other implementation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lcat.graph import Graph
from lcat.ops._segment import from_source, from_target, softmax_over_in_edges, sum_to_target


def gat_attention(
    source_score: Tensor,
    target_score: Tensor | None,
    value: Tensor,
    graph: Graph,
    negative_slope: float,
    edge_score: Tensor | None,
    edge_weight: Tensor | None,
    dropout: float,
    keep: Tensor | None = None,
) -> Tensor:
    """``y_i = sum_{j -> i} w_ij softmax_j(LeakyReLU(s_j + t_i + e_ij)) v_j``, messages written out.

    ``s``, ``t`` and ``e`` are the scores of sources, targets and edges. ``keep`` is a dropout already drawn:
    ``[E, H]`` factors of the coefficients.
    """
    score = from_source(source_score, graph)
    if target_score is not None:
        score = score + from_target(target_score, graph)
    if edge_score is not None:
        score = score + edge_score
    alpha = softmax_over_in_edges(F.leaky_relu(score, negative_slope), graph)
    if dropout > 0.0:
        alpha = F.dropout(alpha, dropout)
    if keep is not None:
        alpha = alpha * keep.to(alpha.dtype)
    if edge_weight is not None:
        alpha = alpha * edge_weight.unsqueeze(-1)
    return sum_to_target(alpha.unsqueeze(-1) * from_source(value, graph), graph)
