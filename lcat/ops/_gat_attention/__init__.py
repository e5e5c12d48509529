"""The primitive ``gat_attention``: attention with GAT's score."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import NUMBERS, WEIGHTS, Arguments, check_number, check_probability
from lcat.ops._fused import native_objection, too_large, triton_objection
from lcat.ops._gat_attention import fused, naive, scatter
from lcat.ops._scatter import scatter_objection
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import PLAIN, Call, Feature, Implementation, Primitive

__all__ = ["gat_attention", "implementation_for"]

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
    source_score: Tensor,
    target_score: Tensor | None,
    value: Tensor,
    graph: Graph,
    *,
    negative_slope: float = 0.2,
    edge_score: Tensor | None = None,
    edge_weight: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    r"""Attention with the score of GAT (`arXiv 1710.10903 <https://arxiv.org/abs/1710.10903>`_).

    .. math:: y_i = \sum_{j \to i} w_{ij} \, \mathrm{softmax}_j\!\left(
        \mathrm{LeakyReLU}(s_j + t_i + e_{ij})\right) v_j .

    Args:
        source_score: :math:`s`, ``[N_source, H]``: one score per source and head.
        target_score: :math:`t`, ``[N_target, H]``; ``None`` means 0.
        value: :math:`v`, ``[N_source, H, F]``.
        graph: the edges.
        negative_slope: LeakyReLU's slope below zero.
        edge_score: :math:`e`, ``[E, H]``, added inside the LeakyReLU; ``None`` means 0.
        edge_weight: :math:`w`, ``[E]``, multiplies after the softmax; ``None`` means 1.
        dropout: probability of dropping an attention coefficient, in [0, 1]; 0 outside training.

    Returns:
        ``[N_target, H, F]``; zeros where there is no in-edge.

    Raises:
        TypeError: an argument is no tensor, ``graph`` no Graph, or an option no number.
        ValueError: a tensor does not have its shape, is on another device than the graph, not dense or not of numbers;
            ``dropout`` is outside [0, 1], ``negative_slope`` not finite.
        IndexError: an edge leaves the graph.
        RuntimeError: the memory of a tensor was freed.

    Complexity:
        O(E H F) time. O(N H F) memory; the naive implementation O(E H F).

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1], [2, 2]]), 3, 3)
        >>> score, value = torch.zeros(3, 1), torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1)
        >>> # equal scores: the mean of the in-neighbors
        >>> gat_attention(score, None, value, graph).flatten()
        tensor([0., 0., 2.])
    """
    arguments = Arguments(graph)
    arguments.check("value", value, "N_source", "H", "F", dtypes=NUMBERS)
    arguments.check("source_score", source_score, "N_source", "H")
    arguments.check_optional("target_score", target_score, "N_target", "H")
    arguments.check_optional("edge_score", edge_score, "E", "H")
    arguments.check_optional("edge_weight", edge_weight, "E", dtypes=WEIGHTS)
    dropout = check_probability("dropout", dropout)
    negative_slope = check_number("negative_slope", negative_slope)
    implementation = implementation_for(
        value, source_score, target_score, edge_score, edge_weight, graph=graph, dtype=arguments.unusual_dtype
    )
    if implementation.name in PLAIN:
        arguments.check_memory()
    result: Tensor = implementation.function(
        source_score,
        target_score,
        value,
        graph,
        negative_slope=negative_slope,
        edge_score=edge_score,
        edge_weight=edge_weight,
        dropout=dropout,
    )
    return result


def implementation_for(
    value: Tensor, *others: Tensor | None, graph: Graph | None = None, dtype: torch.dtype | None = None
) -> Implementation:
    """What serves a call with these tensors; ``dtype`` is a type among them that is not of floating point."""
    features = Feature.LARGE_GRAPH if graph is not None and too_large(graph) else Feature.NONE
    if is_transformed(value, *others, None if graph is None else graph.source):
        features |= Feature.TRANSFORM
    return _PRIMITIVE.choose(Call(value.device, dtype or value.dtype, features))
