"""TransformerConv: attention by scaled dot products on the in-edges."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, OptTensor
from typing_extensions import Unpack

from lcat._edge_formats import EdgeList
from lcat.graph import Graph, graph_view
from lcat.nn import _checks
from lcat.nn._calls import CheckedCalls
from lcat.nn._head_maps import map_heads
from lcat.nn._linear import input_weight, is_plain, linear_weight, map_rows_together
from lcat.nn._options import (
    MessagePassingOptions,
    check_message_passing_options,
    check_message_passing_values,
    unusable_aggregation,
)
from lcat.nn._propagation import FusedPropagation
from lcat.nn._scripting import layer_of_pyg
from lcat.ops import dot_attention

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


def _steps(cls: type[MessagePassing]) -> tuple[Any, ...]:
    return cls.message, cls.aggregate, cls.update, cls.message_and_aggregate, cls.propagate


class TransformerConv(CheckedCalls, FusedPropagation, torch_geometric.nn.TransformerConv):
    r"""Attention of the Transformer, as :class:`torch_geometric.nn.TransformerConv`: same arguments, keys and numbers.

    From `"Masked Label Prediction: Unified Message Passing Model for Semi-Supervised Classification"
    <https://arxiv.org/abs/2009.03509>`_:

    .. math::
        x'_i = W_1 x_i + \sum_{j \in N(i)} \alpha_{ij} \left(W_2 x_j + W_6 e_{ij}\right), \qquad
        \alpha_{ij} = \mathrm{softmax}_j \frac{(W_3 x_i)^\top (W_4 x_j + W_6 e_{ij})}{\sqrt{F}} .

    Edge features never become a tensor of the size of all heads per edge, however many there are:
    :func:`lcat.ops.dot_attention` takes them as they are, and the map :math:`W_6` changes places with the products and
    sums (on the side of the nodes). The layer is a subclass of PyG's; it runs PyG's steps where someone looks at
    messages (hooks, explainers, ``return_attention_weights``) or where a step, the aggregation or ``lin_edge`` was
    replaced.

    Args:
        in_channels: features per node; -1 takes the size of the first input; a pair (sources, targets) for
            bipartite graphs.
        out_channels: features per head, F.
        heads: number of heads, H.
        concat: concatenate the heads (else average them).
        beta: weigh the sum and the own features by a gate, :math:`\beta_i W_1 x_i + (1 - \beta_i) m_i`.
        dropout: probability of dropping an attention coefficient in training.
        edge_dim: features per edge, D; ``None`` if there are none; -1 takes the size of the first ones.
        bias: biases in the maps of nodes.
        root_weight: add :math:`W_1 x_i`; without it, there is no ``beta`` either.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``aggr``, ``flow``).

    Shapes:
        - ``x``: ``[N, in_channels]``, or a pair ``([N_source, in_channels[0]], [N_target, in_channels[1]])``
        - ``edge_attr``: ``[E, D]``, or ``[E]`` for D = 1
        - output: ``[N_target, H F]``, or ``[N_target, F]`` without ``concat``

    Complexity:
        O(N in_channels H F + N H F D + E H (F + D)) time, O(N H (F + D)) memory beside the inputs.

    Example:
        >>> import torch
        >>> from lcat.nn import TransformerConv
        >>> conv = TransformerConv(8, 4, heads=2, edge_dim=3)
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> conv(torch.randn(3, 8), edge_index, edge_attr=torch.randn(3, 3)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        beta: bool = False,
        dropout: float = 0.0,
        edge_dim: int | None = None,
        bias: bool = True,
        root_weight: bool = True,
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        name = type(self).__name__
        check_message_passing_options(type(self), kwargs)
        if kwargs.pop("node_dim", 0) != 0:
            raise ValueError(f"'node_dim' of {name} takes 0 only: leave it out")
        check_message_passing_values(type(self), kwargs)
        sizes = {
            "in_channels": _checks.read_channels(name, in_channels),
            "out_channels": _checks.read_size(name, "out_channels", out_channels),
            "heads": _checks.read_size(name, "heads", heads),
            "dropout": _checks.read_probability(name, "dropout", dropout),
            "edge_dim": _checks.read_edge_dim(name, edge_dim),
        }
        switches = {"concat": concat, "beta": beta, "bias": bias, "root_weight": root_weight}
        flags = {flag: _checks.read_flag(name, flag, value) for flag, value in switches.items()}
        try:
            super().__init__(**sizes, **flags, **kwargs)
        except (TypeError, ValueError) as error:  # only the aggregation is not checked
            raise type(error)(unusable_aggregation(type(self), kwargs, error)) from None

    def forward(
        self,
        x: Any,
        edge_index: Adj,
        edge_attr: OptTensor = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Run the layer.

        Args:
            x: features of the nodes, or a pair of those of sources and of targets.
            edge_index: the edges in any format that PyG knows; the entries of a matrix are edge features where the
                layer has ``edge_dim`` and there are several per edge (in a SparseTensor also single ones).
            edge_attr: features of the edges, in their order.
            return_attention_weights: ``True`` or ``False``, as in PyG, return ``(out, (edge_index, alpha))`` with
                ``alpha`` ``[E, H]``, or ``(out, adj_t)`` for a SparseTensor.

        Raises:
            TypeError, ValueError: an argument is of another kind, shape, type or device than the layer takes.
            IndexError: an edge leaves the graph.
        """
        pair = x if isinstance(x, (tuple, list)) else (x, x)
        self._check_nodes(x, pair, edge_index)
        graph, edge_list = graph_view(edge_index, pair[0].shape[0], pair[1].shape[0], flow=self.flow)
        _checks.check_edge_device(type(self).__name__, edge_list, pair[0].device)
        edge_attr = self._read_edge_attr(edge_attr, edge_list, pair[0])
        if return_attention_weights is not None or self._wants_messages() or not self._maps_edges_plainly():
            return super().forward(pair, edge_index, edge_attr, return_attention_weights)
        query, key, value, own = self._project(pair)
        out = self._attend(query, key, value, graph, edge_attr)
        return self._finish(out, own, is_new=edge_attr is not None)

    def __prepare_scriptable__(self) -> Any:
        """``torch.jit.script`` gets PyG's layer, whose steps it can compile."""
        return layer_of_pyg(self)

    def _check_nodes(self, x: Any, pair: Any, edge_index: Any) -> None:
        """``x`` is one tensor of features or a pair of them, as the layer takes them."""
        name = type(self).__name__
        if len(pair) != 2:
            raise ValueError(f"'x' of {name} is a tuple of {len(pair)}; it takes a tensor or (x_source, x_target)")
        both = isinstance(self.in_channels, (tuple, list))
        channels = self.in_channels if both else (self.in_channels, self.in_channels)
        if x is not pair and both and channels[0] != channels[1] and -1 not in channels:
            raise ValueError(
                f"'x' of {name} is one tensor, but the layer was made for two kinds of nodes, "
                f"in_channels={self.in_channels}: pass (x_source, x_target)"
            )
        for side, features in enumerate(pair if x is pair else pair[:1]):
            argument = f"x[{side}]" if x is pair else "x"
            if features is None and side == 1:
                raise ValueError(f"'x[1]' of {name} is None; it takes features of targets, which make the queries")
            _checks.check_features(
                name,
                argument,
                features,
                channels=channels[side],
                weight=input_weight(self.lin_key if side == 0 else self.lin_query),
                edge_index=edge_index,
            )
            if features.dim() != 2:
                raise ValueError(f"'{argument}' of {name} has shape {list(features.shape)}; it takes [N, features]")

    def _read_edge_attr(self, edge_attr: Any, edge_list: EdgeList, x: Tensor) -> Tensor | None:
        """The features of the edges, [E, D]; ``None`` if the layer uses none."""
        name = type(self).__name__
        if self.lin_edge is None:
            if edge_attr is not None:
                _checks.check_edge_tensor(name, "edge_attr", edge_attr, edge_list, device=x.device, dims=(1, 2))
                raise ValueError(
                    f"{name} got 'edge_attr' of shape {list(edge_attr.shape)}, but was made with edge_dim=None: make "
                    f"it with edge_dim={edge_attr.shape[-1] if edge_attr.dim() > 1 else 1} to use edge features"
                )
            return None
        if edge_list.layout != "edge_index" and edge_attr is None:
            entries = edge_list.values
            if entries is not None and (edge_list.layout == "SparseTensor" or entries.dim() > 1):
                edge_attr = entries
        if edge_attr is None:
            raise ValueError(
                f"'edge_attr' of {name} is missing: the layer was made with edge_dim={self.edge_dim}; pass the "
                f"features of the edges, or make it with edge_dim=None"
            )
        _checks.check_edge_tensor(name, "edge_attr", edge_attr, edge_list, device=x.device, dims=(1, 2))
        features: Tensor = edge_attr.view(-1, 1) if edge_attr.dim() == 1 else edge_attr
        weight = input_weight(self.lin_edge)
        if weight is None:
            return features  # a user's map, which may take another width and integers
        if is_plain(self.lin_edge) and features.shape[1] != weight.shape[1]:
            raise ValueError(
                f"'edge_attr' of {name} has {features.shape[1]} features per edge (shape {list(features.shape)}), but "
                f"the layer was made with edge_dim={self.edge_dim}"
                + ("" if self.edge_dim == weight.shape[1] else f", and its first edge features had {weight.shape[1]}")
            )
        _checks.check_edge_features(name, "edge_attr", features, x, weight)
        return features

    def _wants_messages(self) -> bool:
        """Whether messages must exist: somebody looks at them, or a step or the aggregation is another one."""
        return super()._wants_messages() or _steps(type(self)) != _SHIPPED or self._reduction() != "sum"

    def _maps_edges_plainly(self) -> bool:
        """Whether ``lin_edge``, if there is one, is a product with its weight and nothing more."""
        return self.lin_edge is None or (is_plain(self.lin_edge) and self.lin_edge.bias is None)

    def _project(self, pair: Any) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries, keys and values ``[N, H, F]``, and the own features of the targets, if the layer adds them."""
        of_sources, of_targets = [self.lin_key, self.lin_value], [self.lin_query]
        if self.root_weight:
            of_targets.append(self.lin_skip)
        if pair[0] is pair[1]:
            key, value, query, *own = map_rows_together([*of_sources, *of_targets], pair[0])
        else:
            key, value = map_rows_together(of_sources, pair[0])
            query, *own = map_rows_together(of_targets, pair[1])
        shape = (-1, self.heads, self.out_channels)
        return query.view(shape), key.view(shape), value.view(shape), own[0] if own else None

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, graph: Graph, edge_attr: Tensor | None) -> Tensor:
        """The weighted sums of values and edge features, [N_target, H, F]."""
        options = {"scale": self.out_channels**-0.5, "dropout": self.dropout if self.training else 0.0}
        out: Tensor
        if edge_attr is None:
            out = dot_attention(query, key, value, graph, **options)
            return out
        # <q, k + W e> = <q, k> + <W^T q, e>, and the sum of p (v + W e) is that of p v, and W times that of p e.
        matrix = self.lin_edge.weight.view(self.heads, self.out_channels, -1)
        query_edge = map_heads(query, matrix)
        out, attended = dot_attention(query, key, value, graph, edge_attr=edge_attr, query_edge=query_edge, **options)
        return out + map_heads(attended, matrix.transpose(1, 2))

    def _finish(self, out: Tensor, own: Tensor | None, is_new: bool) -> Tensor:
        """Heads together, and the own features of the nodes."""
        out = out.flatten(1) if self.concat else out.mean(dim=1)
        if own is None:
            # Kernels keep their output for the backward pass; an in-place activation must not hit it.
            return out.clone() if self.concat and not is_new and out.requires_grad else out
        if self.lin_beta is None:
            return out + own
        beta: Tensor = self.lin_beta(torch.cat([out, own, out - own], dim=-1)).sigmoid()
        return beta * own + (1 - beta) * out

    def _changed_since_made(self) -> str | None:
        """Maps that are gone, or of another shape or type than the layer was made with."""
        name, width = type(self).__name__, self.heads * self.out_channels
        both = self.in_channels if isinstance(self.in_channels, (tuple, list)) else (self.in_channels,) * 2
        widths = {"lin_key": (both[0], width), "lin_value": (both[0], width), "lin_query": (both[1], width)}
        widths |= {"lin_skip": (both[1], width if self.concat else self.out_channels)}
        if self.lin_edge is not None:
            widths["lin_edge"] = (-1 if self.edge_dim is None else self.edge_dim, width)
        dtype = next((p.dtype for p in self.parameters()), torch.float32)
        for part, channels in widths.items():
            linear = getattr(self, part, None)
            if linear is None:
                return f"{part!r} of {name} is None; it takes a linear map to {channels[1]} features: put one there"
            weight = linear_weight(linear)
            problem = None
            if weight is not None:
                problem = _checks.changed_weight(name, part, weight, channels=channels, dtype=dtype)
            if problem is not None:
                return problem
        return None


_SHIPPED = _steps(TransformerConv)
