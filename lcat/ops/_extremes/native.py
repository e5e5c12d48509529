"""extremes on the CPU by compiled kernels (``csrc/extremes.cpp``); the interface is that of lcat.ops._fused."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import as_type, compute_dtype, result_dtype
from lcat.ops._native import all_dense, call, edge_arguments
from lcat.ops._rows import heads_and_width


def forward(
    x: Tensor, weight: Tensor | None, by_target: SortedEdges, *, largest: bool, for_gradients: bool
) -> tuple[Tensor | None, ...]:
    """The extremes, and for the backward pass the number of edges that reach each and the extremes before rounding."""
    dtype, out_dtype = compute_dtype(x, weight), result_dtype(x, weight)
    heads, width = heads_and_width(x, in_weight=weight is not None and weight.dim() == 2)
    rows, weights = all_dense(dtype, x, weight)
    num_targets = by_target.indptr.shape[0] - 1
    out = rows.new_empty((num_targets, *x.shape[1:]))
    ties = rows.new_empty(out.shape) if for_gradients else None
    call(
        *("extremes", dtype, rows, weights),
        *edge_arguments(by_target, x.shape[0], per_edge=weight is not None),
        *(out, ties, num_targets, heads, width, int(largest)),
    )
    return as_type(out, out_dtype), ties, out if for_gradients and out_dtype is not dtype else None


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    *,
    out: Tensor,
    ties: Tensor,
    by_source: SortedEdges,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """The gradients of ``x`` and ``weight``."""
    dtype = ties.dtype
    heads, width = heads_and_width(x, in_weight=weight is not None and weight.dim() == 2)
    share = grad / ties
    rows, weights, best, share = all_dense(dtype, x, weight, out, share)
    d_x = rows.new_empty(x.shape)
    d_weight = weights.new_zeros(weights.shape) if needs[1] and weights is not None else None
    call(
        *("extremes_backward", dtype, rows, weights, best, share),
        *edge_arguments(by_source, grad.shape[0], per_edge=weight is not None),
        *(d_x, d_weight, x.shape[0], heads, width),
    )
    return (
        as_type(d_x, x.dtype) if needs[0] else None,
        as_type(d_weight, weight.dtype) if d_weight is not None and weight is not None else None,
    )
