"""The primitive ``attend_v2``: attention with GATv2's score."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import check_per_edge, check_rows
from lcat.ops.attend_v2 import naive
from lcat.ops.dispatch import Call, Implementation, Primitive

__all__ = ["attend_v2"]

_PRIMITIVE = Primitive("attend_v2", [Implementation("naive", naive.attend_v2)])


def attend_v2(
    k: Tensor,
    q: Tensor,
    v: Tensor,
    att: Tensor,
    graph: Graph,
    *,
    negative_slope: float = 0.2,
    edge_key: Tensor | None = None,
    edge_weight: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    r"""Attention with the score of GATv2 (`arXiv 2105.14491 <https://arxiv.org/abs/2105.14491>`_):

    .. math:: y_i = \sum_{j \to i} w_{ij} \, \mathrm{softmax}_j\!\left(
        a^\top \mathrm{LeakyReLU}(k_j + q_i + e_{ij})\right) v_j .

    Args:
        k: ``[N_source, H, F]`` keys.
        q: ``[N_target, H, F]`` queries.
        v: ``[N_source, H, F']`` values (pass ``k`` itself where they are the same: one gather less).
        att: ``[H, F]`` attention vector :math:`a` of each head.
        graph: the edges.
        negative_slope: LeakyReLU's slope below zero.
        edge_key: ``[E, H, F]``, added inside the LeakyReLU; ``None`` means 0.
        edge_weight: ``[E]``, multiplies after the softmax; ``None`` means 1.
        dropout: probability of dropping an attention coefficient, in [0, 1]; 0 outside training.

    Returns:
        ``[N_target, H, F']``; zeros where there is no in-edge.

    Raises:
        ValueError: a tensor's first dimension does not fit the graph.

    Complexity:
        O(E H F) time; the naive implementation also takes O(E H F) memory.

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1], [2, 2]]), 3, 3)
        >>> k = torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1)
        >>> attend_v2(k, torch.zeros_like(k), k, torch.zeros(1, 1), graph).flatten()
        tensor([0., 0., 2.])
    """
    check_rows("k", k, graph.num_sources, "source")
    check_rows("q", q, graph.num_targets, "target")
    check_rows("v", v, graph.num_sources, "source")
    check_per_edge("edge_key", edge_key, graph)
    check_per_edge("edge_weight", edge_weight, graph)
    asked = {"edge_key": edge_key is not None, "edge_weight": edge_weight is not None, "dropout": dropout > 0}
    call = Call(v.device, v.dtype, frozenset(name for name, used in asked.items() if used))
    chosen = _PRIMITIVE.choose(call)
    result: Tensor = chosen.function(k, q, v, att, graph, negative_slope, edge_key, edge_weight, dropout)
    return result
