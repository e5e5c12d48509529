"""What layers of PyG that sum, average or compare their neighbors share: checks, and where the linear map stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.aggr import MultiAggregation
from torch_geometric.nn.conv import MessagePassing

from lcat._edge_formats import read_edges
from lcat._tracing import is_jit_tracing
from lcat.nn import _checks
from lcat.nn._calls import CheckedCalls
from lcat.nn._linear import csr_or_dense, dense_rows, input_weight, is_plain
from lcat.nn._options import (
    check_message_passing_options,
    check_message_passing_values,
    unusable_aggregation,
)
from lcat.nn._propagation import FusedPropagation
from lcat.nn._scripting import layer_of_pyg
from lcat.ops import sparse_features, sparse_linear


class NeighborConv(CheckedCalls, FusedPropagation):
    """Stands before PyG's class in the bases of a layer."""

    def _check_options(self, aggr: Any, options: Mapping[str, Any]) -> None:
        """Raise for keywords that neither the layer nor MessagePassing takes, and for their values."""
        check_message_passing_options(type(self), options)
        check_message_passing_values(type(self), {**options, "aggr": aggr})  # type: ignore[typeddict-item]

    def _unusable(self, aggr: Any, options: Mapping[str, Any], error: Exception) -> Exception:
        """The error for an aggregation that PyG cannot make."""
        return type(error)(unusable_aggregation(type(self), {**options, "aggr": aggr}, error))  # type: ignore[typeddict-item]

    def _changed_since_made(self) -> str | None:
        """The aggregation; see :class:`~lcat.nn._calls.CheckedCalls`."""
        if self._modules.get("aggr_module") is None and type(self).aggregate is MessagePassing.aggregate:
            return f"'aggr_module' of {type(self).__name__} is None; it takes an aggregation of torch_geometric.nn.aggr"
        return None

    def __prepare_scriptable__(self) -> Any:
        """``torch.jit.script`` gets PyG's layer, whose steps it can compile."""
        return layer_of_pyg(self)

    def _read_nodes(
        self, x: Any, edge_index: Any, size: Any, *, channels: Any, maps: tuple[Any, Any]
    ) -> tuple[Tensor, Tensor | None]:
        """The features of sources and targets, checked.

        Args:
            x: a tensor, or a pair whose second one may be ``None``.
            edge_index: the edges.
            size: numbers of nodes, or ``None``.
            channels: features per node, -1 where the first input decides, or a pair of them.
            maps: the linear maps of sources and of targets; ``None`` where the layer has none of its own there.
        """
        name = type(self).__name__
        is_pair = isinstance(x, (tuple, list))
        pair = x if is_pair else (x, x)
        if len(pair) != 2:
            raise ValueError(f"'x' of {name} is a tuple of {len(pair)}; it takes a tensor or (x_source, x_target)")
        both = channels if isinstance(channels, (tuple, list)) else (channels, channels)
        if not is_pair and both[0] != both[1] and -1 not in both:
            raise ValueError(
                f"'x' of {name} is one tensor, but the layer was made for two kinds of nodes, in_channels={channels}: "
                f"pass (x_source, x_target)"
            )
        for side, features in enumerate(pair if is_pair else pair[:1]):
            if features is None and side == 1:
                continue
            _checks.check_features(
                name,
                f"x[{side}]" if is_pair else "x",
                features,
                channels=both[side],
                weight=None if maps[side] is None else input_weight(maps[side]),
                edge_index=edge_index,
                has_scores=False,
            )
            if features.dim() < 2:
                raise ValueError(
                    f"'x' of {name} has shape {list(features.shape)}; it takes [N, F], or [..., N, F] for feature sets "
                    f"on one graph"
                )
        if size is not None and self.flow == "source_to_target":
            counts = [None if features is None else features.shape[self.node_dim] for features in pair]
            _checks.check_size(name, size, (counts[0], counts[1]))
        if self._reduction() is None:  # otherwise they are read where they are used
            read_edges(edge_index, flow=self.flow, name="edge_index")
        source = csr_or_dense(pair[0])
        return source, source if pair[1] is pair[0] else csr_or_dense(pair[1])

    def _read_weight(self, edge_weight: Any, edge_index: Any, x: Tensor) -> Tensor:
        """One number per edge, in the dtype of the features."""
        name = type(self).__name__
        edges = read_edges(edge_index, flow=self.flow, name="edge_index")
        if isinstance(edge_weight, Tensor) and edge_weight.dim() == 2 and edge_weight.shape[1] == 1:
            edge_weight = edge_weight.squeeze(1)
        _checks.check_edge_tensor(name, "edge_weight", edge_weight, edges, device=x.device, dims=(1,))
        return _checks.weights_like(name, "edge_weight", edge_weight, x)

    def _maps_first(self, linear: Any, x: Tensor) -> bool:
        """Whether a linear map of the aggregate had better stand before it: then fewer numbers pass along the edges.

        Sums and means are linear. Who looks at messages, or has replaced the map, sees what PyG shows them.
        """
        if self._reduction() not in ("sum", "mean") or not is_plain(linear) or self._wants_messages():
            return False
        if is_jit_tracing():
            return False
        if x.layout is torch.sparse_csr:  # its rows cannot be passed along the edges
            return True
        if x.layout is not torch.strided or _checks.under_autocast(x):
            return False
        grad = torch.is_grad_enabled()
        narrower: bool = x.shape[-1] * (1 + (grad and x.requires_grad)) > linear.weight.shape[0] * (1 + grad)
        return narrower

    def _aggregated_and_mapped(
        self, linear: Any, edge_index: Any, x: tuple[Tensor, Tensor | None], size: Any, **messages: Any
    ) -> Tensor:
        """``linear`` of what comes from the neighbors."""
        if not self._maps_first(linear, x[0]):
            x = (dense_rows(x[0]), x[1])
            out: Tensor = linear(self.propagate(edge_index, x=x, size=size, **messages))
            return out
        matrix = x[0] if x[0].layout is torch.sparse_csr else sparse_features(x[0])
        if matrix is None:
            mapped = torch.nn.functional.linear(x[0], linear.weight)
        else:
            mapped = sparse_linear(matrix, linear.weight)
        out = self.propagate(edge_index, x=(mapped, x[1]), size=size, **messages)
        return out if linear.bias is None else out + linear.bias


def source_map(layer: Any, name: str) -> Any:
    """The map ``name`` of what is aggregated; ``None`` where several aggregations make other widths of it."""
    aggregation = layer._modules.get("aggr_module")
    return None if isinstance(aggregation, MultiAggregation) else getattr(layer, name)
