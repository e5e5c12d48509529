"""The schedule that GPU kernels make, in Triton's interpreter, against that of tensor operations."""

from __future__ import annotations

import pytest
import torch

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import DEVICE

# isort: split
from lcat.ops._triton.schedule import build_schedule
from lcat.ops._triton.schedule_kernels import cut_and_order
from tests.ops.test_triton_schedule import rows_of


@pytest.mark.parametrize("tile", [1, 4, 64])
@pytest.mark.parametrize(
    "degrees",
    [[0], [3], [0, 0, 5, 0], [1] * 300, [64, 65, 128, 129, 0, 1], [2000, *[2] * 200, 1000, *[0] * 50, 77]],
)
def test_the_kernels_make_the_same_schedule(degrees, tile):
    edges = rows_of(degrees)
    expected = build_schedule(edges, tile)
    made = cut_and_order(edges.indptr.to(DEVICE), edges.indices.shape[0], tile)
    names = ("row", "start", "stop", "part", "split_row", "split_first", "split_last")
    for name, value in zip(names, made, strict=True):
        reference = getattr(expected, name)
        assert value.dtype is reference.dtype, name
        assert torch.equal(value.cpu(), reference), name
