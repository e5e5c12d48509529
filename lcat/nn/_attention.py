"""What the attention layers share: reading inputs, self-loops, the two ways to compute, the output."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.utils import scatter

from lcat._edge_formats import EdgeList, read_edges
from lcat.graph import Graph, graph_view
from lcat.nn import _checks
from lcat.nn._edge_order import input_order
from lcat.nn._message_passing import DropInConv

_FILLS = ("add", "sum", "mean", "min", "max", "mul")


@dataclass(frozen=True)
class Nodes:
    """The node features of one call.

    Args:
        x: the features of sources and targets; the latter may be missing.
        counts: number of sources and targets.
        one_set: True if both are the same nodes (an ordinary graph, not a bipartite one).
        batch: number of feature sets on one graph (a static graph, x of shape [B, N, F]), or None.
    """

    x: tuple[Tensor, Tensor | None]
    counts: tuple[int, int]
    one_set: bool
    batch: int | None


@dataclass(frozen=True)
class Edges:
    """The edges of one call: as given, as the layer uses them, and their features in the latter order."""

    given: EdgeList
    bare: Graph
    graph: Graph
    attr: Tensor | None
    weight: Tensor | None


class AttentionConv(DropInConv):
    """Base of the attention layers; not public. Subclasses define the projections and the score."""

    # What an `edge_attr` without `edge_dim` does: PyG's GATConv ignores it, which hides mistakes.
    _ignores_unused_edge_attr = False

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int,
        concat: bool,
        negative_slope: float,
        dropout: float,
        add_self_loops: bool,
        edge_dim: int | None,
        fill_value: float | Tensor | str,
        residual: bool,
        kwargs: dict[str, Any],
    ) -> None:
        name = type(self).__name__
        _checks.check_channels(name, in_channels)
        _checks.check_positive(name, out_channels=out_channels, heads=heads)
        _checks.check_probability(name, "dropout", dropout)
        if edge_dim is not None and edge_dim != -1:
            _checks.check_positive(name, edge_dim=edge_dim)
        if isinstance(fill_value, str) and fill_value not in _FILLS:
            raise ValueError(
                f"'fill_value' of {name} is {fill_value!r}; it takes a float, a tensor of shape [edge_dim], or one "
                f"of {', '.join(map(repr, _FILLS))}"
            )
        if isinstance(fill_value, Tensor) and edge_dim not in (None, -1) and fill_value.numel() not in (1, edge_dim):
            raise ValueError(
                f"'fill_value' of {name} has shape {list(fill_value.shape)}; it takes one number, or as many as "
                f"edge_dim={edge_dim} says"
            )
        kwargs.setdefault("aggr", "add")
        super().__init__(node_dim=0, **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.heads = heads
        self.concat = concat
        self.negative_slope = negative_slope
        self.dropout = dropout
        self.add_self_loops = add_self_loops
        self.edge_dim = edge_dim
        self.fill_value = fill_value
        self.residual = residual

    def _make_output(self, bias: bool) -> None:
        """Bias and residual; made last, so that parameters come in PyG's order."""
        total = self.out_channels * (self.heads if self.concat else 1)
        if self.residual:
            self.res = Linear(self._channels(1), total, bias=False, weight_initializer="glorot")
        else:
            self.register_parameter("res", None)
        if bias:
            self.bias = Parameter(torch.empty(total))
        else:
            self.register_parameter("bias", None)

    def _one_kind(self) -> bool:
        """Whether source and target nodes may have the same features."""
        a, b = self._channels(0), self._channels(1)
        return a == b or -1 in (a, b)

    def _channels(self, position: int) -> int:
        return self.in_channels if isinstance(self.in_channels, int) else self.in_channels[position]

    def _linear(self, position: int, bias: bool) -> Linear:
        width = self.heads * self.out_channels
        return Linear(self._channels(position), width, bias=bias, weight_initializer="glorot")

    # Reading the inputs ##############################################################################

    def _read_nodes(self, x: Any, size: Any, edge_index: Any) -> Nodes:
        name = type(self).__name__
        pair = x if isinstance(x, (tuple, list)) else (x, x)
        if len(pair) != 2:
            raise ValueError(f"'x' of {name} is a tuple of {len(pair)}; it takes a tensor or (x_source, x_target)")
        first, second = pair
        bipartite = isinstance(x, (tuple, list))
        weight = getattr(self._maps()[0], "weight", None)
        dims = (2, 3)
        _checks.check_features(name, "x[0]" if bipartite else "x", first, self._channels(0), weight, dims=dims)
        if second is not None and bipartite:
            _checks.check_features(name, "x[1]", second, self._channels(1), weight, dims=dims)
        elif not bipartite and not self._one_kind():
            raise ValueError(
                f"'x' of {name} is one tensor, but the layer was made for two kinds of nodes, "
                f"in_channels={self.in_channels}: pass (x_source, x_target)"
            )
        if second is not None and second.dim() != first.dim():
            raise ValueError(f"'x' of {name} mixes shapes {list(first.shape)} and {list(second.shape)}")
        batch = first.shape[0] if first.dim() == 3 else None
        if batch is not None and second is not None and second.shape[0] != batch:
            raise ValueError(
                f"'x' of {name} has {batch} feature sets for sources and {second.shape[0]} for targets; the first "
                f"dimensions must agree"
            )
        counts = _checks.check_size(name, size, (first.shape[-2], None if second is None else second.shape[-2]))
        n0, n1 = counts
        assert n0 is not None
        if n1 is None:
            stated = read_edges(edge_index, flow=self.flow, name="edge_index").num_targets
            n1 = n0 if stated is None else stated
        return Nodes((first, second), (n0, n1), second is first, batch)

    def _read_edges(
        self, edge_index: Any, nodes: Nodes, edge_attr: Any, edge_weight: Any, size: Any, messages: bool
    ) -> Edges:
        name = type(self).__name__
        device = nodes.x[0].device
        bare, given = graph_view(edge_index, *nodes.counts, flow=self.flow)
        _checks.check_edge_device(name, given, device)

        if edge_attr is None and self.edge_dim is not None:
            # As in PyG: multi-dimensional entries of a matrix are edge features, single ones are left alone.
            values = given.values
            if values is not None and (given.layout == "SparseTensor" or values.dim() > 1):
                edge_attr = values
        if edge_attr is not None and self.edge_dim is None:
            self._complain_of_unused(edge_attr)
            edge_attr = None
        if edge_attr is not None:
            if given.layout == "SparseTensor" and self.add_self_loops:
                raise NotImplementedError(
                    f"{name} does not combine edge features, add_self_loops=True and a torch_sparse.SparseTensor: "
                    f"pass edge_index and edge_attr, or add_self_loops=False"
                )
            _checks.check_edge_tensor(name, "edge_attr", edge_attr, given, device, (1, 2))
            edge_attr = edge_attr.view(-1, 1) if edge_attr.dim() == 1 else edge_attr
            if self.edge_dim != -1 and edge_attr.shape[1] != self.edge_dim:
                raise ValueError(
                    f"'edge_attr' of {name} has {edge_attr.shape[1]} features an edge (shape "
                    f"{list(edge_attr.shape)}), but the layer was made with edge_dim={self.edge_dim}"
                )
            _checks.check_edge_features(name, "edge_attr", edge_attr, nodes.x[0])
        if edge_weight is not None:
            _checks.check_edge_tensor(name, "edge_weight", edge_weight, given, device, (1,))
            edge_weight = _checks.weights_like(edge_weight, nodes.x[0])

        if not self.add_self_loops:
            return Edges(given, bare, bare, edge_attr, edge_weight)
        num_loops = min([n for n in size or () if n is not None] or nodes.counts)
        graph = bare.with_self_loops(num_loops)
        if messages and graph.padded:  # PyG's steps know no dead edges
            graph = bare.with_self_loops(num_loops, dynamic=True)
        if edge_attr is not None:
            kept = graph.select(edge_attr)
            edge_attr = torch.cat([kept, self._loop_features(kept, graph, num_loops)])
        if edge_weight is not None:
            edge_weight = torch.cat([graph.select(edge_weight), edge_weight.new_ones(num_loops)])
        return Edges(given, bare, graph, edge_attr, edge_weight)

    def _complain_of_unused(self, edge_attr: Tensor) -> None:
        message = (
            f"{type(self).__name__} got 'edge_attr' of shape {list(edge_attr.shape)}, but was made with "
            f"edge_dim=None: make it with edge_dim={edge_attr.shape[-1] if edge_attr.dim() > 1 else 1} to use edge "
            f"features, or pass edge_weight= to scale messages"
        )
        if not self._ignores_unused_edge_attr:
            raise ValueError(message)
        if not torch.compiler.is_compiling():
            warnings.warn(f"{message}. It is ignored here, as PyG does.", stacklevel=6)

    def _loop_features(self, kept: Tensor, graph: Graph, num_loops: int) -> Tensor:
        """The features of the added self-loops, [num_loops, D], from ``fill_value`` (PyG's rules)."""
        fill = self.fill_value
        shape = (num_loops, *kept.shape[1:])
        if isinstance(fill, (int, float)):
            return kept.new_full(shape, fill)
        if isinstance(fill, Tensor):
            return fill.to(kept.device, kept.dtype).expand(shape)
        # PyG reduces over row 1 of edge_index, whatever the flow.
        count = kept.shape[0]
        rows = graph.target[:count] if self.flow == "source_to_target" else graph.source[:count]
        num_rows = graph.num_targets if self.flow == "source_to_target" else graph.num_sources
        if graph.padded:
            rows = rows.masked_fill(graph.target[:count] == graph.num_targets, num_rows)
        return scatter(kept, rows, 0, num_rows + int(graph.padded), fill)[:num_loops]

    # The two ways to compute #########################################################################

    def _edge_index(self, graph: Graph) -> Tensor:
        rows = (graph.source, graph.target) if self.flow == "source_to_target" else (graph.target, graph.source)
        return torch.stack(rows)

    def _by_messages(
        self,
        edges: Edges,
        nodes: Nodes,
        values: tuple[Tensor | None, ...],
        updater_inputs: dict[str, Any],
    ) -> tuple[Tensor, Tensor]:
        """PyG's way: edge_updater() and propagate(), with every message formed. Returns (out, alpha)."""
        self._check_messages_possible(nodes)
        # Only who looks at messages needs that order; without, dropout draws in PyG's order, as PyG does.
        order = input_order(edges.graph, edges.given) if self._wants_messages() else None
        edge_index, attr, weight = self._edge_index(edges.graph), edges.attr, edges.weight
        if order is not None:
            edge_index = edge_index[:, order]
            attr = None if attr is None else attr[order]
            weight = None if weight is None else weight[order]
        inputs = {name: self._in_pyg_order(pair, self.edge_updater) for name, pair in updater_inputs.items()}
        alpha = self.edge_updater(edge_index, edge_attr=attr, size=nodes.counts, **inputs)
        if weight is not None:
            alpha = alpha * weight.unsqueeze(-1)
        pair = self._in_pyg_order(values, self.propagate)
        out = self.propagate(edge_index, x=pair, alpha=alpha, size=nodes.counts)
        if order is not None:
            alpha = alpha[torch.argsort(order)]
        return out, alpha

    def _in_pyg_order(self, pair: tuple[Any, ...], step: Any) -> tuple[Any, ...]:
        """(source, target) as ``propagate`` or ``edge_updater`` wants it.

        The code that PyG generates for a class takes pairs by role; the generic code, which runs with explainers and
        where generating failed, takes them by row of ``edge_index``.
        """
        generated = step.__module__.endswith(("_propagate", "_edge_updater"))
        return pair if generated or self.flow == "source_to_target" else pair[::-1]

    def _check_messages_possible(self, nodes: Nodes) -> None:
        name = type(self).__name__
        if self.decomposed_layers > 1:
            raise ValueError(
                f"{name} has decomposed_layers={self.decomposed_layers}; attention cannot be split by features: use "
                f"decomposed_layers=1"
            )
        if self.flow == "target_to_source" and nodes.counts[0] != nodes.counts[1]:
            raise ValueError(
                f"{name} has flow='target_to_source' on a bipartite graph of {nodes.counts} nodes, where PyG's message "
                f"passing (needed for hooks, explainers, return_attention_weights and aggr) does not work: flip "
                f"edge_index and use flow='source_to_target'"
            )

    def message(self, x_j: Tensor, alpha: Tensor) -> Tensor:
        """``alpha_ij v_j``: [E, H, F] from the values [E, H, F] and the attention [E, H]."""
        return alpha.unsqueeze(-1) * x_j

    # The output ######################################################################################

    def _finish(
        self,
        out: Tensor,
        nodes: Nodes,
        edges: Edges,
        alpha: Tensor | None,
    ) -> Any:
        """Heads together, residual, bias; with attention in PyG's form if ``alpha`` is given."""
        heads, channels, batch = self.heads, self.out_channels, nodes.batch
        if batch is not None:
            out = out.view(nodes.counts[1], batch, heads, channels).transpose(0, 1)
        else:
            out = out.view(-1, heads, channels)
        out = out.flatten(-2) if self.concat else out.mean(dim=-2)
        if self.res is not None:
            out = self._add_residual(out, nodes)
        if self.bias is not None:
            out = out + self.bias
        elif self.res is None and out.requires_grad:
            out = out.clone()  # kernels keep their output for the backward pass; an in-place activation must not hit it
        if alpha is None:
            return out
        if batch is not None:
            alpha = alpha.view(edges.graph.num_edges, batch, heads)
        edge_index = self._edge_index(edges.graph)
        shape = (nodes.counts[1], nodes.counts[0])
        if edges.given.layout == "edge_index":
            return out, (edge_index, alpha.transpose(0, 1) if batch is not None else alpha)
        if batch is not None:
            raise ValueError("return_attention_weights needs edges as edge_index when x has shape [B, N, F]")
        matrix, ordered = edges.given.with_values(edge_index, alpha, shape)
        return (out, matrix) if ordered is None else (out, (matrix, ordered))

    def _add_residual(self, out: Tensor, nodes: Nodes) -> Tensor:
        own = nodes.x[1]
        if own is None:
            return out  # as PyG: a target without features has no residual
        return out + self.res(own)

    def _fold(self, per_head: Tensor, nodes: Nodes) -> Tensor:
        """[.., N, H, *] -> [N, H', *]: B feature sets on one graph are B times as many heads."""
        if nodes.batch is None:
            return per_head
        return per_head.transpose(0, 1).flatten(1, 2)

    def _maps(self) -> tuple[Any, ...]:
        """The linear maps of the score: one for all nodes, or those of sources and of targets."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, heads={self.heads})"
