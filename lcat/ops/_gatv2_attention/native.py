"""gatv2_attention on the CPU by compiled kernels (``csrc/gatv2_attention.cpp``), see lcat.ops._fused."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._fused import compute_type
from lcat.ops._native import as_dense, call, chunks, index32, seed_value


def forward(
    k: Tensor,
    q: Tensor,
    v: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    csr: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One pass over the edges by target: ``(out, lse)``."""
    dtype = compute_type(k, q, v, att, edge_attr, edge_matrix, edge_weight)
    (heads, width), num_targets = k.shape[1:], csr.indptr.shape[0] - 1
    keys = k.to(dtype).contiguous()
    out, lse = keys.new_empty(num_targets, heads, width), keys.new_empty(num_targets, heads)
    attr, matrix, edge_width = _edge_features(edge_attr, edge_matrix, dtype)
    call(
        *("gatv2_attention_forward", dtype, keys, as_dense(q, dtype), keys if v is None else as_dense(v, dtype)),
        *(as_dense(att, dtype), attr, matrix, edge_width, as_dense(edge_weight, dtype)),
        *(csr.indptr, index32(csr.indices), index32(csr.edge_ids)),
        *(out, lse, num_targets, heads, width, slope, dropout, seed_value(seed)),
    )
    return out, lse


def backward(
    grad: Tensor,
    k: Tensor,
    q: Tensor,
    v: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    lse: Tensor,
    csr: SortedEdges,
    csc: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """One pass over the nodes, one over the edges by target and one by source: the gradients of all arguments."""
    dtype = out.dtype
    (num_sources, heads, width), num_targets = k.shape, out.shape[0]
    need_k, need_q, need_v, need_att, need_attr, need_matrix, need_weight = needs
    gradient, keys, queries = grad.to(dtype).contiguous(), k.to(dtype).contiguous(), q.to(dtype).contiguous()
    values = keys if v is None else v.to(dtype).contiguous()
    weights, att_, seed_ = as_dense(edge_weight, dtype), att.to(dtype).contiguous(), seed_value(seed)
    attr, matrix, edge_width = _edge_features(edge_attr, edge_matrix, dtype)
    packed = out.new_empty(num_targets, 2, heads)
    call("gatv2_attention_targets", dtype, gradient, out, lse, packed, num_targets, heads, width)

    # Edges beyond pointer[-1] are dead: no kernel visits them.
    num_edges = csr.edge_ids.shape[0]
    dq = out.new_empty(num_targets, heads, width) if need_q else None
    d_weight = out.new_zeros(num_edges) if need_weight else None
    d_attr = out.new_zeros(num_edges, edge_width) if need_attr else None
    need_features = need_attr or need_matrix or (need_att and edge_width > 0)
    matrix_sums = out.new_zeros(chunks(), edge_width, heads * width) if need_features else None
    by_target = out.new_zeros(chunks(), heads * width) if need_att else None
    if need_q or need_att or need_features or need_weight:
        call(
            *("gatv2_attention_by_target", dtype, gradient, keys, queries, values, att_, attr, matrix, edge_width),
            *(weights, packed, csr.indptr, index32(csr.indices), index32(csr.edge_ids)),
            *(dq, d_weight, d_attr, by_target, matrix_sums, num_targets, heads, width, slope, dropout, seed_),
        )
    dk = out.new_empty(num_sources, heads, width) if need_k else None
    dv = out.new_empty(num_sources, heads, width) if need_v and v is not None else None
    by_source = out.new_zeros(chunks(), heads * width) if need_att else None
    if need_k or dv is not None or need_att:
        call(
            *("gatv2_attention_by_source", dtype, gradient, keys, queries, values, att_, attr, matrix, edge_width),
            *(weights, packed, csc.indptr, index32(csc.indices), index32(csc.edge_ids)),
            *(dk, dv, by_source, num_sources, heads, width, slope, dropout, seed_),
        )

    d_att = d_matrix = None
    matrix_sum = None if matrix_sums is None else matrix_sums.sum(dim=0)
    if by_target is not None and by_source is not None:
        d_att = by_target.sum(dim=0) + by_source.sum(dim=0)
        if matrix_sum is not None and matrix is not None:
            d_att = d_att + (matrix_sum * matrix).sum(dim=0)
        d_att = d_att.view(heads, width)
    if need_matrix and matrix_sum is not None:
        d_matrix = (matrix_sum * att_.view(1, -1)).t().contiguous()
    arguments = (k, q, v, att, edge_attr, edge_matrix, edge_weight)
    gradients = (dk, dq, dv, d_att, d_attr, d_matrix, d_weight)
    return tuple(
        g.to(a.dtype) if g is not None and a is not None else None for a, g in zip(arguments, gradients, strict=True)
    )


def _edge_features(
    edge_attr: Tensor | None, edge_matrix: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None, int]:
    """The features, the transposed matrix (a row of it is added to a row of keys) and their number."""
    if edge_attr is None or edge_matrix is None:
        return None, None, 0
    return as_dense(edge_attr, dtype), as_dense(edge_matrix.t(), dtype), edge_attr.shape[1]
