"""aggregate, as its formula reads: the oracle of every other implementation."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._segment import from_source, scale_rows, sum_to_target


def aggregate(
    x: Tensor,
    graph: Graph,
    edge_weight: Tensor | None,
    source_scale: Tensor | None = None,
    target_scale: Tensor | None = None,
) -> Tensor:
    """``y_i = t_i sum_{j -> i} w_ij s_j x_j`` with messages of size [E, ...] written out."""
    if source_scale is not None:
        x = scale_rows(x, source_scale)
    messages = from_source(x, graph)
    if edge_weight is not None:
        extra = messages.dim() - edge_weight.dim()
        messages = edge_weight.view(*edge_weight.shape, *[1] * extra) * messages
    out = sum_to_target(messages, graph)
    return out if target_scale is None else scale_rows(out, target_scale)
