"""GCNConv: graph convolution with symmetric normalization."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.nn.inits import zeros
from torch_geometric.typing import Adj, OptTensor
from torch_geometric.utils import spmm

from lcat._edge_formats import EdgeList
from lcat._tracing import is_jit_tracing, is_traced, outside_inference_mode
from lcat.graph import CacheKey, Graph, graph_view
from lcat.nn import _checks
from lcat.nn._linear import is_plain
from lcat.nn._message_passing import DropInConv
from lcat.ops import aggregate, is_transformed

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


_SCALED: CacheKey[tuple[Graph, Tensor]] = CacheKey("GCN: a scale per node")
_NORMALIZED: CacheKey[tuple[Graph, Tensor]] = CacheKey("GCN: a weight per edge")


@dataclass(frozen=True)
class Edges:
    """The edges of one call: as the layer uses them, as given, and what multiplies their messages.

    Args:
        graph: the edges, with self-loops where the layer adds them.
        given: the edges as given; ``None`` if they come from the layer's own cache.
        weight: a factor an edge, or ``None``.
        scale: s of the factor ``s_j s_i``, a number a node, or ``None``.
    """

    graph: Graph
    given: EdgeList | None
    weight: Tensor | None
    scale: Tensor | None = None


class GCNConv(DropInConv):
    r"""Graph convolution, `"Semi-supervised Classification with Graph Convolutional Networks"
    <https://arxiv.org/abs/1609.02907>`_, as :class:`torch_geometric.nn.GCNConv`: same arguments, same
    ``state_dict``, same numbers for ``edge_index``.

    .. math::
        x'_i = \Theta \sum_{j \in N(i) \cup \{i\}} \frac{w_{ij}}{\sqrt{\hat d_j \hat d_i}} x_j, \qquad
        \hat d_i = \sum_{j \in N(i) \cup \{i\}} w_{ij}

    One answer for every format of edges: PyG's GCNConv gives other numbers for a torch.sparse matrix than for the
    same ``edge_index`` when the graph has self-loops or duplicate edges; this one gives those of ``edge_index``.

    Args:
        in_channels: features of a node; -1 takes the size of the first input.
        out_channels: features of the output.
        improved: give added self-loops the weight 2 instead of 1; as in PyG, only where there are edge weights.
        cached: compute the normalization once and keep it for all later calls (one fixed graph). A call with
            another number of nodes raises instead of giving wrong numbers. Normalizations without edge weights are
            remembered with the graph anyway.
        add_self_loops: add a self-loop to every node that has none (existing ones keep their weight); ``None``
            means ``normalize``.
        normalize: apply the symmetric normalization.
        bias: add a learned bias.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``aggr``, ``flow``, ``node_dim``,
            ``decomposed_layers``).

    Shapes:
        - x: ``[N, in_channels]`` or ``[B, N, in_channels]`` (B feature sets on one graph)
        - edge_index: ``[2, E]`` integers, EdgeIndex, torch.sparse or SparseTensor matrix [targets, sources], whose
          entries are the edge weights
        - edge_weight: ``[E]``
        - output: ``[N, out_channels]``, with a leading B for static graphs

    Complexity:
        O(N in_channels out_channels + E out_channels) time.

    Example:
        >>> import torch
        >>> from lcat.nn import GCNConv
        >>> conv = GCNConv(8, 4)
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 4])
    """

    propagate_type = {"x": Tensor, "edge_weight": OptTensor}  # noqa: RUF012

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        improved: bool = False,
        cached: bool = False,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        if isinstance(in_channels, (tuple, list)):
            raise ValueError(
                f"'in_channels' of {name} is {in_channels!r}; it takes an int: this layer has no bipartite form, "
                f"SAGEConv, GraphConv and GATConv have"
            )
        _checks.check_channels(name, in_channels)
        _checks.check_positive(name, out_channels=out_channels)
        kwargs.setdefault("aggr", "add")
        super().__init__(**kwargs)
        if add_self_loops is None:
            add_self_loops = normalize
        if add_self_loops and not normalize:
            raise ValueError(
                f"'{name}' does not support adding self-loops to the graph when no on-the-fly normalization is "
                f"applied: use normalize=True, or add_self_loops=False and loops of your own"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.improved = improved
        self.cached = cached
        self.add_self_loops = add_self_loops
        self.normalize = normalize
        # Not annotated on the class: TorchScript could not read the annotation.
        self._cached_edge_index: Any = None
        self._cached_adj_t: Any = None
        self.lin = Linear(in_channels, out_channels, bias=False, weight_initializer="glorot")
        if bias:
            self.bias = Parameter(torch.empty(out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew (Glorot matrix, zero bias) and forget a cached normalization."""
        super().reset_parameters()
        self.lin.reset_parameters()
        zeros(self.bias)
        self._cached_edge_index = None
        self._cached_adj_t = None

    def forward(self, x: Tensor, edge_index: Adj, edge_weight: OptTensor = None) -> Tensor:
        """Run the layer.

        Args:
            x: node features.
            edge_index: the edges in any format.
            edge_weight: weights of the edges; ``None`` means 1, or the entries of a matrix.

        Raises:
            TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.
        """
        if torch.jit.is_scripting():
            return self._scripted(x, edge_index, edge_weight)
        return self._forward(x, edge_index, edge_weight)

    @torch.jit.unused
    def _forward(self, x: Tensor, edge_index: Adj, edge_weight: OptTensor) -> Tensor:
        name = type(self).__name__
        if isinstance(x, (tuple, list)):
            raise ValueError(
                f"'{name}' received a tuple of node features as input while this layer does not support bipartite "
                f"message passing. Please try other layers such as 'SAGEConv' or 'GraphConv' instead"
            )
        _checks.check_features(name, "x", x, self.in_channels, getattr(self.lin, "weight", None), dims=(2, 3))
        num_nodes = x.shape[self.node_dim]
        edges = self._read_edges(x, edge_index, edge_weight, num_nodes)

        if self._wants_messages():
            out = self._by_messages(self.lin(x), edges)
        elif x.layout == torch.strided and self._sums_before_map(x):
            out = self.lin(self._sum(x, edges))
        else:
            out = self._sum(self.lin(x), edges)
        return out if self.bias is None else self._with_bias(out)

    def _with_bias(self, out: Tensor) -> Tensor:
        """In place, as nobody else holds ``out``: one tensor less to write."""
        bias = self.bias
        alone = not torch.compiler.is_compiling() and is_plain(self.lin)
        if not alone or self._wants_messages() or out.dtype != bias.dtype or is_transformed(out, bias):
            return out + bias
        return out.add_(bias)

    def _sums_before_map(self, x: Tensor) -> bool:
        """The sum is linear: take it where fewer numbers pass along the edges, forward and backward."""
        if is_jit_tracing():
            return False  # whatever mode the trace will run in
        if not is_plain(self.lin) or self.lin.bias is not None:
            return False  # lin was replaced, or somebody looks at what it sees: it gets x, as in PyG
        grad = torch.is_grad_enabled()
        return x.shape[-1] * (1 + (grad and x.requires_grad)) <= self.out_channels * (1 + grad)

    def _sum(self, x: Tensor, edges: Edges) -> Tensor:
        rows = x.movedim(self.node_dim, 0)
        scale = edges.scale
        return aggregate(rows, edges.graph, edges.weight, scale, scale).movedim(0, self.node_dim)

    def _scripted(self, x: Tensor, edge_index: Adj, edge_weight: OptTensor) -> Tensor:
        """PyG's own steps, which TorchScript can compile; only edge_index as a plain tensor, nothing is cached."""
        assert isinstance(edge_index, Tensor)
        if self.normalize:
            edge_index, edge_weight = gcn_norm(
                edge_index, edge_weight, x.size(self.node_dim), self.improved, self.add_self_loops, self.flow, x.dtype
            )
        if edge_weight is None:
            edge_weight = torch.ones(edge_index.size(1), dtype=x.dtype, device=x.device)
        out = self.propagate(edge_index, x=self.lin(x), edge_weight=edge_weight)
        bias = self.bias
        return out if bias is None else out + bias

    # The weights of the edges ########################################################################

    def _read_edges(self, x: Tensor, edge_index: Any, edge_weight: Any, num_nodes: int) -> Edges:
        if self._cached_edge_index is not None:
            return Edges(self._from_cache(num_nodes), None, self._cached_edge_index[1])
        name = type(self).__name__
        bare, given = graph_view(edge_index, num_nodes, num_nodes, flow=self.flow)
        _checks.check_edge_device(name, given, x.device)
        if edge_weight is None:
            edge_weight = given.values
        if edge_weight is not None:
            if isinstance(edge_weight, Tensor) and edge_weight.dim() == 2 and edge_weight.shape[1] == 1:
                edge_weight = edge_weight.squeeze(1)
            _checks.check_edge_tensor(name, "edge_weight", edge_weight, given, x.device, (1,))
            edge_weight = _checks.weights_like(edge_weight, x)
        if not self.normalize:
            return Edges(bare, given, edge_weight)
        if edge_weight is None and not self.cached and not self._wants_messages():
            make = partial(self._scaled, bare, x.dtype)
            graph, scale = bare.cached(_SCALED, make, self.add_self_loops, x.dtype)
            return Edges(graph, given, None, scale)
        if self.cached and not is_traced():
            with outside_inference_mode():
                graph, weight = self._weighted(bare, edge_weight, x.dtype)
                self._cached_edge_index = (self._rows(graph), weight, num_nodes)
        else:
            graph, weight = self._weighted(bare, edge_weight, x.dtype)
        return Edges(graph, given, weight)

    def _from_cache(self, num_nodes: int) -> Graph:
        assert self._cached_edge_index is not None
        rows, _, num_cached = self._cached_edge_index
        if num_nodes != num_cached:
            raise ValueError(
                f"{type(self).__name__} was made with cached=True and has cached the normalization of a graph with "
                f"{num_cached} nodes, but 'x' has {num_nodes}: use cached=False for more than one graph, or "
                f"call reset_parameters() or set _cached_edge_index = None"
            )
        graph, _ = graph_view(rows, num_nodes, num_nodes, flow=self.flow)
        return graph

    def _weighted(self, bare: Graph, weight: Tensor | None, dtype: torch.dtype) -> tuple[Graph, Tensor]:
        """:meth:`_normalized`, remembered with the graph where it is made of nothing else."""
        if weight is not None:
            return self._normalized(bare, weight, dtype)
        make = partial(self._normalized, bare, None, dtype)
        return bare.cached(_NORMALIZED, make, self.add_self_loops, dtype)

    def _scaled(self, bare: Graph, dtype: torch.dtype) -> tuple[Graph, Tensor]:
        """The graph with its self-loops, and ``1 / sqrt(d_i)`` for every node, [N]: all that edges of weight 1 need."""
        graph = bare.with_self_loops(bare.num_targets) if self.add_self_loops else bare
        return graph, self._scale(graph.in_degree.to(_at_least_single(dtype))).to(dtype)

    @staticmethod
    def _scale(degree: Tensor) -> Tensor:
        scale = degree.pow(-0.5)
        return scale.masked_fill(scale == float("inf"), 0.0)

    def _normalized(self, bare: Graph, weight: Tensor | None, dtype: torch.dtype) -> tuple[Graph, Tensor]:
        """The graph with its self-loops, and ``w_ij / sqrt(d_i d_j)`` for every edge, [E']."""
        graph = bare
        if self.add_self_loops:
            fill = 2.0 if self.improved else 1.0
            graph = bare.with_self_loops(bare.num_targets)
            weight = self._with_loop_weights(bare, graph, weight, fill, dtype)
        elif weight is None:
            weight = torch.ones(graph.num_edges, dtype=dtype, device=graph.device)
        wide = weight.to(_at_least_single(weight.dtype))
        scale = self._scale(aggregate(wide.new_ones(graph.num_sources, 1), graph, wide).squeeze(1))
        at_target = torch.cat([scale, scale.new_zeros(1)]) if graph.padded else scale
        return graph, (scale[graph.source] * wide * at_target[graph.target]).to(weight.dtype)

    @staticmethod
    def _with_loop_weights(bare: Graph, graph: Graph, weight: Tensor | None, fill: float, dtype: torch.dtype) -> Tensor:
        """Weights of the kept edges, then of one loop a node: its old weight, or ``fill`` where it had none."""
        if weight is None:  # as in PyG, where ``improved`` has no effect without edge weights
            return torch.ones(graph.num_edges, dtype=dtype, device=graph.device)
        # Of parallel loops the last one counts, as in PyG; the others get no gradient (in PyG, a wrong one).
        num_edges = bare.num_edges
        position = torch.arange(num_edges, device=graph.device).masked_fill(bare.source != bare.target, -1)
        last = position.new_full((graph.num_loops,), -1).scatter_reduce(0, bare.source, position, "amax")
        with_fill = torch.cat([weight, weight.new_full((1,), fill)])
        loops = with_fill[last.masked_fill(last < 0, num_edges)]
        return torch.cat([graph.select(weight), loops])

    # PyG's own way ###################################################################################

    def _rows(self, graph: Graph) -> Tensor:
        rows = (graph.source, graph.target) if self.flow == "source_to_target" else (graph.target, graph.source)
        return torch.stack(rows)

    def _by_messages(self, x: Tensor, edges: Edges) -> Tensor:
        graph, given, weight = edges.graph, edges.given, edges.weight
        fuse_hooks = self._message_and_aggregate_forward_pre_hooks or self._message_and_aggregate_forward_hooks
        if fuse_hooks and given is not None and given.layout != "edge_index":
            value = x.new_ones(graph.num_edges) if weight is None else weight
            index = torch.stack([graph.target, graph.source])
            matrix = torch.sparse_coo_tensor(index, value, (graph.num_targets, graph.num_sources))
            return self.propagate(matrix.to_sparse_csr(), x=x, edge_weight=None)
        size = (x.shape[self.node_dim],) * 2
        return self.propagate(self._rows(graph), x=x, edge_weight=weight, size=size)

    def message(self, x_j: Tensor, edge_weight: OptTensor) -> Tensor:
        """``w_ij x_j`` for every edge."""
        return x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(self, edge_index: Adj, x: Tensor) -> Tensor:
        """PyG's fused step for matrices; runs only where a hook on it asks for it."""
        return spmm(edge_index, x, reduce=self.aggr)


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    """The type that degrees are counted in: those of large nodes are infinite in float16."""
    return torch.promote_types(dtype, torch.float32)
