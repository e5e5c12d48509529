"""The neighbor sum of an input that stays the same from call to call, as the input of a first layer often does."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from lcat._checksum import checksum
from lcat._edge_formats import tensor_fingerprint
from lcat._tracing import is_capturing, is_traced, outside_inference_mode
from lcat.graph import Graph
from lcat.ops import aggregate, is_transformed


class NeighborSum:
    """Keeps one sum, as long as tensor and graph are the same objects and the tensor has not been written to.

    A copy or a pickle of a layer starts without it.
    """

    def __init__(self) -> None:
        self._cached: tuple[Any, Any, Any, Tensor] | None = None

    def can_keep(self, x: Tensor) -> bool:
        """Whether the sum over ``x`` is a constant: no gradient goes through it, and nothing is being traced."""
        if is_traced() or is_transformed(x) or type(x) is not Tensor:
            return False
        return not (x.requires_grad or x.is_inference() or x.layout != torch.strided)

    def of(self, x: Tensor, graph: Graph, node_dim: int) -> Tensor:
        """``sum_{j -> i} x_j``, [N, ...] with the nodes first; kept for the next call."""
        fingerprint = tensor_fingerprint(x), checksum(x, "x")
        if self._cached is not None:
            tensor, cached_fingerprint, cached_graph, total = self._cached
            if tensor() is x and cached_fingerprint == fingerprint and cached_graph() is graph:
                return total
        with outside_inference_mode():
            total = aggregate(x.movedim(node_dim, 0), graph)
        if not is_capturing():
            self._cached = (weakref.ref(x), fingerprint, weakref.ref(graph), total)
        return total

    def __deepcopy__(self, memo: dict[int, Any]) -> NeighborSum:
        return NeighborSum()

    def __reduce__(self) -> tuple[type[NeighborSum], tuple[()]]:
        return NeighborSum, ()
