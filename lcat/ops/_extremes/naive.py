"""extremes, as its formula reads: the oracle of every other implementation."""

from __future__ import annotations

from torch import Tensor

from lcat._tracing import is_exporting, is_jit_tracing
from lcat.graph import Graph
from lcat.ops._segment import extreme_to_target, from_source


def extremes(x: Tensor, graph: Graph, edge_weight: Tensor | None, largest: bool) -> Tensor:
    """``max over j -> i of w_ij x_j``, or the minimum, with messages of size [E, ...] written out.

    The gradient is torch's: in equal parts to all edges that reach the extreme, and where the extreme is 0, one more
    part is lost, because torch counts the zero that it starts from.
    """
    messages = from_source(x, graph)
    if edge_weight is not None:
        extra = messages.dim() - edge_weight.dim()
        messages = edge_weight.view(*edge_weight.shape, *[1] * extra) * messages
    return extreme_to_target(messages, graph, largest=largest, in_plain_steps=is_exporting() or is_jit_tracing())
