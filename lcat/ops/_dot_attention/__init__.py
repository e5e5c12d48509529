"""The primitive ``dot_attention``: attention with the scaled dot product of queries and keys."""

from __future__ import annotations

from typing import overload

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import NUMBERS, WEIGHTS, Arguments, check_number, check_probability
from lcat.ops._dot_attention import fused, naive, scatter
from lcat.ops._fused import native_objection, too_large, triton_objection
from lcat.ops._scatter import scatter_objection
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import PLAIN, Call, Feature, Implementation, Primitive

__all__ = ["dot_attention"]

_PRIMITIVE = Primitive(
    "dot_attention",
    [
        Implementation("triton", fused.dot_attention, triton_objection),
        Implementation("native", fused.dot_attention, native_objection),
        Implementation("scatter", scatter.dot_attention, scatter_objection),
        Implementation("naive", naive.dot_attention),
    ],
)


@overload
def dot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: Graph,
    *,
    scale: float,
    edge_attr: None = None,
    query_edge: None = None,
    edge_weight: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor: ...


@overload
def dot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: Graph,
    *,
    scale: float,
    edge_attr: Tensor,
    query_edge: Tensor,
    edge_weight: Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]: ...


def dot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: Graph,
    *,
    scale: float,
    edge_attr: Tensor | None = None,
    query_edge: Tensor | None = None,
    edge_weight: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Attention of the Transformer on the in-edges (`arXiv 1706.03762 <https://arxiv.org/abs/1706.03762>`_).

    .. math:: y_i = \sum_{j \to i} w_{ij} \, p_{ij} v_j , \qquad
        p_{ij} = \mathrm{softmax}_j\!\left(s \, (q_i^\top k_j + u_i^\top e_{ij})\right) .

    Edge features that are added to keys and values after a linear map :math:`W` need no tensor of the size of keys
    per edge: :math:`q^\top (k + W e) = q^\top k + (W^\top q)^\top e`, so that :math:`u = W^\top q`, and
    :math:`\sum_j p_{ij} (v_j + W e_{ij}) = y_i + W a_i` with the attended edge features
    :math:`a_i = \sum_j w_{ij} \, p_{ij} e_{ij}`, which are returned too.

    Args:
        query: :math:`q`, ``[N_target, H, F]``.
        key: :math:`k`, ``[N_source, H, F]``.
        value: :math:`v`, ``[N_source, H, F']``.
        graph: the edges.
        scale: :math:`s`, often ``F ** -0.5``.
        edge_attr: :math:`e`, ``[E, D]``, the same for all heads; given together with ``query_edge``.
        query_edge: :math:`u`, ``[N_target, H, D]``.
        edge_weight: :math:`w`, ``[E]``, multiplies after the softmax; ``None`` means 1.
        dropout: probability of dropping an attention coefficient, in [0, 1]; 0 outside training.

    Returns:
        :math:`y`, ``[N_target, H, F']``; with ``edge_attr`` a pair of it and :math:`a`, ``[N_target, H, D]``. Both are
        zeros where there is no in-edge.

    Raises:
        TypeError: an argument is no tensor, ``graph`` no Graph, or an option no number.
        ValueError: a tensor does not have its shape, is on another device than the graph, not dense or not of numbers;
            ``dropout`` is outside [0, 1], ``scale`` not finite, or of ``edge_attr`` and ``query_edge`` only one is
            given.
        IndexError: an edge leaves the graph.
        RuntimeError: the memory of a tensor was freed.

    Complexity:
        O(E H (F + D)) time. O(N H (F + D)) memory; the naive implementation O(E H (F + D)).

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1], [2, 2]]), 3, 3)
        >>> key = torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1)
        >>> dot_attention(torch.zeros_like(key), key, key, graph, scale=1.0).flatten()
        tensor([0., 0., 2.])
    """
    arguments = Arguments(graph)
    arguments.check("query", query, "N_target", "H", "F")
    arguments.check("key", key, "N_source", "H", "F")
    arguments.check("value", value, "N_source", "H", "F'", dtypes=NUMBERS)
    arguments.check_optional("edge_weight", edge_weight, "E", dtypes=WEIGHTS)
    if edge_attr is not None or query_edge is not None:
        _check_edge_features(arguments, edge_attr, query_edge)
    dropout = check_probability("dropout", dropout)
    scale = check_number("scale", scale)
    features = Feature.LARGE_GRAPH if too_large(graph) else Feature.NONE
    if value.shape[2] != key.shape[2] or not key.shape[2]:
        features |= Feature.OTHER_VALUE_WIDTH
    if is_transformed(query, key, value, edge_attr, query_edge, edge_weight, graph.source):
        features |= Feature.TRANSFORM
    implementation = _PRIMITIVE.choose(Call(value.device, arguments.unusual_dtype or value.dtype, features))
    if implementation.name in PLAIN:
        arguments.check_memory()
    result: Tensor | tuple[Tensor, Tensor] = implementation.function(
        query,
        key,
        value,
        graph,
        scale=scale,
        edge_attr=edge_attr,
        query_edge=query_edge,
        edge_weight=edge_weight,
        dropout=dropout,
    )
    return result


def _check_edge_features(arguments: Arguments, edge_attr: Tensor | None, query_edge: Tensor | None) -> None:
    if edge_attr is None or query_edge is None:
        missing = "edge_attr" if edge_attr is None else "query_edge"
        raise ValueError(
            f"'{missing}' is missing: dot_attention takes 'edge_attr' and 'query_edge' together, or neither"
        )
    arguments.check("edge_attr", edge_attr, "E", "D")
    arguments.check("query_edge", query_edge, "N_target", "H", "D")
