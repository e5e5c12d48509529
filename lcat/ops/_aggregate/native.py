"""aggregate on the CPU by compiled kernels (``csrc/aggregate.cpp``); the interface is that of lcat.ops._fused."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._fused import compute_type
from lcat.ops._native import as_dense, call, index32


def forward(
    x: Tensor,
    weight: Tensor | None,
    csr: SortedEdges,
    num_targets: int,
    source_scale: Tensor | None = None,
    target_scale: Tensor | None = None,
) -> Tensor:
    """``out_i = t_i sum_{j -> i} w_ij s_j x_j``; with the graph grouped by source, the gradient of ``x``."""
    dtype = compute_type(x, weight)
    heads, width = x.shape[1:]
    if weight is None or weight.dim() == 1:
        heads, width = 1, heads * width
    dense, weights = x.to(dtype).contiguous(), as_dense(weight, dtype)
    out = dense.new_empty(num_targets, *x.shape[1:])
    call(
        *("aggregate", dtype, dense, weights, as_dense(source_scale, dtype), as_dense(target_scale, dtype)),
        *(csr.indptr, index32(csr.indices), index32(csr.edge_ids)),
        *(out, num_targets, heads, width),
    )
    return out.to(x.dtype)


def weight_grad(grad: Tensor, x: Tensor, csr: SortedEdges, heads_in_weight: bool) -> Tensor:
    """``d w_ij = <grad_i, x_j>``, summed over heads unless ``heads_in_weight``."""
    dtype = compute_type(grad, x)
    heads, width = x.shape[1:]
    if not heads_in_weight:
        heads, width = 1, heads * width
    # Edges beyond pointer[-1] are dead: no kernel visits them.
    out = x.new_zeros(csr.edge_ids.shape[0], heads, dtype=dtype)
    call(
        *("aggregate_weight", dtype, as_dense(grad, dtype), as_dense(x, dtype), csr.indptr),
        *(index32(csr.indices), index32(csr.edge_ids), out, grad.shape[0], heads, width),
    )
    return (out if heads_in_weight else out.squeeze(1)).to(x.dtype)
