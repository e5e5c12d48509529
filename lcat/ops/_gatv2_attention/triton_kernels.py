"""The kernels of gatv2_attention; :mod:`lcat.ops._gatv2_attention.triton` calls them.

In all of them ``z = k_j + q_i + (edge_attr @ edge_matrix.T)_e`` is computed where it is needed from gathered rows;
nothing of size E H F exists. ``V`` is ``None`` where the keys are the values, which saves one gather per pass.
``EDGE_MATRIX`` is transposed, ``[D, H * F]``, so that its rows are read like all others. Rows of ``K`` and ``Q`` are
``K_STRIDE`` and ``Q_STRIDE`` numbers apart: those of L-CATv2 are halves of one tensor.
"""

from __future__ import annotations

import triton
import triton.language as tl

from lcat.ops._triton.dropout import keep_factor
from lcat.ops._triton.tiles import LOWEST, gather_heads, gather_rows, segments, store_heads, store_rows

__all__ = ["forward_kernel", "matrix_kernel", "source_kernel", "target_kernel"]

_NOT_SPECIALIZED = ["count", "components", "num_edges", "groups", "keep_threshold"]


@triton.jit
def _matrix_row(EDGE_MATRIX, d, offset, valid, HF: tl.constexpr, ACC_DTYPE: tl.constexpr):
    """What component ``d`` of an edge's attributes adds to the key: ``[1, 1, BLOCK_HEADS, BLOCK_FEATURES]``."""
    return tl.load((EDGE_MATRIX + d * HF) + offset, mask=valid, other=0.0).to(ACC_DTYPE)[None, None, :, :]


@triton.jit
def _attribute(EDGE_ATTR, edge_id, d, mask, D: tl.constexpr, ACC_DTYPE: tl.constexpr):
    """Component ``d`` of the attributes of each edge: ``[BLOCK_ROWS, BLOCK_EDGES]``."""
    return tl.load((EDGE_ATTR + edge_id.to(tl.int64) * D) + d, mask=mask, other=0.0).to(ACC_DTYPE)


@triton.jit
def _add_edge_key(
    z,
    EDGE_ATTR,
    EDGE_MATRIX,
    edge_id,
    mask,
    offset,
    valid,
    components,
    D: tl.constexpr,
    HF: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):
    """``z`` plus the projected attributes of each edge.

    ``components`` is ``D`` as a number that the compiler does not know: it then leaves the loop rolled, where
    unrolling would load the whole matrix ahead of the loop over edges and run out of registers.
    """
    d = components * 0
    while d < components:
        attribute = _attribute(EDGE_ATTR, edge_id, d, mask, D, ACC_DTYPE)
        z += attribute[:, :, None, None] * _matrix_row(EDGE_MATRIX, d, offset, valid, HF, ACC_DTYPE)
        d += 1
    return z


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def forward_kernel(
    K, Q, V, ATT, EDGE_ATTR, EDGE_MATRIX, EDGE_WEIGHT, SEED, OUT, UNROUNDED, LSE, PART_OUT, PART_LSE, INDICES, EDGE_IDS,
    ROW, START, STOP, PART, count, components, keep_threshold, keep_scale, keep_scale_rest, SLOPE: tl.constexpr,
    H: tl.constexpr, F: tl.constexpr, D: tl.constexpr, K_STRIDE: tl.constexpr, Q_STRIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """One pass over the in-edges with an online softmax: ``OUT``, perhaps also ``UNROUNDED``, and ``LSE``."""
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    att = tl.load(ATT + offset, mask=valid, other=0.0).to(ACC_DTYPE)[None, None, :, :]
    q = gather_rows(Q, row[:, None], row_mask[:, None], offset, valid, Q_STRIDE, ACC_DTYPE)
    # Each of the BLOCK_EDGES lanes runs a softmax of its own, with its own maximum; they are merged after the loop.
    m_i = tl.full((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), LOWEST, ACC_DTYPE)
    l_i = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), ACC_DTYPE)
    acc = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
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
        k = gather_rows(K, neighbor, mask, offset, valid, K_STRIDE, ACC_DTYPE)
        z = k + q
        if EDGE_ATTR is not None:
            z = _add_edge_key(z, EDGE_ATTR, EDGE_MATRIX, edge_id, mask, offset, valid, components, D, H * F, ACC_DTYPE)
        score = tl.sum(tl.where(z > 0, z, z * SLOPE) * att, axis=3)
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
        v = k if V is None else gather_rows(V, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        acc = acc * scale[:, :, :, None] + p[:, :, :, None] * v
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
    store_heads(LSE, PART_LSE, lse, row, part, row_mask, head, H)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def target_kernel(
    GRAD, K, Q, V, ATT, EDGE_ATTR, EDGE_MATRIX, EDGE_WEIGHT, SEED, OUT, LSE, STATE, DQ, PART_DQ, D_ATT, D_EDGE_WEIGHT,
    D_EDGE_ATTR, D_SCORE, INDICES, EDGE_IDS, ROW, START, STOP, PART, count, groups, num_edges, components,
    keep_threshold, keep_scale, keep_scale_rest, SLOPE: tl.constexpr, H: tl.constexpr, F: tl.constexpr, D: tl.constexpr,
    K_STRIDE: tl.constexpr, Q_STRIDE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr,
    BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, PREFETCH: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """Backward along the in-edges: the gradients of q and of all per-edge tensors, and this program's part of att's.

    A program takes the groups of BLOCK_ROWS segments ``program, program + programs, ...``: few enough programs that one
    ``[H, F]`` of ``D_ATT`` for each is small, and a fixed share, so that its sum has a fixed order. ``STATE``
    ``[N, 2, H]`` gets lse and <grad, out> of each target, for the pass along the out-edges.
    """
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    block = tl.program_id(1).to(tl.int64)
    if SEED is not None:
        seed = tl.load(SEED)
    att = tl.load(ATT + offset, mask=valid, other=0.0).to(ACC_DTYPE)
    d_att = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    group = tl.program_id(0).to(tl.int64)
    while group < groups:
        row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, group * BLOCK_ROWS, count, BLOCK_ROWS)
        q = gather_rows(Q, row[:, None], row_mask[:, None], offset, valid, Q_STRIDE, ACC_DTYPE)
        grad = gather_rows(GRAD, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
        out = gather_rows(OUT, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
        lse = gather_heads(LSE, row[:, None], row_mask[:, None], head, H, H, ACC_DTYPE)
        delta = tl.sum(grad * out, axis=3)
        head_mask = row_mask[:, None, None] & (head < H)[None, None, :]
        state = (STATE + row[:, None, None] * (2 * H)) + head[None, None, :]
        tl.store(state, lse, mask=head_mask)  # the segments of a cut row all write the same
        tl.store(state + H, delta, mask=head_mask)
        dq = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
        length = tl.max(stop - start, axis=0)
        step = tl.zeros_like(length)
        slot = start[:, None] + tl.arange(0, BLOCK_EDGES)[None, :]
        if PREFETCH:
            neighbor = tl.load(INDICES + slot, mask=slot < stop[:, None], other=0)
        while step < length:
            mask = slot < stop[:, None]
            next_slot = slot + BLOCK_EDGES
            if PREFETCH:
                next_neighbor = tl.load(INDICES + next_slot, mask=next_slot < stop[:, None], other=0)
            else:
                neighbor = tl.load(INDICES + slot, mask=mask, other=0)
            if EDGE_IDS is not None:
                edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0).to(tl.int64)
            k = gather_rows(K, neighbor, mask, offset, valid, K_STRIDE, ACC_DTYPE)
            v = k if V is None else gather_rows(V, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
            z = k + q
            if EDGE_ATTR is not None:
                z = _add_edge_key(
                    z, EDGE_ATTR, EDGE_MATRIX, edge_id, mask, offset, valid, components, D, H * F, ACC_DTYPE
                )
            activated = tl.where(z > 0, z, z * SLOPE)
            score = tl.sum(activated * att[None, None, :, :], axis=3) - lse
            p = tl.exp(tl.where(mask[:, :, None], score, -float("inf")))
            dp = tl.sum(grad * v, axis=3)
            if SEED is not None:
                dp *= keep_factor(
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
                tl.store(D_EDGE_WEIGHT + block * num_edges + edge_id, tl.sum(p * dp, axis=2), mask=mask)
            if EDGE_WEIGHT is not None:
                dp *= tl.load(EDGE_WEIGHT + edge_id, mask=mask, other=0.0).to(ACC_DTYPE)[:, :, None]
            d_score = p * (dp - delta)
            d_att += d_score[:, :, :, None] * activated
            dz_per_att = tl.where(z > 0, d_score[:, :, :, None], d_score[:, :, :, None] * SLOPE)
            dq += dz_per_att
            if D_SCORE is not None:
                tile_mask = mask[:, :, None] & (head < H)[None, None, :]
                tl.store((D_SCORE + edge_id[:, :, None] * H) + head[None, None, :], d_score, mask=tile_mask)
            if D_EDGE_ATTR is not None:
                dz = dz_per_att * att[None, None, :, :]
                base = D_EDGE_ATTR + (block * num_edges + edge_id) * D
                d = components * 0
                while d < components:
                    projected = tl.sum(
                        tl.sum(dz * _matrix_row(EDGE_MATRIX, d, offset, valid, H * F, ACC_DTYPE), axis=3), axis=2
                    )
                    tl.store(base + d, projected, mask=mask)
                    d += 1
            slot = next_slot
            if PREFETCH:
                neighbor = next_neighbor
            step += BLOCK_EDGES
        dq_sum = tl.sum(dq, axis=1) * att[None, :, :]
        store_rows(DQ, PART_DQ, dq_sum, row, part, row_mask, offset, valid, H * F)
        group += tl.num_programs(0)
    share = tl.sum(tl.sum(d_att, axis=1), axis=0)
    tl.store((D_ATT + tl.program_id(0).to(tl.int64) * (H * F)) + offset, share, mask=valid)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def source_kernel(
    GRAD, K, Q, V, ATT, EDGE_ATTR, EDGE_MATRIX, EDGE_WEIGHT, SEED, STATE, DK, DV, PART_DK, PART_DV, INDICES, EDGE_IDS,
    ROW, START, STOP, PART, count, components, keep_threshold, keep_scale, keep_scale_rest, SLOPE: tl.constexpr,
    H: tl.constexpr, F: tl.constexpr, D: tl.constexpr, K_STRIDE: tl.constexpr, Q_STRIDE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """Backward along the out-edges: the gradients of k and v (their sum where the keys are the values)."""
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    att = tl.load(ATT + offset, mask=valid, other=0.0).to(ACC_DTYPE)
    k = gather_rows(K, row[:, None], row_mask[:, None], offset, valid, K_STRIDE, ACC_DTYPE)
    v = k if V is None else gather_rows(V, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
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
        q = gather_rows(Q, neighbor, mask, offset, valid, Q_STRIDE, ACC_DTYPE)
        grad = gather_rows(GRAD, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        lse = gather_heads(STATE, neighbor, mask, head, 2 * H, H, ACC_DTYPE)
        delta = gather_heads(STATE + H, neighbor, mask, head, 2 * H, H, ACC_DTYPE)
        z = q + k
        if EDGE_ATTR is not None:
            z = _add_edge_key(z, EDGE_ATTR, EDGE_MATRIX, edge_id, mask, offset, valid, components, D, H * F, ACC_DTYPE)
        score = tl.sum(tl.where(z > 0, z, z * SLOPE) * att[None, None, :, :], axis=3) - lse
        p = tl.exp(tl.where(mask[:, :, None], score, -float("inf")))
        dp = tl.sum(grad * v, axis=3)
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
        dk += tl.where(z > 0, d_score[:, :, :, None], d_score[:, :, :, None] * SLOPE)
        dv += p_kept[:, :, :, None] * grad
        slot, neighbor = next_slot, next_neighbor
        step += BLOCK_EDGES
    dk_sum = tl.sum(dk, axis=1) * att[None, :, :]
    dv_sum = tl.sum(dv, axis=1)
    if V is None:
        store_rows(DK, PART_DK, dk_sum + dv_sum, row, part, row_mask, offset, valid, H * F)
    else:
        store_rows(DK, PART_DK, dk_sum, row, part, row_mask, offset, valid, H * F)
        store_rows(DV, PART_DV, dv_sum, row, part, row_mask, offset, valid, H * F)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def matrix_kernel(
    K, Q, ATT, EDGE_ATTR, EDGE_MATRIX, D_SCORE, D_EDGE_MATRIX, INDICES, EDGE_IDS, ROW, START, STOP, PART, count,
    components, SLOPE: tl.constexpr, H: tl.constexpr, F: tl.constexpr, D: tl.constexpr, K_STRIDE: tl.constexpr,
    Q_STRIDE: tl.constexpr, BLOCK_COMPONENTS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """``d_edge_matrix``: this program's part of ``sum_e dz_e edge_attr_e^T``, for BLOCK_COMPONENTS components at once.

    Segments are shared out as in ``target_kernel``, one at a time. ``D_SCORE`` holds that kernel's score gradients.
    """
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    component = tl.program_id(2) * BLOCK_COMPONENTS + tl.arange(0, BLOCK_COMPONENTS)
    acc = tl.zeros((BLOCK_EDGES, BLOCK_COMPONENTS, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    segment = tl.program_id(0).to(tl.int64)
    while segment < count:
        row, start, stop, _, row_mask = segments(ROW, START, STOP, PART, segment, count, 1)
        q = gather_rows(Q, row[:, None], row_mask[:, None], offset, valid, Q_STRIDE, ACC_DTYPE)
        length = tl.max(stop - start, axis=0)
        step = tl.zeros_like(length)
        while step < length:
            slot = start[:, None] + step + tl.arange(0, BLOCK_EDGES)[None, :]
            mask = slot < stop[:, None]
            neighbor = tl.load(INDICES + slot, mask=mask, other=0)
            edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0).to(tl.int64)
            z = gather_rows(K, neighbor, mask, offset, valid, K_STRIDE, ACC_DTYPE) + q
            z = _add_edge_key(z, EDGE_ATTR, EDGE_MATRIX, edge_id, mask, offset, valid, components, D, H * F, ACC_DTYPE)
            d_score = gather_heads(D_SCORE, edge_id, mask, head, H, H, ACC_DTYPE)[:, :, :, None]
            dz_per_att = tl.where(z > 0, d_score, d_score * SLOPE)
            tile_mask = tl.trans(mask)[:, :, None, None] & (component < D)[None, :, None, None]
            base = EDGE_ATTR + tl.trans(edge_id)[:, :, None, None] * D
            attribute = tl.load(base + component[None, :, None, None], mask=tile_mask, other=0.0).to(ACC_DTYPE)
            acc += attribute * tl.reshape(dz_per_att, (BLOCK_EDGES, 1, BLOCK_HEADS, BLOCK_FEATURES))
            step += BLOCK_EDGES
        segment += tl.num_programs(0)
    att = tl.load(ATT + offset, mask=valid, other=0.0).to(ACC_DTYPE)
    share = tl.sum(acc, axis=0) * att[None, :, :]
    base = D_EDGE_MATRIX + (tl.program_id(0).to(tl.int64) * D + component[:, None, None]) * (H * F)
    tl.store(base + offset[None, :, :], share, mask=(component < D)[:, None, None] & valid[None, :, :])
