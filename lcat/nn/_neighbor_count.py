"""Messages that are counted: attention sums to 1 over the in-edges, these factors make it sum to their number."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat.graph import CacheKey, Graph
from lcat.nn._gcn_norm import per_target

_COUNTS: CacheKey[Tensor] = CacheKey("number of in-edges of the target, per edge")


def counted(graph: Graph, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
    """``|N(i)| w_ij`` for every edge of ``graph``, [E'], with the number of in-edges of its target."""

    def make() -> Tensor:
        return per_target(graph, graph.in_degree).to(dtype)

    counts = graph.cached(_COUNTS, make, dtype)
    return counts if weight is None else counts * weight
