"""gatv2_attention on the CPU by compiled kernels (``csrc/gatv2_attention.cpp``), see lcat.ops._fused."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import as_type, compute_dtype
from lcat.ops._native import as_dense, call, chunks, edge_arguments, seed_value


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
) -> tuple[Tensor, Tensor]:
    """One pass over the edges by target: ``(out, lse)``."""
    dtype = compute_dtype(key, query, value, att, edge_attr, edge_matrix, edge_weight)
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
    return out, lse


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
    gradient, queries, weights = as_dense(grad, dtype), as_dense(query, dtype), as_dense(edge_weight, dtype)
    keys, vectors = as_type(key, dtype).contiguous(), as_type(att, dtype).contiguous()
    values = keys if value is None else as_dense(value, dtype)
    options = (slope, dropout, seed_value(seed))
    attr, matrix, edge_width = _edge_features(edge_attr, edge_matrix, dtype)
    per_edge = attr is not None or weights is not None
    packed = out.new_empty(num_targets, 2, heads)
    call("gatv2_attention_targets", dtype, gradient, out, lse, packed, num_targets, heads, width)

    # Edges beyond indptr[-1] are dead: no kernel visits them.
    num_edges = by_target.edge_ids.shape[0]
    d_query = out.new_empty(num_targets, heads, width) if need_query else None
    d_edge_weight = out.new_zeros(num_edges) if need_edge_weight else None
    d_edge_attr = out.new_zeros(num_edges, edge_width) if need_attr else None
    need_features = need_attr or need_matrix or (need_att and edge_width > 0)
    matrix_sums = out.new_zeros(chunks(), edge_width, heads * width) if need_features else None
    att_sums_by_target = out.new_zeros(chunks(), heads * width) if need_att else None
    large = False
    by_target_arguments = (
        *(gradient, keys, queries, values, vectors, attr, matrix, edge_width, weights, packed),
        *edge_arguments(by_target, num_sources, per_edge=per_edge or need_edge_weight),
    )
    if need_query or need_att or need_features or need_edge_weight:
        large = call(
            *("gatv2_attention_by_target", dtype, *by_target_arguments),
            *(d_query, d_edge_weight, d_edge_attr, att_sums_by_target, matrix_sums, False),
            *(num_targets, heads, width, *options),
        )
    d_key = out.new_empty(num_sources, heads, width) if need_key else None
    d_value = out.new_empty(num_sources, heads, width) if need_value and value is not None else None
    att_sums_by_source = out.new_zeros(chunks(), heads * width) if need_att else None
    if need_key or d_value is not None or need_att:
        large |= call(
            *("gatv2_attention_by_source", dtype, gradient, keys, queries, values, vectors, attr, matrix, edge_width),
            *(weights, packed, *edge_arguments(by_source, num_targets, per_edge=per_edge)),
            *(d_key, d_value, att_sums_by_source, num_sources, heads, width, *options),
        )

    d_att = d_edge_matrix = None
    matrix_sum = None if matrix_sums is None else matrix_sums.sum(dim=0)
    if att_sums_by_target is not None and att_sums_by_source is not None:
        if large:  # a third pass, edge by edge
            att_sums_by_target.zero_()
            call(
                *("gatv2_attention_by_target", dtype, *by_target_arguments, None, None, None),
                *(att_sums_by_target, None, True, num_targets, heads, width, *options),
            )
            d_att = att_sums_by_target.sum(dim=0)
        else:
            d_att = att_sums_by_target.sum(dim=0) + att_sums_by_source.sum(dim=0)
            if matrix_sum is not None and matrix is not None:
                d_att = d_att + (matrix_sum * matrix).sum(dim=0)
        d_att = d_att.view(heads, width)
    if need_matrix and matrix_sum is not None:
        d_edge_matrix = (matrix_sum * vectors.view(1, -1)).t().contiguous()
    arguments = (key, query, value, att, edge_attr, edge_matrix, edge_weight)
    gradients = (d_key, d_query, d_value, d_att, d_edge_attr, d_edge_matrix, d_edge_weight)
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
