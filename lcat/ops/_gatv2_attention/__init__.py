"""The primitive ``gatv2_attention``: attention with GATv2's score."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import NUMBERS, WEIGHTS, Arguments, check_number, check_probability
from lcat.ops._fused import MAX_EDGE_FEATURES, native_objection, too_large, triton_objection
from lcat.ops._gatv2_attention import fused, naive, scatter
from lcat.ops._scatter import scatter_objection
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import PLAIN, Call, Feature, Implementation, Primitive

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
        TypeError: an argument is no tensor, ``graph`` no Graph, or an option no number.
        ValueError: a tensor does not have its shape, is on another device than the graph, not dense or not of numbers;
            ``dropout`` is outside [0, 1], ``negative_slope`` not finite, or of ``edge_attr`` and ``edge_matrix`` only
            one is given.
        IndexError: an edge leaves the graph.
        RuntimeError: the memory of a tensor was freed.

    Complexity:
        O(E H F) time. O(N H F) memory; the naive implementation O(E H F).

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1], [2, 2]]), 3, 3)
        >>> key = torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1)
        >>> gatv2_attention(
        ...     key, torch.zeros_like(key), key, torch.zeros(1, 1), graph
        ... ).flatten()
        tensor([0., 0., 2.])
    """
    arguments = Arguments(graph)
    arguments.check("key", key, "N_source", "H", "F")
    arguments.check("query", query, "N_target", "H", "F")
    if value is not key:
        arguments.check("value", value, "N_source", "H", "F'", dtypes=NUMBERS)
    arguments.check("att", att, "H", "F")
    arguments.check_optional("edge_key", edge_key, "E", "H", "F")
    arguments.check_optional("edge_weight", edge_weight, "E", dtypes=WEIGHTS)
    if edge_attr is not None or edge_matrix is not None:
        _check_edge_features(arguments, edge_attr, edge_matrix)
    dropout = check_probability("dropout", dropout)
    negative_slope = check_number("negative_slope", negative_slope)
    features = Feature.LARGE_GRAPH if too_large(graph) else Feature.NONE
    if edge_key is not None:
        features |= Feature.EDGE_KEY
    if edge_attr is not None and edge_attr.shape[1] > MAX_EDGE_FEATURES:
        features |= Feature.WIDE_EDGE_ATTR
    if value is not key and value.shape[1:] != key.shape[1:]:
        features |= Feature.OTHER_VALUE_WIDTH
    if is_transformed(key, query, value, att, edge_key, edge_attr, edge_matrix, edge_weight, graph.source):
        features |= Feature.TRANSFORM
    implementation = _PRIMITIVE.choose(Call(value.device, arguments.unusual_dtype or value.dtype, features))
    if implementation.name in PLAIN:
        arguments.check_memory()
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


def _check_edge_features(arguments: Arguments, edge_attr: Tensor | None, edge_matrix: Tensor | None) -> None:
    if edge_attr is None or edge_matrix is None:
        missing = "edge_attr" if edge_attr is None else "edge_matrix"
        raise ValueError(
            f"'{missing}' is missing: gatv2_attention takes 'edge_attr' and 'edge_matrix' together, or neither"
        )
    arguments.check("edge_attr", edge_attr, "E", "D")
    arguments.sizes["H * F"] = arguments.sizes["H"] * arguments.sizes["F"]
    arguments.check("edge_matrix", edge_matrix, "H * F", "D")
