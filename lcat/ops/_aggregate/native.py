"""aggregate on the CPU by compiled kernels (``csrc/aggregate.cpp``); the interface is that of lcat.ops._fused."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import as_type, compute_dtype
from lcat.ops._native import all_dense, as_dense, call, edge_arguments
from lcat.ops._rows import heads_and_width


def forward(
    x: Tensor,
    weight: Tensor | None,
    by_target: SortedEdges,
    num_targets: int,
    source_scale: Tensor | None = None,
    target_scale: Tensor | None = None,
) -> Tensor:
    """``out_i = t_i sum_{j -> i} w_ij s_j x_j``; with the graph grouped by source, the gradient of ``x``."""
    dtype = compute_dtype(x, weight)
    heads, width = heads_and_width(x, in_weight=weight is not None and weight.dim() == 2)
    rows, weights, *scales = all_dense(dtype, x, weight, source_scale, target_scale)
    out = rows.new_empty((num_targets, *x.shape[1:]))
    call(
        "aggregate",
        dtype,
        *(rows, weights, *scales),
        *edge_arguments(by_target, x.shape[0], per_edge=weight is not None),
        *(out, num_targets, heads, width),
    )
    return as_type(out, x.dtype)


def weight_grad(grad: Tensor, x: Tensor, by_target: SortedEdges, heads_in_weight: bool) -> Tensor:
    """``d w_ij = <grad_i, x_j>``, summed over heads unless ``heads_in_weight``."""
    dtype = compute_dtype(grad, x)
    heads, width = heads_and_width(x, in_weight=heads_in_weight)
    # Edges beyond indptr[-1] are dead: no kernel visits them.
    out = x.new_zeros(by_target.edge_ids.shape[0], heads, dtype=dtype)
    call(
        *("aggregate_weight", dtype, as_dense(grad, dtype), as_dense(x, dtype)),
        *(*edge_arguments(by_target, x.shape[0], per_edge=True), out, grad.shape[0], heads, width),
    )
    return as_type(out if heads_in_weight else out.squeeze(1), x.dtype)
