"""The kernels of dot_attention; :mod:`lcat.ops._dot_attention.triton` calls them.

Scores are computed where they are needed from gathered rows; nothing of size E H F exists. Edge features are rows of
their own, ``[E, D]``, which all heads share: ``U`` (query_edge) has the products with them, ``ATTENDED`` their sums.
"""

from __future__ import annotations

import triton
import triton.language as tl

from lcat.ops._triton.dropout import keep_factor
from lcat.ops._triton.tiles import LOWEST, gather_heads, gather_rows, segments, store_heads, store_rows

__all__ = ["forward_kernel", "source_kernel", "target_kernel"]

_NOT_SPECIALIZED = ["count", "num_edges", "keep_threshold"]


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def forward_kernel(
    Q, K, V, EDGE_ATTR, U, EDGE_WEIGHT, SEED, OUT, ATTENDED, UNROUNDED, UNROUNDED_ATTENDED, LSE, PART_OUT,
    PART_ATTENDED, PART_LSE, INDICES, EDGE_IDS, ROW, START, STOP, PART, count, keep_threshold, keep_scale,
    keep_scale_rest, SCALE: tl.constexpr, H: tl.constexpr, F: tl.constexpr, D: tl.constexpr, BLOCK_ROWS: tl.constexpr,
    BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, BLOCK_COMPONENTS: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """One pass over the in-edges with an online softmax: both sums, perhaps also unrounded, and ``LSE``."""
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    q = gather_rows(Q, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE) * SCALE
    # Each of the BLOCK_EDGES lanes runs a softmax of its own, with its own maximum; they are merged after the loop.
    m_i = tl.full((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), LOWEST, ACC_DTYPE)
    l_i = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), ACC_DTYPE)
    acc = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    if EDGE_ATTR is not None:
        component = tl.arange(0, BLOCK_COMPONENTS)
        u_offset = head[:, None] * D + component[None, :]
        u_valid = (head < H)[:, None] & (component < D)[None, :]
        u = gather_rows(U, row[:, None], row_mask[:, None], u_offset, u_valid, H * D, ACC_DTYPE) * SCALE
        attr_acc = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_COMPONENTS), ACC_DTYPE)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    slot = start[:, None] + tl.arange(0, BLOCK_EDGES)[None, :]
    neighbor = tl.load(INDICES + slot, mask=slot < stop[:, None], other=0)
    while step < length:
        mask = slot < stop[:, None]
        next_slot = slot + BLOCK_EDGES
        next_neighbor = tl.load(INDICES + next_slot, mask=next_slot < stop[:, None], other=0)
        if EDGE_IDS is not None:
            edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0)
        k = gather_rows(K, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        score = tl.sum(q * k, axis=3)
        if EDGE_ATTR is not None:
            attr = gather_rows(EDGE_ATTR, edge_id, mask, component[None, :], (component < D)[None, :], D, ACC_DTYPE)
            score += tl.sum(u * attr, axis=3)
        score = tl.where(mask[:, :, None], score, -float("inf"))
        m_new = tl.maximum(m_i, score)
        scale = tl.exp(m_i - m_new)
        p = tl.exp(score - m_new)
        l_i = l_i * scale + p
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
        if EDGE_ATTR is not None:
            attr_acc = attr_acc * scale[:, :, :, None] + p[:, :, :, None] * attr
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
    if EDGE_ATTR is not None:
        attended = tl.sum(attr_acc * scale[:, :, :, None], axis=1) / l_i[:, :, None]
        store_rows(ATTENDED, PART_ATTENDED, attended, row, part, row_mask, u_offset, u_valid, H * D)
        if UNROUNDED_ATTENDED is not None:
            store_rows(UNROUNDED_ATTENDED, None, attended, row, part, row_mask, u_offset, u_valid, H * D)
    store_heads(LSE, PART_LSE, lse, row, part, row_mask, head, H)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def target_kernel(
    GRAD, GRAD_ATTENDED, Q, K, V, EDGE_ATTR, U, EDGE_WEIGHT, SEED, OUT, ATTENDED, LSE, STATE, DQ, PART_DQ, DU, PART_DU,
    D_EDGE_ATTR, D_EDGE_WEIGHT, INDICES, EDGE_IDS, ROW, START, STOP, PART, count, num_edges, keep_threshold,
    keep_scale, keep_scale_rest, SCALE: tl.constexpr, H: tl.constexpr, F: tl.constexpr, D: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr,
    BLOCK_COMPONENTS: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """Backward along the in-edges: the gradients of q, of u and of all per-edge tensors.

    ``STATE`` ``[N, 2, H]`` gets of each target lse and the products of both results with their gradients, for the pass
    along the out-edges.
    """
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    block = tl.program_id(1).to(tl.int64)
    if SEED is not None:
        seed = tl.load(SEED)
    q = gather_rows(Q, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE) * SCALE
    grad = gather_rows(GRAD, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
    out = gather_rows(OUT, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
    lse = gather_heads(LSE, row[:, None], row_mask[:, None], head, H, H, ACC_DTYPE)
    delta = tl.sum(grad * out, axis=3)
    if EDGE_ATTR is not None:
        component = tl.arange(0, BLOCK_COMPONENTS)
        u_offset = head[:, None] * D + component[None, :]
        u_valid = (head < H)[:, None] & (component < D)[None, :]
        u = gather_rows(U, row[:, None], row_mask[:, None], u_offset, u_valid, H * D, ACC_DTYPE) * SCALE
        attr_grad = gather_rows(GRAD_ATTENDED, row[:, None], row_mask[:, None], u_offset, u_valid, H * D, ACC_DTYPE)
        attended = gather_rows(ATTENDED, row[:, None], row_mask[:, None], u_offset, u_valid, H * D, ACC_DTYPE)
        delta += tl.sum(attr_grad * attended, axis=3)
        du = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_COMPONENTS), ACC_DTYPE)
    head_mask = row_mask[:, None, None] & (head < H)[None, None, :]
    state = (STATE + row[:, None, None] * (2 * H)) + head[None, None, :]
    tl.store(state, lse, mask=head_mask)  # the segments of a cut row all write the same
    tl.store(state + H, delta, mask=head_mask)
    dq = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
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
        k = gather_rows(K, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        v = gather_rows(V, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        score = tl.sum(q * k, axis=3) - lse
        dp = tl.sum(grad * v, axis=3)
        if EDGE_ATTR is not None:
            attr = gather_rows(EDGE_ATTR, edge_id, mask, component[None, :], (component < D)[None, :], D, ACC_DTYPE)
            score += tl.sum(u * attr, axis=3)
            dp += tl.sum(attr_grad * attr, axis=3)
        p = tl.exp(tl.where(mask[:, :, None], score, -float("inf")))
        p_kept = p
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
            dp *= factor
            p_kept *= factor
        if D_EDGE_WEIGHT is not None:
            tl.store(D_EDGE_WEIGHT + block * num_edges + edge_id, tl.sum(p * dp, axis=2), mask=mask)
        if EDGE_WEIGHT is not None:
            weight = tl.load(EDGE_WEIGHT + edge_id, mask=mask, other=0.0).to(ACC_DTYPE)[:, :, None]
            dp *= weight
            p_kept *= weight
        d_score = p * (dp - delta)
        dq += d_score[:, :, :, None] * k
        if EDGE_ATTR is not None:
            du += d_score[:, :, :, None] * attr
            if D_EDGE_ATTR is not None:
                d_attr = tl.sum(d_score[:, :, :, None] * u + p_kept[:, :, :, None] * attr_grad, axis=2)
                base = D_EDGE_ATTR + (block * num_edges + edge_id)[:, :, None] * D
                attr_mask = mask[:, :, None] & (component < D)[None, None, :]
                tl.store(base + component[None, None, :], d_attr, mask=attr_mask)
        slot, neighbor = next_slot, next_neighbor
        step += BLOCK_EDGES
    store_rows(DQ, PART_DQ, tl.sum(dq, axis=1) * SCALE, row, part, row_mask, offset, valid, H * F)
    if EDGE_ATTR is not None:
        store_rows(DU, PART_DU, tl.sum(du, axis=1) * SCALE, row, part, row_mask, u_offset, u_valid, H * D)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def source_kernel(
    GRAD, GRAD_ATTENDED, Q, K, V, EDGE_ATTR, U, EDGE_WEIGHT, SEED, STATE, DK, DV, PART_DK, PART_DV, INDICES, EDGE_IDS,
    ROW, START, STOP, PART, count, keep_threshold, keep_scale, keep_scale_rest, SCALE: tl.constexpr, H: tl.constexpr,
    F: tl.constexpr, D: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr, BLOCK_COMPONENTS: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """Backward along the out-edges: the gradients of k and v."""
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    if EDGE_ATTR is not None:
        component = tl.arange(0, BLOCK_COMPONENTS)
        u_offset = head[:, None] * D + component[None, :]
        u_valid = (head < H)[:, None] & (component < D)[None, :]
    k = gather_rows(K, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE) * SCALE
    v = gather_rows(V, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
    dk = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
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
            edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0)
        q = gather_rows(Q, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        grad = gather_rows(GRAD, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        lse = gather_heads(STATE, neighbor, mask, head, 2 * H, H, ACC_DTYPE)
        delta = gather_heads(STATE + H, neighbor, mask, head, 2 * H, H, ACC_DTYPE)
        score = tl.sum(q * k, axis=3) - lse
        dp = tl.sum(grad * v, axis=3)
        if EDGE_ATTR is not None:
            attr = gather_rows(EDGE_ATTR, edge_id, mask, component[None, :], (component < D)[None, :], D, ACC_DTYPE)
            u = gather_rows(U, neighbor, mask, u_offset, u_valid, H * D, ACC_DTYPE)
            score += tl.sum(u * attr, axis=3) * SCALE
            attr_grad = gather_rows(GRAD_ATTENDED, neighbor, mask, u_offset, u_valid, H * D, ACC_DTYPE)
            dp += tl.sum(attr_grad * attr, axis=3)
        p = tl.exp(tl.where(mask[:, :, None], score, -float("inf")))
        p_kept = p
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
            dp *= factor
            p_kept *= factor
        if EDGE_WEIGHT is not None:
            weight = tl.load(EDGE_WEIGHT + edge_id, mask=mask, other=0.0).to(ACC_DTYPE)[:, :, None]
            dp *= weight
            p_kept *= weight
        d_score = p * (dp - delta)
        dk += d_score[:, :, :, None] * q
        dv += p_kept[:, :, :, None] * grad
        slot, neighbor = next_slot, next_neighbor
        step += BLOCK_EDGES
    if DK is not None:
        store_rows(DK, PART_DK, tl.sum(dk, axis=1) * SCALE, row, part, row_mask, offset, valid, H * F)
    if DV is not None:
        store_rows(DV, PART_DV, tl.sum(dv, axis=1), row, part, row_mask, offset, valid, H * F)
