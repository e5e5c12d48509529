"""The schedule of the GPU kernels: every slot in exactly one segment, every part in exactly one place.

It is plain torch, so these tests need no Triton.
"""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lcat.graph import SortedEdges
from lcat.ops._triton import schedule as _triton_schedule
from lcat.ops._triton.schedule import build_schedule, default_tile, schedule_of


def rows_of(degrees: list[int], dead: int = 0) -> SortedEdges:
    """Rows with these degrees; ``dead`` slots after the last row."""
    pointer = torch.tensor([0, *degrees]).cumsum(0)
    slots = torch.arange(sum(degrees) + dead)
    return SortedEdges(pointer, slots, slots)


def check(degrees: list[int], tile: int, dead: int = 0) -> None:
    edges = rows_of(degrees, dead)
    schedule = build_schedule(edges, tile)
    pieces: dict[int, list[tuple[int, int, int]]] = {row: [] for row in range(len(degrees))}
    columns = (schedule.row, schedule.start, schedule.stop, schedule.part)
    for row, start, stop, part in zip(*(x.tolist() for x in columns), strict=True):
        if row >= 0:
            pieces[row].append((start, stop, part))
        else:
            assert (start, stop, part) == (0, 0, -1)
    lengths = (schedule.stop - schedule.start).tolist()
    assert lengths == sorted(lengths, reverse=True)
    parts = {}
    for row, row_pieces in pieces.items():
        first, last = edges.indptr[row].item(), edges.indptr[row + 1].item()
        assert [start for start, _, _ in row_pieces] == list(range(first, max(last, first + 1), tile))
        assert [stop for _, stop, _ in row_pieces] == [min(start + tile, last) for start, _, _ in row_pieces]
        if len(row_pieces) == 1:
            assert row_pieces[0][2] == -1
        else:
            parts[row] = [part for _, _, part in row_pieces]
    columns = (schedule.split_row, schedule.split_first, schedule.split_last)
    split = {r: list(range(a, b)) for r, a, b in zip(*(x.tolist() for x in columns), strict=True) if r >= 0}
    assert split == parts
    used = [part for row_parts in parts.values() for part in row_parts]
    assert used == list(range(len(used)))
    assert len(used) <= schedule.num_parts


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 9), st.integers(0, 30))
def test_every_slot_once(degrees, tile, dead):
    check(degrees, tile, dead)


@pytest.mark.long
@settings(max_examples=10000, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 64), st.integers(0, 300))
def test_every_slot_once_thoroughly(degrees, tile, dead):
    check(degrees, tile, dead)


def test_rows_at_the_limit_are_not_cut():
    check([4, 5, 8, 9], 4)
    assert build_schedule(rows_of([4]), 4).part.tolist()[0] == -1
    assert build_schedule(rows_of([5]), 4).part.tolist()[:2] == [0, 1]


def test_no_rows_and_no_edges():
    check([], 4)
    check([0, 0], 4)
    assert build_schedule(rows_of([]), 4).num_segments == 0
    assert build_schedule(rows_of([3, 3]), 8).num_parts == 0


@pytest.mark.parametrize("rows", [1, 4, 16])
@pytest.mark.parametrize("edges", [0, 7000, 400_000, 1_200_000, 5 * 10**7, 2 * 10**8])
def test_segments_are_long_enough_and_no_longer(edges, rows):
    tile = default_tile(edges, rows)
    assert 64 <= tile <= 1024
    assert tile & (tile - 1) == 0
    assert tile == 64 or rows * tile <= edges / 4096  # no program has more than half its share of the work
    assert tile == 1024 or 2 * edges / tile <= 4 * 4096 * rows


def test_kept_while_the_graph_lives(monkeypatch):
    monkeypatch.setattr(_triton_schedule, "_schedules", type(_triton_schedule._schedules)())
    edges = rows_of([3, 500, 2])
    schedule = schedule_of(edges)
    assert schedule_of(edges) is schedule
    assert schedule_of(SortedEdges(edges.indptr, edges.indices.int(), edges.edge_ids.int())) is schedule
    assert schedule_of(edges, rows=16) is schedule  # the same length of segments
    edges.indptr[0] = 0  # even a write that changes nothing: the tensor says that it was written
    assert schedule_of(edges) is not schedule
    assert len(_triton_schedule._schedules) == 1
    del edges
    gc.collect()
    assert len(_triton_schedule._schedules) == 0


def test_one_schedule_per_length_of_segments():
    edges = rows_of([300_000, 3, 500_000])
    narrow, wide = schedule_of(edges, rows=16), schedule_of(edges, rows=1)
    assert (narrow.tile, wide.tile) == (64, 128)
    assert schedule_of(edges, rows=16) is narrow
    assert schedule_of(edges, rows=1) is wide


def test_works_with_inference_tensors():
    with torch.inference_mode():
        edges = rows_of([1, 300])
        assert schedule_of(edges) is schedule_of(edges)


def test_not_kept_where_memory_belongs_to_a_cuda_graph(monkeypatch):
    edges = rows_of([1, 300])
    with monkeypatch.context() as patch:
        patch.setattr(_triton_schedule, "allocates_for_cuda_graph", lambda: True)
        first = schedule_of(edges)
        assert schedule_of(edges) is not first
    schedule = schedule_of(edges)
    assert schedule is not first
    monkeypatch.setattr(_triton_schedule, "allocates_for_cuda_graph", lambda: True)
    assert schedule_of(edges) is schedule
