r"""PNAConv of PyG, where its messages are one linear map of both ends.

The map splits into a part of each end, :math:`m_{ij} = a_i + c_j`. So what a node gets of its messages is :math:`a_i`
and the same of :math:`c_j`: a mean, a minimum and a maximum are shifted by it, a sum by it once per edge, and a
variance not at all. The map is then one of nodes, not of edges, and no message is formed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.nn import aggr

from lcat.graph import CacheKey, Graph, graph_view
from lcat.nn._linear import has_hooks, is_plain
from lcat.nn._propagation import FusedPropagation
from lcat.nn.acceleration._registry import register
from lcat.nn.acceleration._sizes import is_small
from lcat.ops import aggregate

_KINDS: dict[type[aggr.Aggregation], str] = {
    aggr.SumAggregation: "sum",
    aggr.MeanAggregation: "mean",
    aggr.MinAggregation: "min",
    aggr.MaxAggregation: "max",
    aggr.VarAggregation: "var",
    aggr.StdAggregation: "std",
}
# Numbers of messages from which on aggregates of nodes take less time than PyG's steps.
_WORTHWHILE = 3 * 2**14
_ALONE: CacheKey[Tensor] = CacheKey("targets without in-edges")
_LOWEST_VARIANCE = 1e-5  # below it, PyG's deviation is 0
# What a degree is multiplied with, from the module, which has the averages of the training set, and the degree.
_SCALERS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "amplification": lambda scaler, degree: (degree + 1).log() / scaler.avg_deg_log,
    "attenuation": lambda scaler, degree: scaler.avg_deg_log / (degree.clamp(min=1) + 1).log(),
    "linear": lambda scaler, degree: degree / scaler.avg_deg_lin,
    "inverse_linear": lambda scaler, degree: scaler.avg_deg_lin / degree.clamp(min=1),
}


def _shipped_steps() -> tuple[Any, ...]:
    """What must be PyG's own, so that lcat may compute the same in another way."""
    steps: list[Any] = [pyg.PNAConv.message, pyg.PNAConv.aggregate, pyg.PNAConv.update, aggr.Aggregation.__call__]
    steps += [aggr.Aggregation.reduce, aggr.MultiAggregation.combine]
    return (*steps, *(cls.forward for cls in (*_KINDS, aggr.MultiAggregation, aggr.DegreeScalerAggregation)))


_SHIPPED = _shipped_steps()


class _PNAConv(FusedPropagation):
    pre_nns: Any
    towers: int
    F_in: int
    divide_input: bool

    def propagate(self, edge_index: Any, size: Any = None, **kwargs: Any) -> Tensor:
        """What the aggregators and scalers make of the messages, ``[N, towers, width]``."""
        graph = self._view(edge_index, size, kwargs)
        if graph is None:
            return super().propagate(edge_index, size=size, **kwargs)
        scaler: Any = self.aggr_module
        x = kwargs["x"]
        own, sent = self._mapped(x)
        combined = _combined(own, sent, graph, [_KINDS[type(one)] for one in scaler.aggr.aggrs])
        combined = combined.view(x.shape[0], len(scaler.aggr.aggrs), self.towers, self.F_in).transpose(1, 2).flatten(2)
        degree = graph.in_degree.to(combined.dtype).view(-1, 1, 1)
        scaled = [
            combined if name == "identity" else combined * _SCALERS[name](scaler, degree) for name in scaler.scaler
        ]
        return torch.cat(scaled, dim=-1) if len(scaled) > 1 else scaled[0]

    def _view(self, edge_index: Any, size: Any, kwargs: dict[str, Any]) -> Graph | None:
        """The edges; ``None`` if PyG's own steps must see these arguments."""
        x = kwargs.get("x")
        if size is not None or kwargs.keys() - {"x", "edge_attr"} or kwargs.get("edge_attr") is not None:
            return None
        if not isinstance(x, Tensor) or x.dim() != 3 or not x.is_floating_point() or x.layout is not torch.strided:
            return None
        if not self._has_edge_list(edge_index) or is_small(edge_index, self.towers * self.F_in, _WORTHWHILE):
            return None
        if self._wants_messages() or why_not(self) is not None:
            return None
        counts = self._counts(x, None, edge_index, size, 0 if self.flow == "source_to_target" else 1)
        if counts != (x.shape[0], x.shape[0]):
            return None
        return graph_view(edge_index, *counts, flow=self.flow)[0]

    def _mapped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The part of the target and that of the source of all messages, ``[N, towers * F_in]`` each."""
        maps, width = [network[0] for network in self.pre_nns], self.F_in
        bias = torch.cat([one.bias for one in maps])
        halves = [[one.weight[:, :width] for one in maps], [one.weight[:, width:] for one in maps]]
        if self.divide_input:
            own, sent = (
                torch.cat([F.linear(x[:, i], weight) for i, weight in enumerate(half)], dim=1) for half in halves
            )
            return own + bias, sent
        own_weight, weight = (torch.cat(half) for half in halves)
        rows = x[:, 0]  # all towers have the same
        return F.linear(rows, own_weight, bias), F.linear(rows, weight)


def _combined(own: Tensor, sent: Tensor, graph: Graph, kinds: Sequence[str]) -> Tensor:
    """The aggregates of ``own_i + sent_j`` side by side, ``[N, kinds * width]``; zeros where there is no in-edge."""
    alone = graph.cached(_ALONE, lambda: (graph.in_degree == 0).unsqueeze(-1))
    own = own.masked_fill(alone, 0.0)
    results: dict[str, Tensor] = {}
    if {"mean", "var", "std"} & set(kinds):
        mean = aggregate(sent, graph, reduce="mean")
        results["mean"] = own + mean
    if {"var", "std"} & set(kinds):
        variance = aggregate(sent * sent, graph, reduce="mean") - mean * mean
        results["var"] = variance
        deviation = variance.clamp(min=_LOWEST_VARIANCE).sqrt()
        results["std"] = deviation.masked_fill(deviation <= math.sqrt(_LOWEST_VARIANCE), 0.0)
    if "sum" in kinds:
        results["sum"] = graph.in_degree.to(own.dtype).unsqueeze(-1) * own + aggregate(sent, graph)
    if {"min", "max"} & set(kinds):
        # An extreme of exactly 0 loses a part of its gradient, as in torch. Here the messages would have to be 0, and
        # not these parts of them.
        compared = sent + (sent.detach() == 0).to(sent.dtype) * torch.finfo(sent.dtype).tiny
        for kind in ("min", "max"):
            if kind in kinds:
                results[kind] = own + aggregate(compared, graph, reduce="min" if kind == "min" else "max")
    return torch.cat([results[kind] for kind in kinds], dim=-1)


def why_not(layer: Any) -> str | None:
    """Why a layer is left alone."""
    if _shipped_steps() != _SHIPPED:
        return "a step of PNAConv or of its aggregations was replaced"
    if layer.edge_dim is not None:
        return f"edge_dim={layer.edge_dim}: its messages have features of edges, so there is one map for each edge"
    for network in layer.pre_nns:
        if type(network) is not nn.Sequential or len(network) != 1:
            return "pre_layers is more than 1: its messages are no linear map of both ends"
        if not is_plain(network[0]) or network[0].bias is None or has_hooks(network):
            return "a map of its messages is replaced, parametrized or hooked"
    return _why_not_aggregation(layer._modules.get("aggr_module"))


def _why_not_aggregation(scaler: Any) -> str | None:
    if type(scaler) is not aggr.DegreeScalerAggregation or type(scaler.aggr) is not aggr.MultiAggregation:
        return "its aggregation is not the one that PNAConv makes of a list of aggregators"
    if scaler.aggr.mode != "cat" or any(name != "identity" and name not in _SCALERS for name in scaler.scaler):
        return "its aggregation is not the one that PNAConv makes of a list of aggregators"
    for one in scaler.aggr.aggrs:
        if type(one) not in _KINDS:
            return f"it has {type(one).__name__}; lcat is faster for sum, mean, min, max, var and std"
        if getattr(one, "semi_grad", False) or getattr(getattr(one, "var_aggr", None), "semi_grad", False):
            return "its deviation has semi_grad=True"
    for module in scaler.modules():
        if has_hooks(module) or "forward" in module.__dict__:
            return "one of its aggregations is hooked or replaced"
    return None


register(pyg.PNAConv, _PNAConv, why_not=why_not)
