"""aggregate on GPUs: a program walks along the edges of its rows and adds up gathered rows in registers.

Without one weight per head, a row of ``x`` is taken as ``H * F`` flat columns: gathers are coalesced whatever H and F
are. Every edge moves ``H * F`` numbers and its index, the bytes of a sparse-dense product, and nothing of size E is
written. The interface is described in :mod:`lcat.ops._fused`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import compute_dtype
from lcat.ops._rows import heads_and_width
from lcat.ops._triton.launch import accumulator, blocks, launch, tile_shape
from lcat.ops._triton.schedule import schedule_of
from lcat.ops._triton.tiles import (
    gather_heads,
    gather_rows,
    parts_like,
    schedule_arguments,
    segments,
    store_rows,
    sum_parts,
)

__all__ = ["forward", "weight_grad"]

_MAX_COLUMNS = 1024


@triton.jit(do_not_specialize=["count"])
def _forward_kernel(
    X, WEIGHT, SOURCE_SCALE, TARGET_SCALE, OUT, PARTS, INDICES, EDGE_IDS, ROW, START, STOP, PART, count,
    H: tl.constexpr, F: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, part, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.program_id(2) * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    length = tl.max(stop - start, axis=0)
    # Each of the BLOCK_EDGES lanes adds up its own share: no sum across threads inside the loop.
    acc = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    step = tl.zeros_like(length)
    slot = start[:, None] + tl.arange(0, BLOCK_EDGES)[None, :]
    neighbor = tl.load(INDICES + slot, mask=slot < stop[:, None], other=0)
    while step < length:
        mask = slot < stop[:, None]
        next_slot = slot + BLOCK_EDGES
        next_neighbor = tl.load(INDICES + next_slot, mask=next_slot < stop[:, None], other=0)
        x = gather_rows(X, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
        if WEIGHT is not None:
            edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0)
            x *= gather_heads(WEIGHT, edge_id, mask, head, H, H, ACC_DTYPE)[:, :, :, None]
        if SOURCE_SCALE is not None:
            x *= tl.load(SOURCE_SCALE + neighbor, mask=mask, other=0.0).to(ACC_DTYPE)[:, :, None, None]
        acc += x
        slot, neighbor = next_slot, next_neighbor
        step += BLOCK_EDGES
    result = tl.sum(acc, axis=1)
    if TARGET_SCALE is not None:
        result *= tl.load(TARGET_SCALE + row, mask=row_mask, other=0.0).to(ACC_DTYPE)[:, None, None]
    store_rows(OUT, PARTS, result, row, part, row_mask, offset, valid, H * F)


@triton.jit(do_not_specialize=["count"])
def _weight_kernel(
    GRAD, X, OUT, INDICES, EDGE_IDS, ROW, START, STOP, PART, count, H: tl.constexpr, F: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_EDGES: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    row, start, stop, _, row_mask = segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS)
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    while step < length:
        slot = start[:, None] + step + tl.arange(0, BLOCK_EDGES)[None, :]
        mask = slot < stop[:, None]
        neighbor = tl.load(INDICES + slot, mask=mask, other=0)
        product = tl.zeros((BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS), ACC_DTYPE)
        for block in range((F + BLOCK_FEATURES - 1) // BLOCK_FEATURES):
            feature = block * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
            offset = head[:, None] * F + feature[None, :]
            valid = (head < H)[:, None] & (feature < F)[None, :]
            grad = gather_rows(GRAD, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
            x = gather_rows(X, neighbor, mask, offset, valid, H * F, ACC_DTYPE)
            product += tl.sum(grad * x, axis=3)
        edge_id = tl.load(EDGE_IDS + slot, mask=mask, other=0).to(tl.int64)
        tile_mask = mask[:, :, None] & (head < H)[None, None, :]
        base = OUT + edge_id[:, :, None] * H
        tl.store(base + head[None, None, :], product.to(OUT.dtype.element_ty), mask=tile_mask)
        step += BLOCK_EDGES


def forward(
    x: Tensor,
    weight: Tensor | None,
    by_target: SortedEdges,
    num_targets: int,
    source_scale: Tensor | None = None,
    target_scale: Tensor | None = None,
) -> Tensor:
    """``out[i] = target_scale[i] * sum over the slots of row i of weight[edge_id] * source_scale[index] * x[index]``.

    Args:
        x: ``[N_source, ...]``; ``[N_source, H, ...]`` with one weight per head.
        weight: ``[E]`` or ``[E, H]`` in the graph's edge order, or ``None``.
        by_target: the edges grouped by the rows of the result.
        num_targets: number of rows of the result.
        source_scale: ``[N_source]``, or ``None``.
        target_scale: ``[num_targets]``, or ``None``.

    Returns:
        ``[num_targets, ...]`` in the type of ``x``.
    """
    shape = (num_targets, *x.shape[1:])
    out = torch.empty(shape, dtype=x.dtype, device=x.device)
    if out.numel() == 0:
        return out
    heads, features = heads_and_width(x, in_weight=weight is not None and weight.dim() == 2)
    dtype = compute_dtype(x, weight)
    tile = tile_shape("aggregate", heads, min(features, _MAX_COLUMNS), dtype)
    schedule = schedule_of(by_target, tile.rows)
    parts = parts_like(out, schedule, dtype)
    launch(
        _forward_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks, blocks(features, tile.features)),
        tile.warps,
        X=x,
        WEIGHT=weight,
        SOURCE_SCALE=source_scale,
        TARGET_SCALE=target_scale,
        OUT=out,
        PARTS=parts,
        H=heads,
        F=features,
        BLOCK_ROWS=tile.rows,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        ACC_DTYPE=accumulator(dtype),
        **schedule_arguments(by_target, schedule, per_edge=weight is not None),
    )
    sum_parts([(parts, out)], schedule)
    return out


def weight_grad(grad: Tensor, x: Tensor, by_target: SortedEdges, heads_in_weight: bool) -> Tensor:
    """``d_weight[edge_id] = <grad[i], x[j]>`` for every edge ``j -> i``, per head if the weight has heads.

    Args:
        grad: ``[N_target, ...]``.
        x: ``[N_source, ...]``; ``[N_source, H, ...]`` with one weight per head.
        by_target: the edges grouped by target.
        heads_in_weight: whether the weight is ``[E, H]`` rather than ``[E]``.

    Returns:
        ``[E, H]`` or ``[E]`` in the type of ``x`` and the graph's edge order; 0 at dead edges.
    """
    heads, features = heads_and_width(x, in_weight=heads_in_weight)
    num_edges = by_target.indices.shape[0]
    # Zeros, because dead slots are visited by no program.
    out = torch.zeros((num_edges, heads) if heads_in_weight else (num_edges,), dtype=x.dtype, device=x.device)
    if out.numel() == 0 or features == 0:
        return out
    dtype = compute_dtype(grad, x)
    tile = tile_shape("aggregate_weight", heads, min(features, _MAX_COLUMNS), dtype)
    schedule = schedule_of(by_target, tile.rows)
    launch(
        _weight_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
        tile.warps,
        GRAD=grad,
        X=x,
        OUT=out,
        H=heads,
        F=features,
        BLOCK_ROWS=tile.rows,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        ACC_DTYPE=accumulator(dtype),
        **schedule_arguments(by_target, schedule, per_edge=True),
    )
    return out
