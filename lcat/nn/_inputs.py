"""Step 1 of a layer: its arguments and the inputs of a call, checked and in one form. GCNConv shares the functions."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor
from torch_geometric.nn.dense.linear import is_uninitialized_parameter
from torch_geometric.typing import SparseTensor
from torch_geometric.utils import scatter
from typing_extensions import Unpack

from lcat._edge_formats import EdgeList, read_edges
from lcat.graph import Graph, graph_view
from lcat.nn import _checks
from lcat.nn._linear import input_weight
from lcat.nn._message_passing import DropInConv
from lcat.nn._options import MessagePassingOptions, check_message_passing_options
from lcat.nn._symmetric_norm import symmetric_factor

# How the features of added self-loops are reduced from those of the edges into the node.
FillReduction: TypeAlias = Literal["add", "sum", "mean", "min", "max", "mul"]
FillValue: TypeAlias = float | Tensor | FillReduction
# With return_attention_weights=True, the attention comes with the features.
LayerOutput: TypeAlias = Tensor | tuple[Tensor, tuple[Tensor, Tensor]] | tuple[Tensor, SparseTensor]


class Nodes(NamedTuple):
    """The node features of one call.

    Attributes:
        x: the features of sources and targets; the latter may be missing.
        counts: number of sources and targets.
        one_set: True if both are the same nodes (an ordinary graph, not a bipartite one).
        batch: number of feature sets on one graph (a static graph, x of shape [B, N, F]), or None.
    """

    x: tuple[Tensor, Tensor | None]
    counts: tuple[int, int]
    one_set: bool
    batch: int | None

    def swap_batch(self, values: Tensor) -> Tensor:
        """[B, N, ...] <-> [N, B, ...]; as it is without feature sets. Sums over edges take nodes first."""
        return values if self.batch is None else values.transpose(0, 1)

    def fold(self, per_head: Tensor) -> Tensor:
        """[.., N, H, ...] -> [N, H', ...]: B feature sets on one graph are B times as many heads."""
        return per_head if self.batch is None else per_head.transpose(0, 1).flatten(1, 2)


class AttentionEdges(NamedTuple):
    """The edges of one call.

    Attributes:
        edge_list: the edges as the caller passed them.
        input_graph: the same, checked.
        graph: the edges that the layer uses: with its self-loops, where it adds any.
        attr: features of the edges of ``graph``, [E', D], or None.
        weight: factors of the attention coefficients of ``graph``, [E'], or None: weights, normalized or not.
    """

    edge_list: EdgeList
    input_graph: Graph
    graph: Graph
    attr: Tensor | None
    weight: Tensor | None


def read_graph(
    layer: DropInConv, edge_index: Any, counts: tuple[int, int], device: torch.device
) -> tuple[Graph, EdgeList]:
    """The checked edges between ``counts`` nodes, on the device of the features."""
    graph, edge_list = graph_view(edge_index, *counts, flow=layer.flow)
    _checks.check_edge_device(type(layer).__name__, edge_list, device)
    return graph, edge_list


def read_edge_weight(layer: DropInConv, edge_weight: Any, edge_list: EdgeList, x: Tensor) -> Tensor:
    """The weights of the edges, [E], in the dtype of the features."""
    name = type(layer).__name__
    _checks.check_edge_tensor(name, "edge_weight", edge_weight, edge_list, device=x.device, dims=(1,))
    return _checks.weights_like(name, "edge_weight", edge_weight, x)


class AttentionInputs(DropInConv):
    """The arguments of an attention layer, and how it reads the inputs of a call."""

    # What an `edge_attr` without `edge_dim` does: PyG's GATConv ignores it, which hides mistakes.
    _ignores_unused_edge_attr = False

    # For layers that were pickled before there were these options.
    separate_self = False
    symmetric_norm = False
    edge_dropout = 0.0

    def __init__(
        self,
        *,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int,
        concat: bool,
        negative_slope: float,
        dropout: float,
        add_self_loops: bool,
        edge_dim: int | None,
        fill_value: FillValue,
        residual: bool,
        separate_self: bool = False,
        symmetric_norm: bool = False,
        edge_dropout: float = 0.0,
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        name = type(self).__name__
        check_message_passing_options(type(self), kwargs)
        if kwargs.setdefault("node_dim", 0) != 0:
            raise ValueError(f"'node_dim' of {name} is {kwargs['node_dim']!r}; it takes 0: leave it out")
        kwargs.setdefault("aggr", "add")
        in_channels = _checks.read_channels(name, in_channels)
        out_channels = _checks.read_size(name, "out_channels", out_channels)
        heads = _checks.read_size(name, "heads", heads)
        dropout = _checks.read_probability(name, "dropout", dropout)
        negative_slope = _checks.read_number(name, "negative_slope", negative_slope)
        edge_dim = _checks.read_edge_dim(name, edge_dim)
        fill_value = _checks.check_fill_value(name, fill_value, edge_dim, get_args(FillReduction))
        concat = _checks.read_flag(name, "concat", concat)
        add_self_loops = _checks.read_flag(name, "add_self_loops", add_self_loops)
        residual = _checks.read_flag(name, "residual", residual)
        separate_self = _checks.read_flag(name, "separate_self", separate_self)
        symmetric_norm = _checks.read_flag(name, "symmetric_norm", symmetric_norm)
        edge_dropout = _checks.read_probability(name, "edge_dropout", edge_dropout)
        super().__init__(**kwargs)
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
        self.separate_self = separate_self
        self.symmetric_norm = symmetric_norm
        self.edge_dropout = edge_dropout

    def _channels(self, position: int) -> int:
        """Features of a source (0) or target (1)."""
        return self.in_channels if isinstance(self.in_channels, int) else self.in_channels[position]

    def _is_one_kind(self) -> bool:
        """Whether source and target nodes may have the same features."""
        source, target = self._channels(0), self._channels(1)
        return source == target or -1 in (source, target)

    def _maps(self) -> tuple[Any, ...]:
        """The linear maps of the score: one for all nodes, or those of sources and of targets."""
        raise NotImplementedError

    def _read_nodes(self, x: Any, size: Any, edge_index: Any) -> Nodes:
        """The features and numbers of the nodes; ``edge_index`` may state the number of targets without features."""
        name = type(self).__name__
        bipartite = isinstance(x, (tuple, list))
        pair = x if bipartite else (x, x)
        if len(pair) != 2:
            raise ValueError(f"'x' of {name} is a tuple of {len(pair)}; it takes a tensor or (x_source, x_target)")
        first, second = pair
        maps = self._maps()
        _checks.check_features(
            name,
            "x[0]" if bipartite else "x",
            first,
            channels=self._channels(0),
            weight=input_weight(maps[0]),
            edge_index=edge_index,
        )
        if second is not None and bipartite:
            weight = input_weight(maps[-1])
            _checks.check_features(
                name, "x[1]", second, channels=self._channels(1), weight=weight, edge_index=edge_index
            )
            if len(maps) == 1 and weight is not None and first.shape[-1] != second.shape[-1]:
                raise ValueError(
                    f"'x' of {name} has {first.shape[-1]} features per source and {second.shape[-1]} per target, but "
                    f"the layer has one projection for both: make it with in_channels=(-1, -1), without share_weights"
                )
        elif not bipartite and not self._is_one_kind():
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
        rows = (first.shape[-2], None if second is None else second.shape[-2])
        num_sources, num_targets = _checks.check_size(name, size, rows)
        assert num_sources is not None
        if num_targets is None:
            stated = read_edges(edge_index, flow=self.flow, name="edge_index").num_targets
            num_targets = num_sources if stated is None else stated
        return Nodes((first, second), (num_sources, num_targets), second is first, batch)

    def _read_edges(
        self, edge_index: Any, nodes: Nodes, *, edge_attr: Any, edge_weight: Any, size: Any, messages: bool
    ) -> AttentionEdges:
        """The edges, with the layer's self-loops; ``messages`` says whether PyG's steps will use them."""
        edges = self._read_plain_edges(
            edge_index, nodes, edge_attr=edge_attr, edge_weight=edge_weight, size=size, messages=messages
        )
        if not self.symmetric_norm:
            return edges
        x = nodes.x[0]
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        return edges._replace(weight=symmetric_factor(edges.graph, edges.weight, dtype, one_set=nodes.one_set))

    def _read_plain_edges(
        self, edge_index: Any, nodes: Nodes, *, edge_attr: Any, edge_weight: Any, size: Any, messages: bool
    ) -> AttentionEdges:
        """:meth:`_read_edges` without a normalization."""
        x = nodes.x[0]
        input_graph, edge_list = read_graph(self, edge_index, nodes.counts, x.device)
        edge_attr = self._read_edge_attr(edge_attr, edge_list, x)
        if edge_weight is not None:
            edge_weight = read_edge_weight(self, edge_weight, edge_list, x)
        if not self.add_self_loops:
            return AttentionEdges(edge_list, input_graph, input_graph, edge_attr, edge_weight)
        num_loops = min([n for n in size or () if n is not None] or nodes.counts)
        graph = input_graph.with_self_loops(num_loops)
        if messages and graph.padded:  # PyG's steps know no dead edges
            graph = input_graph.with_self_loops(num_loops, dynamic=True)
        if edge_attr is not None:
            edge_attr = graph.select(edge_attr)
            edge_attr = torch.cat([edge_attr, self._loop_features(edge_attr, graph, num_loops)])
        if edge_weight is not None:
            edge_weight = torch.cat([graph.select(edge_weight), edge_weight.new_ones(num_loops)])
        return AttentionEdges(edge_list, input_graph, graph, edge_attr, edge_weight)

    def _read_edge_attr(self, edge_attr: Any, edge_list: EdgeList, x: Tensor) -> Tensor | None:
        """The features of the edges, [E, D]; ``None`` if the layer uses none."""
        name = type(self).__name__
        if self.edge_dim is not None and edge_list.layout != "edge_index":
            # As in PyG: multi-dimensional entries of a matrix are edge features, single ones are left alone.
            entries = edge_list.values
            if entries is not None and (edge_list.layout == "SparseTensor" or entries.dim() > 1):
                if edge_attr is not None:
                    raise ValueError(
                        f"edge features of {name} are given twice: as 'edge_attr', and as the entries of '"
                        f"{edge_list.name}', a matrix: pass the matrix alone, or 'edge_index' of shape [2, E] and "
                        f"'edge_attr'"
                    )
                edge_attr = entries
        if edge_attr is not None and self.edge_dim is None:
            self._report_unused(edge_attr)
            edge_attr = None
        if edge_attr is None:
            return None
        if edge_list.layout == "SparseTensor" and self.add_self_loops:
            raise NotImplementedError(
                f"{name} does not combine edge features, add_self_loops=True and a torch_sparse.SparseTensor: "
                f"pass edge_index and edge_attr, or add_self_loops=False"
            )
        _checks.check_edge_tensor(name, "edge_attr", edge_attr, edge_list, device=x.device, dims=(1, 2))
        features: Tensor = edge_attr.view(-1, 1) if edge_attr.dim() == 1 else edge_attr
        weight = input_weight(self.lin_edge)
        if weight is None:
            if self.lin_edge is None:
                raise ValueError(
                    f"'lin_edge' of {name} is None, but it was made with edge_dim={self.edge_dim} and gets "
                    f"'edge_attr': leave 'edge_attr' out, or put a linear map there"
                )
            _checks.check_not_quantized(name, "edge_attr", features)
            return features  # a user's map, which may take integers (an embedding) and another width
        width = self._edge_width()
        if width is not None and features.shape[1] != width:
            first = "" if width == self.edge_dim else f", and its first edge features had {width}"
            raise ValueError(
                f"'edge_attr' of {name} has {features.shape[1]} features per edge (shape {list(features.shape)}), but "
                f"the layer was made with edge_dim={self.edge_dim}{first}"
            )
        _checks.check_edge_features(name, "edge_attr", features, x, weight)
        return features

    def _edge_width(self) -> int | None:
        """Features per edge; ``None`` if the first ones will decide, as with edge_dim=-1 and, as in PyG, 0."""
        if self.edge_dim not in (-1, 0):
            return self.edge_dim
        weight = getattr(self.lin_edge, "weight", None)
        if not isinstance(weight, Tensor) or is_uninitialized_parameter(weight):
            return None
        return weight.shape[-1]

    def _report_unused(self, edge_attr: Any) -> None:
        _checks.refuse_other_kinds(
            type(self).__name__, "edge_attr", edge_attr, "[E, edge_dim], in a layer that is made with edge_dim"
        )
        message = (
            f"{type(self).__name__} got 'edge_attr' of shape {list(edge_attr.shape)}, but was made with "
            f"edge_dim=None: make it with edge_dim={edge_attr.shape[-1] if edge_attr.dim() > 1 else 1} to use edge "
            f"features, or pass edge_weight= to scale messages"
        )
        if not self._ignores_unused_edge_attr:
            raise ValueError(message)
        if not torch.compiler.is_compiling():
            warnings.warn(f"{message}. It is ignored here, as PyG does.", stacklevel=8)  # where the layer is called

    def _loop_features(self, edge_attr: Tensor, graph: Graph, num_loops: int) -> Tensor:
        """The features of the added self-loops, [num_loops, D], from ``fill_value`` (PyG's rules)."""
        fill = self.fill_value
        shape = (num_loops, *edge_attr.shape[1:])
        if isinstance(fill, (int, float)):
            return edge_attr.new_full(shape, fill)
        if isinstance(fill, Tensor):
            _checks.check_fill_width(type(self).__name__, fill, shape[1])
            return fill.to(edge_attr.device, edge_attr.dtype).expand(shape)
        # PyG reduces over row 1 of edge_index, whatever the flow.
        count = edge_attr.shape[0]
        rows = graph.target[:count] if self.flow == "source_to_target" else graph.source[:count]
        num_rows = graph.num_targets if self.flow == "source_to_target" else graph.num_sources
        if graph.padded:
            rows = rows.masked_fill(graph.target[:count] == graph.num_targets, num_rows)
        reduced: Tensor = scatter(edge_attr, rows, 0, num_rows + int(graph.padded), fill)
        return reduced[:num_loops]
