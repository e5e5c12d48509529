"""Which program works on which edges: rows cut into segments of bounded length, the longest first.

One row per program would leave a GPU waiting for its hubs. So a row of more than ``tile`` edges is cut into several
segments, each handled like a row of its own and written to a buffer of parts; a second, small kernel puts the
parts of a row together in a fixed order. Rows that fit are one segment and are written directly.

Segments are ordered by their length, longest first: long ones start while there is other work to fill the device, and
the segments that one program holds side by side are about equally long, so that no lane waits for a neighbor.

A schedule is made by three kernels of size O(N + E / tile), a sum and a sort, whose shapes follow from N and E alone:
nothing is read back from the device, so this also works inside CUDA graph capture. The price is some empty segments at
the end. (Off GPUs, tensor operations do the same.) :func:`schedule_of` keeps a schedule for as long as the graph it was
made for lives.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from lcat._tracing import allocates_for_cuda_graph
from lcat.graph import SortedEdges

__all__ = ["Schedule", "build_schedule", "default_tile", "schedule_of", "share_schedules"]

_schedules: WeakIdKeyDictionary = WeakIdKeyDictionary()
_lock = threading.Lock()


@dataclass(frozen=True)
class Schedule:
    """Segments of the rows of a :class:`~lcat.graph.SortedEdges`, and the rows put together from several.

    Args:
        tile: the largest number of edges in a segment.
        row: ``[S]`` int32, the row of each segment, -1 for the empty ones at the end.
        start: ``[S]`` int64, its first slot.
        stop: ``[S]`` int64, one past its last slot.
        part: ``[S]`` int32, where it writes among the parts; -1 if it is a whole row.
        split_row: ``[C]`` int32, the rows cut into several segments, then -1 for unused places.
        split_first: ``[C]`` int32, the first of the row's parts.
        split_last: ``[C]`` int32, one past the last of them.
        num_parts: how many rows a buffer of parts needs; 0 if no row can have been cut.
    """

    tile: int
    row: Tensor
    start: Tensor
    stop: Tensor
    part: Tensor
    split_row: Tensor
    split_first: Tensor
    split_last: Tensor
    num_parts: int

    @property
    def num_segments(self) -> int:
        """Number of segments, empty ones included."""
        return self.row.shape[0]

    @property
    def num_split(self) -> int:
        """Number of places for rows that were cut."""
        return self.split_row.shape[0]


def default_tile(num_edges: int, rows: int = 1) -> int:
    """Edges in a segment: a power of two from 64 to 1024, about ``num_edges / (4096 * rows)``.

    A GPU runs about 2,000 programs of one warp at a time. So a program, which holds ``rows`` segments side by side, has
    half a share of the work at most: a hub, whose steps wait for memory one after the other, does not outlast the rest.
    The parts of all cut rows are fewer than ``2 num_edges / tile``: that is the price of short segments.
    """
    wanted = num_edges // (4096 * rows)
    return min(max(1 << max(wanted.bit_length() - 1, 0), 64), 1024)


def build_schedule(edges: SortedEdges, tile: int) -> Schedule:
    """Cut the rows of ``edges`` into segments of at most ``tile`` slots, the longest segments first.

    Complexity:
        O(N + E / tile) memory and O(n log n) time for these n segments; no synchronization with the device.
    """
    indptr = edges.indptr
    num_rows, num_edges = indptr.shape[0] - 1, edges.indices.shape[0]
    if indptr.is_cuda and num_rows:
        from lcat.ops._triton.schedule_kernels import cut_and_order  # needs Triton

        row, start, stop, part, split_row, split_first, split_last = cut_and_order(indptr, num_edges, tile)
        num_parts = 2 * num_edges // tile if split_row.numel() else 0
        return Schedule(tile, row, start, stop, part, split_row, split_first, split_last, num_parts)
    degree = indptr[1:] - indptr[:-1]
    pieces = ((degree + tile - 1) // tile).clamp(min=1)
    past = pieces.cumsum(0)  # one past each row's last segment
    cut = pieces > 1
    parts_past = torch.where(cut, pieces, 0).cumsum(0)

    # ceil(d / tile) <= 1 + d / tile bounds the segments; a row that is cut has more than `tile` edges.
    index = torch.arange(num_rows + num_edges // tile if num_rows else 0, device=indptr.device)
    row = torch.searchsorted(past, index, right=True)
    exists = row < num_rows
    row = row.clamp(max=max(num_rows - 1, 0))
    position = index - (past[row] - pieces[row])
    start = indptr[row] + position * tile
    stop = torch.minimum(start + tile, indptr[row + 1])
    part = torch.where(cut[row], parts_past[row] - pieces[row] + position, -1)
    start, stop = torch.where(exists, start, 0), torch.where(exists, stop, 0)
    # Rows without edges and segments that do not exist come last, in this order.
    length = torch.where(exists, stop - start, -1)
    order = torch.argsort(length, descending=True, stable=True)

    index = torch.arange(num_edges // (tile + 1) if num_rows else 0, device=indptr.device)
    split = torch.searchsorted(cut.cumsum(0), index, right=True)
    used = split < num_rows
    split = split.clamp(max=max(num_rows - 1, 0))
    return Schedule(
        tile=tile,
        row=torch.where(exists, row, -1)[order].int(),
        start=start[order],
        stop=stop[order],
        part=torch.where(exists, part, -1)[order].int(),
        split_row=torch.where(used, split, -1).int(),
        split_first=torch.where(used, parts_past[split] - pieces[split], 0).int(),
        split_last=torch.where(used, parts_past[split], 0).int(),
        num_parts=2 * num_edges // tile if index.numel() else 0,
    )


def schedule_of(edges: SortedEdges, rows: int = 1) -> Schedule:
    """The schedule of ``edges`` for programs of ``rows`` segments, made at first use and kept while ``indptr`` lives.

    It is not kept if it was made in the capture of a CUDA graph or the run before it: its memory belongs to that graph.
    """
    tile = default_tile(edges.indices.shape[0], rows)
    by_tile = _known(edges)
    schedule = by_tile.get(tile)
    if schedule is None:
        schedule = build_schedule(edges, tile)
        if not allocates_for_cuda_graph():
            by_tile[tile] = schedule
    return schedule


def share_schedules(edges: SortedEdges, copy: SortedEdges) -> None:
    """Let ``copy``, equal to ``edges``, have the same schedules: those that exist and those that are made later."""
    by_tile = _known(edges)
    with _lock:
        _schedules[copy.indptr] = (_fingerprint(copy), by_tile)


def _known(edges: SortedEdges) -> dict[int, Schedule]:
    """The schedules of ``edges`` by their tile."""
    fingerprint = _fingerprint(edges)
    with _lock:
        entry = _schedules.get(edges.indptr)
        if entry is None or entry[0] != fingerprint:
            entry = _schedules[edges.indptr] = (fingerprint, {})
    by_tile: dict[int, Schedule] = entry[1]
    return by_tile


def _fingerprint(edges: SortedEdges) -> tuple[int, int]:
    """A graph view never changes its tensors, but a caller of the raw operators might."""
    indptr = edges.indptr
    return -1 if indptr.is_inference() else indptr._version, edges.indices.shape[0]
