"""GCNConv: graph convolution with symmetric normalization."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.nn.inits import zeros
from torch_geometric.typing import Adj, OptTensor
from torch_geometric.utils import spmm
from typing_extensions import Unpack

from lcat._edge_formats import EdgeList
from lcat._tracing import is_jit_tracing, is_traced, outside_inference_mode
from lcat.graph import Graph
from lcat.nn import _checks
from lcat.nn._gcn_cache import GCNCache
from lcat.nn._gcn_norm import NormalizedEdges, inverse_sqrt_degree, normalized_per_edge, normalized_per_node
from lcat.nn._inputs import read_edge_weight, read_graph
from lcat.nn._linear import input_weight, is_plain, linear_weight, map_rows
from lcat.nn._message_passing import DropInConv, matrix_of
from lcat.nn._options import MessagePassingOptions, check_message_passing_options
from lcat.nn.neighborhood_statistic import StatisticInputs
from lcat.ops import aggregate, is_transformed

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class GCNConv(GCNCache, DropInConv):
    r"""Graph convolution, as :class:`torch_geometric.nn.GCNConv`: same arguments, ``state_dict`` and numbers.

    From `"Semi-supervised Classification with Graph Convolutional Networks" <https://arxiv.org/abs/1609.02907>`_:

    .. math::
        x'_i = \Theta \sum_{j \in N(i) \cup \{i\}} \frac{w_{ij}}{\sqrt{\hat d_j \hat d_i}} x_j, \qquad
        \hat d_i = \sum_{j \in N(i) \cup \{i\}} w_{ij}

    All formats of edges give the same numbers; the entries of a matrix are edge weights. PyG's GCNConv gives other
    numbers for a torch.sparse matrix than for the same ``edge_index`` when the graph has self-loops or duplicate
    edges; this one gives those of ``edge_index``.

    Args:
        in_channels: features per node; -1 takes the size of the first input.
        out_channels: features of the output.
        improved: give added self-loops the weight 2 instead of 1; as in PyG, only where there are edge weights. A
            matrix has some, so a matrix of ones gives other numbers than a plain ``edge_index``, which has none.
        cached: compute the normalization once and keep it for all later calls (one fixed graph). A call with
            another number of nodes raises instead of giving wrong numbers. Normalizations without edge weights are
            cached with the graph in any case.
        add_self_loops: add a self-loop to every node that has none (existing ones keep their weight); ``None``
            means the value of ``normalize``.
        normalize: apply the symmetric normalization.
        bias: add a learned bias.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``aggr``, ``flow``, ``node_dim``,
            ``decomposed_layers``).

    Shapes:
        - x: ``[N, in_channels]``, or ``[..., N, in_channels]``: feature sets on one graph, with any leading dimensions
        - edge_index: ``[2, E]`` integers, EdgeIndex, torch.sparse or SparseTensor matrix [targets, sources], whose
          entries are the edge weights
        - edge_weight: ``[E]``
        - output: ``[N, out_channels]``, with the leading dimensions of ``x``

    Complexity:
        O(N in_channels out_channels + E out_channels) time.

    Example:
        >>> import torch
        >>> from lcat.nn import GCNConv
        >>> conv = GCNConv(8, 4)
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        improved: bool = False,
        cached: bool = False,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        name = type(self).__name__
        if isinstance(in_channels, (tuple, list)):
            raise ValueError(
                f"'in_channels' of {name} is {in_channels!r}; it takes an int: this layer has no bipartite form, "
                f"SAGEConv, GraphConv and GATConv have"
            )
        check_message_passing_options(type(self), kwargs)
        in_channels = _checks.read_size_or_lazy(name, "in_channels", in_channels)
        out_channels = _checks.read_size(name, "out_channels", out_channels)
        improved, cached = _checks.read_flag(name, "improved", improved), _checks.read_flag(name, "cached", cached)
        normalize, bias = _checks.read_flag(name, "normalize", normalize), _checks.read_flag(name, "bias", bias)
        if add_self_loops is not None:
            add_self_loops = _checks.read_flag(name, "add_self_loops", add_self_loops)
        kwargs.setdefault("aggr", "add")
        super().__init__(**kwargs)
        if add_self_loops is None:
            add_self_loops = normalize
        if add_self_loops and not normalize:
            raise ValueError(
                f"'{name}' does not support adding self-loops to the graph when no on-the-fly normalization is "
                f"applied: use normalize=True, or add_self_loops=False and your own loops"
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
        self._cached_nodes: Any = None
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
        self._forget_edges()

    def forward(self, x: Tensor, edge_index: Adj, edge_weight: OptTensor = None, statistic: OptTensor = None) -> Tensor:
        """Run the layer.

        Args:
            x: node features.
            edge_index: the edges in any format.
            edge_weight: weights of the edges; ``None`` means 1, or the entries of a matrix, whose place it takes.
            statistic: ``[N]``, what :meth:`neighborhood_statistic` returns for all edges of a graph, where
                ``edge_index`` has only some of them.

        Raises:
            TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.
        """
        # torch.jit forgot it in its __all__.
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            assert statistic is None, "a scripted GCNConv takes no statistic"
            return self._scripted(x, edge_index, edge_weight)
        return self._forward(x, edge_index, edge_weight, statistic)

    @torch.jit.unused
    def _forward(self, x: Tensor, edge_index: Adj, edge_weight: OptTensor, statistic: OptTensor) -> Tensor:
        linear = self.lin
        weight = input_weight(linear)
        self._check_features(x, edge_index, weight)
        messages = self._wants_messages()
        plain = weight is not None and is_plain(linear)
        # What another map takes and makes, only its output tells; the layer's own is applied where that is cheapest.
        mapped = self._mapped(x) if weight is None else None
        like = x if mapped is None or x.is_floating_point() or x.is_complex() else mapped
        edges = self._normalized_edges(like, edge_index, edge_weight, statistic, messages=messages)
        if messages:
            out = self._by_messages(map_rows(linear, x) if mapped is None else mapped, edges)
        elif plain and x.layout is torch.strided and self._sums_before_map(x, linear):
            out = linear(self._sum(x, edges))
            factor = edges.weight if edges.scale is None else edges.scale
            if factor is not None and factor.dtype != out.dtype:
                # Under autocast the map makes half precision; messages of the type of their factors, as in PyG.
                out = out.to(torch.promote_types(out.dtype, factor.dtype))
        else:
            out = self._sum(map_rows(linear, x) if mapped is None else mapped, edges)
        return self._with_bias(out, alone=plain and not messages)

    def _mapped(self, x: Tensor) -> Tensor:
        """What a map that a user has put in the place of ``lin`` makes of the features."""
        name = type(self).__name__
        if self.lin is None:
            raise ValueError(f"'lin' of {name} is None; it takes a linear map of nodes: put one there")
        out: Tensor = self.lin(x)
        _checks.check_mapped(name, "lin", out)
        counts_nodes = x.is_floating_point() or x.is_complex()  # what an embedding takes may have one dimension less
        if out.dim() < 2 or (counts_nodes and x.dim() > 1 and out.shape[self.node_dim] != x.shape[self.node_dim]):
            raise ValueError(
                f"the map in the place of 'lin' of {name} returned shape {list(out.shape)} for 'x' of shape "
                f"{list(x.shape)}; expected [N, {self.out_channels}], one row per node"
            )
        if self.bias is not None and out.shape[-1] != self.bias.shape[0]:
            raise ValueError(
                f"the map in the place of 'lin' of {name} returned {out.shape[-1]} features per node "
                f"(shape {list(out.shape)}); expected out_channels={self.bias.shape[0]}: replace it by one of that "
                f"width, or set 'bias' to None"
            )
        return out

    def _changed_since_made(self) -> str | None:
        """The shape and type of the weight and the bias; other maps are checked by what they return."""
        name, weight, problem = type(self).__name__, linear_weight(self.lin), super()._changed_since_made()
        if problem is None and weight is not None:
            dtype = weight.dtype if self.bias is None else self.bias.dtype
            problem = _checks.changed_weight(
                name, "lin", weight, channels=(self.in_channels, self.out_channels), dtype=dtype
            )
        if problem is None and self.bias is not None and self.bias.numel() not in (1, self.out_channels):
            problem = f"'bias' of {name} has shape {list(self.bias.shape)}; it takes [{self.out_channels}], or be None"
        return problem

    def neighborhood_statistic(self, x: Tensor, edge_index: Adj, edge_weight: OptTensor = None) -> Tensor | None:
        r""":math:`1 / \sqrt{\hat d_i}` of each node; see :class:`lcat.nn.NeighborhoodStatistic`.

        Args:
            x: ``[N, in_channels]``, for the number of nodes, the dtype and the device.
            edge_index: the edges in any format.
            edge_weight: weights of the edges.

        Returns:
            ``[N]``, in float32 at least, for ``forward(..., statistic=)``; ``None`` with ``normalize=False``.
        """
        weight = input_weight(self.lin)
        self._check_features(x, edge_index, weight)
        if not self.normalize:
            return None
        if weight is None and not (x.is_floating_point() or x.is_complex()):
            x = self._mapped(x)
        graph, _, weight = self._read_edges(x, edge_index, edge_weight)
        return inverse_sqrt_degree(graph, weight, x.dtype, add_self_loops=self.add_self_loops, improved=self.improved)

    @property
    def statistic_depends_on(self) -> StatisticInputs | None:
        """``"edges"``, as a message is scaled by the degree of its source; ``None`` with ``normalize=False``."""
        return "edges" if self.normalize else None

    def _check_features(self, x: Any, edge_index: Any, weight: Tensor | None) -> None:
        name = type(self).__name__
        if isinstance(x, (tuple, list)):
            raise ValueError(
                f"'{name}' received a tuple of node features as input while this layer does not support bipartite "
                f"message passing. Please try other layers such as 'SAGEConv' or 'GraphConv' instead"
            )
        _checks.check_features(
            name, "x", x, channels=self.in_channels, weight=weight, edge_index=edge_index, has_scores=False
        )

    def _with_bias(self, out: Tensor, *, alone: bool) -> Tensor:
        """In place where nobody else holds ``out`` (``alone``): one tensor less to write."""
        bias = self.bias
        if bias is None:
            return out
        alone = alone and out.dtype is bias.dtype and not torch.compiler.is_compiling()
        if not alone or is_transformed(out, bias):
            if bias.numel() != out.shape[-1]:
                _checks.check_bias(type(self).__name__, bias, out.shape[-1], out)
            return out + bias
        return out.add_(bias)

    def _sums_before_map(self, x: Tensor, linear: Any) -> bool:
        """The sum is linear: take it where fewer numbers pass along the edges, forward and backward.

        A map that somebody has replaced, or looks at, gets ``x`` as in PyG: this is for a plain one.
        """
        if is_jit_tracing() or linear.bias is not None:  # a trace may run in another mode
            return False
        grad = torch.is_grad_enabled()
        return x.shape[-1] * (1 + (grad and x.requires_grad)) <= self.out_channels * (1 + grad)

    def _sum(self, x: Tensor, edges: NormalizedEdges) -> Tensor:
        node_dim = self.node_dim % x.dim()  # torch's first ONNX exporter writes a negative one as it is
        scale = edges.scale
        if node_dim == 0:
            return aggregate(x, edges.graph, edges.weight, scale, scale)
        return aggregate(x.movedim(node_dim, 0), edges.graph, edges.weight, scale, scale).movedim(0, node_dim)

    def _scripted(self, x: Tensor, edge_index: Adj, edge_weight: OptTensor) -> Tensor:
        """PyG's own steps, which TorchScript can compile; only edge_index as a plain tensor, nothing is cached."""
        assert isinstance(edge_index, Tensor)
        if self.normalize:
            edge_index, edge_weight = gcn_norm(
                edge_index, edge_weight, x.size(self.node_dim), self.improved, self.add_self_loops, self.flow, x.dtype
            )
        if edge_weight is None:
            edge_weight = torch.ones(edge_index.size(1), dtype=x.dtype, device=x.device)
        # propagate_type: (x: Tensor, edge_weight: OptTensor)
        out = self._scripted_propagate(edge_index, x=self.lin(x), edge_weight=edge_weight)
        bias = self.bias
        if bias is not None:
            out = out + bias
        result: Tensor = out
        return result

    def __prepare_scriptable__(self) -> GCNConv:
        """``torch.jit.script`` cannot type the arguments of PyG's ``propagate``: it gets the code that PyG generates.

        It is made here and not for every class, see :class:`~lcat.nn._message_passing.DropInConv`.
        """
        cls = type(self)
        if cls.forward is not GCNConv.forward:  # has its own call of ``propagate``, which must be the generated one
            MessagePassing._set_jittable_templates(self, raise_on_error=True)
            return self
        code = cls.propagate
        if code is MessagePassing.propagate:
            generated = copy.copy(self)
            generated.__class__ = type(cls.__name__, (cls,), {"__module__": cls.__module__})
            MessagePassing._set_jittable_templates(generated, raise_on_error=True)
            code = type(generated).propagate
            cls.collect = type(generated).collect
        cls._scripted_propagate = FunctionType(code.__code__, code.__globals__, "_scripted_propagate")
        cls._scripted_propagate.__defaults__ = code.__defaults__
        cls._scripted_propagate.__annotations__ = code.__annotations__
        return self

    def _normalized_edges(
        self, x: Tensor, edge_index: Any, edge_weight: Any, statistic: Tensor | None, *, messages: bool
    ) -> NormalizedEdges:
        """The edges and what multiplies their messages, from the layer's own cache if it has one."""
        num_nodes = x.shape[self.node_dim]
        if statistic is not None:
            needed = self.normalize and not self.cached
            _checks.check_statistic(type(self).__name__, statistic, num_nodes if needed else None)
            _checks.check_scale(type(self).__name__, statistic, x)
        cached = self._edges_from_cache(edge_index, num_nodes, messages=messages) if self.normalize else None
        if cached is not None:
            graph, _, weight = self._read_edges(x, cached.edges, cached.weight)
            return NormalizedEdges(graph, cached.edge_list, weight)
        graph, edge_list, weight = self._read_edges(x, edge_index, edge_weight)
        if not self.normalize:
            return NormalizedEdges(graph, edge_list, weight)
        if weight is None and not self.cached and not messages:
            graph, scale = normalized_per_node(graph, x.dtype, add_self_loops=self.add_self_loops, statistic=statistic)
            return NormalizedEdges(graph, edge_list, None, scale)
        keeps = self.cached and not is_traced()
        with outside_inference_mode() if keeps else nullcontext():
            graph, factor = normalized_per_edge(
                graph, weight, x.dtype,
                add_self_loops=self.add_self_loops, improved=self.improved, statistic=statistic,
            )  # fmt: skip
            if keeps:
                self._keep_edges(graph, factor, edge_list)
        return NormalizedEdges(graph, edge_list, factor)

    def _read_edges(self, x: Tensor, edge_index: Any, edge_weight: Any) -> tuple[Graph, EdgeList, Tensor | None]:
        """The checked edges, as they were passed, and their weights, [E], if they have any."""
        num_nodes = x.shape[self.node_dim]
        graph, edge_list = read_graph(self, edge_index, (num_nodes, num_nodes), x.device)
        if edge_weight is None:
            edge_weight = edge_list.values
        if edge_weight is None:
            return graph, edge_list, None
        if isinstance(edge_weight, Tensor) and edge_weight.dim() == 2 and not edge_weight.is_nested:
            edge_weight = edge_weight.squeeze(1) if edge_weight.shape[1] == 1 else edge_weight
        return graph, edge_list, read_edge_weight(self, edge_weight, edge_list, x)

    def _by_messages(self, x: Tensor, edges: NormalizedEdges) -> Tensor:
        """PyG's steps: every message is formed, or a matrix multiplies ``x`` where that step was replaced or hooked."""
        graph, edge_list, weight = edges.graph, edges.edge_list, edges.weight
        edge_index: Any = graph.edge_index(self.flow)
        if edge_list is not None and self._multiplies_matrix(edge_list):
            edge_index, _ = matrix_of(edge_list, edge_index, weight, (graph.num_targets, graph.num_sources))
            weight = None
        out: Tensor = self.propagate(edge_index, x=x, edge_weight=weight)
        return out

    def message(self, x_j: Tensor, edge_weight: OptTensor) -> Tensor:
        """``w_ij x_j`` for every edge."""
        out: Tensor = x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j
        return out

    def message_and_aggregate(self, edge_index: Adj, x: Tensor) -> Tensor:
        """PyG's fused step for matrices; runs only where a subclass replaces it or a hook asks for it."""
        out: Tensor = spmm(edge_index, x, reduce=self.aggr)
        return out
