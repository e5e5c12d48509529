"""gatv2_attention on the CPU by compiled kernels (``csrc/gatv2_attention.cpp``), see lcat.ops._fused."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import as_type, compute_dtype, result_dtype
from lcat.ops._native import as_dense, call, edge_arguments, seed_value


def forward(
    key: Tensor,
    query: Tensor,
    value: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    by_target: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    keep_unrounded: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One pass over the edges by target: ``(out, lse, unrounded)``."""
    dtype = compute_dtype(key, query, value, att, edge_attr, edge_matrix, edge_weight)
    out_dtype = result_dtype(key, query, value, att, edge_attr, edge_matrix, edge_weight)
    (heads, width), num_targets = key.shape[1:], by_target.indptr.shape[0] - 1
    keys = as_type(key, dtype).contiguous()
    out, lse = keys.new_empty(num_targets, heads, width), keys.new_empty(num_targets, heads)
    attr, matrix, edge_width = _edge_features(edge_attr, edge_matrix, dtype)
    values = keys if value is None else as_dense(value, dtype)
    call(
        *("gatv2_attention_forward", dtype, keys, as_dense(query, dtype), values, as_dense(att, dtype)),
        *(attr, matrix, edge_width, as_dense(edge_weight, dtype)),
        *edge_arguments(by_target, key.shape[0], per_edge=attr is not None or edge_weight is not None),
        *(out, lse, num_targets, heads, width, slope, dropout, seed_value(seed)),
    )
    return as_type(out, out_dtype), lse, out if keep_unrounded and out_dtype is not dtype else None


def backward(
    grad: Tensor,
    key: Tensor,
    query: Tensor,
    value: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    lse: Tensor,
    by_target: SortedEdges,
    by_source: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """One pass over the nodes, one over the edges by target and one by source: the gradients of all arguments."""
    dtype = out.dtype
    (num_sources, heads, width), num_targets = key.shape, out.shape[0]
    need_key, need_query, need_value, need_att, need_attr, need_matrix, need_edge_weight = needs
    keys = as_type(key, dtype).contiguous()
    values = keys if value is None else as_dense(value, dtype)
    weights = as_dense(edge_weight, dtype)
    attr, matrix, edge_width = _edge_features(edge_attr, edge_matrix, dtype)
    per_edge = attr is not None or weights is not None
    num_edges = by_target.edge_ids.shape[0]
    new_rows = out.new_empty if heads * width else out.new_zeros  # no kernel visits edges of rows without numbers
    gradients = (
        out.new_empty(num_sources, heads, width) if need_key else None,
        out.new_empty(num_targets, heads, width) if need_query else None,
        out.new_empty(num_sources, heads, width) if need_value and value is not None else None,
        out.new_empty(heads, width) if need_att else None,
        new_rows((num_edges, edge_width)) if need_attr else None,
        out.new_empty(heads * width, edge_width) if need_matrix else None,
        new_rows((num_edges,)) if need_edge_weight else None,
    )
    call(
        *("gatv2_attention_backward", dtype, as_dense(grad, dtype), keys, as_dense(query, dtype), values),
        *(as_type(att, dtype).contiguous(), attr, matrix, edge_width, weights, out, lse),
        *edge_arguments(by_target, num_sources, per_edge=per_edge),
        *edge_arguments(by_source, num_targets, per_edge=per_edge),
        *(*gradients, num_targets, num_sources, heads, width, slope, dropout, seed_value(seed)),
    )
    arguments = (key, query, value, att, edge_attr, edge_matrix, edge_weight)
    return tuple(
        as_type(g, a.dtype) if g is not None and a is not None else None
        for a, g in zip(arguments, gradients, strict=True)
    )


def _edge_features(
    edge_attr: Tensor | None, edge_matrix: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None, int]:
    """The features, the transposed matrix (a row of it is added to a row of keys) and their number."""
    if edge_attr is None or edge_matrix is None:
        return None, None, 0
    return as_dense(edge_attr, dtype), as_dense(edge_matrix.t(), dtype), edge_attr.shape[1]
