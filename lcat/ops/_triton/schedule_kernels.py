"""A schedule in three kernels, a sum and a sort: :func:`lcat.ops._triton.schedule.build_schedule` on GPUs.

Sixty tensor operations take a millisecond to start, in which a mini-batch could be trained.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.ops._triton.launch import blocks, launch

__all__ = ["cut_and_order"]

_BLOCK = 128


@triton.jit
def _rows(INDPTR, rows, tile, BLOCK: tl.constexpr):
    """A block of rows, their slots, and into how many segments they are cut: one at least."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = row < rows
    begin = tl.load(INDPTR + row, mask=mask, other=0)
    end = tl.load(INDPTR + row + 1, mask=mask, other=0)
    pieces = tl.maximum((end - begin + tile - 1) // tile, 1)
    return row, mask, begin, end, pieces


@triton.jit(do_not_specialize=["rows", "tile"])
def _count_kernel(INDPTR, COUNTS, rows, tile, BLOCK: tl.constexpr):
    """Of each row its segments, those of a row that is cut, and whether it is cut: ``[3, N]``."""
    row, mask, _, _, pieces = _rows(INDPTR, rows, tile, BLOCK)
    cut = pieces > 1
    tl.store(COUNTS + row, pieces, mask=mask)
    tl.store(COUNTS + rows + row, tl.where(cut, pieces, 0), mask=mask)
    tl.store(COUNTS + 2 * rows + row, cut.to(tl.int64), mask=mask)


@triton.jit(do_not_specialize=["rows", "tile"])
def _segments_kernel(
    INDPTR, PAST, LENGTH, START, ROW, PART, SPLIT_ROW, SPLIT_FIRST, SPLIT_LAST, rows, tile, BLOCK: tl.constexpr
):  # fmt: skip
    """The segments in the order of rows, and the rows that are cut. ``PAST`` has the running sums of the counts."""
    row, mask, begin, end, pieces = _rows(INDPTR, rows, tile, BLOCK)
    first = tl.load(PAST + row, mask=mask, other=0) - pieces
    last_part = tl.load(PAST + rows + row, mask=mask, other=0)
    first_part = last_part - pieces
    cut = mask & (pieces > 1)
    index = tl.load(PAST + 2 * rows + row, mask=mask, other=1) - 1
    tl.store(SPLIT_ROW + index, row.to(tl.int32), mask=cut)
    tl.store(SPLIT_FIRST + index, first_part.to(tl.int32), mask=cut)
    tl.store(SPLIT_LAST + index, last_part.to(tl.int32), mask=cut)
    largest = tl.max(tl.where(mask, pieces, 0), axis=0)
    i = tl.zeros_like(largest)
    while i < largest:
        present = mask & (i < pieces)
        start = begin + i * tile
        tl.store(LENGTH + first + i, tl.minimum(end - start, tile).to(tl.int32), mask=present)
        tl.store(START + first + i, start, mask=present)
        tl.store(ROW + first + i, row.to(tl.int32), mask=present)
        tl.store(PART + first + i, tl.where(cut, first_part + i, -1).to(tl.int32), mask=present)
        i += 1


@triton.jit(do_not_specialize=["count"])
def _order_kernel(
    ORDER, LENGTH, START, ROW, PART, SORTED_ROW, SORTED_START, SORTED_STOP, SORTED_PART, count, BLOCK: tl.constexpr
):  # fmt: skip
    """The segments in their order. ``LENGTH`` is sorted; -1 stands for a segment that does not exist."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < count
    length = tl.load(LENGTH + i, mask=mask, other=-1)
    order = tl.load(ORDER + i, mask=mask, other=0)
    exists = length >= 0
    start = tl.load(START + order, mask=exists, other=0)
    tl.store(SORTED_ROW + i, tl.load(ROW + order, mask=exists, other=-1), mask=mask)
    tl.store(SORTED_START + i, start, mask=mask)
    tl.store(SORTED_STOP + i, start + tl.maximum(length, 0), mask=mask)
    tl.store(SORTED_PART + i, tl.load(PART + order, mask=exists, other=-1), mask=mask)


def cut_and_order(indptr: Tensor, num_edges: int, tile: int) -> tuple[Tensor, ...]:
    """The tensors of a :class:`~lcat.ops._triton.schedule.Schedule`, in its order.

    Args:
        indptr: ``[N + 1]`` int64, N at least 1.
        num_edges: E; the sizes of the results follow from N, E and ``tile``.
        tile: the largest number of edges in a segment.

    Complexity:
        O(N + E / tile) memory and O(n log n) time for these n segments; no synchronization with the device.
    """
    device, rows = indptr.device, indptr.shape[0] - 1
    count, num_split = rows + num_edges // tile, num_edges // (tile + 1)
    counts = torch.empty(3, rows, dtype=torch.int64, device=device)
    grid = (blocks(rows, _BLOCK),)
    launch(_count_kernel, grid, 4, INDPTR=indptr, COUNTS=counts, rows=rows, tile=tile, BLOCK=_BLOCK)
    length = torch.full((count,), -1, dtype=torch.int32, device=device)
    start, sorted_start, sorted_stop = _vectors(3, count, torch.int64, device)
    row, part, sorted_row, sorted_part = _vectors(4, count, torch.int32, device)
    split_row = torch.full((num_split,), -1, dtype=torch.int32, device=device)
    split_first, split_last = _vectors(2, num_split, torch.int32, device, zero=True)
    launch(
        _segments_kernel,
        grid,
        4,
        INDPTR=indptr,
        PAST=counts.cumsum(dim=1),
        LENGTH=length,
        START=start,
        ROW=row,
        PART=part,
        SPLIT_ROW=split_row,
        SPLIT_FIRST=split_first,
        SPLIT_LAST=split_last,
        rows=rows,
        tile=tile,
        BLOCK=_BLOCK,
    )
    length, order = torch.sort(length, descending=True, stable=True)
    launch(
        _order_kernel,
        (blocks(count, _BLOCK),),
        4,
        ORDER=order,
        LENGTH=length,
        START=start,
        ROW=row,
        PART=part,
        SORTED_ROW=sorted_row,
        SORTED_START=sorted_start,
        SORTED_STOP=sorted_stop,
        SORTED_PART=sorted_part,
        count=count,
        BLOCK=_BLOCK,
    )
    return sorted_row, sorted_start, sorted_stop, sorted_part, split_row, split_first, split_last


def _vectors(
    number: int, length: int, dtype: torch.dtype, device: torch.device, *, zero: bool = False
) -> tuple[Tensor, ...]:
    """Some vectors in one block of memory, each at a multiple of 16 bytes."""
    make = torch.zeros if zero else torch.empty
    return make(number, 4 * blocks(length, 4), dtype=dtype, device=device)[:, :length].unbind()
