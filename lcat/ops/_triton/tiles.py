"""What the kernels have in common: addresses of tiles, the end of an online softmax, and parts of cut rows.

A tile is ``[R, B, HB, FP]``: ``R`` segments, ``B`` edges of each, ``HB`` heads, ``FP`` features. An index into rows is
``[R, B]`` or ``[R, 1]``, an offset inside a row ``[HB, FP]``. Row numbers are widened to 64 bits before they are
multiplied; only the offset inside a row is 32 bits wide.
"""

# mypy: disable-error-code="no-untyped-def", disallow-incomplete-defs=False

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._triton.launch import accumulator, launch, padded
from lcat.ops._triton.schedule import Schedule

__all__ = [
    "LOWEST",
    "gather_heads",
    "gather_rows",
    "merge_softmax_parts",
    "parts_like",
    "schedule_arguments",
    "segments",
    "store_heads",
    "store_rows",
    "sum_parts",
]

# Where a running maximum starts. Finite, because -inf - -inf would be NaN in lanes that see no edge.
LOWEST = tl.constexpr(-3.0e38)


def schedule_arguments(edges: SortedEdges, schedule: Schedule, per_edge: bool) -> dict[str, Any]:
    """The arguments by which a kernel walks over ``edges``; ``per_edge`` if it reads or writes per-edge tensors."""
    return {
        "OTHER": edges.indices,
        "EDGE": edges.edge_ids if per_edge else None,
        "ROW": schedule.row,
        "START": schedule.start,
        "STOP": schedule.stop,
        "PART": schedule.part,
        "count": schedule.num_segments,
    }


def parts_like(x: Tensor | None, schedule: Schedule, dtype: torch.dtype | None = None) -> Tensor | None:
    """A buffer for the parts of cut rows of ``x``; ``None`` if there are none, or no ``x``."""
    if x is None or schedule.num_parts == 0:
        return None
    return torch.empty(schedule.num_parts, *x.shape[1:], dtype=dtype or x.dtype, device=x.device)


@triton.jit
def segments(ROW, START, STOP, PART, first, count, R: tl.constexpr):
    """Segments ``first, ..., first + R - 1``: row, start, stop, part and whether each exists, all ``[R]``."""
    index = first + tl.arange(0, R)
    inside = index < count
    row = tl.load(ROW + index, mask=inside, other=-1).to(tl.int64)
    start = tl.load(START + index, mask=inside, other=0)
    stop = tl.load(STOP + index, mask=inside, other=0)
    part = tl.load(PART + index, mask=inside, other=-1).to(tl.int64)
    return row, start, stop, part, row >= 0


@triton.jit
def gather_rows(X, row, there, inner, inside, STRIDE: tl.constexpr, ACC: tl.constexpr):
    """``X[row]`` as ``[R, B, HB, FP]``; zeros where ``there`` [R, B] or ``inside`` [HB, FP] is false."""
    base = X + row.to(tl.int64)[:, :, None, None] * STRIDE
    mask = there[:, :, None, None] & inside[None, None, :, :]
    return tl.load(base + inner[None, None, :, :], mask=mask, other=0.0).to(ACC)


@triton.jit
def gather_heads(X, row, there, head, STRIDE: tl.constexpr, H: tl.constexpr, ACC: tl.constexpr):
    """``X[row, head]`` as ``[R, B, HB]``; zeros where there is no such row or head."""
    base = X + row.to(tl.int64)[:, :, None] * STRIDE
    mask = there[:, :, None] & (head < H)[None, None, :]
    return tl.load(base + head[None, None, :], mask=mask, other=0.0).to(ACC)


@triton.jit
def store_rows(X, PARTS, value, row, part, live, inner, inside, STRIDE: tl.constexpr):
    """Write ``value`` [R, HB, FP]: whole rows to ``X``, pieces of cut rows to ``PARTS``, whichever is there."""
    mask = live[:, None, None] & inside[None, :, :]
    whole = (part < 0)[:, None, None]
    tl.store((X + row[:, None, None] * STRIDE) + inner[None, :, :], value.to(X.dtype.element_ty), mask=mask & whole)
    if PARTS is not None:
        base = PARTS + part[:, None, None] * STRIDE
        tl.store(base + inner[None, :, :], value.to(PARTS.dtype.element_ty), mask=mask & (part >= 0)[:, None, None])


@triton.jit
def store_heads(X, PARTS, value, row, part, live, head, H: tl.constexpr):
    """:func:`store_rows` for one number a head, ``value`` [R, HB]."""
    mask = live[:, None] & (head < H)[None, :]
    whole = (part < 0)[:, None]
    tl.store((X + row[:, None] * H) + head[None, :], value.to(X.dtype.element_ty), mask=mask & whole)
    if PARTS is not None:
        base = PARTS + part[:, None] * H
        tl.store(base + head[None, :], value.to(PARTS.dtype.element_ty), mask=mask & (part >= 0)[:, None])


@triton.jit
def _sum_kernel(PARTS, OUT, ROW, FIRST, LAST, D: tl.constexpr, P: tl.constexpr, C: tl.constexpr):
    place = tl.program_id(0).to(tl.int64)
    row = tl.load(ROW + place).to(tl.int64)
    first = tl.load(FIRST + place).to(tl.int64)
    last = tl.load(LAST + place).to(tl.int64)
    column = tl.program_id(1) * C + tl.arange(0, C)
    total = tl.zeros((P, C), PARTS.dtype.element_ty)
    while first < last:
        part = first + tl.arange(0, P)
        mask = (part < last)[:, None] & (column < D)[None, :]
        total += tl.load((PARTS + part[:, None] * D) + column[None, :], mask=mask, other=0.0)
        first += P
    mask = column < tl.where(row < 0, 0, D)
    tl.store((OUT + row * D) + column, tl.sum(total, axis=0).to(OUT.dtype.element_ty), mask=mask)


def sum_parts(parts: Tensor | None, out: Tensor, schedule: Schedule) -> None:
    """``out[row] = sum of the row's parts`` for every row that was cut, in an order that is always the same."""
    if parts is None:
        return
    width = out[0].numel()
    columns = min(padded(width), 128)
    launch(
        _sum_kernel,
        (schedule.num_split, triton.cdiv(width, columns)),
        1,
        PARTS=parts,
        OUT=out,
        ROW=schedule.split_row,
        FIRST=schedule.split_first,
        LAST=schedule.split_last,
        D=width,
        P=4,
        C=columns,
    )


@triton.jit
def _softmax_kernel(
    PART_LSE, PART_X, LSE, X, ROW, FIRST, LAST, STORE_LSE: tl.constexpr, H: tl.constexpr, F: tl.constexpr,
    P: tl.constexpr, C: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    row = tl.load(ROW + place).to(tl.int64)
    first = tl.load(FIRST + place).to(tl.int64)
    last = tl.load(LAST + place).to(tl.int64)
    column = tl.program_id(2) * C + tl.arange(0, C)
    top = tl.full((P,), LOWEST, ACC)
    mass = tl.zeros((P,), ACC)
    total = tl.zeros((P, C), ACC)
    at = first
    while at < last:
        part = at + tl.arange(0, P)
        lse = tl.load(PART_LSE + part * H + head, mask=part < last, other=-float("inf"))
        mask = (part < last)[:, None] & (column < F)[None, :]
        x = tl.load((PART_X + (part * H + head)[:, None] * F) + column[None, :], mask=mask, other=0.0)
        higher = tl.maximum(top, lse)
        shrink = tl.exp(top - higher)
        weight = tl.exp(lse - higher)
        mass = mass * shrink + weight
        total = total * shrink[:, None] + weight[:, None] * x
        top = higher
        at += P
    peak = tl.max(top, axis=0)
    shrink = tl.exp(top - peak)
    mass = tl.sum(mass * shrink, axis=0)
    mass = tl.where(row < 0, 1.0, mass)  # a place that no row uses: nothing is stored, and nothing is divided by 0
    x = tl.sum(total * shrink[:, None], axis=0) / mass
    width = tl.where(row < 0, 0, F)
    tl.store((X + (row * H + head) * F) + column, x.to(X.dtype.element_ty), mask=column < width)
    if STORE_LSE:  # by the thread of the row's first feature
        lse = column * 0.0 + (peak + tl.log(mass))
        tl.store((LSE + (row * H + head)) + column * 0, lse, mask=(column < width) & (column == 0))


def merge_softmax_parts(
    part_lse: Tensor | None, lse: Tensor, pairs: list[tuple[Tensor | None, Tensor | None]], schedule: Schedule
) -> None:
    """Put together the rows that were cut: parts weighted by ``exp(part_lse - lse)``, and ``lse`` itself.

    Args:
        part_lse: ``[P, H]`` log-sum-exp of each part; ``None`` if no row was cut.
        lse: ``[N, H]``, of which the rows that were cut are written.
        pairs: ``(parts [P, H, ...], x [N, H, ...])``; each x is the average of its parts under the softmax.
        schedule: which parts belong to which row.
    """
    if part_lse is None:
        return
    heads = lse.shape[1]
    for i, (parts, x) in enumerate(pairs):
        if parts is None or x is None:
            continue
        width = x[0].numel() // heads
        columns = min(padded(width), 128)
        launch(
            _softmax_kernel,
            (schedule.num_split, heads, triton.cdiv(width, columns)),
            1,
            PART_LSE=part_lse,
            PART_X=parts,
            LSE=lse,
            X=x,
            ROW=schedule.split_row,
            FIRST=schedule.split_first,
            LAST=schedule.split_last,
            STORE_LSE=i == 0,
            H=heads,
            F=width,
            P=4,
            C=columns,
            ACC=accumulator(lse.dtype),
        )
