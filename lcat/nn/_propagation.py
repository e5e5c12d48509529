"""One seam for PyG's layers: ``propagate`` on the primitives of :mod:`lcat.ops`, wherever nobody looks at messages."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.aggr import Aggregation, MaxAggregation, MeanAggregation, MinAggregation, SumAggregation
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.conv.message_passing import FUSE_AGGRS
from torch_geometric.typing import Adj, Size

from lcat._edge_formats import EdgeList
from lcat.graph import Graph, graph_view
from lcat.nn import _steps
from lcat.nn._linear import has_hooks
from lcat.nn._message_forms import MessageForm, form_of
from lcat.ops import aggregate

__all__ = ["FusedPropagation", "MessageForm", "Reduction", "form_of"]

Reduction: TypeAlias = Literal["sum", "mean", "min", "max"]

_REDUCTIONS: dict[type[Aggregation], Reduction] = {
    SumAggregation: "sum",
    MeanAggregation: "mean",
    MinAggregation: "min",
    MaxAggregation: "max",
}
_general_propagate = MessagePassing.propagate


def _methods_of_reductions() -> tuple[Any, ...]:
    methods = [Aggregation.__call__, Aggregation.reduce]
    for cls in _REDUCTIONS:
        methods += [cls.__call__, cls.forward, cls.reduce]
    return tuple(methods)


_METHODS = _methods_of_reductions()


class _Call(NamedTuple):
    """The arguments of one ``propagate`` in the words of :func:`lcat.ops.aggregate`, nodes first."""

    x: Tensor
    graph: Graph
    weight: Tensor | None
    node_dim: int


class FusedPropagation(MessagePassing):
    """Stands before a layer of PyG in the bases of a class: its ``propagate`` never forms a message.

    The numbers are those of PyG. Where the messages are not of a known form (:func:`form_of`), or somebody hooks,
    explains, decomposes or replaces a step, PyG's own ``propagate`` runs. A class with a ``propagate`` in its own
    namespace (PyG writes one into each class when it makes the first instance) needs this one there instead.
    """

    def propagate(self, edge_index: Adj, size: Size = None, **kwargs: Any) -> Tensor:
        """PyG's step from node features to sums, means, minima or maxima of messages.

        Args:
            edge_index: the edges in any format.
            size: numbers of nodes at both ends, as in PyG.
            **kwargs: what messages are made of.
        """
        form = form_of(type(self))
        reduction = None if form is None else self._reduction()
        if form is None or reduction is None or self._wants_messages():
            return self._propagate_messages(edge_index, size, kwargs)
        call = self._read_call(form, reduction, edge_index, size, kwargs)
        if call is None:
            if _is_matrix(edge_index) and self.fuse:
                # What PyG generates for a class multiplies with matrices only if the first layer of the class that
                # somebody made could, and its general form writes to them. In between they call this.
                product: Tensor = self.message_and_aggregate(
                    edge_index, **{k: kwargs[k] for k in self._fused_user_args}
                )
                return product
            return self._propagate_messages(edge_index, size, kwargs)
        out = aggregate(call.x, call.graph, call.weight, reduce=reduction)
        return out if call.node_dim == 0 else out.movedim(0, call.node_dim)

    def _propagate_messages(self, edge_index: Any, size: Any, kwargs: dict[str, Any]) -> Tensor:
        """PyG's own ``propagate``; the code that it generates for a class knows neither explainers nor parts."""
        if type(edge_index) is Tensor and edge_index.dtype == torch.int32:
            edge_index = edge_index.long()  # torch's gradients of rows that int32 selects are wrong
        if self.explain or self.decomposed_layers > 1 or (self.fuse and _is_matrix(edge_index)):
            out: Tensor = _general_propagate(self, edge_index, size=size, **kwargs)
        else:
            out = super().propagate(edge_index, size=size, **kwargs)
        return out

    def _set_jittable_templates(self, raise_on_error: bool = False) -> None:
        """PyG's constructor calls this to write a ``propagate`` into the class, which would replace the one above."""

    @property
    def explain(self) -> bool | None:
        """Whether an explainer looks at messages."""
        explain: bool | None = self._explain
        return explain

    @explain.setter
    def explain(self, explain: bool | None) -> None:
        # PyG then binds its own `propagate` to the instance.
        MessagePassing.explain.fset(self, explain)
        self._unbind_propagate()

    @property
    def decomposed_layers(self) -> int:
        """In how many parts of the features messages are passed."""
        number: int = self._decomposed_layers
        return number

    @decomposed_layers.setter
    def decomposed_layers(self, decomposed_layers: int) -> None:
        MessagePassing.decomposed_layers.fset(self, decomposed_layers)
        self._unbind_propagate()

    def _unbind_propagate(self) -> None:
        """Take away the ``propagate`` that PyG has bound to the instance: the class's own finds the right one."""
        bound = self.__dict__.get("propagate")
        cls = type(self)
        known = (getattr(cls, "_orig_propagate", None), getattr(cls, "_jinja_propagate", None))
        if bound is not None and getattr(bound, "__func__", None) in known:
            del self.__dict__["propagate"]

    def _wants_messages(self) -> bool:
        """Whether somebody looks at messages, or a step of this instance is not its class's own."""
        if self._explain or self._decomposed_layers > 1:
            return True
        return _steps.has_step_hooks(self) or _steps.has_own_steps(self)

    def _reduction(self) -> Reduction | None:
        """What the layer does with the messages, if that is one of four plain reductions."""
        aggregation = self._modules.get("aggr_module")
        reduction = None if aggregation is None else _REDUCTIONS.get(type(aggregation))
        if aggregation is None or reduction is None:
            return None
        if "forward" in aggregation.__dict__ or _methods_of_reductions() != _METHODS or has_hooks(aggregation):
            return None
        return reduction

    def _read_call(
        self, form: MessageForm, reduction: Reduction, edge_index: Any, size: Any, kwargs: dict[str, Any]
    ) -> _Call | None:
        """The arguments of the primitive; ``None`` if PyG's own steps must see these arguments."""
        if any(kwargs.get(name) is not None for name in form.must_be_none):
            return None
        source_row = 0 if self.flow == "source_to_target" else 1
        value = kwargs.get(form.value)
        other: Any = None
        if isinstance(value, (tuple, list)):
            # With the other flow, PyG's two forms of `propagate` take different sides of a pair.
            if len(value) != 2 or (source_row == 1 and value[0] is not value[1]):
                return None
            value, other = value[source_row], value[1 - source_row]
        if not isinstance(value, Tensor) or value.layout is not torch.strided or not value.is_floating_point():
            return None
        if value.dim() < 2 or not -value.dim() <= self.node_dim < value.dim():
            return None
        node_dim = self.node_dim % value.dim()
        counts = self._counts(value, other, edge_index, size, source_row)
        if counts is None:
            return None
        graph, edge_list = graph_view(edge_index, *counts, flow=self.flow)
        weight = kwargs.get(form.weight) if form.weight else None
        if edge_list.layout != "edge_index":
            if self.fuse:
                if self.aggr not in FUSE_AGGRS or _differs_for_matrix(value, edge_list, reduction):
                    return None
                weight = edge_list.values
                if form.ignores_entries and edge_list.layout == "SparseTensor":
                    weight = None
            elif weight is None and form.weight == "edge_weight":
                weight = edge_list.values
            if weight is not None and not weight.is_floating_point():
                weight = weight.to(value.dtype)
        if weight is not None:
            # As in PyG, where weights are a column beside the features.
            if not isinstance(weight, Tensor) or weight.numel() != graph.num_edges or node_dim != value.dim() - 2:
                return None
            weight = weight.view(-1)
        return _Call(value if node_dim == 0 else value.movedim(node_dim, 0), graph, weight, node_dim)

    @staticmethod
    def _has_edge_list(edge_index: Any) -> bool:
        """Whether the edges are an ``edge_index`` or EdgeIndex, and no matrix with entries."""
        return isinstance(edge_index, Tensor) and edge_index.layout is torch.strided and edge_index.dim() == 2

    def _counts(
        self, value: Tensor, other: Any, edge_index: Any, size: Any, source_row: int
    ) -> tuple[int, int | None] | None:
        """Numbers of sources and targets; ``None`` where PyG's own ``propagate`` shall say what does not fit."""
        num_sources, num_targets = value.shape[self.node_dim], None
        if isinstance(other, Tensor):
            if not -other.dim() <= self.node_dim < other.dim():
                return None
            num_targets = other.shape[self.node_dim]
        if _is_matrix(edge_index):
            return num_sources, num_targets  # a matrix states the rest
        if isinstance(edge_index, EdgeIndex):  # as in PyG, its own size counts, and `size` does not
            if num_targets is None and edge_index.sparse_size(1 - source_row) is None:
                num_targets = num_sources
            return num_sources, num_targets
        if size is not None:
            if len(size) != 2 or size[source_row] not in (None, num_sources):
                return None
            if size[1 - source_row] is not None:
                if num_targets not in (None, size[1 - source_row]):
                    return None
                num_targets = size[1 - source_row]
        return num_sources, num_sources if num_targets is None else num_targets


def _is_matrix(edge_index: Any) -> bool:
    return not isinstance(edge_index, Tensor) or edge_index.layout is not torch.strided


def _differs_for_matrix(value: Tensor, edge_list: EdgeList, reduction: Reduction) -> bool:
    """Whether PyG's step for matrices has other numbers than its messages.

    It makes one edge of parallel ones in a COO matrix first; and torch's product with a matrix gives the gradient of a
    minimum or maximum to one of several equal edges.
    """
    if reduction in ("min", "max") and value.requires_grad and torch.is_grad_enabled():
        return True
    if edge_list.layout != "coo" or edge_list.input.is_coalesced():
        return False
    return reduction != "sum" or bool(edge_list.input.requires_grad)
