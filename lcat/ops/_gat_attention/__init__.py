"""The primitive ``gat_attention``: attention with GAT's score."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import Shapes
from lcat.ops._fused import native_objection, too_large, triton_objection
from lcat.ops._gat_attention import fused, naive, scatter
from lcat.ops._scatter import scatter_objection
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import Call, Implementation, Primitive

__all__ = ["gat_attention"]

_PRIMITIVE = Primitive(
    "gat_attention",
    [
        Implementation("triton", fused.gat_attention, triton_objection),
        Implementation("native", fused.gat_attention, native_objection),
        Implementation("scatter", scatter.gat_attention, scatter_objection),
        Implementation("naive", naive.gat_attention),
    ],
)


def gat_attention(
    s: Tensor,
    t: Tensor | None,
    v: Tensor,
    graph: Graph,
    *,
    negative_slope: float = 0.2,
    edge_score: Tensor | None = None,
    edge_weight: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    r"""Attention with the score of GAT (`arXiv 1710.10903 <https://arxiv.org/abs/1710.10903>`_):

    .. math:: y_i = \sum_{j \to i} w_{ij} \, \mathrm{softmax}_j\!\left(
        \mathrm{LeakyReLU}(s_j + t_i + e_{ij})\right) v_j .

    Args:
        s: ``[N_source, H]`` score of a source, one a head.
        t: ``[N_target, H]`` score of a target; ``None`` means 0.
        v: ``[N_source, H, F]`` values.
        graph: the edges.
        negative_slope: LeakyReLU's slope below zero.
        edge_score: ``[E, H]``, added inside the LeakyReLU; ``None`` means 0.
        edge_weight: ``[E]``, multiplies after the softmax; ``None`` means 1.
        dropout: probability of dropping an attention coefficient, in [0, 1]; 0 outside training.

    Returns:
        ``[N_target, H, F]``; zeros where there is no in-edge.

    Raises:
        ValueError: a tensor does not have its shape.

    Complexity:
        O(E H F) time. O(N H F) memory; the naive implementation O(E H F).

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1], [2, 2]]), 3, 3)
        >>> s, v = torch.zeros(3, 1), torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1)
        >>> gat_attention(s, None, v, graph).flatten()  # equal scores: the mean of the in-neighbors
        tensor([0., 0., 2.])
    """
    shapes = Shapes(graph)
    shapes.check("v", v, "N_source", "H", "F")
    shapes.check("s", s, "N_source", "H")
    shapes.check("t", t, "N_target", "H")
    shapes.check("edge_score", edge_score, "E", "H")
    shapes.check("edge_weight", edge_weight, "E")
    asked = {
        "edge_score": edge_score is not None,
        "edge_weight": edge_weight is not None,
        "dropout": dropout > 0,
        "slope above 1": negative_slope > 1,
        "large graph": too_large(graph),
        "transform": is_transformed(s, t, v, edge_score, edge_weight, graph.source),
    }
    call = Call(v.device, v.dtype, frozenset(name for name, used in asked.items() if used))
    chosen = _PRIMITIVE.choose(call)
    result: Tensor = chosen.function(s, t, v, graph, negative_slope, edge_score, edge_weight, dropout)
    return result
