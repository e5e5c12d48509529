"""The kernels of gatv2_attention; :mod:`lcat.ops._gatv2_attention.triton` calls them.

In all of them ``z = k_j + q_i + (edge_attr @ edge_matrix.T)_e`` is computed where it is needed from gathered rows;
nothing of size E H F exists. ``V`` is ``None`` where the keys are the values, which saves one gather a pass.
``MATRIX`` is transposed, ``[D, H * F]``, so that its rows are read like all others.
"""

# mypy: disable-error-code="no-untyped-def", disallow-incomplete-defs=False

from __future__ import annotations

import triton
import triton.language as tl

from lcat.ops._triton.dropout import keep_factor
from lcat.ops._triton.tiles import LOWEST, gather_heads, gather_rows, segments, store_heads, store_rows

__all__ = ["forward_kernel", "matrix_kernel", "source_kernel", "target_kernel"]

_NOT_SPECIALIZED = ["count", "components", "num_edges", "groups", "threshold"]


@triton.jit
def _matrix_row(MATRIX, d, inner, inside, HF: tl.constexpr, ACC: tl.constexpr):
    """What component ``d`` of an edge's attributes adds to the key: ``[1, 1, HB, FB]``."""
    return tl.load((MATRIX + d * HF) + inner, mask=inside, other=0.0).to(ACC)[None, None, :, :]


@triton.jit
def _attribute(ATTR, edge, d, there, D: tl.constexpr, ACC: tl.constexpr):
    """Component ``d`` of the attributes of each edge: ``[R, B]``."""
    return tl.load((ATTR + edge.to(tl.int64) * D) + d, mask=there, other=0.0).to(ACC)


@triton.jit
def _add_edge_key(
    z, ATTR, MATRIX, edge, there, inner, inside, components, D: tl.constexpr, HF: tl.constexpr, ACC: tl.constexpr
):
    """``z`` plus the projected attributes of each edge.

    ``components`` is ``D`` as a number that the compiler does not know: it then leaves the loop rolled, where
    unrolling would load the whole matrix ahead of the loop over edges and run out of registers.
    """
    d = components * 0
    while d < components:
        attribute = _attribute(ATTR, edge, d, there, D, ACC)
        z += attribute[:, :, None, None] * _matrix_row(MATRIX, d, inner, inside, HF, ACC)
        d += 1
    return z


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def forward_kernel(
    K, Q, V, ATT, ATTR, MATRIX, WEIGHT, SEED, OUT, LSE, PART_OUT, PART_LSE, OTHER, EDGE, ROW, START, STOP, PART,
    count, components, threshold, scale, scale_rest, SLOPE: tl.constexpr, H: tl.constexpr, F: tl.constexpr,
    D: tl.constexpr, R: tl.constexpr, B: tl.constexpr, HB: tl.constexpr, FB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """One pass over the in-edges with an online softmax: ``OUT`` and ``LSE``."""
    first = tl.program_id(0).to(tl.int64) * R
    row, start, stop, part, live = segments(ROW, START, STOP, PART, first, count, R)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    feature = tl.arange(0, FB)
    inner = head[:, None] * F + feature[None, :]
    inside = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    att = tl.load(ATT + inner, mask=inside, other=0.0).to(ACC)[None, None, :, :]
    q = gather_rows(Q, row[:, None], live[:, None], inner, inside, H * F, ACC)
    # Every place for an edge runs a softmax of its own, with its own maximum; they meet after the loop.
    top = tl.full((R, B, HB), LOWEST, ACC)
    mass = tl.zeros((R, B, HB), ACC)
    total = tl.zeros((R, B, HB, FB), ACC)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    while step < length:
        slot = start[:, None] + step + tl.arange(0, B)[None, :]
        there = slot < stop[:, None]
        other = tl.load(OTHER + slot, mask=there, other=0)
        if EDGE is not None:
            edge = tl.load(EDGE + slot, mask=there, other=0)
        k = gather_rows(K, other, there, inner, inside, H * F, ACC)
        z = k + q
        if ATTR is not None:
            z = _add_edge_key(z, ATTR, MATRIX, edge, there, inner, inside, components, D, H * F, ACC)
        score = tl.sum(tl.where(z > 0, z, z * SLOPE) * att, axis=3)
        score = tl.where(there[:, :, None], score, -float("inf"))
        higher = tl.maximum(top, score)
        shrink = tl.exp(top - higher)
        p = tl.exp(score - higher)
        mass = mass * shrink + p
        # Dropout and weights act on the normalized coefficients: after the sum.
        if SEED is not None:
            p *= keep_factor(seed, edge[:, :, None], head[None, None, :], threshold, scale, scale_rest, H, ACC)
        if WEIGHT is not None:
            p *= tl.load(WEIGHT + edge, mask=there, other=0.0).to(ACC)[:, :, None]
        v = k if V is None else gather_rows(V, other, there, inner, inside, H * F, ACC)
        total = total * shrink[:, :, :, None] + p[:, :, :, None] * v
        top = higher
        step += B

    peak = tl.max(top, axis=1)
    shrink = tl.exp(top - peak[:, None, :])
    mass = tl.sum(mass * shrink, axis=1)
    # A row without edges is 0 and has lse = 0; one whose scores are all -inf has no softmax, and divides by 0. Among
    # parts to be merged neither must count. Not "<= 0": a NaN must stay one.
    empty = (mass == 0) & ((stop <= start) | (part >= 0))[:, None]
    mass = tl.where(empty, 1.0, mass)
    lse = tl.where(empty, tl.where((part < 0)[:, None], 0.0, -float("inf")), peak + tl.log(mass))
    out = tl.sum(total * shrink[:, :, :, None], axis=1) / mass[:, :, None]
    store_rows(OUT, PART_OUT, out, row, part, live, inner, inside, H * F)
    store_heads(LSE, PART_LSE, lse, row, part, live, head, H)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def target_kernel(
    GRAD, K, Q, V, ATT, ATTR, MATRIX, WEIGHT, SEED, OUT, LSE, STATE, DQ, PART_DQ, DATT, DWEIGHT, DATTR, DSCORE,
    OTHER, EDGE, ROW, START, STOP, PART, count, groups, num_edges, components, threshold, scale, scale_rest,
    SLOPE: tl.constexpr, H: tl.constexpr, F: tl.constexpr, D: tl.constexpr, R: tl.constexpr, B: tl.constexpr,
    HB: tl.constexpr, FB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Backward along the in-edges: the gradients of q and of all per-edge tensors, and this program's part of att's.

    A program takes the groups of R segments ``program, program + programs, ...``: few enough programs that one
    ``[H, F]`` of ``DATT`` for each is small, and a fixed share, so that its sum has a fixed order. ``STATE`` gets
    (lse, <grad, out>) of each target side by side, for the pass along the out-edges.
    """
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    feature = tl.arange(0, FB)
    inner = head[:, None] * F + feature[None, :]
    inside = (head < H)[:, None] & (feature < F)[None, :]
    block = tl.program_id(1).to(tl.int64)
    if SEED is not None:
        seed = tl.load(SEED)
    att = tl.load(ATT + inner, mask=inside, other=0.0).to(ACC)
    datt = tl.zeros((R, B, HB, FB), ACC)
    group = tl.program_id(0).to(tl.int64)
    while group < groups:
        row, start, stop, part, live = segments(ROW, START, STOP, PART, group * R, count, R)
        q = gather_rows(Q, row[:, None], live[:, None], inner, inside, H * F, ACC)
        grad = gather_rows(GRAD, row[:, None], live[:, None], inner, inside, H * F, ACC)
        out = gather_rows(OUT, row[:, None], live[:, None], inner, inside, H * F, ACC)
        lse = gather_heads(LSE, row[:, None], live[:, None], head, H, H, ACC)
        delta = tl.sum(grad * out, axis=3)
        known = live[:, None, None] & (head < H)[None, None, :]
        state = (STATE + row[:, None, None] * (2 * H)) + 2 * head[None, None, :]
        tl.store(state, lse, mask=known)  # the segments of a cut row all write the same
        tl.store(state + 1, delta, mask=known)
        dq = tl.zeros((R, B, HB, FB), ACC)
        length = tl.max(stop - start, axis=0)
        step = tl.zeros_like(length)
        while step < length:
            slot = start[:, None] + step + tl.arange(0, B)[None, :]
            there = slot < stop[:, None]
            other = tl.load(OTHER + slot, mask=there, other=0)
            if EDGE is not None:
                edge = tl.load(EDGE + slot, mask=there, other=0).to(tl.int64)
            k = gather_rows(K, other, there, inner, inside, H * F, ACC)
            v = k if V is None else gather_rows(V, other, there, inner, inside, H * F, ACC)
            z = k + q
            if ATTR is not None:
                z = _add_edge_key(z, ATTR, MATRIX, edge, there, inner, inside, components, D, H * F, ACC)
            bent = tl.where(z > 0, z, z * SLOPE)
            score = tl.sum(bent * att[None, None, :, :], axis=3) - lse
            p = tl.exp(tl.where(there[:, :, None], score, -float("inf")))
            along = tl.sum(grad * v, axis=3)
            if SEED is not None:
                along *= keep_factor(seed, edge[:, :, None], head[None, None, :], threshold, scale, scale_rest, H, ACC)
            if DWEIGHT is not None:
                tl.store(DWEIGHT + block * num_edges + edge, tl.sum(p * along, axis=2), mask=there)
            if WEIGHT is not None:
                along *= tl.load(WEIGHT + edge, mask=there, other=0.0).to(ACC)[:, :, None]
            dscore = p * (along - delta)
            datt += dscore[:, :, :, None] * bent
            slant = tl.where(z > 0, dscore[:, :, :, None], dscore[:, :, :, None] * SLOPE)
            dq += slant
            if DSCORE is not None:
                heads_there = there[:, :, None] & (head < H)[None, None, :]
                tl.store((DSCORE + edge[:, :, None] * H) + head[None, None, :], dscore, mask=heads_there)
            if DATTR is not None:
                dz = slant * att[None, None, :, :]
                base = DATTR + (block * num_edges + edge) * D
                d = components * 0
                while d < components:
                    projected = tl.sum(tl.sum(dz * _matrix_row(MATRIX, d, inner, inside, H * F, ACC), axis=3), axis=2)
                    tl.store(base + d, projected, mask=there)
                    d += 1
            step += B
        dq_sum = tl.sum(dq, axis=1) * att[None, :, :]
        store_rows(DQ, PART_DQ, dq_sum, row, part, live, inner, inside, H * F)
        group += tl.num_programs(0)
    share = tl.sum(tl.sum(datt, axis=1), axis=0)
    tl.store((DATT + tl.program_id(0).to(tl.int64) * (H * F)) + inner, share, mask=inside)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def source_kernel(
    GRAD, K, Q, V, ATT, ATTR, MATRIX, WEIGHT, SEED, STATE, DK, DV, PART_DK, PART_DV, OTHER, EDGE, ROW, START, STOP,
    PART, count, components, threshold, scale, scale_rest, SLOPE: tl.constexpr, H: tl.constexpr,
    F: tl.constexpr, D: tl.constexpr, R: tl.constexpr, B: tl.constexpr, HB: tl.constexpr, FB: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """Backward along the out-edges: the gradients of k and v (their sum where the keys are the values)."""
    first = tl.program_id(0).to(tl.int64) * R
    row, start, stop, part, live = segments(ROW, START, STOP, PART, first, count, R)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    feature = tl.arange(0, FB)
    inner = head[:, None] * F + feature[None, :]
    inside = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    att = tl.load(ATT + inner, mask=inside, other=0.0).to(ACC)
    k = gather_rows(K, row[:, None], live[:, None], inner, inside, H * F, ACC)
    v = k if V is None else gather_rows(V, row[:, None], live[:, None], inner, inside, H * F, ACC)
    dk = tl.zeros((R, B, HB, FB), ACC)
    dv = tl.zeros((R, B, HB, FB), ACC)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    while step < length:
        slot = start[:, None] + step + tl.arange(0, B)[None, :]
        there = slot < stop[:, None]
        other = tl.load(OTHER + slot, mask=there, other=0)
        if EDGE is not None:
            edge = tl.load(EDGE + slot, mask=there, other=0)
        q = gather_rows(Q, other, there, inner, inside, H * F, ACC)
        grad = gather_rows(GRAD, other, there, inner, inside, H * F, ACC)
        lse = gather_heads(STATE, other, there, 2 * head, 2 * H, 2 * H, ACC)
        delta = gather_heads(STATE + 1, other, there, 2 * head, 2 * H, 2 * H, ACC)
        z = q + k
        if ATTR is not None:
            z = _add_edge_key(z, ATTR, MATRIX, edge, there, inner, inside, components, D, H * F, ACC)
        score = tl.sum(tl.where(z > 0, z, z * SLOPE) * att[None, None, :, :], axis=3) - lse
        p = tl.exp(tl.where(there[:, :, None], score, -float("inf")))
        along = tl.sum(grad * v, axis=3)
        used = p
        if SEED is not None:
            factor = keep_factor(seed, edge[:, :, None], head[None, None, :], threshold, scale, scale_rest, H, ACC)
            along *= factor
            used *= factor
        if WEIGHT is not None:
            weight = tl.load(WEIGHT + edge, mask=there, other=0.0).to(ACC)[:, :, None]
            along *= weight
            used *= weight
        dscore = p * (along - delta)
        dk += tl.where(z > 0, dscore[:, :, :, None], dscore[:, :, :, None] * SLOPE)
        dv += used[:, :, :, None] * grad
        step += B
    dk_sum = tl.sum(dk, axis=1) * att[None, :, :]
    dv_sum = tl.sum(dv, axis=1)
    if V is None:
        store_rows(DK, PART_DK, dk_sum + dv_sum, row, part, live, inner, inside, H * F)
    else:
        store_rows(DK, PART_DK, dk_sum, row, part, live, inner, inside, H * F)
        store_rows(DV, PART_DV, dv_sum, row, part, live, inner, inside, H * F)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def matrix_kernel(
    K, Q, ATT, ATTR, MATRIX, DSCORE, DMATRIX, OTHER, EDGE, ROW, START, STOP, PART, count, components,
    SLOPE: tl.constexpr, H: tl.constexpr, F: tl.constexpr, D: tl.constexpr, DB: tl.constexpr, B: tl.constexpr,
    HB: tl.constexpr, FB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """``d_edge_matrix``: this program's part of ``sum_e dz_e edge_attr_e^T``, for DB components at once.

    Segments are shared out as in ``target_kernel``, one at a time. ``DSCORE`` holds that kernel's score gradients.
    """
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    feature = tl.arange(0, FB)
    inner = head[:, None] * F + feature[None, :]
    inside = (head < H)[:, None] & (feature < F)[None, :]
    component = tl.program_id(2) * DB + tl.arange(0, DB)
    total = tl.zeros((B, DB, HB, FB), ACC)
    segment = tl.program_id(0).to(tl.int64)
    while segment < count:
        row, start, stop, _, live = segments(ROW, START, STOP, PART, segment, count, 1)
        q = gather_rows(Q, row[:, None], live[:, None], inner, inside, H * F, ACC)
        length = tl.max(stop - start, axis=0)
        step = tl.zeros_like(length)
        while step < length:
            slot = start[:, None] + step + tl.arange(0, B)[None, :]
            there = slot < stop[:, None]
            other = tl.load(OTHER + slot, mask=there, other=0)
            edge = tl.load(EDGE + slot, mask=there, other=0).to(tl.int64)
            z = gather_rows(K, other, there, inner, inside, H * F, ACC) + q
            z = _add_edge_key(z, ATTR, MATRIX, edge, there, inner, inside, components, D, H * F, ACC)
            dscore = gather_heads(DSCORE, edge, there, head, H, H, ACC)[:, :, :, None]
            slant = tl.where(z > 0, dscore, dscore * SLOPE)
            mask = tl.trans(there)[:, :, None, None] & (component < D)[None, :, None, None]
            base = ATTR + tl.trans(edge)[:, :, None, None] * D
            attribute = tl.load(base + component[None, :, None, None], mask=mask, other=0.0).to(ACC)
            total += attribute * tl.reshape(slant, (B, 1, HB, FB))
            step += B
        segment += tl.num_programs(0)
    att = tl.load(ATT + inner, mask=inside, other=0.0).to(ACC)
    share = tl.sum(total, axis=0) * att[None, :, :]
    base = DMATRIX + (tl.program_id(0).to(tl.int64) * D + component[:, None, None]) * (H * F)
    tl.store(base + inner[None, :, :], share, mask=(component < D)[:, None, None] & inside[None, :, :])
