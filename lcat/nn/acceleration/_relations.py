"""RGCNConv and DirGNNConv of PyG, which select and turn edges in every call: done once here, and kept."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn

from lcat._checksum import checksum
from lcat._edge_formats import Flow
from lcat.graph import CacheKey, Graph, graph_view, own_edge_index
from lcat.nn._propagation import FusedPropagation
from lcat.nn.acceleration._kept_edges import can_keep
from lcat.nn.acceleration._registry import register
from lcat.nn.acceleration._seam import why_not

# More kinds of types for the same edges than this mean that they change all the time.
_MAX_TYPES = 8
_TURNED: CacheKey[Tensor] = CacheKey("edge_index, turned")
_SEEN: CacheKey[set[Any]] = CacheKey("types of edges that something is kept for")
_BY_TYPE: CacheKey[tuple[Tensor, ...]] = CacheKey("edge_index of each type of edges")


class _DirGNNConv(nn.Module):
    """Its two layers are accelerated by themselves; one of them gets turned edges."""

    conv_in: nn.Module
    conv_out: nn.Module
    lin: nn.Module
    alpha: float
    root_weight: bool

    def forward(self, x: Any, edge_index: Any) -> Any:
        if not isinstance(x, Tensor) or x.dim() < 2 or not can_keep(edge_index):
            return pyg.DirGNNConv.forward(self, x, edge_index)
        graph, _ = graph_view(edge_index, x.shape[-2], x.shape[-2])
        turned = graph.cached(_TURNED, lambda: edge_index.flip([0]))
        out = self.alpha * self.conv_out(x, turned) + (1 - self.alpha) * self.conv_in(x, edge_index)
        return out + self.lin(x) if self.root_weight else out


class _RGCNConv(FusedPropagation):
    def forward(self, x: Any, edge_index: Any, edge_type: Any = None) -> Any:
        r""":math:`W_0 x_i + \sum_r \mathrm{aggr}_{j \in N_r(i)} x_j W_r`, one relation after the other."""
        source, target = x if isinstance(x, tuple) else (x, x)
        if source is None:  # every node has features of its own
            source = torch.arange(self.in_channels_l, device=self.weight.device)
            target = source if target is None else target
        if not isinstance(edge_type, Tensor) or edge_type.dim() != 1 or not can_keep(edge_index):
            return pyg.RGCNConv.forward(self, x, edge_index, edge_type)
        if edge_type.shape[0] != edge_index.shape[1] or edge_type.is_floating_point():
            return pyg.RGCNConv.forward(self, x, edge_index, edge_type)
        graph, _ = graph_view(edge_index, source.shape[0], target.shape[0], flow=self.flow)
        out = self._sum_of_relations(
            source, _by_type(graph, edge_index, edge_type, self.num_relations, self.flow), graph
        )
        if self.root is not None:
            out = out + (target @ self.root if target.is_floating_point() else self.root[target])
        return out if self.bias is None else out + self.bias

    def _sum_of_relations(self, source: Tensor, by_type: tuple[Tensor, ...], graph: Graph) -> Tensor:
        weight = self.weight
        if self.num_bases is not None:
            shape = (self.num_relations, self.in_channels_l, self.out_channels)
            weight = (self.comp @ weight.flatten(1)).view(shape)
        size = (graph.num_sources, graph.num_targets)
        out: Tensor = weight.new_zeros(graph.num_targets, self.out_channels)
        for relation, edges in enumerate(by_type):
            if edges.shape[1] == 0:
                continue
            matrix = weight[relation]
            rows = source if source.is_floating_point() else matrix[source]
            total = self.propagate(edges, x=rows, edge_type_ptr=None, size=size)
            if not source.is_floating_point():
                out = out + total
            elif self.num_blocks is not None:
                out = out + torch.einsum("nbi,bio->nbo", total.unflatten(1, matrix.shape[:2]), matrix).flatten(1)
            else:
                out = out + total @ matrix
        return out


def _by_type(graph: Graph, edge_index: Tensor, edge_type: Tensor, num_types: int, flow: Flow) -> tuple[Tensor, ...]:
    """The edges of each type, kept with the graph as long as the types are the same."""

    def edges_of(number: int) -> Tensor:
        edges = edge_index[:, edge_type == number]
        view, _ = graph_view(edges, graph.num_sources, graph.num_targets, flow=flow)
        return own_edge_index(view, flow, edges)

    def make() -> tuple[Tensor, ...]:
        return tuple(edges_of(number) for number in range(num_types))

    on_host = edge_type.detach().cpu()  # PyG asks the device once per relation, this does it once per call
    key = (checksum(on_host), on_host.dtype, num_types)
    seen = graph.cached(_SEEN, set)
    if key not in seen and len(seen) >= _MAX_TYPES:
        return make()
    seen.add(key)
    return graph.cached(_BY_TYPE, make, *key)


register(pyg.DirGNNConv, _DirGNNConv, why_not=lambda _: None, replaces_forward=True)
register(pyg.RGCNConv, _RGCNConv, why_not=why_not, replaces_forward=True)
