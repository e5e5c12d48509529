"""torch-scatter's segment kernels, for GPUs without Triton: gather, segment sum and softmax over sorted edges.

The edges are taken in the order of the graph grouped by target, so that every sum is over a contiguous segment and
is the same in every run (no atomics). torch-scatter is optional; it differentiates its kernels itself.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lcat.graph import CacheKey, Graph
from lcat.ops.dispatch import Call

INSTALL = "pip install --no-build-isolation torch-scatter"
_INSTALLED = find_spec("torch_scatter") is not None


def scatter_objection(call: Call) -> str | None:
    """Why torch-scatter's kernels cannot serve a call, or ``None``."""
    if not _INSTALLED:
        return f"torch-scatter is not installed ({INSTALL}, after torch; it takes some minutes to build)"
    if not call.dtype.is_floating_point:
        return f"it takes floating point types, not {call.dtype}"
    if call.device.type == "meta" or torch.compiler.is_compiling():
        return "its kernels cannot be traced"
    if call.dtype.itemsize < 4 and call.device.type == "cpu":
        return "on the CPU its segment kernels take float32 and float64"
    return None


class Segments:
    """The edges of a graph in segments, one for each target."""

    def __init__(self, graph: Graph) -> None:
        edges = graph.by_target
        live = int(edges.indptr[-1]) if graph.padded else graph.num_edges
        self.graph = graph
        self.indptr = edges.indptr
        self.source = edges.indices[:live]
        self.edge_ids = edges.edge_ids[:live]
        self.library = _torch_scatter()

    def per_edge(self, values: Tensor) -> Tensor:
        """A per-edge tensor in the order of the segments."""
        return values.index_select(0, self.edge_ids)

    def from_source(self, x: Tensor) -> Tensor:
        """``x[j]`` for every edge ``j -> i``."""
        return x.index_select(0, self.source)

    def from_target(self, x: Tensor) -> Tensor:
        """``x[i]`` for every edge ``j -> i``."""
        if self.source.shape[0] == 0:  # gather_csr leaves its gradient unwritten here
            return x[:0]
        result: Tensor = self.library.gather_csr(x.contiguous(), self.indptr)
        return result

    def sum(self, messages: Tensor) -> Tensor:
        """Sum over the in-edges of every target."""
        result: Tensor = self.library.segment_csr(messages.contiguous(), self.indptr, reduce="sum")
        return result

    def softmax(self, score: Tensor) -> Tensor:
        """Softmax over the in-edges of every target; the maximum is subtracted as a constant."""
        highest = self.library.segment_csr(score.detach().contiguous(), self.indptr, reduce="max")
        weight = (score - self.from_target(highest)).exp()
        return weight / self.from_target(self.sum(weight))


def _torch_scatter() -> Any:
    import torch_scatter

    return torch_scatter


_SEGMENTS: CacheKey[Segments] = CacheKey("segments of torch-scatter")


def segments(graph: Graph) -> Segments:
    """The segments of a graph, cached with it."""
    return graph.cached(_SEGMENTS, lambda: Segments(graph))
