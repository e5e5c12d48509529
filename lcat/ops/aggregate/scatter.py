"""aggregate by torch-scatter's segment kernels."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._scatter import segments


def aggregate(x: Tensor, graph: Graph, edge_weight: Tensor | None) -> Tensor:
    """``y_i = sum_{j -> i} w_ij x_j``, summed segment by segment."""
    edges = segments(graph)
    messages = edges.from_source(x)
    if edge_weight is not None:
        weight = edges.per_edge(edge_weight)
        messages = weight.view(*weight.shape, *[1] * (messages.dim() - weight.dim())) * messages
    return edges.sum(messages)
