"""extremes on GPUs: a program walks along the edges of its rows and keeps the best message and how often it occurs.

Backward, a program walks along the out-edges of its rows, compares each message again with what its target has, and
adds up the shares of those that reach it: no position of an edge is stored, there are no atomics, and results are the
same bits on every run. The interface is described in :mod:`lcat.ops._fused`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import as_type, compute_dtype, result_dtype
from lcat.ops._rows import heads_and_width
from lcat.ops._triton.launch import accumulator, blocks, launch, padded, tile_shape
from lcat.ops._triton.schedule import Schedule, schedule_of
from lcat.ops._triton.tiles import (
    gather_heads,
    gather_rows,
    parts_like,
    schedule_arguments,
    segments,
    store_rows,
    sum_parts,
)

__all__ = ["backward", "forward"]

_MAX_COLUMNS = 1024
_PROGRAMS = 1024  # that put cut rows together


@triton.jit
def _join(best, ties, message, more, LARGEST: tl.constexpr):
    """The better of two messages, and the edges that reach it; a NaN wins, and stays."""
    better = message > best if LARGEST else message < best
    ties = tl.where(better, more, ties + tl.where(message == best, more, 0.0))
    best = tl.where(better | (message != message), message, best)
    return best, ties


@triton.jit
def _join_along(best, ties, axis: tl.constexpr, LARGEST: tl.constexpr):
    """:func:`_join` of all messages along an axis."""
    is_nan = tl.max((best != best).to(tl.int32), axis=axis) > 0
    if LARGEST:
        top = tl.max(tl.where(best == best, best, -float("inf")), axis=axis)
    else:
        top = tl.min(tl.where(best == best, best, float("inf")), axis=axis)
    count = tl.sum(tl.where(best == tl.expand_dims(top, axis), ties, 0.0), axis=axis)
    return tl.where(is_nan, float("nan"), top), count


@triton.jit
def _counted(best, ties):
    """What a gradient is divided by: torch counts the zero that it starts from, and its gradient of a NaN is NaN."""
    return tl.where(best == best, ties + tl.where(best == 0.0, 1.0, 0.0), best)


@triton.jit(do_not_specialize=["count"])
def _forward_kernel(
    X, WEIGHT, OUT, UNROUNDED, TIES, PART_OUT, PART_TIES, INDICES, EDGE_IDS, ROW, START, STOP, PART, count,
    LARGEST: tl.constexpr, H: tl.constexpr, F: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr,
    BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.program_id(2) * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    worst = -float("inf") if LARGEST else float("inf")
    # Each of the BLOCK_EDGES lanes has the best of its own share: nothing is exchanged inside the loop.
    best = tl.full((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), worst, ACC_DTYPE)
    ties = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    slot = start[:, None] + tl.arange(0, BLOCK_EDGES)[None, :]
    neighbor = tl.load(INDICES + slot, mask=slot < stop[:, None], other=0)
    while step < length:
        mask = slot < stop[:, None]
        next_slot = slot + BLOCK_EDGES
        next_neighbor = tl.load(INDICES + next_slot, mask=next_slot < stop[:, None], other=0)
        message = gather_rows(X, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        if WEIGHT is not None:
            edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0)
            message *= gather_heads(WEIGHT, edge_id, mask, head, H, H, ACC_DTYPE)[:, :, :, None]
        exists = mask[:, :, None, None]
        one = tl.where(exists, 1.0, 0.0).to(ACC_DTYPE)
        best, ties = _join(best, ties, tl.where(exists, message, worst), one, LARGEST)
        slot, neighbor = next_slot, next_neighbor
        step += BLOCK_EDGES
    result, number = _join_along(best, ties, 1, LARGEST)
    result = tl.where((stop > start)[:, None, None], result, 0.0)
    store_rows(OUT, PART_OUT, result, row, part, row_mask, offset, valid, H * F)
    if UNROUNDED is not None:
        store_rows(UNROUNDED, None, result, row, part, row_mask, offset, valid, H * F)
    if TIES is not None:
        number = tl.where((part < 0)[:, None, None], _counted(result, number), number)
        store_rows(TIES, PART_TIES, number, row, part, row_mask, offset, valid, H * F)


@triton.jit(do_not_specialize=["count"])
def _parts_kernel(
    PART_OUT, PART_TIES, OUT, UNROUNDED, TIES, ROW, FIRST, LAST, count, LARGEST: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK_PARTS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """The rows that were cut, from their parts."""
    column = tl.program_id(1) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    worst = -float("inf") if LARGEST else float("inf")
    entry = tl.program_id(0).to(tl.int64)
    row = tl.load(ROW + entry).to(tl.int64)
    while row >= 0:  # the rows that were cut come first
        at = tl.load(FIRST + entry).to(tl.int64)
        last = tl.load(LAST + entry).to(tl.int64)
        best = tl.full((BLOCK_PARTS, BLOCK_COLUMNS), worst, ACC_DTYPE)
        ties = tl.zeros((BLOCK_PARTS, BLOCK_COLUMNS), ACC_DTYPE)
        while at < last:
            part = at + tl.arange(0, BLOCK_PARTS)
            tile_mask = (part < last)[:, None] & (column < WIDTH)[None, :]
            message = tl.load((PART_OUT + part[:, None] * WIDTH) + column[None, :], mask=tile_mask, other=worst)
            more = tl.zeros((BLOCK_PARTS, BLOCK_COLUMNS), ACC_DTYPE)
            if PART_TIES is not None:
                more = tl.load((PART_TIES + part[:, None] * WIDTH) + column[None, :], mask=tile_mask, other=0.0)
            best, ties = _join(best, ties, message, more, LARGEST)
            at += BLOCK_PARTS
        result, number = _join_along(best, ties, 0, LARGEST)
        tl.store((OUT + row * WIDTH) + column, result.to(OUT.dtype.element_ty), mask=column < WIDTH)
        if UNROUNDED is not None:
            tl.store((UNROUNDED + row * WIDTH) + column, result, mask=column < WIDTH)
        if TIES is not None:
            tl.store((TIES + row * WIDTH) + column, _counted(result, number), mask=column < WIDTH)
        entry += tl.num_programs(0)
        row = tl.load(ROW + entry, mask=entry < count, other=-1).to(tl.int64)


@triton.jit(do_not_specialize=["count", "num_edges"])
def _source_kernel(
    X, WEIGHT, BEST, SHARE, DX, PART_DX, D_WEIGHT, INDICES, EDGE_IDS, ROW, START, STOP, PART, count, num_edges,
    H: tl.constexpr, F: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """The gradient of x along the out-edges, and what these features add to that of the weights."""
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.program_id(2) * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    block = tl.program_id(2).to(tl.int64)
    x = gather_rows(X, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
    acc = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    slot = start[:, None] + tl.arange(0, BLOCK_EDGES)[None, :]
    neighbor = tl.load(INDICES + slot, mask=slot < stop[:, None], other=0)
    while step < length:
        mask = slot < stop[:, None]
        next_slot = slot + BLOCK_EDGES
        next_neighbor = tl.load(INDICES + next_slot, mask=next_slot < stop[:, None], other=0)
        best = gather_rows(BEST, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        share = gather_rows(SHARE, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        # A share that is NaN is one for all edges, and edges that do not exist have shares of 0.
        if WEIGHT is not None:
            edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0).to(tl.int64)
            weight = gather_heads(WEIGHT, edge_id, mask, head, H, H, ACC_DTYPE)
            share *= tl.where(x * weight[:, :, :, None] == best, 1.0, 0.0)
            acc += share * weight[:, :, :, None]
            if D_WEIGHT is not None:
                base = D_WEIGHT + (block * num_edges + edge_id)[:, :, None] * H
                tile_mask = mask[:, :, None] & (head < H)[None, None, :]
                tl.store(base + head[None, None, :], tl.sum(share * x, axis=3), mask=tile_mask)
        else:
            acc += share * tl.where(x == best, 1.0, 0.0)
        slot, neighbor = next_slot, next_neighbor
        step += BLOCK_EDGES
    store_rows(DX, PART_DX, tl.sum(acc, axis=1), row, part, row_mask, offset, valid, H * F)


def forward(
    x: Tensor, weight: Tensor | None, by_target: SortedEdges, *, largest: bool, for_gradients: bool
) -> tuple[Tensor | None, ...]:
    """The extremes, and for the backward pass the number of edges that reach each and the extremes before rounding.

    Complexity:
        O(E F) time; O(N F) memory.
    """
    dtype, out_dtype = compute_dtype(x, weight), result_dtype(x, weight)
    shape = (by_target.indptr.shape[0] - 1, *x.shape[1:])
    out = torch.empty(shape, dtype=out_dtype, device=x.device)
    ties = torch.empty(shape, dtype=dtype, device=x.device) if for_gradients else None
    rounds = for_gradients and out_dtype is not dtype
    unrounded = torch.empty(shape, dtype=dtype, device=x.device) if rounds else None
    if out.numel() == 0:
        return out, ties, unrounded
    heads, features = heads_and_width(x, in_weight=weight is not None and weight.dim() == 2)
    tile = tile_shape("extremes", heads, min(features, _MAX_COLUMNS), dtype)
    schedule = schedule_of(by_target, tile.rows)
    part_out, part_ties = parts_like(out, schedule, dtype), parts_like(ties, schedule)
    launch(
        _forward_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks, blocks(features, tile.features)),
        tile.warps,
        X=x,
        WEIGHT=weight,
        OUT=out,
        UNROUNDED=unrounded,
        TIES=ties,
        PART_OUT=part_out,
        PART_TIES=part_ties,
        LARGEST=largest,
        H=heads,
        F=features,
        BLOCK_ROWS=tile.rows,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        ACC_DTYPE=accumulator(dtype),
        **schedule_arguments(by_target, schedule, per_edge=weight is not None),
    )
    _join_parts(part_out, part_ties, out, unrounded, ties, schedule=schedule, largest=largest)
    return out, ties, unrounded


def _join_parts(
    part_out: Tensor | None,
    part_ties: Tensor | None,
    out: Tensor,
    unrounded: Tensor | None,
    ties: Tensor | None,
    *,
    schedule: Schedule,
    largest: bool,
) -> None:
    if part_out is None:
        return
    width = out[0].numel()
    columns = min(padded(width), 128)
    launch(
        _parts_kernel,
        (min(schedule.num_split, _PROGRAMS), blocks(width, columns)),
        1,
        PART_OUT=part_out,
        PART_TIES=part_ties,
        OUT=out,
        UNROUNDED=unrounded,
        TIES=ties,
        ROW=schedule.split_row,
        FIRST=schedule.split_first,
        LAST=schedule.split_last,
        count=schedule.num_split,
        LARGEST=largest,
        WIDTH=width,
        BLOCK_PARTS=4,
        BLOCK_COLUMNS=columns,
        ACC_DTYPE=accumulator(part_out.dtype),
    )


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
    """The gradients of ``x`` and ``weight``.

    Complexity:
        O(E F) time; O(N F) memory, and a buffer of the weights' size for every 1024 features.
    """
    dtype = ties.dtype
    heads, features = heads_and_width(x, in_weight=weight is not None and weight.dim() == 2)
    d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    needed_weight = weight if needs[1] else None
    if x.numel() == 0 or grad.numel() == 0:
        return d_x.zero_() if needs[0] else None, None if needed_weight is None else torch.zeros_like(needed_weight)
    tile = tile_shape("extremes_source", heads, min(features, _MAX_COLUMNS), dtype)
    feature_blocks = blocks(features, tile.features)
    d_weight = None
    if needed_weight is not None:  # zeros, because no program visits dead edges; each block of features has its share
        d_weight = torch.zeros(feature_blocks, *needed_weight.shape, dtype=dtype, device=x.device)
    schedule = schedule_of(by_source, tile.rows)
    part_dx = parts_like(d_x, schedule, dtype)
    launch(
        _source_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks, feature_blocks),
        tile.warps,
        X=x,
        WEIGHT=weight,
        BEST=out,
        SHARE=grad / ties,
        DX=d_x,
        PART_DX=part_dx,
        D_WEIGHT=d_weight,
        num_edges=by_source.indices.shape[0],
        H=heads,
        F=features,
        BLOCK_ROWS=tile.rows,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        ACC_DTYPE=accumulator(dtype),
        **schedule_arguments(by_source, schedule, per_edge=weight is not None),
    )
    sum_parts([(part_dx, d_x)], schedule)
    if d_weight is not None and needed_weight is not None:
        d_weight = as_type(d_weight[0] if feature_blocks == 1 else d_weight.sum(0), needed_weight.dtype)
    return d_x if needs[0] else None, d_weight
