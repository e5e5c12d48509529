"""aggregate, as its formula reads: the oracle of every other implementation."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._segment import from_source, sum_to_target


def aggregate(x: Tensor, graph: Graph, edge_weight: Tensor | None) -> Tensor:
    """``y_i = sum_{j -> i} w_ij x_j`` with messages of size [E, ...] written out."""
    messages = from_source(x, graph)
    if edge_weight is not None:
        extra = messages.dim() - edge_weight.dim()
        messages = edge_weight.view(*edge_weight.shape, *[1] * extra) * messages
    return sum_to_target(messages, graph)
