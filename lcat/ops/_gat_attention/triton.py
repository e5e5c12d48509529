"""gat_attention on GPUs: one pass over the edges forward, one backward, and nothing of size E in between.

Forward goes along the in-edges of each target with an online softmax. Backward goes along the out-edges of each
source only: the gradient of ``t`` follows from two sums that the forward pass keeps (``positive`` and
``positive_mass``), because a score's derivative takes just two values. Either pass gathers one row of ``H * F``
numbers an edge, as many bytes as a GCN. The interface is described in :mod:`lcat.ops._fused`.
"""

# mypy: disable-error-code="no-untyped-def", disallow-incomplete-defs=False

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._fused import compute_type
from lcat.ops._triton.dropout import dropout_arguments, keep_factor
from lcat.ops._triton.launch import accumulator, blocks, launch, tile_shape
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

__all__ = ["backward", "forward"]

_NOT_SPECIALIZED = ["count", "threshold", "num_edges"]
_DROPOUT_REGISTERS = 168  # a thread's in the backward pass (see launch): 12 warps a multiprocessor


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def _forward_kernel(
    S, T, V, SCORE, WEIGHT, SEED, OUT, LSE, POSITIVE, MASS, PART_OUT, PART_LSE, PART_POSITIVE, PART_MASS,
    OTHER, EDGE, ROW, START, STOP, PART, count, threshold, scale, scale_rest, SLOPE: tl.constexpr,
    H: tl.constexpr, F: tl.constexpr, R: tl.constexpr, B: tl.constexpr, HB: tl.constexpr, FB: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * R
    row, start, stop, part, live = segments(ROW, START, STOP, PART, first, count, R)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    feature = tl.program_id(2) * FB + tl.arange(0, FB)
    inner = head[:, None] * F + feature[None, :]
    inside = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    if T is not None:
        t = gather_heads(T, row[:, None], live[:, None], head, H, H, ACC)
    # Every place for an edge runs a softmax of its own, with its own maximum; they meet after the loop.
    top = tl.full((R, B, HB), LOWEST, ACC)
    mass = tl.zeros((R, B, HB), ACC)
    total = tl.zeros((R, B, HB, FB), ACC)
    if POSITIVE is not None:
        positive_mass = tl.zeros((R, B, HB), ACC)
        positive = tl.zeros((R, B, HB, FB), ACC)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    while step < length:
        slot = start[:, None] + step + tl.arange(0, B)[None, :]
        there = slot < stop[:, None]
        other = tl.load(OTHER + slot, mask=there, other=0)
        z = gather_heads(S, other, there, head, H, H, ACC)
        if EDGE is not None:
            edge = tl.load(EDGE + slot, mask=there, other=0)
        if T is not None:
            z += t
        if SCORE is not None:
            z += gather_heads(SCORE, edge, there, head, H, H, ACC)
        score = tl.where(there[:, :, None], tl.where(z > 0, z, z * SLOPE), -float("inf"))
        higher = tl.maximum(top, score)
        shrink = tl.exp(top - higher)
        p = tl.exp(score - higher)
        mass = mass * shrink + p
        if POSITIVE is not None:
            positive_mass = positive_mass * shrink + tl.where(z > 0, p, 0.0)
        # Dropout and weights act on the normalized coefficients: after the sum.
        if SEED is not None:
            p *= keep_factor(seed, edge[:, :, None], head[None, None, :], threshold, scale, scale_rest, H, ACC)
        if WEIGHT is not None:
            p *= tl.load(WEIGHT + edge, mask=there, other=0.0).to(ACC)[:, :, None]
        v = gather_rows(V, other, there, inner, inside, H * F, ACC)
        total = total * shrink[:, :, :, None] + p[:, :, :, None] * v
        if POSITIVE is not None:
            positive = positive * shrink[:, :, :, None] + tl.where(z > 0, p, 0.0)[:, :, :, None] * v
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
    once = live & (tl.zeros_like(part) + tl.program_id(2) == 0)  # by one of the blocks of features
    store_heads(LSE, PART_LSE, lse, row, part, once, head, H)
    if POSITIVE is not None:
        positive = tl.sum(positive * shrink[:, :, :, None], axis=1) / mass[:, :, None]
        store_rows(POSITIVE, PART_POSITIVE, positive, row, part, live, inner, inside, H * F)
        positive_mass = tl.sum(positive_mass * shrink, axis=1) / mass
        store_heads(MASS, PART_MASS, positive_mass, row, part, once, head, H)


@triton.jit(do_not_specialize=["count"])
def _target_kernel(
    GRAD, T, OUT, LSE, POSITIVE, MASS, STATE, DT, count, SLOPE: tl.constexpr, H: tl.constexpr, F: tl.constexpr,
    R: tl.constexpr, HB: tl.constexpr, FB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """What the source pass has to know of a target, (t, lse, <grad, out>), side by side; and the gradient of t."""
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    live = row < count
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    delta = tl.zeros((R, 1, HB), ACC)
    along = tl.zeros((R, 1, HB), ACC)
    for block in range((F + FB - 1) // FB):
        feature = block * FB + tl.arange(0, FB)
        inner = head[:, None] * F + feature[None, :]
        inside = (head < H)[:, None] & (feature < F)[None, :]
        grad = gather_rows(GRAD, row[:, None], live[:, None], inner, inside, H * F, ACC)
        out = gather_rows(OUT, row[:, None], live[:, None], inner, inside, H * F, ACC)
        delta += tl.sum(grad * out, axis=3)
        if DT is not None:
            positive = gather_rows(POSITIVE, row[:, None], live[:, None], inner, inside, H * F, ACC)
            along += tl.sum(grad * positive, axis=3)
    mask = live[:, None, None] & (head < H)[None, None, :]
    base = (STATE + row[:, None, None] * (3 * H)) + 3 * head[None, None, :]
    if T is not None:
        tl.store(base, gather_heads(T, row[:, None], live[:, None], head, H, H, ACC), mask=mask)
    tl.store(base + 1, gather_heads(LSE, row[:, None], live[:, None], head, H, H, ACC), mask=mask)
    tl.store(base + 2, delta, mask=mask)
    if DT is not None:
        mass = gather_heads(MASS, row[:, None], live[:, None], head, H, H, ACC)
        dt = (1.0 - SLOPE) * (along - delta * mass)
        tl.store((DT + row[:, None, None] * H) + head[None, None, :], dt.to(DT.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def _source_kernel(
    S, V, SCORE, WEIGHT, SEED, STATE, GRAD, DS, DV, DSCORE, DWEIGHT, PART_DS, PART_DV, OTHER, EDGE, ROW, START,
    STOP, PART, count, num_edges, threshold, scale, scale_rest, SLOPE: tl.constexpr, HAS_T: tl.constexpr,
    H: tl.constexpr, F: tl.constexpr, R: tl.constexpr, B: tl.constexpr, HB: tl.constexpr, FB: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * R
    row, start, stop, part, live = segments(ROW, START, STOP, PART, first, count, R)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    feature = tl.arange(0, FB)
    inner = head[:, None] * F + feature[None, :]
    inside = (head < H)[:, None] & (feature < F)[None, :]
    if SEED is not None:
        seed = tl.load(SEED)
    s = gather_heads(S, row[:, None], live[:, None], head, H, H, ACC)
    v = gather_rows(V, row[:, None], live[:, None], inner, inside, H * F, ACC)
    ds = tl.zeros((R, B, HB), ACC)
    dv = tl.zeros((R, B, HB, FB), ACC)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    while step < length:
        slot = start[:, None] + step + tl.arange(0, B)[None, :]
        there = slot < stop[:, None]
        other = tl.load(OTHER + slot, mask=there, other=0)
        if EDGE is not None:
            edge = tl.load(EDGE + slot, mask=there, other=0).to(tl.int64)
        grad = gather_rows(GRAD, other, there, inner, inside, H * F, ACC)
        lse = gather_heads(STATE + 1, other, there, 3 * head, 3 * H, 3 * H, ACC)
        delta = gather_heads(STATE + 2, other, there, 3 * head, 3 * H, 3 * H, ACC)
        z = s
        if HAS_T:
            z = z + gather_heads(STATE, other, there, 3 * head, 3 * H, 3 * H, ACC)
        if SCORE is not None:
            z = z + gather_heads(SCORE, edge, there, head, H, H, ACC)
        inner_score = tl.where(z > 0, z, z * SLOPE) - lse
        p = tl.exp(tl.where(there[:, :, None], inner_score, -float("inf")))
        along = tl.sum(grad * v, axis=3)
        factor = tl.full((R, B, HB), 1.0, ACC)
        if SEED is not None:
            factor = keep_factor(seed, edge[:, :, None], head[None, None, :], threshold, scale, scale_rest, H, ACC)
        if DWEIGHT is not None:
            dweight = tl.sum(p * factor * along, axis=2)
            tl.store(DWEIGHT + tl.program_id(1).to(tl.int64) * num_edges + edge, dweight, mask=there)
        if WEIGHT is not None:
            factor *= tl.load(WEIGHT + edge, mask=there, other=0.0).to(ACC)[:, :, None]
        dscore = p * (factor * along - delta)
        dz = tl.where(z > 0, dscore, dscore * SLOPE)
        ds += dz
        if DSCORE is not None:
            mask = there[:, :, None] & (head < H)[None, None, :]
            base = DSCORE + edge[:, :, None] * H
            tl.store(base + head[None, None, :], dz.to(DSCORE.dtype.element_ty), mask=mask)
        dv += (p * factor)[:, :, :, None] * grad
        step += B
    store_heads(DS, PART_DS, tl.sum(ds, axis=1), row, part, live, head, H)
    store_rows(DV, PART_DV, tl.sum(dv, axis=1), row, part, live, inner, inside, H * F)


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
    """Attention with GAT's score: ``(out, lse, positive, positive_mass)``, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H F) time; O(N H F) memory, of it ``positive`` only with ``keep_positive``.
    """
    _, heads, features = v.shape
    num_targets = csr.indptr.shape[0] - 1
    wide = compute_type(s, t, v, edge_score, edge_weight)
    out = torch.empty(num_targets, heads, features, dtype=wide, device=v.device)
    lse = torch.empty(num_targets, heads, dtype=wide, device=v.device)
    positive = torch.empty_like(out) if keep_positive else None
    positive_mass = torch.empty_like(lse) if keep_positive else None
    if out.numel() == 0:
        return out, lse.zero_(), positive, None if positive_mass is None else positive_mass.zero_()
    schedule = schedule_of(csr)
    parts = [parts_like(x, schedule) for x in (out, lse, positive, positive_mass)]
    per_edge = edge_score is not None or edge_weight is not None or dropout > 0
    tile = tile_shape("v1_forward", heads, min(features, 1024), wide)
    launch(
        _forward_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks, blocks(features, tile.features)),
        tile.warps,
        S=s,
        T=t,
        V=v,
        SCORE=edge_score,
        WEIGHT=edge_weight,
        OUT=out,
        LSE=lse,
        POSITIVE=positive,
        MASS=positive_mass,
        PART_OUT=parts[0],
        PART_LSE=parts[1],
        PART_POSITIVE=parts[2],
        PART_MASS=parts[3],
        SLOPE=slope,
        H=heads,
        F=features,
        R=tile.rows,
        B=tile.edges,
        HB=tile.heads,
        FB=tile.features,
        ACC=accumulator(wide),
        **schedule_arguments(csr, schedule, per_edge),
        **dropout_arguments(dropout, seed),
    )
    pairs = [(parts[0], out), (parts[2], positive), (parts[3], positive_mass)]
    merge_softmax_parts(parts[1], lse, pairs, schedule)
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
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of ``(s, t, v, edge_score, edge_weight)``, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H F) time; O(N H F) memory and the gradients themselves.

    Raises:
        ValueError: the gradient of ``t`` is asked for without ``positive`` and ``positive_mass``.
    """
    _, heads, features = v.shape
    wide = out.dtype
    need_s, need_t, need_v, need_score, need_weight = needs
    if need_t and t is not None and (positive is None or positive_mass is None):
        raise ValueError(
            "the gradient of 't' needs 'positive' and 'positive_mass': call forward with keep_positive=True"
        )
    ds = torch.zeros_like(s) if out.numel() == 0 or v.numel() == 0 else torch.empty_like(s)
    dv = torch.zeros_like(v) if out.numel() == 0 else torch.empty_like(v)
    dt = torch.zeros_like(t) if need_t and t is not None else None
    # Zeros, because no program visits dead edges.
    dscore = torch.zeros_like(edge_score) if need_score and edge_score is not None else None
    tile = tile_shape("v1_source", heads, features, wide)
    num_edges = csc.indices.shape[0]
    dweight = None
    if need_weight and edge_weight is not None:
        dweight = torch.zeros(tile.head_blocks, num_edges, dtype=wide, device=v.device)
    if out.numel() and v.numel():
        state = _target_pass(grad, t, out, lse, positive, positive_mass, dt, slope)
        if need_s or need_v or dscore is not None or dweight is not None:
            schedule = schedule_of(csc)
            part_ds, part_dv = parts_like(ds, schedule, wide), parts_like(dv, schedule, wide)
            per_edge = edge_score is not None or edge_weight is not None or dropout > 0
            launch(
                _source_kernel,
                (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
                tile.warps,
                registers=_DROPOUT_REGISTERS if dropout > 0 else None,
                S=s,
                V=v,
                SCORE=edge_score,
                WEIGHT=edge_weight,
                STATE=state,
                GRAD=grad,
                DS=ds,
                DV=dv,
                DSCORE=dscore,
                DWEIGHT=dweight,
                PART_DS=part_ds,
                PART_DV=part_dv,
                num_edges=num_edges,
                SLOPE=slope,
                HAS_T=t is not None,
                H=heads,
                F=features,
                R=tile.rows,
                B=tile.edges,
                HB=tile.heads,
                FB=tile.features,
                ACC=accumulator(wide),
                **schedule_arguments(csc, schedule, per_edge),
                **dropout_arguments(dropout, seed),
            )
            sum_parts(part_ds, ds, schedule)
            sum_parts(part_dv, dv, schedule)
    if dweight is not None and edge_weight is not None:
        dweight = dweight.sum(0).to(edge_weight.dtype)
    return ds if need_s else None, dt, dv if need_v else None, dscore, dweight


def _target_pass(
    grad: Tensor,
    t: Tensor | None,
    out: Tensor,
    lse: Tensor,
    positive: Tensor | None,
    positive_mass: Tensor | None,
    dt: Tensor | None,
    slope: float,
) -> Tensor:
    """Fill ``dt`` and return ``[N_target, H, 3]``: what the source pass gathers of a target, in one place."""
    num_targets, heads, features = out.shape
    state = torch.empty(num_targets, heads, 3, dtype=out.dtype, device=out.device)
    tile = tile_shape("v1_target", heads, min(features, 1024), out.dtype)
    rows = tile.rows * tile.edges  # no edges here: all places go to rows
    launch(
        _target_kernel,
        (blocks(num_targets, rows), tile.head_blocks),
        tile.warps,
        GRAD=grad,
        T=t,
        OUT=out,
        LSE=lse,
        POSITIVE=None if dt is None else positive,
        MASS=None if dt is None else positive_mass,
        STATE=state,
        DT=dt,
        count=num_targets,
        SLOPE=slope,
        H=heads,
        F=features,
        R=rows,
        HB=tile.heads,
        FB=tile.features,
        ACC=accumulator(out.dtype),
    )
    return state
