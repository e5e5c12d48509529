"""Layers of PyG whose messages are ``x_j`` or ``w_ij x_j``: PyG's own classes, with ``propagate`` on lcat."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.models.linkx import SparseLinear
from torch_geometric.utils import add_self_loops, remove_self_loops

from lcat._edge_formats import Flow
from lcat.nn._propagation import FusedPropagation, form_of
from lcat.nn.acceleration._kept_edges import can_keep, keep_edges, kept_gcn_norm
from lcat.nn.acceleration._registry import register
from lcat.nn.gin_conv import GINConv
from lcat.nn.graph_conv import GraphConv
from lcat.nn.sage_conv import SAGEConv

_SIDES: Flow = "source_to_target"


def why_not(layer: MessagePassing) -> str | None:
    """Why a layer of the seam is left alone."""
    if FusedPropagation._reduction(layer) is None:
        return f"its aggregation is {layer.aggr!r}; lcat is faster for a sum, mean, minimum or maximum"
    if form_of(type(layer)) is None:
        return "its messages are not those that lcat knows"
    return None


def _with_names(forward: Any, **names: Any) -> Any:
    """A function of PyG's that looks up these names first; where it does not use them, nothing changes."""
    if not isinstance(forward, FunctionType) or not names.keys() & set(forward.__code__.co_names):
        return forward
    copy = FunctionType(
        forward.__code__, {**forward.__globals__, **names}, forward.__name__, forward.__defaults__, forward.__closure__
    )
    copy.__kwdefaults__, copy.__annotations__ = forward.__kwdefaults__, forward.__annotations__
    copy.__doc__, copy.__qualname__, copy.__module__ = forward.__doc__, forward.__qualname__, __name__
    return copy


def _register_normalizing(name: str) -> None:
    """Layers that call ``gcn_norm`` in ``forward``."""
    cls = getattr(pyg, name, None)
    if cls is None:  # every version of PyG has some layers that others lack
        return
    part = type(f"_{name}", (FusedPropagation,), {"forward": _with_names(cls.forward, gcn_norm=kept_gcn_norm)})
    register(cls, part, why_not=why_not, replaces_forward=True)


for _name in (
    *("APPNP", "ARMAConv", "GCN2Conv", "LGConv", "MixHopConv", "PDNConv", "SGConv", "SSGConv", "TAGConv"),
    *("LabelPropagation",),
):
    _register_normalizing(_name)
for _cls, _layer in ((pyg.GINConv, GINConv), (pyg.GraphConv, GraphConv), (pyg.SAGEConv, SAGEConv)):
    register(_cls, _layer, why_not=why_not)
for _name in ("GatedGraphConv", "MFConv", "SignedConv", "WLConvContinuous"):
    if hasattr(pyg, _name):
        register(getattr(pyg, _name), FusedPropagation, why_not=why_not)


register(SparseLinear, FusedPropagation, why_not=why_not)


class _ChebConv(FusedPropagation):
    def __norm__(
        self,
        edge_index: Any,
        num_nodes: Any,
        edge_weight: Any,
        normalization: Any,
        lambda_max: Any = None,
        dtype: Any = None,
        batch: Any = None,
    ) -> Any:
        """The scaled Laplacian."""

        def make() -> Any:
            return pyg.ChebConv.__norm__(
                self,
                edge_index,
                num_nodes,
                edge_weight,
                normalization,
                lambda_max,
                dtype,
                batch,
            )

        if not can_keep(edge_index) or num_nodes is None:
            return make()
        constant = edge_weight is None and not isinstance(lambda_max, Tensor)
        return keep_edges(
            edge_index, num_nodes, make, "ChebConv", normalization, dtype, lambda_max if constant else None,
            flow=self.flow, constant=constant,
        )  # fmt: skip


register(pyg.ChebConv, _ChebConv, why_not=why_not)


def _cluster_gcn_loops(edge_index: Any, num_nodes: Any = None) -> Any:
    """The edges without self-loops and with one at each node, as ClusterGCNConv makes them in two steps."""

    def make() -> Any:
        return add_self_loops(remove_self_loops(edge_index)[0], num_nodes=num_nodes)

    if num_nodes is None or not can_keep(edge_index):
        return make()
    return keep_edges(edge_index, num_nodes, make, "ClusterGCNConv", flow=_SIDES, constant=True)


class _ClusterGCNConv(FusedPropagation):
    # Its first step does nothing, its second one both.
    forward = _with_names(
        pyg.ClusterGCNConv.forward,
        remove_self_loops=lambda edge_index: (edge_index, None),
        add_self_loops=lambda edge_index, num_nodes: (
            _cluster_gcn_loops(edge_index, num_nodes)
            if edge_index.layout is torch.strided
            else add_self_loops(edge_index, num_nodes=num_nodes)
        ),
    )


register(pyg.ClusterGCNConv, _ClusterGCNConv, why_not=why_not, replaces_forward=True)


def _simple_loops(edge_index: Any, edge_weight: Any = None, num_nodes: Any = None) -> Any:
    """The edges with one more self-loop at each node, as SimpleConv makes them."""

    def make() -> Any:
        return add_self_loops(edge_index, edge_weight, num_nodes=num_nodes)

    if num_nodes is None or not can_keep(edge_index):
        return make()
    return keep_edges(
        edge_index, num_nodes, make, "SimpleConv", edge_weight is None, flow=_SIDES, constant=edge_weight is None
    )


class _SimpleConv(FusedPropagation):
    forward = _with_names(pyg.SimpleConv.forward, add_self_loops=_simple_loops)


register(pyg.SimpleConv, _SimpleConv, why_not=why_not, replaces_forward=True)
