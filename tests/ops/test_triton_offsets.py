"""Tensors of more than 2**31 numbers: kernels must compute their addresses in 64 bits.

The tensors are mostly memory that is reserved and never touched. Each lies in the second half of a buffer twice its
size, so that an address that wrapped around lands in the first half and gives a wrong number instead of a crash.
"""

from __future__ import annotations

import os
from unittest import mock

import pytest
import torch
from torch import Tensor

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import DEVICE, random_tensor

# isort: split
from lcat.graph import SortedEdges
from lcat.ops._aggregate import triton as aggregate
from lcat.ops._gat_attention import triton as gat_attention
from lcat.ops._triton.schedule import build_schedule

MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
pytestmark = pytest.mark.skipif(MEMORY < 2**34, reason="reserves 8 GiB of memory: wants 16 GiB in the machine")

LIMIT = 2**31


@pytest.fixture(autouse=True)
def untouched_memory():
    """Reserved memory must stay untouched: filling it with NaN would take all there is."""
    torch.utils.deterministic.fill_uninitialized_memory = False
    yield
    torch.utils.deterministic.fill_uninitialized_memory = True


def second_half_tensor(rows: int, *shape: int) -> Tensor:
    """A half-precision tensor in the second half of its buffer."""
    width = torch.Size(shape).numel()
    return torch.empty(2 * rows * width, dtype=torch.float16, device=DEVICE)[rows * width :].view(rows, *shape)


def edges_to(other: list[int], edge: list[int]) -> SortedEdges:
    """One row with these neighbors and edge numbers."""
    pointer = torch.tensor([0, len(other)], device=DEVICE)
    return SortedEdges(pointer, torch.tensor(other, device=DEVICE), torch.tensor(edge, device=DEVICE))


def test_rows_gathered_from_afar():
    rows = LIMIT // 64 + 8
    x = second_half_tensor(rows, 1, 64)
    picked = [3, rows - 5, rows - 1]
    x[picked] = random_tensor(3, 1, 64, dtype=torch.float16)
    out = aggregate.forward(x, None, edges_to(picked, [0, 1, 2]), 1)
    assert torch.allclose(out, x[picked].float().sum(0, keepdim=True).half())


def test_rows_written_afar():
    rows = LIMIT // 64 + 8
    x = random_tensor(2, 1, 64, dtype=torch.float16)
    edges = edges_to([0, 1, 1], [0, 1, 2])
    schedule = build_schedule(edges, 128)
    schedule.row[0] = rows - 2
    out = second_half_tensor(rows, 1, 64)
    with (
        mock.patch.object(aggregate, "schedule_of", return_value=schedule),
        mock.patch.object(torch, "empty", return_value=out),
    ):
        aggregate.forward(x, None, edges, rows)
    assert torch.allclose(out[rows - 2], x[0] + 2 * x[1], atol=1e-2)


def test_parts_put_together_afar():
    rows = LIMIT // 64 + 8
    x = random_tensor(3, 1, 64, dtype=torch.float16)
    edges = edges_to([0, 1, 2], [0, 1, 2])
    schedule = build_schedule(edges, 2)
    schedule.row[schedule.row == 0] = rows - 2
    schedule.split_row[schedule.split_row == 0] = rows - 2
    out, parts = second_half_tensor(rows, 1, 64), torch.zeros(schedule.num_parts, 1, 64, device=DEVICE)
    with (
        mock.patch.object(aggregate, "schedule_of", return_value=schedule),
        mock.patch.object(torch, "empty", side_effect=[out, parts]),
    ):
        aggregate.forward(x, None, edges, rows)
    assert torch.allclose(out[rows - 2], x.float().sum(0).half(), atol=1e-2)


def test_per_edge_numbers_from_afar():
    # Edge number times heads exceeds 31 bits, for the scores and for the count of the dropout.
    heads, edges = 8, LIMIT // 8 + 8
    score = second_half_tensor(edges, heads)
    picked = [1, edges - 3, edges - 1]
    score[picked] = random_tensor(3, heads, dtype=torch.float16)
    s, v = random_tensor(3, heads, dtype=torch.float32), random_tensor(3, heads, 4, dtype=torch.float32, seed=1)
    by_target = edges_to([0, 1, 2], picked)
    out, *_ = gat_attention.forward(s, None, v, score, None, by_target, 1.0, 0.0, None, False, False)
    alpha = (s + score[picked].float()).softmax(0)
    assert torch.allclose(out[0], (alpha.unsqueeze(-1) * v).sum(0), atol=1e-5)
