"""The primitive ``aggregate``: a sparse-dense product."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import check_per_edge, check_rows
from lcat.ops.aggregate import naive
from lcat.ops.dispatch import Call, Implementation, Primitive

__all__ = ["aggregate"]

_PRIMITIVE = Primitive("aggregate", [Implementation("naive", naive.aggregate)])


def aggregate(x: Tensor, graph: Graph, edge_weight: Tensor | None = None) -> Tensor:
    r"""Weighted sum over in-edges, :math:`y_i = \sum_{j \to i} w_{ij} x_j`.

    Args:
        x: ``[N_source, ...]`` rows of the sources, any number of trailing dimensions.
        graph: the edges.
        edge_weight: ``[E]`` or ``[E, H]`` (then x is ``[N_source, H, ...]``), in the order of the graph's
            edges; ``None`` means 1.

    Returns:
        ``[N_target, ...]``; zeros where there is no in-edge.

    Raises:
        ValueError: a tensor's first dimension does not fit the graph.

    Complexity:
        O(E F) time; the naive implementation also takes O(E F) memory.

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1, 2], [2, 2, 0]]), 3, 3)
        >>> aggregate(torch.tensor([[1.0], [10.0], [100.0]]), graph).flatten()
        tensor([100.,   0.,  11.])
    """
    check_rows("x", x, graph.num_sources, "source")
    check_per_edge("edge_weight", edge_weight, graph)
    features = frozenset() if edge_weight is None else frozenset({"edge_weight"})
    chosen = _PRIMITIVE.choose(Call(x.device, x.dtype, features))
    result: Tensor = chosen.function(x, graph, edge_weight)
    return result
