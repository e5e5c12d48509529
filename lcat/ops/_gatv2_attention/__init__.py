"""The primitive ``gatv2_attention``: attention with GATv2's score."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import Shapes, check_probability, check_tensor
from lcat.ops._fused import MAX_EDGE_FEATURES, native_objection, too_large, triton_objection
from lcat.ops._gatv2_attention import fused, naive, scatter
from lcat.ops._scatter import scatter_objection
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import Call, Feature, Implementation, Primitive

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
    key: Tensor,
    query: Tensor,
    value: Tensor,
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
    r"""Attention with the score of GATv2 (`arXiv 2105.14491 <https://arxiv.org/abs/2105.14491>`_).

    .. math:: y_i = \sum_{j \to i} w_{ij} \, \mathrm{softmax}_j\!\left(
        a^\top \mathrm{LeakyReLU}(k_j + q_i + e_{ij})\right) v_j .

    Args:
        key: :math:`k`, ``[N_source, H, F]``.
        query: :math:`q`, ``[N_target, H, F]``.
        value: :math:`v`, ``[N_source, H, F']`` (pass ``key`` itself where they are the same: one gather less).
        att: ``[H, F]`` attention vector :math:`a` of each head.
        graph: the edges.
        negative_slope: LeakyReLU's slope below zero.
        edge_key: ``[E, H, F]``, added to key and query (:math:`e_{ij}`); ``None`` means 0. Takes the naive path.
        edge_weight: :math:`w`, ``[E]``, multiplies after the softmax; ``None`` means 1.
        dropout: probability of dropping an attention coefficient, in [0, 1]; 0 outside training.
        edge_attr: ``[E, D]`` raw edge features, given together with ``edge_matrix``: they stand for the ``edge_key``
            ``edge_attr @ edge_matrix.T``, which fused kernels compute where they need it if D is at most 16. With
            an ``edge_key`` too, both are added.
        edge_matrix: ``[H * F, D]``, the weight of the linear map of the edge features.

    Returns:
        ``[N_target, H, F']``; zeros where there is no in-edge.

    Raises:
        TypeError: an argument is no tensor, or ``graph`` no Graph.
        ValueError: a tensor does not have its shape, ``dropout`` is outside [0, 1], or of ``edge_attr`` and
            ``edge_matrix`` only one is given, or they do not fit each other.

    Complexity:
        O(E H F) time. O(N H F) memory; the naive implementation O(E H F).

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1], [2, 2]]), 3, 3)
        >>> key = torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1)
        >>> gatv2_attention(key, torch.zeros_like(key), key, torch.zeros(1, 1), graph).flatten()
        tensor([0., 0., 2.])
    """
    shapes = Shapes(graph)
    shapes.check("key", key, "N_source", "H", "F")
    shapes.check("query", query, "N_target", "H", "F")
    if value is not key:
        shapes.check("value", value, "N_source", "H", "F'")
    shapes.check("att", att, "H", "F")
    shapes.check_optional("edge_key", edge_key, "E", "H", "F")
    shapes.check_optional("edge_weight", edge_weight, "E")
    shapes.check_optional("edge_attr", edge_attr, "E", "D")
    _check_edge_matrix(edge_attr, edge_matrix, key)
    check_probability("dropout", dropout)
    features = Feature.LARGE_GRAPH if too_large(graph) else Feature.NONE
    if edge_key is not None:
        features |= Feature.EDGE_KEY
    if edge_attr is not None and edge_attr.shape[1] > MAX_EDGE_FEATURES:
        features |= Feature.WIDE_EDGE_ATTR
    if value is not key and value.shape[1:] != key.shape[1:]:
        features |= Feature.OTHER_VALUE_WIDTH
    if negative_slope > 1:
        features |= Feature.STEEP_SLOPE
    if is_transformed(key, query, value, att, edge_key, edge_attr, edge_matrix, edge_weight, graph.source):
        features |= Feature.TRANSFORM
    implementation = _PRIMITIVE.choose(Call(value.device, value.dtype, features))
    result: Tensor = implementation.function(
        key,
        query,
        value,
        att,
        graph,
        negative_slope=negative_slope,
        edge_key=edge_key,
        edge_weight=edge_weight,
        dropout=dropout,
        edge_attr=edge_attr,
        edge_matrix=edge_matrix,
    )
    return result


def _check_edge_matrix(edge_attr: Tensor | None, edge_matrix: Tensor | None, key: Tensor) -> None:
    if edge_attr is None and edge_matrix is None:
        return
    if edge_attr is None or edge_matrix is None:
        missing = "edge_attr" if edge_attr is None else "edge_matrix"
        raise ValueError(
            f"'{missing}' is missing: gatv2_attention takes 'edge_attr' and 'edge_matrix' together, or neither"
        )
    check_tensor("edge_matrix", edge_matrix)
    rows = key.shape[1] * key.shape[2]
    if edge_matrix.shape != (rows, edge_attr.shape[1]):
        raise ValueError(
            f"expected 'edge_attr' of shape [E, D] and 'edge_matrix' of shape [H * F, D], here H * F = {rows}, "
            f"got {list(edge_attr.shape)} and {list(edge_matrix.shape)}"
        )
