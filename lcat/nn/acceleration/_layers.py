"""GCNConv, GATConv, GATv2Conv and TransformerConv of PyG, run by lcat's layers."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing

from lcat.nn import _steps
from lcat.nn.acceleration._registry import register
from lcat.nn.gat_conv import GATConv
from lcat.nn.gatv2_conv import GATv2Conv
from lcat.nn.gcn_conv import GCNConv
from lcat.nn.transformer_conv import TransformerConv


class _GCNConv(GCNConv):
    # Not set by PyG's constructor; lcat's layer writes it where ``cached=True``.
    _cached_nodes: Any = None

    def forward(self, x: Any, edge_index: Any, edge_weight: Any = None, statistic: Any = None) -> Any:
        """As lcat's, with PyG's numbers for matrices, which differ where a graph has self-loops or parallel edges."""
        if isinstance(edge_index, Tensor) and edge_index.layout == torch.strided:
            return super().forward(x, edge_index, edge_weight, statistic)
        return pyg.GCNConv.forward(self, x, edge_index, edge_weight)


class _GATConv(GATConv):
    lin_value: Any = None  # only in lcat's layers

    def _report_unused(self, edge_attr: Any) -> None:
        """PyG ignores ``edge_attr`` without ``edge_dim``."""


class _GATv2Conv(GATv2Conv):
    lin_value: Any = None


class _TransformerConv(TransformerConv):
    def forward(
        self, x: Any, edge_index: Any, edge_attr: Any = None, return_attention_weights: bool | None = None
    ) -> Any:
        """As lcat's; PyG's adds edge features to values, if they have their shape, where it has no map for them."""
        if self.lin_edge is None and edge_attr is not None:
            return pyg.TransformerConv.forward(self, x, edge_index, edge_attr, return_attention_weights)
        return super().forward(x, edge_index, edge_attr, return_attention_weights)


def _why_not(layer: MessagePassing) -> str | None:
    if not _steps.is_plain_sum(layer.aggr_module):
        return f"its aggregation is {layer.aggr!r}; lcat's layer is faster for 'add'"
    return None


register(pyg.GCNConv, _GCNConv, why_not=_why_not, replaces_forward=True, added=("_cached_nodes",))
register(pyg.GATConv, _GATConv, why_not=_why_not, replaces_forward=True)
register(pyg.GATv2Conv, _GATv2Conv, why_not=_why_not, replaces_forward=True)
register(pyg.TransformerConv, _TransformerConv, why_not=_why_not, replaces_forward=True)
