"""dot_attention on the CPU by compiled kernels (``csrc/dot_attention.cpp``), see lcat.ops._fused."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import as_type, compute_dtype, result_dtype
from lcat.ops._native import all_dense, as_dense, call, edge_arguments, seed_value


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_attr: Tensor | None,
    query_edge: Tensor | None,
    edge_weight: Tensor | None,
    by_target: SortedEdges,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    keep_unrounded: bool,
) -> tuple[Tensor | None, ...]:
    """One pass over the edges by target: ``(out, attended, lse, unrounded, unrounded_attended)``."""
    tensors = (query, key, value, edge_attr, query_edge, edge_weight)
    dtype, out_dtype = compute_dtype(*tensors), result_dtype(*tensors)
    queries, keys, values, attr, edge_queries, weights = all_dense(dtype, *tensors)
    num_targets, heads, width = query.shape
    edge_width = 0 if attr is None else attr.shape[1]
    out, lse = queries.new_empty(num_targets, heads, width), queries.new_empty(num_targets, heads)
    attended = None if attr is None else queries.new_empty(num_targets, heads, edge_width)
    call(
        *("dot_attention_forward", dtype, queries, keys, values, attr, edge_queries, edge_width, weights),
        *edge_arguments(by_target, key.shape[0], per_edge=attr is not None or weights is not None),
        *(out, attended, lse, num_targets, heads, width, scale, dropout, seed_value(seed)),
    )
    rounded = None if attended is None else as_type(attended, out_dtype)
    keep = keep_unrounded and out_dtype is not dtype
    return as_type(out, out_dtype), rounded, lse, out if keep else None, attended if keep else None


def backward(
    grad: Tensor,
    grad_attended: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_attr: Tensor | None,
    query_edge: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    attended: Tensor | None,
    lse: Tensor,
    by_target: SortedEdges,
    by_source: SortedEdges,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """One pass over the nodes, one over the edges by target and one by source: the gradients of all arguments."""
    dtype, arguments = out.dtype, (query, key, value, edge_attr, query_edge, edge_weight)
    dense = queries, _, _, attr, _, weights = all_dense(dtype, *arguments)
    num_targets, heads, width = query.shape
    num_sources, edge_width = key.shape[0], 0 if attr is None else attr.shape[1]
    per_edge = attr is not None or weights is not None
    edge_gradient = None
    if attr is not None:
        edge_gradient = lse.new_zeros(num_targets, heads, edge_width) if grad_attended is None else grad_attended
        edge_gradient = as_dense(edge_gradient, dtype)
    gradients = [
        queries.new_empty(x.shape, dtype=dtype) if need and x is not None else None
        for need, x in zip(needs, arguments, strict=True)
    ]
    call(
        *("dot_attention_backward", dtype, as_dense(grad, dtype), edge_gradient, *dense[:5], edge_width, weights),
        *(out, attended if attr is not None else None, lse),
        *edge_arguments(by_target, num_sources, per_edge=per_edge),
        *edge_arguments(by_source, num_targets, per_edge=per_edge),
        *(*gradients, num_targets, num_sources, heads, width, scale, dropout, seed_value(seed)),
    )
    return tuple(
        as_type(g, a.dtype) if g is not None and a is not None else None
        for a, g in zip(arguments, gradients, strict=True)
    )
