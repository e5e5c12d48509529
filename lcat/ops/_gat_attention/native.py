"""gat_attention on the CPU by compiled kernels (``csrc/gat_attention.cpp``); see lcat.ops._fused for the interface."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._aggregate import native as aggregate
from lcat.ops._fused import compute_type
from lcat.ops._native import as_dense, call, index32, seed_value


def forward(
    s: Tensor,
    t: Tensor | None,
    v: Tensor,
    edge_score: Tensor | None,
    edge_weight: Tensor | None,
    csr: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    keep_positive: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """One pass over the edges by target: ``(out, lse, positive, positive_mass)``."""
    dtype = compute_type(s, t, v, edge_score, edge_weight)
    num_targets, (heads, width) = csr.indptr.shape[0] - 1, v.shape[1:]
    values = v.to(dtype).contiguous()
    out, lse = values.new_empty(num_targets, heads, width), values.new_empty(num_targets, heads)
    positive = values.new_empty(num_targets, heads, width) if keep_positive else None
    positive_mass = values.new_empty(num_targets, heads) if keep_positive else None
    call(
        *("gat_attention_forward", dtype, as_dense(s, dtype), as_dense(t, dtype), values),
        *(as_dense(edge_score, dtype), as_dense(edge_weight, dtype)),
        *(csr.indptr, index32(csr.indices), index32(csr.edge_ids)),
        *(out, lse, positive, positive_mass, num_targets, heads, width, slope, dropout, seed_value(seed)),
    )
    return out, lse, positive, positive_mass


def backward(
    grad: Tensor,
    s: Tensor,
    t: Tensor | None,
    v: Tensor,
    edge_score: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    lse: Tensor,
    positive: Tensor | None,
    positive_mass: Tensor | None,
    csr: SortedEdges,
    csc: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """One pass over the nodes, and one over the edges by source: the gradients of s, t, v, scores and weights.

    Without ``positive`` the gradient of ``t`` takes a third pass: it sums the gradients of the scores, edge by edge.
    """
    dtype = out.dtype
    (num_sources, heads, width), num_targets = v.shape, out.shape[0]
    need_s, need_t, need_v, need_score, need_weight = needs
    gradient = grad.to(dtype).contiguous()
    packed = out.new_empty(num_targets, 3, heads)
    sum_scores = need_t and positive is None
    dt = out.new_empty(num_targets, heads) if need_t and not sum_scores else None
    call(
        *("gat_attention_targets", dtype, gradient, as_dense(t, dtype), out, lse, positive, positive_mass),
        *(packed, dt, num_targets, heads, width, slope),
    )
    # Edges beyond pointer[-1] are dead: no kernel visits them.
    num_edges = csc.edge_ids.shape[0]
    ds = out.new_empty(num_sources, heads) if need_s else None
    dv = out.new_empty(num_sources, heads, width) if need_v else None
    d_score = out.new_zeros(num_edges, heads) if need_score or sum_scores else None
    d_weight = out.new_zeros(num_edges) if need_weight else None
    if need_s or need_v or need_weight or d_score is not None:
        call(
            *("gat_attention_backward", dtype, gradient, as_dense(s, dtype), as_dense(v, dtype)),
            *(as_dense(edge_score, dtype), as_dense(edge_weight, dtype), packed),
            *(csc.indptr, index32(csc.indices), index32(csc.edge_ids), ds, dv, d_score, d_weight),
            *(num_sources, heads, width, slope, dropout, seed_value(seed)),
        )
    if sum_scores and d_score is not None:
        per_edge = SortedEdges(csr.indptr, csr.edge_ids, csr.edge_ids)
        dt = aggregate.forward(d_score.unsqueeze(1), None, per_edge, num_targets).squeeze(1)
    arguments = (s, t, v, edge_score, edge_weight)
    gradients = (ds, dt, dv, d_score, d_weight)
    return tuple(
        g.to(a.dtype) if g is not None and a is not None else None for a, g in zip(arguments, gradients, strict=True)
    )
