"""gat_attention on GPUs: one pass over the edges forward, one backward, and nothing of size E in between.

Forward goes along the in-edges of each target with an online softmax. Backward goes along the out-edges of each
source only: the gradient of ``target_score`` follows from two sums that the forward pass keeps (``positive`` and
``positive_mass``), because a score's derivative takes just two values. Either pass gathers one row of ``H * F``
numbers per edge, as many bytes as a GCN. The interface is described in :mod:`lcat.ops._fused`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import compute_dtype, result_dtype
from lcat.ops._gat_attention.triton_scores import scores, scores_backward
from lcat.ops._triton.dropout import dropout_arguments, keep_factor
from lcat.ops._triton.launch import accumulator, blocks, launch, padded, tile_shape
from lcat.ops._triton.schedule import schedule_of
from lcat.ops._triton.tiles import (
    LOWEST,
    gather_heads,
    gather_rows,
    merge_softmax_parts,
    parts_like,
    schedule_arguments,
    segments,
    store_heads,
    store_rows,
    sum_parts,
)

__all__ = ["backward", "forward", "scores", "scores_backward"]

_NOT_SPECIALIZED = ["count", "keep_threshold", "num_edges"]
# Registers per thread in the pass along the out-edges (see launch) with dropout, for padded rows of one head, and for
# rows of two types that are not read in pieces of 16 bytes: 12 warps per multiprocessor. With dropout, rows that are
# not read in such pieces need more.
_SOURCE_REGISTERS = 168
_NARROW_REGISTERS = 184


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def _forward_kernel(
    SOURCE_SCORE, TARGET_SCORE, V, EDGE_SCORE, EDGE_WEIGHT, SEED, OUT, UNROUNDED, LSE, POSITIVE, POSITIVE_MASS,
    PART_OUT, PART_LSE, PART_POSITIVE, PART_POSITIVE_MASS, INDICES, EDGE_IDS, ROW, START, STOP, PART, count,
    keep_threshold, keep_scale, keep_scale_rest, SLOPE: tl.constexpr, H: tl.constexpr, F: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.program_id(2) * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    if TARGET_SCORE is not None:
        target_score = gather_heads(TARGET_SCORE, row[:, None], row_mask[:, None], head, H, H, ACC_DTYPE)
    # Each of the BLOCK_EDGES lanes runs a softmax of its own, with its own maximum; they are merged after the loop.
    m_i = tl.full((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), LOWEST, ACC_DTYPE)
    l_i = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), ACC_DTYPE)
    acc = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    if POSITIVE is not None:
        positive_mass = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), ACC_DTYPE)
        positive = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    slot = start[:, None] + tl.arange(0, BLOCK_EDGES)[None, :]
    neighbor = tl.load(INDICES + slot, mask=slot < stop[:, None], other=0)
    while step < length:
        mask = slot < stop[:, None]
        next_slot = slot + BLOCK_EDGES
        next_neighbor = tl.load(INDICES + next_slot, mask=next_slot < stop[:, None], other=0)
        z = gather_heads(SOURCE_SCORE, neighbor, mask, head, H, H, ACC_DTYPE)
        if EDGE_IDS is not None:
            edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0)
        if TARGET_SCORE is not None:
            z += target_score
        if EDGE_SCORE is not None:
            z += gather_heads(EDGE_SCORE, edge_id, mask, head, H, H, ACC_DTYPE)
        score = tl.where(mask[:, :, None], tl.where(z > 0, z, z * SLOPE), -float("inf"))
        m_new = tl.maximum(m_i, score)
        scale = tl.exp(m_i - m_new)
        p = tl.exp(score - m_new)
        l_i = l_i * scale + p
        if POSITIVE is not None:
            positive_mass = positive_mass * scale + tl.where(z > 0, p, 0.0)
        # Dropout and weights act on the normalized coefficients: after the sum.
        if SEED is not None:
            p *= keep_factor(
                seed,
                edge_id,
                tl.program_id(1) * BLOCK_HEADS,
                keep_threshold,
                keep_scale,
                keep_scale_rest,
                H,
                BLOCK_HEADS,
                ACC_DTYPE,
            )
        if EDGE_WEIGHT is not None:
            p *= tl.load(EDGE_WEIGHT + edge_id, mask=mask, other=0.0).to(ACC_DTYPE)[:, :, None]
        v = gather_rows(V, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        acc = acc * scale[:, :, :, None] + p[:, :, :, None] * v
        if POSITIVE is not None:
            positive = positive * scale[:, :, :, None] + tl.where(z > 0, p, 0.0)[:, :, :, None] * v
        m_i = m_new
        slot, neighbor = next_slot, next_neighbor
        step += BLOCK_EDGES

    m_row = tl.max(m_i, axis=1)
    scale = tl.exp(m_i - m_row[:, None, :])
    l_i = tl.sum(l_i * scale, axis=1)
    # A row without edges is 0 and has lse = 0; one whose scores are all -inf has no softmax, and divides by 0. Among
    # parts to be merged neither must count. Not "<= 0": a NaN must stay one.
    empty = (l_i == 0) & ((stop <= start) | (part >= 0))[:, None]
    l_i = tl.where(empty, 1.0, l_i)
    lse = tl.where(empty, tl.where((part < 0)[:, None], 0.0, -float("inf")), m_row + tl.log(l_i))
    out = tl.sum(acc * scale[:, :, :, None], axis=1) / l_i[:, :, None]
    store_rows(OUT, PART_OUT, out, row, part, row_mask, offset, valid, H * F)
    if UNROUNDED is not None:
        store_rows(UNROUNDED, None, out, row, part, row_mask, offset, valid, H * F)
    once_mask = row_mask & (tl.zeros_like(part) + tl.program_id(2) == 0)  # by one of the blocks of features
    store_heads(LSE, PART_LSE, lse, row, part, once_mask, head, H)
    if POSITIVE is not None:
        positive = tl.sum(positive * scale[:, :, :, None], axis=1) / l_i[:, :, None]
        store_rows(POSITIVE, PART_POSITIVE, positive, row, part, row_mask, offset, valid, H * F)
        positive_mass = tl.sum(positive_mass * scale, axis=1) / l_i
        store_heads(POSITIVE_MASS, PART_POSITIVE_MASS, positive_mass, row, part, once_mask, head, H)


@triton.jit(do_not_specialize=["count"])
def _target_kernel(
    GRAD, TARGET_SCORE, OUT, LSE, POSITIVE, POSITIVE_MASS, STATE, D_TARGET_SCORE, count, SLOPE: tl.constexpr,
    H: tl.constexpr, F: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """What the source pass needs of a target, ``STATE`` ``[N, 3, H]``: score, lse, <grad, out>; and d_target_score."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    row_mask = row < count
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    delta = tl.zeros((BLOCK_ROWS, 1, BLOCK_HEADS), ACC_DTYPE)
    dp = tl.zeros((BLOCK_ROWS, 1, BLOCK_HEADS), ACC_DTYPE)
    for block in range((F + BLOCK_FEATURES - 1) // BLOCK_FEATURES):
        feature = block * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
        offset = head[:, None] * F + feature[None, :]
        valid = (head < H)[:, None] & (feature < F)[None, :]
        grad = gather_rows(GRAD, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
        out = gather_rows(OUT, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
        delta += tl.sum(grad * out, axis=3)
        if D_TARGET_SCORE is not None:
            positive = gather_rows(POSITIVE, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
            dp += tl.sum(grad * positive, axis=3)
    tile_mask = row_mask[:, None, None] & (head < H)[None, None, :]
    base = (STATE + row[:, None, None] * (3 * H)) + head[None, None, :]
    if TARGET_SCORE is not None:
        tl.store(
            base, gather_heads(TARGET_SCORE, row[:, None], row_mask[:, None], head, H, H, ACC_DTYPE), mask=tile_mask
        )
    tl.store(base + H, gather_heads(LSE, row[:, None], row_mask[:, None], head, H, H, ACC_DTYPE), mask=tile_mask)
    tl.store(base + 2 * H, delta, mask=tile_mask)
    if D_TARGET_SCORE is not None:
        positive_mass = gather_heads(POSITIVE_MASS, row[:, None], row_mask[:, None], head, H, H, ACC_DTYPE)
        d_target_score = (1.0 - SLOPE) * (dp - delta * positive_mass)
        tl.store(
            (D_TARGET_SCORE + row[:, None, None] * H) + head[None, None, :],
            d_target_score.to(D_TARGET_SCORE.dtype.element_ty),
            mask=tile_mask,
        )


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def _source_kernel(
    SOURCE_SCORE, V, EDGE_SCORE, EDGE_WEIGHT, SEED, STATE, GRAD, D_SOURCE_SCORE, DV, D_EDGE_SCORE, D_EDGE_WEIGHT,
    PART_D_SOURCE_SCORE, PART_DV, INDICES, EDGE_IDS, ROW, START, STOP, PART, count, num_edges, keep_threshold,
    keep_scale, keep_scale_rest, SLOPE: tl.constexpr, HAS_TARGET_SCORE: tl.constexpr, H: tl.constexpr, F: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    source_score = gather_heads(SOURCE_SCORE, row[:, None], row_mask[:, None], head, H, H, ACC_DTYPE)
    v = gather_rows(V, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
    d_source_score = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), ACC_DTYPE)
    dv = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    slot = start[:, None] + tl.arange(0, BLOCK_EDGES)[None, :]
    neighbor = tl.load(INDICES + slot, mask=slot < stop[:, None], other=0)
    while step < length:
        mask = slot < stop[:, None]
        next_slot = slot + BLOCK_EDGES
        next_neighbor = tl.load(INDICES + next_slot, mask=next_slot < stop[:, None], other=0)
        if EDGE_IDS is not None:
            edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0).to(tl.int64)
        grad = gather_rows(GRAD, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        lse = gather_heads(STATE + H, neighbor, mask, head, 3 * H, H, ACC_DTYPE)
        delta = gather_heads(STATE + 2 * H, neighbor, mask, head, 3 * H, H, ACC_DTYPE)
        z = source_score
        if HAS_TARGET_SCORE:
            z = z + gather_heads(STATE, neighbor, mask, head, 3 * H, H, ACC_DTYPE)
        if EDGE_SCORE is not None:
            z = z + gather_heads(EDGE_SCORE, edge_id, mask, head, H, H, ACC_DTYPE)
        score = tl.where(z > 0, z, z * SLOPE) - lse
        p = tl.exp(tl.where(mask[:, :, None], score, -float("inf")))
        dp = tl.sum(grad * v, axis=3)
        factor = tl.full((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), 1.0, ACC_DTYPE)
        if SEED is not None:
            factor = keep_factor(
                seed,
                edge_id,
                tl.program_id(1) * BLOCK_HEADS,
                keep_threshold,
                keep_scale,
                keep_scale_rest,
                H,
                BLOCK_HEADS,
                ACC_DTYPE,
            )
        if D_EDGE_WEIGHT is not None:
            d_edge_weight = tl.sum(p * factor * dp, axis=2)
            tl.store(D_EDGE_WEIGHT + tl.program_id(1).to(tl.int64) * num_edges + edge_id, d_edge_weight, mask=mask)
        if EDGE_WEIGHT is not None:
            factor *= tl.load(EDGE_WEIGHT + edge_id, mask=mask, other=0.0).to(ACC_DTYPE)[:, :, None]
        d_score = p * (factor * dp - delta)
        dz = tl.where(z > 0, d_score, d_score * SLOPE)
        d_source_score += dz
        if D_EDGE_SCORE is not None:
            tile_mask = mask[:, :, None] & (head < H)[None, None, :]
            base = D_EDGE_SCORE + edge_id[:, :, None] * H
            tl.store(base + head[None, None, :], dz.to(D_EDGE_SCORE.dtype.element_ty), mask=tile_mask)
        dv += (p * factor)[:, :, :, None] * grad
        slot, neighbor = next_slot, next_neighbor
        step += BLOCK_EDGES
    store_heads(D_SOURCE_SCORE, PART_D_SOURCE_SCORE, tl.sum(d_source_score, axis=1), row, part, row_mask, head, H)
    store_rows(DV, PART_DV, tl.sum(dv, axis=1), row, part, row_mask, offset, valid, H * F)


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
    """Attention with GAT's score: ``(out, lse, positive, positive_mass, unrounded)``, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H F) time; O(N H F) memory, of it ``positive`` only with ``keep_positive``.
    """
    _, heads, features = value.shape
    num_targets = by_target.indptr.shape[0] - 1
    dtype = compute_dtype(source_score, target_score, value, edge_score, edge_weight)
    out_dtype = result_dtype(source_score, target_score, value, edge_score, edge_weight)
    out = torch.empty(num_targets, heads, features, dtype=out_dtype, device=value.device)
    lse = torch.empty(num_targets, heads, dtype=dtype, device=value.device)
    positive = torch.empty(out.shape, dtype=dtype, device=value.device) if keep_positive else None
    positive_mass = torch.empty_like(lse) if keep_positive else None
    unrounded = None
    if keep_unrounded and out_dtype is not dtype:
        unrounded = torch.empty(out.shape, dtype=dtype, device=value.device)
    if out.numel() == 0:
        return out, lse.zero_(), positive, None if positive_mass is None else positive_mass.zero_(), unrounded
    tile = tile_shape("gat_forward", heads, min(features, 1024), dtype)
    schedule = schedule_of(by_target, tile.rows)
    parts = [parts_like(x, schedule, dtype) for x in (out, lse, positive, positive_mass)]
    per_edge = edge_score is not None or edge_weight is not None or dropout > 0
    launch(
        _forward_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks, blocks(features, tile.features)),
        tile.warps,
        SOURCE_SCORE=source_score,
        TARGET_SCORE=target_score,
        V=value,
        EDGE_SCORE=edge_score,
        EDGE_WEIGHT=edge_weight,
        OUT=out,
        UNROUNDED=unrounded,
        LSE=lse,
        POSITIVE=positive,
        POSITIVE_MASS=positive_mass,
        PART_OUT=parts[0],
        PART_LSE=parts[1],
        PART_POSITIVE=parts[2],
        PART_POSITIVE_MASS=parts[3],
        SLOPE=slope,
        H=heads,
        F=features,
        BLOCK_ROWS=tile.rows,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        ACC_DTYPE=accumulator(dtype),
        **schedule_arguments(by_target, schedule, per_edge),
        **dropout_arguments(dropout, seed),
    )
    merge_softmax_parts(
        parts[1],
        lse,
        parts[0],
        out,
        schedule,
        unrounded=unrounded,
        part_y=parts[2],
        y=positive,
        part_z=parts[3],
        z=positive_mass,
    )
    return out, lse, positive, positive_mass, unrounded


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
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of ``(source_score, target_score, value, edge_score, edge_weight)``, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H F) time; O(N H F) memory and the gradients themselves.

    Raises:
        ValueError: the gradient of ``target_score`` needs ``positive`` and ``positive_mass``, and they are ``None``.
    """
    del by_target  # d_target_score follows from what forward keeps
    _, heads, features = value.shape
    dtype = out.dtype
    need_source_score, need_target_score, need_value, need_edge_score, need_edge_weight = needs
    if need_target_score and target_score is not None and (positive is None or positive_mass is None):
        raise ValueError(
            "the gradient of 'target_score' needs 'positive' and 'positive_mass', got None: call forward with "
            "keep_positive=True"
        )
    # Kernels write all of these, if they run.
    like = torch.empty_like if out.numel() and value.numel() else torch.zeros_like
    d_source_score, d_value = like(source_score), like(value)
    d_target_score = like(target_score) if need_target_score and target_score is not None else None
    # Zeros, because no program visits dead edges.
    d_edge_score = torch.zeros_like(edge_score) if need_edge_score and edge_score is not None else None
    # Four heads share what Philox draws for an edge.
    by_four = dropout > 0 and heads % 4 == 0
    tile = tile_shape("gat_source_dropout" if by_four else "gat_source", heads, features, dtype)
    num_edges = by_source.indices.shape[0]
    d_edge_weight = None
    if need_edge_weight and edge_weight is not None:
        d_edge_weight = torch.zeros(tile.head_blocks, num_edges, dtype=dtype, device=value.device)
    if out.numel() and value.numel():
        state = _target_pass(grad, target_score, out, lse, positive, positive_mass, d_target_score, slope)
        if need_source_score or need_value or d_edge_score is not None or d_edge_weight is not None:
            schedule = schedule_of(by_source, tile.rows)
            part_d_source_score, part_d_value = (
                parts_like(d_source_score, schedule, dtype),
                parts_like(d_value, schedule, dtype),
            )
            per_edge = edge_score is not None or edge_weight is not None or dropout > 0
            launch(
                _source_kernel,
                (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
                tile.warps,
                registers=_source_registers(heads, features, dropout, grad.dtype is not value.dtype),
                SOURCE_SCORE=source_score,
                V=value,
                EDGE_SCORE=edge_score,
                EDGE_WEIGHT=edge_weight,
                STATE=state,
                GRAD=grad,
                D_SOURCE_SCORE=d_source_score,
                DV=d_value,
                D_EDGE_SCORE=d_edge_score,
                D_EDGE_WEIGHT=d_edge_weight,
                PART_D_SOURCE_SCORE=part_d_source_score,
                PART_DV=part_d_value,
                num_edges=num_edges,
                SLOPE=slope,
                HAS_TARGET_SCORE=target_score is not None,
                H=heads,
                F=features,
                BLOCK_ROWS=tile.rows,
                BLOCK_EDGES=tile.edges,
                BLOCK_HEADS=tile.heads,
                BLOCK_FEATURES=tile.features,
                ACC_DTYPE=accumulator(dtype),
                **schedule_arguments(by_source, schedule, per_edge),
                **dropout_arguments(dropout, seed),
            )
            sum_parts([(part_d_source_score, d_source_score), (part_d_value, d_value)], schedule)
    if d_edge_weight is not None and edge_weight is not None:
        d_edge_weight = d_edge_weight.sum(0).to(edge_weight.dtype)
    return (
        d_source_score if need_source_score else None,
        d_target_score,
        d_value if need_value else None,
        d_edge_score,
        d_edge_weight,
    )


def _source_registers(heads: int, features: int, dropout: float, two_types: bool) -> int | None:
    narrow = features % 4 != 0
    if dropout > 0:
        return _NARROW_REGISTERS if narrow else _SOURCE_REGISTERS
    return _SOURCE_REGISTERS if (heads == 1 and features != padded(features)) or (narrow and two_types) else None


def _target_pass(
    grad: Tensor,
    target_score: Tensor | None,
    out: Tensor,
    lse: Tensor,
    positive: Tensor | None,
    positive_mass: Tensor | None,
    d_target_score: Tensor | None,
    slope: float,
) -> Tensor:
    """Fill ``d_target_score``; return ``[N_target, 3, H]``: what the source pass gathers of a target, in one place.

    The heads of each number are neighbors in memory, so an edge reads as few sectors as its numbers fill.
    """
    num_targets, heads, features = out.shape
    state = torch.empty(num_targets, 3, heads, dtype=out.dtype, device=out.device)
    tile = tile_shape("gat_target", heads, min(features, 1024), out.dtype)
    rows = tile.rows * tile.edges  # no edges here: all of the tile goes to rows
    launch(
        _target_kernel,
        (blocks(num_targets, rows), tile.head_blocks),
        tile.warps,
        GRAD=grad,
        TARGET_SCORE=target_score,
        OUT=out,
        LSE=lse,
        POSITIVE=None if d_target_score is None else positive,
        POSITIVE_MASS=None if d_target_score is None else positive_mass,
        STATE=state,
        D_TARGET_SCORE=d_target_score,
        count=num_targets,
        SLOPE=slope,
        H=heads,
        F=features,
        BLOCK_ROWS=rows,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        ACC_DTYPE=accumulator(out.dtype),
    )
    return state
