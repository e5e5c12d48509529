"""gat_attention on the CPU by compiled kernels (``csrc/gat_attention.cpp``); see lcat.ops._fused for the interface."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._aggregate import native as aggregate
from lcat.ops._dtypes import as_type, compute_dtype, result_dtype
from lcat.ops._native import all_dense, call, edge_arguments, seed_value


def scores(value: Tensor, att_source: Tensor | None, att_target: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """``<att_source, value>`` and ``<att_target, value>``, see :mod:`lcat.ops._fused`, in one pass over ``value``."""
    dtype = compute_dtype(value, att_source, att_target)
    rows, heads, width = value.shape
    values, *vectors = all_dense(dtype, value, att_source, att_target)
    source_score, target_score = (None if att is None else values.new_empty((rows, heads)) for att in vectors)
    call("gat_scores", dtype, values, *vectors, source_score, target_score, rows, heads, width)
    return source_score, target_score


def scores_backward(
    value: Tensor,
    att_source: Tensor | None,
    att_target: Tensor | None,
    d_source_score: Tensor | None,
    d_target_score: Tensor | None,
    d_value: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of ``(value, att_source, att_target)`` in :func:`scores`, see :mod:`lcat.ops._fused`."""
    dtype = value.dtype
    rows, heads, width = value.shape
    need_value, need_source, need_target = needs
    d_source_score, d_target_score = (None if d is None else d.contiguous() for d in (d_source_score, d_target_score))
    if not need_value:
        d_value = None
    elif d_value is None:
        d_value = torch.zeros_like(value)
    att_source = None if d_source_score is None else att_source
    att_target = None if d_target_score is None else att_target
    d_att_source = att_source.new_empty(att_source.shape) if need_source and att_source is not None else None
    d_att_target = att_target.new_empty(att_target.shape) if need_target and att_target is not None else None
    call(
        *("gat_scores_backward", dtype, value, att_source, att_target, d_source_score, d_target_score),
        *(d_value, d_att_source, d_att_target, rows, heads, width),
    )
    return d_value, d_att_source, d_att_target


def forward(
    source_score: Tensor,
    target_score: Tensor | None,
    value: Tensor,
    edge_score: Tensor | None,
    edge_weight: Tensor | None,
    by_target: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    keep_positive: bool,
    keep_unrounded: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """One pass over the edges by target: ``(out, lse, positive, positive_mass, unrounded)``."""
    dtype = compute_dtype(source_score, target_score, value, edge_score, edge_weight)
    out_dtype = result_dtype(source_score, target_score, value, edge_score, edge_weight)
    num_targets, (heads, width) = by_target.indptr.shape[0] - 1, value.shape[1:]
    inputs = all_dense(dtype, source_score, target_score, value, edge_score, edge_weight)
    values = inputs[2]
    rows, scalars = (num_targets, heads, width), (num_targets, heads)
    out, lse = values.new_empty(rows), values.new_empty(scalars)
    positive, positive_mass = (values.new_empty(rows), values.new_empty(scalars)) if keep_positive else (None, None)
    if positive_mass is not None and positive is not None and not positive.numel():  # no sums, so no kernel writes it
        positive_mass.zero_()
    call(
        "gat_attention_forward",
        dtype,
        *inputs,
        *edge_arguments(by_target, value.shape[0], per_edge=edge_score is not None or edge_weight is not None),
        *(out, lse, positive, positive_mass, num_targets, heads, width, slope, dropout, seed_value(seed)),
    )
    unrounded = out if keep_unrounded and out_dtype is not dtype else None
    return as_type(out, out_dtype), lse, positive, positive_mass, unrounded


def backward(
    grad: Tensor,
    source_score: Tensor,
    target_score: Tensor | None,
    value: Tensor,
    edge_score: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    lse: Tensor,
    positive: Tensor | None,
    positive_mass: Tensor | None,
    by_target: SortedEdges,
    by_source: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """One pass over the nodes, and one over the edges by source: the gradients of all inputs.

    Without ``positive`` the gradient of ``target_score`` takes a third pass: a sum over the gradients of the scores.
    """
    dtype = out.dtype
    (num_sources, heads, width), num_targets = value.shape, out.shape[0]
    need_source_score, need_target_score, need_value, need_edge_score, need_edge_weight = needs
    arguments = (source_score, target_score, value, edge_score, edge_weight)
    gradient, source_scores, target_scores, values, edge_scores, weights = all_dense(dtype, grad, *arguments)
    packed = out.new_empty(num_targets * 3 * heads + 1)  # three numbers each; the last row is read with one more
    sum_scores = need_target_score and positive is None
    d_target_score = out.new_empty((num_targets, heads)) if need_target_score and not sum_scores else None
    call(
        *("gat_attention_targets", dtype, gradient, target_scores, out, lse, positive, positive_mass),
        *(by_target.indptr, packed, d_target_score, num_targets, heads, width, slope),
    )
    # Edges beyond indptr[-1] are dead: no kernel visits them.
    num_edges = by_source.edge_ids.shape[0]
    d_source_score = out.new_empty(num_sources, heads) if need_source_score else None
    d_value = out.new_empty(num_sources, heads, width) if need_value else None
    d_edge_score = out.new_zeros(num_edges, heads) if need_edge_score or sum_scores else None
    d_edge_weight = out.new_zeros(num_edges) if need_edge_weight else None
    has_per_edge = edge_score is not None or edge_weight is not None or d_edge_score is not None or need_edge_weight
    if need_source_score or need_value or need_edge_weight or d_edge_score is not None:
        call(
            *("gat_attention_backward", dtype, gradient, source_scores, values, edge_scores, weights, packed),
            *edge_arguments(by_source, num_targets, per_edge=has_per_edge),
            *(d_source_score, d_value, d_edge_score, d_edge_weight),
            *(num_sources, heads, width, slope, dropout, seed_value(seed)),
        )
    if sum_scores and d_edge_score is not None:
        per_edge = SortedEdges(by_target.indptr, by_target.edge_ids, by_target.edge_ids)
        sums = aggregate.forward(d_edge_score.unsqueeze(1), None, per_edge, num_targets=num_targets)
        d_target_score = sums.squeeze(1)
    d_edge_score = d_edge_score if need_edge_score else None  # it may have been made for another sum
    gradients = (d_source_score, d_target_score, d_value, d_edge_score, d_edge_weight)
    return tuple(
        [
            g if g is None or a is None or g.dtype is a.dtype else g.to(a.dtype)
            for a, g in zip(arguments, gradients, strict=True)
        ]
    )
