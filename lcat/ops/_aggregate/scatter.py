"""aggregate by torch-scatter's segment kernels."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._scatter import segments
from lcat.ops._segment import scale_rows


def aggregate(
    x: Tensor,
    graph: Graph,
    edge_weight: Tensor | None,
    source_scale: Tensor | None,
    target_scale: Tensor | None,
) -> Tensor:
    """``y_i = t_i sum_{j -> i} w_ij s_j x_j``, summed segment by segment."""
    if source_scale is not None:
        x = scale_rows(x, source_scale)
    edges = segments(graph)
    messages = edges.from_source(x)
    if edge_weight is not None:
        weight = edges.per_edge(edge_weight)
        messages = weight.view(*weight.shape, *[1] * (messages.dim() - weight.dim())) * messages
    out = edges.sum(messages)
    return out if target_scale is None else scale_rows(out, target_scale)
