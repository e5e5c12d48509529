"""aggregate on GPUs: a program walks along the edges of its rows and adds up gathered rows in registers.

Without a weight a head, a row of ``x`` is taken as ``H * F`` flat columns: gathers are coalesced whatever H and F
are. Every edge moves ``H * F`` numbers and its index, the bytes of a sparse-dense product, and nothing of size E is
written. The interface is described in :mod:`lcat.ops._fused`.
"""

# mypy: disable-error-code="no-untyped-def", disallow-incomplete-defs=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._fused import compute_type
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

_MOST_COLUMNS = 1024


@triton.jit(do_not_specialize=["count"])
def _forward_kernel(
    X, WEIGHT, SOURCE_SCALE, TARGET_SCALE, OUT, PARTS, OTHER, EDGE, ROW, START, STOP, PART, count,
    H: tl.constexpr, F: tl.constexpr, R: tl.constexpr, B: tl.constexpr, HB: tl.constexpr, FB: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * R
    row, start, stop, part, live = segments(ROW, START, STOP, PART, first, count, R)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    feature = tl.program_id(2) * FB + tl.arange(0, FB)
    inner = head[:, None] * F + feature[None, :]
    inside = (head < H)[:, None] & (feature < F)[None, :]
    length = tl.max(stop - start, axis=0)
    # Each of the B places for edges adds up its own share: no sum across threads inside the loop.
    total = tl.zeros((R, B, HB, FB), ACC)
    step = tl.zeros_like(length)
    while step < length:
        slot = start[:, None] + step + tl.arange(0, B)[None, :]
        there = slot < stop[:, None]
        other = tl.load(OTHER + slot, mask=there, other=0)
        x = gather_rows(X, other, there, inner, inside, H * F, ACC)
        if WEIGHT is not None:
            edge = tl.load(EDGE + slot, mask=there, other=0)
            x *= gather_heads(WEIGHT, edge, there, head, H, H, ACC)[:, :, :, None]
        if SOURCE_SCALE is not None:
            x *= tl.load(SOURCE_SCALE + other, mask=there, other=0.0).to(ACC)[:, :, None, None]
        total += x
        step += B
    result = tl.sum(total, axis=1)
    if TARGET_SCALE is not None:
        result *= tl.load(TARGET_SCALE + row, mask=live, other=0.0).to(ACC)[:, None, None]
    store_rows(OUT, PARTS, result, row, part, live, inner, inside, H * F)


@triton.jit(do_not_specialize=["count"])
def _weight_kernel(
    GRAD, X, OUT, OTHER, EDGE, ROW, START, STOP, PART, count, H: tl.constexpr, F: tl.constexpr, R: tl.constexpr,
    B: tl.constexpr, HB: tl.constexpr, FB: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * R
    row, start, stop, _, live = segments(ROW, START, STOP, PART, first, count, R)
    head = tl.program_id(1) * HB + tl.arange(0, HB)
    length = tl.max(stop - start, axis=0)
    step = tl.zeros_like(length)
    while step < length:
        slot = start[:, None] + step + tl.arange(0, B)[None, :]
        there = slot < stop[:, None]
        other = tl.load(OTHER + slot, mask=there, other=0)
        product = tl.zeros((R, B, HB), ACC)
        for block in range((F + FB - 1) // FB):
            feature = block * FB + tl.arange(0, FB)
            inner = head[:, None] * F + feature[None, :]
            inside = (head < H)[:, None] & (feature < F)[None, :]
            grad = gather_rows(GRAD, row[:, None], live[:, None], inner, inside, H * F, ACC)
            x = gather_rows(X, other, there, inner, inside, H * F, ACC)
            product += tl.sum(grad * x, axis=3)
        edge = tl.load(EDGE + slot, mask=there, other=0).to(tl.int64)
        mask = there[:, :, None] & (head < H)[None, None, :]
        base = OUT + edge[:, :, None] * H
        tl.store(base + head[None, None, :], product.to(OUT.dtype.element_ty), mask=mask)
        step += B


def forward(
    x: Tensor,
    weight: Tensor | None,
    csr: SortedEdges,
    num_targets: int,
    source_scale: Tensor | None = None,
    target_scale: Tensor | None = None,
) -> Tensor:
    """``out[i] = target_scale[i] * sum over the slots of row i of weight[edge] * source_scale[other] * x[other]``.

    Args:
        x: ``[N_source, H, F]``.
        weight: ``[E]`` or ``[E, H]`` in the graph's edge order, or ``None``.
        csr: the edges grouped by the rows of the result.
        num_targets: number of rows of the result.
        source_scale: ``[N_source]``, or ``None``.
        target_scale: ``[num_targets]``, or ``None``.

    Returns:
        ``[num_targets, H, F]`` in the type of ``x``.
    """
    shape = (num_targets, *x.shape[1:])
    out = torch.empty(shape, dtype=x.dtype, device=x.device)
    if out.numel() == 0:
        return out
    _, heads, features = x.shape
    if weight is None or weight.dim() == 1:
        heads, features = 1, heads * features
    schedule = schedule_of(csr)
    wide = compute_type(x, weight)
    parts = parts_like(out, schedule, wide)
    tile = tile_shape("aggregate", heads, min(features, _MOST_COLUMNS), wide)
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
        R=tile.rows,
        B=tile.edges,
        HB=tile.heads,
        FB=tile.features,
        ACC=accumulator(wide),
        **schedule_arguments(csr, schedule, per_edge=weight is not None),
    )
    sum_parts(parts, out, schedule)
    return out


def weight_grad(grad: Tensor, x: Tensor, csr: SortedEdges, heads_in_weight: bool) -> Tensor:
    """``d_weight[edge] = <grad[i], x[j]>`` for every edge ``j -> i``, a head at a time if the weight has heads.

    Args:
        grad: ``[N_target, H, F]``.
        x: ``[N_source, H, F]``.
        csr: the edges grouped by target.
        heads_in_weight: whether the weight is ``[E, H]`` rather than ``[E]``.

    Returns:
        ``[E, H]`` or ``[E]`` in the type of ``x`` and the graph's edge order; 0 at dead edges.
    """
    _, heads, features = x.shape
    if not heads_in_weight:
        heads, features = 1, heads * features
    num_edges = csr.indices.shape[0]
    # Zeros, because dead slots are visited by no program.
    out = torch.zeros((num_edges, heads) if heads_in_weight else (num_edges,), dtype=x.dtype, device=x.device)
    if out.numel() == 0 or features == 0:
        return out
    schedule, wide = schedule_of(csr), compute_type(grad, x)
    tile = tile_shape("aggregate_weight", heads, min(features, _MOST_COLUMNS), wide)
    launch(
        _weight_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
        tile.warps,
        GRAD=grad,
        X=x,
        OUT=out,
        H=heads,
        F=features,
        R=tile.rows,
        B=tile.edges,
        HB=tile.heads,
        FB=tile.features,
        ACC=accumulator(wide),
        **schedule_arguments(csr, schedule, per_edge=True),
    )
    return out
