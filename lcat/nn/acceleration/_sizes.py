"""Graphs that are too small for a swap to gain anything: there the number of steps counts, and not what they do."""

from __future__ import annotations

from torch import Tensor

from lcat._tracing import is_traced


def is_small(edge_index: Tensor, width: int, limit: int) -> bool:
    """Whether messages of ``width`` along these edges have fewer than ``limit`` numbers, on the CPU and in eager mode.

    On a GPU and in compiled code, steps that form messages take no less time on a small graph.
    """
    return not (is_traced() or edge_index.is_cuda) and edge_index.shape[1] * width < limit
