"""The primitive ``aggregate``: a sparse-dense product, and its relatives with a mean, minimum or maximum."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from lcat._text import hint
from lcat.graph import CacheKey, Graph
from lcat.ops._aggregate import fused, naive, scatter
from lcat.ops._check import NUMBERS, WEIGHTS, Arguments
from lcat.ops._extremes import extremes
from lcat.ops._fused import native_objection, needs_gradient, too_large, triton_objection
from lcat.ops._scatter import scatter_objection
from lcat.ops._segment import scale_rows
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import PLAIN, Call, Feature, Implementation, Primitive

__all__ = ["Reduction", "aggregate"]

#: How the values of in-edges become one.
Reduction: TypeAlias = Literal["sum", "mean", "min", "max"]

_INVERSE_DEGREE: CacheKey[Tensor] = CacheKey("1 / in-degree")

_PRIMITIVE = Primitive(
    "aggregate",
    [
        Implementation("triton", fused.aggregate, triton_objection),
        Implementation("native", fused.aggregate, native_objection),
        Implementation("scatter", scatter.aggregate, scatter_objection),
        Implementation("naive", naive.aggregate),
    ],
)


def aggregate(
    x: Tensor,
    graph: Graph,
    edge_weight: Tensor | None = None,
    source_scale: Tensor | None = None,
    target_scale: Tensor | None = None,
    *,
    reduce: Reduction = "sum",
) -> Tensor:
    r"""Weighted sum over in-edges, :math:`y_i = t_i \sum_{j \to i} w_{ij} s_j x_j`, or the mean, minimum or maximum.

    The scales express a normalization by degrees without one number per edge.

    A mean is divided by the number of in-edges, whatever their weights. The gradient of a minimum or maximum goes in
    equal parts to all edges that reach it, as in PyG; where it is exactly 0, one part more is lost, because torch
    counts the zero that it starts from (``scatter_reduce``), and layers that are swapped must train as before. A NaN
    among the messages makes the result and all gradients of it NaN.

    Args:
        x: ``[N_source, ...]`` rows of the sources, any number of trailing dimensions.
        graph: the edges.
        edge_weight: ``[E]`` or ``[E, H]`` (then x is ``[N_source, H, ...]``), in the order of the graph's
            edges; ``None`` means 1.
        source_scale: s, ``[N_source]``; ``None`` means 1.
        target_scale: t, ``[N_target]``; ``None`` means 1. It multiplies what the reduction returns.
        reduce: ``"sum"``, ``"mean"``, ``"min"`` or ``"max"``.

    Returns:
        ``[N_target, ...]``; zeros where there is no in-edge.

    Raises:
        TypeError: an argument is no tensor, or ``graph`` no Graph.
        ValueError: a tensor does not have its shape, is on another device than the graph, not dense or not of numbers;
            ``reduce`` is another word, or numbers without an order (complex ones) shall be compared.
        IndexError: an edge leaves the graph.
        RuntimeError: the memory of a tensor was freed.

    Complexity:
        O(E F) time. O(N F) memory; the naive implementation O(E F). Where gradients are needed, a minimum or maximum
        keeps two tensors of the size of the result.

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> graph, _ = graph_view(torch.tensor([[0, 1, 2], [2, 2, 0]]), 3, 3)
        >>> aggregate(torch.tensor([[1.0], [10.0], [100.0]]), graph).flatten()
        tensor([100.,   0.,  11.])
        >>> aggregate(torch.tensor([[1.0], [10.0], [100.0]]), graph, reduce="max").flatten()
        tensor([100.,   0.,  10.])
    """
    arguments = Arguments(graph)
    arguments.check_rows("x", x, "source", dtypes=NUMBERS)
    if isinstance(edge_weight, Tensor) and edge_weight.dim() == 2 and x.dim() > 1:
        arguments.sizes["H"] = x.shape[1]
        arguments.check("edge_weight", edge_weight, "E", "H", dtypes=WEIGHTS)
    else:
        arguments.check_optional("edge_weight", edge_weight, "E", dtypes=WEIGHTS)
    arguments.check_optional("source_scale", source_scale, "N_source", dtypes=NUMBERS)
    arguments.check_optional("target_scale", target_scale, "N_target", dtypes=NUMBERS)
    if reduce != "sum":
        return _reduced(arguments, x, graph, edge_weight, source_scale, target_scale, reduce)
    if needs_gradient(source_scale, target_scale):  # the operators take scales for constants
        x = x if source_scale is None else scale_rows(x, source_scale)
        out = aggregate(x, graph, edge_weight)
        return out if target_scale is None else scale_rows(out, target_scale)
    features = Feature.LARGE_GRAPH if too_large(graph) else Feature.NONE
    if is_transformed(x, edge_weight, graph.source, source_scale, target_scale):
        features |= Feature.TRANSFORM
    implementation = _PRIMITIVE.choose(Call(x.device, arguments.unusual_dtype or x.dtype, features))
    if implementation.name in PLAIN:
        arguments.check_memory()
    result: Tensor = implementation.function(x, graph, edge_weight, source_scale, target_scale)
    return result


def _reduced(
    arguments: Arguments,
    x: Tensor,
    graph: Graph,
    edge_weight: Tensor | None,
    source_scale: Tensor | None,
    target_scale: Tensor | None,
    reduce: Reduction,
) -> Tensor:
    """Means, minima and maxima, of checked tensors."""
    if reduce == "mean":
        return _mean(x, graph, edge_weight, source_scale, target_scale)
    if reduce not in get_args(Reduction):
        words = ", ".join(map(repr, get_args(Reduction)))
        raise ValueError(f"expected 'reduce' as {words}, got {reduce!r}{hint(reduce, get_args(Reduction))}")
    for name, tensor in (("x", x), ("edge_weight", edge_weight), ("source_scale", source_scale)):
        if tensor is not None and tensor.is_complex():
            raise ValueError(
                f"expected '{name}' of real numbers for reduce={reduce!r}, got {tensor.dtype}: complex numbers have "
                f"no order"
            )
    x = x if source_scale is None else scale_rows(x, source_scale)
    out = extremes(x, graph, edge_weight, largest=reduce == "max", arguments=arguments)
    return out if target_scale is None else scale_rows(out, target_scale)


def _mean(
    x: Tensor, graph: Graph, edge_weight: Tensor | None, source_scale: Tensor | None, target_scale: Tensor | None
) -> Tensor:
    dtype = x.dtype
    if dtype not in (torch.float32, torch.float64):  # one over a count is no number of a half type
        out = aggregate(x, graph, edge_weight, source_scale, target_scale)
        return out / graph.in_degree.clamp(min=1).view(-1, *[1] * (out.dim() - 1))
    scale = graph.cached(_INVERSE_DEGREE, lambda: 1.0 / graph.in_degree.clamp(min=1).to(dtype), dtype)
    if target_scale is not None:
        scale = scale * target_scale
    return aggregate(x, graph, edge_weight, source_scale, scale)
