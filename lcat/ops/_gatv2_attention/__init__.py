"""The primitive ``gatv2_attention``: attention with GATv2's score."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import Shapes
from lcat.ops._fused import MOST_EDGE_FEATURES, native_objection, too_large, triton_objection
from lcat.ops._gatv2_attention import fused, naive, scatter
from lcat.ops._scatter import scatter_objection
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import Call, Implementation, Primitive

__all__ = ["gatv2_attention"]

_PRIMITIVE = Primitive(
    "gatv2_attention",
    [
        Implementation("triton", fused.gatv2_attention, triton_objection),
        Implementation("native", fused.gatv2_attention, native_objection),
        Implementation("scatter", scatter.gatv2_attention, scatter_objection),
        Implementation("naive", naive.gatv2_attention),
    ],
)


def gatv2_attention(
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
    edge_attr: Tensor | None = None,
    edge_matrix: Tensor | None = None,
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
        edge_key: ``[E, H, F]``, the edge's own :math:`e_{ij}`; ``None`` means 0. Takes the naive path.
        edge_weight: ``[E]``, multiplies after the softmax; ``None`` means 1.
        dropout: probability of dropping an attention coefficient, in [0, 1]; 0 outside training.
        edge_attr: ``[E, D]`` raw edge features, given together with ``edge_matrix``: they stand for the ``edge_key``
            ``edge_attr @ edge_matrix.T``, which fused kernels compute where they need it if D is at most 16.
        edge_matrix: ``[H * F, D]``, the weight of the linear map of the edge features.

    Returns:
        ``[N_target, H, F']``; zeros where there is no in-edge.

    Raises:
        ValueError: a tensor does not have its shape, or of ``edge_attr`` and ``edge_matrix`` only one is given, or they
            do not fit each other.

    Complexity:
        O(E H F) time. O(N H F) memory; the naive implementation O(E H F).

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1], [2, 2]]), 3, 3)
        >>> k = torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1)
        >>> gatv2_attention(k, torch.zeros_like(k), k, torch.zeros(1, 1), graph).flatten()
        tensor([0., 0., 2.])
    """
    shapes = Shapes(graph)
    shapes.check("k", k, "N_source", "H", "F")
    shapes.check("q", q, "N_target", "H", "F")
    if v is not k:
        shapes.check("v", v, "N_source", "H", "F'")
    shapes.check("att", att, "H", "F")
    shapes.check("edge_key", edge_key, "E", "H", "F")
    shapes.check("edge_weight", edge_weight, "E")
    shapes.check("edge_attr", edge_attr, "E", "D")
    _check_edge_matrix(edge_attr, edge_matrix, k)
    asked = {
        "edge_key": edge_key is not None,
        "edge_attr": edge_attr is not None,
        "wide edge_attr": edge_attr is not None and edge_attr.shape[1] > MOST_EDGE_FEATURES,
        "edge_weight": edge_weight is not None,
        "dropout": dropout > 0,
        "other value width": v is not k and v.shape[1:] != k.shape[1:],
        "slope above 1": negative_slope > 1,
        "large graph": too_large(graph),
        "transform": is_transformed(k, q, v, att, edge_key, edge_attr, edge_matrix, edge_weight, graph.source),
    }
    call = Call(v.device, v.dtype, frozenset(name for name, used in asked.items() if used))
    chosen = _PRIMITIVE.choose(call)
    result: Tensor = chosen.function(
        k, q, v, att, graph, negative_slope, edge_key, edge_weight, dropout, edge_attr, edge_matrix
    )
    return result


def _check_edge_matrix(edge_attr: Tensor | None, edge_matrix: Tensor | None, k: Tensor) -> None:
    if edge_attr is None and edge_matrix is None:
        return
    if edge_attr is None or edge_matrix is None:
        missing = "edge_attr" if edge_attr is None else "edge_matrix"
        raise ValueError(
            f"'{missing}' is missing: gatv2_attention takes 'edge_attr' and 'edge_matrix' together, or neither"
        )
    rows = k.shape[1] * k.shape[2]
    if edge_matrix.shape != (rows, edge_attr.shape[1]):
        raise ValueError(
            f"'edge_attr' has shape {list(edge_attr.shape)} and 'edge_matrix' {list(edge_matrix.shape)}; they take "
            f"[E, D] and [H * F, D], here H * F = {rows}"
        )
