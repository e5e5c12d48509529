"""What the kernels have in common: addresses of tiles, the end of an online softmax, and parts of cut rows.

A tile is ``[BLOCK_ROWS, BLOCK_EDGES, BLOCK_HEADS, BLOCK_FEATURES]``: segments, edges of each, heads, features. An index
into rows is ``[BLOCK_ROWS, BLOCK_EDGES]`` or ``[BLOCK_ROWS, 1]``, an offset inside a row
``[BLOCK_HEADS, BLOCK_FEATURES]``. ``mask`` says which edges exist, ``row_mask`` which segments, ``valid`` which heads
and features. Row numbers are widened to 64 bits before they are
multiplied; only the offset inside a row is 32 bits wide.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._triton.launch import accumulator, blocks, launch, padded
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
_PROGRAMS = 1024  # that put cut rows together: these are few, but how many is not known without waiting for the device


def schedule_arguments(edges: SortedEdges, schedule: Schedule, per_edge: bool) -> dict[str, Any]:
    """The arguments by which a kernel walks over ``edges``; ``per_edge`` if it reads or writes per-edge tensors."""
    return {
        "INDICES": edges.indices,
        "EDGE_IDS": edges.edge_ids if per_edge else None,
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
def segments(ROW, START, STOP, PART, first, count, BLOCK_ROWS: tl.constexpr):
    """Segments ``first, ..., first + BLOCK_ROWS - 1``: row, start, stop, part and whether each exists."""
    index = first + tl.arange(0, BLOCK_ROWS)
    valid = index < count
    row = tl.load(ROW + index, mask=valid, other=-1).to(tl.int64)
    start = tl.load(START + index, mask=valid, other=0)
    stop = tl.load(STOP + index, mask=valid, other=0)
    part = tl.load(PART + index, mask=valid, other=-1).to(tl.int64)
    return row, start, stop, part, row >= 0


@triton.jit
def gather_rows(X, row, mask, offset, valid, STRIDE: tl.constexpr, ACC_DTYPE: tl.constexpr):
    """``X[row]`` as a tile; zeros where ``mask`` or ``valid`` is false."""
    base = X + row.to(tl.int64)[:, :, None, None] * STRIDE
    tile_mask = mask[:, :, None, None] & valid[None, None, :, :]
    return tl.load(base + offset[None, None, :, :], mask=tile_mask, other=0.0).to(ACC_DTYPE)


@triton.jit
def gather_heads(X, row, mask, head, STRIDE: tl.constexpr, H: tl.constexpr, ACC_DTYPE: tl.constexpr):
    """``X[row, head]``, a tile without features; zeros where there is no such row or head."""
    base = X + row.to(tl.int64)[:, :, None] * STRIDE
    tile_mask = mask[:, :, None] & (head < H)[None, None, :]
    return tl.load(base + head[None, None, :], mask=tile_mask, other=0.0).to(ACC_DTYPE)


@triton.jit
def store_rows(X, PARTS, value, row, part, row_mask, offset, valid, STRIDE: tl.constexpr):
    """Write ``value``, a tile without edges: whole rows to ``X``, pieces of cut rows to ``PARTS``."""
    tile_mask = row_mask[:, None, None] & valid[None, :, :]
    whole = (part < 0)[:, None, None]
    tl.store(
        (X + row[:, None, None] * STRIDE) + offset[None, :, :], value.to(X.dtype.element_ty), mask=tile_mask & whole
    )
    if PARTS is not None:
        base = PARTS + part[:, None, None] * STRIDE
        tl.store(
            base + offset[None, :, :], value.to(PARTS.dtype.element_ty), mask=tile_mask & (part >= 0)[:, None, None]
        )


@triton.jit
def store_heads(X, PARTS, value, row, part, row_mask, head, H: tl.constexpr):
    """:func:`store_rows` for one number per head."""
    tile_mask = row_mask[:, None] & (head < H)[None, :]
    whole = (part < 0)[:, None]
    tl.store((X + row[:, None] * H) + head[None, :], value.to(X.dtype.element_ty), mask=tile_mask & whole)
    if PARTS is not None:
        base = PARTS + part[:, None] * H
        tl.store(base + head[None, :], value.to(PARTS.dtype.element_ty), mask=tile_mask & (part >= 0)[:, None])


@triton.jit
def _sum_row(
    PARTS, OUT, row, first, last, column, WIDTH: tl.constexpr, BLOCK_PARTS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr
):
    """``OUT[row]`` at these columns: the sum of the parts from ``first`` to before ``last``."""
    acc = tl.zeros((BLOCK_PARTS, BLOCK_COLUMNS), PARTS.dtype.element_ty)
    while first < last:
        part = first + tl.arange(0, BLOCK_PARTS)
        tile_mask = (part < last)[:, None] & (column < WIDTH)[None, :]
        acc += tl.load((PARTS + part[:, None] * WIDTH) + column[None, :], mask=tile_mask, other=0.0)
        first += BLOCK_PARTS
    tl.store((OUT + row * WIDTH) + column, tl.sum(acc, axis=0).to(OUT.dtype.element_ty), mask=column < WIDTH)


@triton.jit(do_not_specialize=["count"])
def _sum_kernel(
    PARTS, OUT, PARTS_2, OUT_2, ROW, FIRST, LAST, count, WIDTH: tl.constexpr, WIDTH_2: tl.constexpr,
    COLUMN_BLOCKS: tl.constexpr, BLOCK_PARTS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
):  # fmt: skip
    entry = tl.program_id(0).to(tl.int64)
    row = tl.load(ROW + entry).to(tl.int64)
    while row >= 0:  # the rows that were cut come first
        first = tl.load(FIRST + entry).to(tl.int64)
        last = tl.load(LAST + entry).to(tl.int64)
        block = tl.program_id(1)
        if PARTS_2 is None:
            column = block * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
            _sum_row(PARTS, OUT, row, first, last, column, WIDTH, BLOCK_PARTS, BLOCK_COLUMNS)
        else:
            if block < COLUMN_BLOCKS:
                column = block * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
                _sum_row(PARTS, OUT, row, first, last, column, WIDTH, BLOCK_PARTS, BLOCK_COLUMNS)
            else:
                column = (block - COLUMN_BLOCKS) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
                _sum_row(PARTS_2, OUT_2, row, first, last, column, WIDTH_2, BLOCK_PARTS, BLOCK_COLUMNS)
        entry += tl.num_programs(0)
        row = tl.load(ROW + entry, mask=entry < count, other=-1).to(tl.int64)


def sum_parts(pairs: list[tuple[Tensor | None, Tensor | None]], schedule: Schedule) -> None:
    """``out[row] = sum of the row's parts`` for every row that was cut, in an order that is always the same.

    Args:
        pairs: one or two of ``(parts [P, ...], out [N, ...])``, put together by one launch; those without parts are
            left out.
        schedule: which parts belong to which row.
    """
    present = [(parts, out) for parts, out in pairs if parts is not None and out is not None]
    if not present:
        return
    (parts, out), (parts_2, out_2) = present[0], present[1] if len(present) > 1 else (None, None)
    width, width_2 = out[0].numel(), 0 if out_2 is None else out_2[0].numel()
    columns = min(padded(max(width, width_2)), 128)
    launch(
        _sum_kernel,
        (min(schedule.num_split, _PROGRAMS), blocks(width, columns) + blocks(width_2, columns)),
        1,
        PARTS=parts,
        OUT=out,
        PARTS_2=parts_2,
        OUT_2=out_2,
        ROW=schedule.split_row,
        FIRST=schedule.split_first,
        LAST=schedule.split_last,
        count=schedule.num_split,
        WIDTH=width,
        WIDTH_2=width_2,
        COLUMN_BLOCKS=blocks(width, columns),
        BLOCK_PARTS=4,
        BLOCK_COLUMNS=columns,
    )


@triton.jit(do_not_specialize=["count"])
def _softmax_kernel(
    PART_LSE, PART_X, PART_Y, PART_Z, LSE, X, UNROUNDED, Y, Z, ROW, FIRST, LAST, count, H: tl.constexpr,
    F: tl.constexpr, BLOCK_PARTS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1).to(tl.int64)
    column = tl.program_id(2) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    entry = tl.program_id(0).to(tl.int64)
    row = tl.load(ROW + entry).to(tl.int64)
    while row >= 0:  # the rows that were cut come first
        at = tl.load(FIRST + entry).to(tl.int64)
        last = tl.load(LAST + entry).to(tl.int64)
        m_i = tl.full((BLOCK_PARTS,), LOWEST, ACC_DTYPE)
        l_i = tl.zeros((BLOCK_PARTS,), ACC_DTYPE)
        x = tl.zeros((BLOCK_PARTS, BLOCK_COLUMNS), ACC_DTYPE)
        y = tl.zeros((BLOCK_PARTS, BLOCK_COLUMNS), ACC_DTYPE)
        z = tl.zeros((BLOCK_PARTS,), ACC_DTYPE)
        while at < last:
            part = at + tl.arange(0, BLOCK_PARTS)
            lse = tl.load(PART_LSE + part * H + head, mask=part < last, other=-float("inf"))
            tile_mask = (part < last)[:, None] & (column < F)[None, :]
            address = (part * H + head)[:, None] * F
            m_new = tl.maximum(m_i, lse)
            scale = tl.exp(m_i - m_new)
            weight = tl.exp(lse - m_new)
            l_i = l_i * scale + weight
            part_x = tl.load((PART_X + address) + column[None, :], mask=tile_mask, other=0.0)
            x = x * scale[:, None] + weight[:, None] * part_x
            if PART_Y is not None:
                part_y = tl.load((PART_Y + address) + column[None, :], mask=tile_mask, other=0.0)
                y = y * scale[:, None] + weight[:, None] * part_y
            if PART_Z is not None:
                part_z = tl.load(PART_Z + part * H + head, mask=part < last, other=0.0)
                z = z * scale + weight * part_z
            m_i = m_new
            at += BLOCK_PARTS
        m_row = tl.max(m_i, axis=0)
        scale = tl.exp(m_i - m_row)
        l_i = tl.sum(l_i * scale, axis=0)
        base = (row * H + head) * F
        x_row = tl.sum(x * scale[:, None], axis=0) / l_i
        tl.store((X + base) + column, x_row.to(X.dtype.element_ty), mask=column < F)
        if UNROUNDED is not None:
            tl.store((UNROUNDED + base) + column, x_row, mask=column < F)
        if PART_Y is not None:
            y_row = tl.sum(y * scale[:, None], axis=0) / l_i
            tl.store((Y + base) + column, y_row.to(Y.dtype.element_ty), mask=column < F)
        # One number per head: by the thread of the row's first feature.
        first_column = column == 0
        lse_row = column * 0.0 + (m_row + tl.log(l_i))
        tl.store((LSE + (row * H + head)) + column * 0, lse_row, mask=first_column)
        if PART_Z is not None:
            z_row = column * 0.0 + tl.sum(z * scale, axis=0) / l_i
            tl.store((Z + (row * H + head)) + column * 0, z_row.to(Z.dtype.element_ty), mask=first_column)
        entry += tl.num_programs(0)
        row = tl.load(ROW + entry, mask=entry < count, other=-1).to(tl.int64)


def merge_softmax_parts(
    part_lse: Tensor | None,
    lse: Tensor,
    part_x: Tensor | None,
    x: Tensor,
    schedule: Schedule,
    *,
    unrounded: Tensor | None = None,
    part_y: Tensor | None = None,
    y: Tensor | None = None,
    part_z: Tensor | None = None,
    z: Tensor | None = None,
) -> None:
    """Put together the rows that were cut: averages weighted by ``exp(part_lse - lse)``, and ``lse`` itself.

    Args:
        part_lse: ``[P, H]`` log-sum-exp of each part; ``None`` if no row was cut.
        lse: ``[N, H]``, of which the rows that were cut are written.
        part_x: ``[P, H, F]``, in the type of ``lse``.
        x: ``[N, H, F]``, in a row that was cut the average of its parts under the softmax; of any type.
        schedule: which parts belong to which row.
        unrounded: ``x`` in the type of ``lse``, or ``None``.
        part_y: a second tensor of parts of the same shape, or ``None``.
        y: like ``x``.
        part_z: parts with one number per head, ``[P, H]``, or ``None``.
        z: ``[N, H]``, like ``x``.
    """
    if part_lse is None:
        return
    heads, width = lse.shape[1], x[0].numel() // lse.shape[1]
    columns = min(padded(width), 128)
    launch(
        _softmax_kernel,
        (min(schedule.num_split, _PROGRAMS), heads, blocks(width, columns)),
        1,
        PART_LSE=part_lse,
        PART_X=part_x,
        PART_Y=part_y,
        PART_Z=part_z,
        LSE=lse,
        X=x,
        UNROUNDED=unrounded,
        Y=y,
        Z=z,
        ROW=schedule.split_row,
        FIRST=schedule.split_first,
        LAST=schedule.split_last,
        count=schedule.num_split,
        H=heads,
        F=width,
        BLOCK_PARTS=4,
        BLOCK_COLUMNS=columns,
        ACC_DTYPE=accumulator(lse.dtype),
    )
