"""LEConv of PyG, whose messages are ``w_ij (a_j - b_i)``: two aggregates, one of them a number per node."""

from __future__ import annotations

from typing import Any

import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing

from lcat.graph import Graph, graph_view
from lcat.nn._propagation import FusedPropagation
from lcat.nn.acceleration._registry import register
from lcat.nn.acceleration._sizes import is_small
from lcat.ops import aggregate

# Numbers of messages from which on two aggregates take less time than PyG's steps, without weights and with them.
_WORTHWHILE, _WORTHWHILE_WEIGHTED = 2**16, 2**18
_NARROW = 8  # features, below which the sums of the weights take as long as those of the features
_STEPS = (pyg.LEConv.message, pyg.LEConv.aggregate, pyg.LEConv.update)


class _LEConv(FusedPropagation):
    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        r""":math:`\sum_j w_{ij} a_j - b_i \sum_j w_{ij}`, or the same of means."""
        reduction = self._reduction()
        graph = self._view(edge_index, size, kwargs)
        if graph is None or reduction not in ("sum", "mean"):
            return super().propagate(edge_index, size=size, **kwargs)
        a, b, weight = kwargs["a"], kwargs["b"], kwargs["edge_weight"]
        if weight is None:
            degree = graph.in_degree.to(b.dtype).unsqueeze(-1)
            total = degree if reduction == "sum" else degree.clamp(max=1)
        else:
            weight = weight.view(-1)
            total = aggregate(a.new_ones(a.shape[0], 1), graph, weight, reduce=reduction)
        out: Tensor = aggregate(a, graph, weight, reduce=reduction) - total * b
        return out

    def _view(self, edge_index: Any, size: Any, kwargs: dict[str, Any]) -> Graph | None:
        """The edges; ``None`` if PyG's own steps must see these arguments."""
        cls = type(self)
        if (cls.message, cls.aggregate, cls.update) != _STEPS or self._wants_messages():
            return None
        if size is not None or kwargs.keys() != {"a", "b", "edge_weight"} or not self._has_edge_list(edge_index):
            return None
        a, b, weight = kwargs["a"], kwargs["b"], kwargs["edge_weight"]
        if not all(isinstance(rows, Tensor) and rows.dim() == 2 and rows.is_floating_point() for rows in (a, b)):
            return None
        if a.shape[1] != b.shape[1]:
            return None
        if weight is not None:
            if not isinstance(weight, Tensor) or weight.numel() != edge_index.shape[1]:
                return None
            if a.shape[1] < _NARROW or not weight.is_floating_point():
                return None
        if is_small(edge_index, a.shape[1], _WORTHWHILE if weight is None else _WORTHWHILE_WEIGHTED):
            return None
        counts = self._counts(a, b, edge_index, size, 0 if self.flow == "source_to_target" else 1)
        if counts != (a.shape[0], b.shape[0]):
            return None
        return graph_view(edge_index, *counts, flow=self.flow)[0]


def _why_not(layer: MessagePassing) -> str | None:
    if FusedPropagation._reduction(layer) not in ("sum", "mean"):
        return f"its aggregation is {layer.aggr!r}; lcat is faster for a sum or mean of these messages"
    return None


register(pyg.LEConv, _LEConv, why_not=_why_not)
