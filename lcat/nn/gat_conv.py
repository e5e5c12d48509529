"""GATConv: graph attention (v1)."""

from __future__ import annotations

from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.nn.inits import glorot, zeros
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size
from torch_geometric.utils import softmax

from lcat.nn._attention import AttentionConv, Edges, Nodes
from lcat.nn._checks import under_autocast
from lcat.nn._linear import is_plain
from lcat.ops import gat_attention

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class GATConv(AttentionConv):
    r"""Graph attention, `"Graph Attention Networks" <https://arxiv.org/abs/1710.10903>`_, as
    :class:`torch_geometric.nn.GATConv`: same arguments, same ``state_dict``, same numbers.

    .. math::
        x'_i = \sum_{j \in N(i) \cup \{i\}} w_{ij} \alpha_{ij} \Theta_s x_j, \qquad
        \alpha_{ij} = \mathrm{softmax}_j\, \mathrm{LeakyReLU}\!\left(
        a_s^\top \Theta_s x_j + a_t^\top \Theta_t x_i + a_e^\top \Theta_e e_{ij}\right)

    Beyond PyG's: ``edge_weight``, static graphs, CSC matrices, errors that say what is wrong.

    Args:
        in_channels: features of a node; -1 takes the size of the first input; a pair (sources, targets) makes two
            projections, for bipartite graphs.
        out_channels: features of a head, F.
        heads: number of heads, H.
        concat: concatenate the heads (else average them).
        negative_slope: LeakyReLU's slope below zero.
        dropout: probability of dropping an attention coefficient in training.
        add_self_loops: replace the graph's self-loops by one a node.
        edge_dim: features of an edge, D; ``None`` if there are none.
        fill_value: features of the added self-loops: a float, a tensor ``[D]``, or how to reduce the features of
            the edges that point to the node ("add", "mean", "min", "max", "mul").
        bias: add a learned bias.
        residual: add a learned linear map of the (target) features.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``aggr``, ``flow``).

    Shapes:
        - x: ``[N, in_channels]``, ``[B, N, in_channels]`` (B feature sets on one graph), or a pair (sources,
          targets or None)
        - edge_index: ``[2, E]`` integers, EdgeIndex, torch.sparse or SparseTensor matrix [targets, sources]
        - edge_attr: ``[E, D]``; edge_weight: ``[E]``
        - output: ``[N, H * F]`` (``[N, F]`` if not ``concat``), with a leading B for static graphs

    Complexity:
        O(N in_channels H F + E H F) time.

    Example:
        >>> import torch
        >>> from lcat.nn import GATConv
        >>> conv = GATConv(8, 4, heads=2)
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 8])
    """

    _ignores_unused_edge_attr = True

    lin: Any  # Linear or None, as lin_src and lin_dst
    lin_src: Any
    lin_dst: Any

    propagate_type = {"x": OptPairTensor, "alpha": Tensor}  # noqa: RUF012
    edge_updater_type = {"alpha": OptPairTensor, "edge_attr": OptTensor}  # noqa: RUF012

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        edge_dim: int | None = None,
        fill_value: float | Tensor | str = "mean",
        bias: bool = True,
        residual: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim, fill_value,
            residual, kwargs,
        )  # fmt: skip
        self._make_projections(separate=not isinstance(in_channels, int), bias=False)
        self.att_src = Parameter(torch.empty(1, heads, out_channels))
        self.att_dst = Parameter(torch.empty(1, heads, out_channels))
        if edge_dim is not None:
            self.lin_edge = Linear(edge_dim, heads * out_channels, bias=False, weight_initializer="glorot")
            self.att_edge = Parameter(torch.empty(1, heads, out_channels))
        else:
            self.lin_edge = None
            self.register_parameter("att_edge", None)
        self._make_output(bias)
        self.reset_parameters()

    def _make_projections(self, *, separate: bool, bias: bool) -> None:
        self.lin = self.lin_src = self.lin_dst = None
        if separate:
            self.lin_src = self._linear(0, bias=bias)
            self.lin_dst = self._linear(1, bias=bias)
        else:
            self.lin = self._linear(0, bias=bias)

    def reset_parameters(self) -> None:
        """Draw all parameters anew (Glorot for matrices and attention vectors, zero bias)."""
        super().reset_parameters()
        for linear in (self.lin, self.lin_src, self.lin_dst, self.lin_edge, self.res):
            if linear is not None:
                linear.reset_parameters()
        for attention in (self.att_src, self.att_dst, self.att_edge):
            glorot(attention)
        zeros(self.bias)

    def _maps(self) -> tuple[Any, ...]:
        return (self.lin,) if self.lin is not None else (self.lin_src, self.lin_dst)

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = None,
        size: Size = None,
        return_attention_weights: bool | None = None,
        edge_weight: OptTensor = None,
    ) -> Any:
        """Run the layer.

        Args:
            x: node features, see the class for shapes.
            edge_index: the edges in any format.
            edge_attr: features of the edges, for the score.
            size: numbers of (source, target) nodes, where ``x`` does not tell.
            return_attention_weights: if True, return ``(out, (edge_index, alpha))`` with ``alpha`` of shape
                ``[E', H]`` (``[B, E', H]`` for static graphs): what multiplies the values, that is after dropout
                and edge weights. The edges are those that the layer used: the input's without its self-loops, then
                the loops 0, 1, .... For a matrix: ``(out, (matrix with entries [H], alpha))``; for a
                SparseTensor: ``(out, SparseTensor)``.
            edge_weight: factors of the messages, after the softmax; added self-loops have weight 1.

        Raises:
            TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.
        """
        nodes = self._read_nodes(x, size, edge_index)
        messages = bool(return_attention_weights) or self._wants_messages()
        edges = self._read_edges(edge_index, nodes, edge_attr, edge_weight, size, messages)
        projected = self._project(nodes)
        values = self._values(nodes, projected)
        s_t = self._scalars(nodes, projected, edges)

        alpha = None
        if messages:
            pair = tuple(None if p is None else self._fold(p, nodes) for p in values)
            out, alpha = self._by_messages(edges, nodes, pair, {"alpha": s_t})
        else:
            out = self._by_ops(edges, nodes, values, s_t)
        return self._finish(out, nodes, edges, alpha if return_attention_weights else None)

    def _project(self, nodes: Nodes) -> tuple[Any, Any]:
        """``[.., N, H, F]`` projections at the two positions; one tensor twice where they are the same."""
        first, second = nodes.x
        lin0, lin1 = (self.lin, self.lin) if self.lin is not None else (self.lin_src, self.lin_dst)
        heads = (self.heads, self.out_channels)
        p0 = lin0(first).unflatten(-1, heads)
        if second is None:
            return p0, None
        if nodes.one_set and lin0 is lin1:
            return p0, p0
        return p0, lin1(second).unflatten(-1, heads)

    def _values(self, nodes: Nodes, projected: tuple[Any, Any]) -> tuple[Any, Any]:
        """What messages carry, at the sender's position; at the other, what ``message(x_i=...)`` would see."""
        del nodes
        return projected

    def _scalars(self, nodes: Nodes, projected: tuple[Any, Any], edges: Edges) -> tuple[Any, Any]:
        """``[N, H']`` scores of the nodes at the two positions."""
        del edges
        p0, p1 = projected
        s = self._scalar(nodes.x[0], p0, self.lin if self.lin is not None else self.lin_src, self.att_src)
        if nodes.x[1] is None:
            return self._fold(s, nodes), None
        t = self._scalar(nodes.x[1], p1, self.lin if self.lin is not None else self.lin_dst, self.att_dst)
        return self._fold(s, nodes), self._fold(t, nodes)

    def _scalar(self, x: Any, projected: Tensor, linear: Any, attention: Tensor) -> Tensor:
        """``a . Theta x`` for every node and head, [.., N, H].

        ``(a Theta) x`` is the same and reads ``x`` instead of the H times wider projection, forward and backward. Not
        under autocast, where it would round the scores to half precision, nor with a bias, whose gradient is a small
        difference of large terms and rounds less the other way.
        """
        if not self._folds(linear, x):
            return (projected * attention).sum(dim=-1)
        heads = (self.heads, self.out_channels)
        weight = (linear.weight.unflatten(0, heads) * attention.squeeze(0).unsqueeze(-1)).sum(dim=1)
        return F.linear(x, weight)

    @staticmethod
    def _folds(linear: Any, x: Any) -> bool:
        plain = is_plain(linear) and linear.bias is None
        return plain and x.layout == torch.strided and not under_autocast(x)

    def _strength(self) -> Tensor | float:
        """The factor of the score: 1 here, lambda1 in L-CAT."""
        return 1.0

    def _by_ops(
        self,
        edges: Edges,
        nodes: Nodes,
        values: tuple[Any, Any],
        s_t: tuple[Any, Any],
    ) -> Tensor:
        edge_score = self._edge_score(edges.attr, nodes)
        s, t = s_t
        strength = self._strength()
        if not isinstance(strength, float) or strength != 1.0:
            # A factor >= 0 may go inside LeakyReLU, so no kernel needs to know of it.
            s = strength * s
            t = None if t is None else strength * t
            edge_score = None if edge_score is None else strength * edge_score
        return gat_attention(
            s,
            t,
            self._fold(values[0], nodes),
            edges.graph,
            negative_slope=self.negative_slope,
            edge_score=edge_score,
            edge_weight=edges.weight,
            dropout=self.dropout if self.training else 0.0,
        )

    def _edge_score(self, edge_attr: Tensor | None, nodes: Nodes | None = None) -> Tensor | None:
        """``a_e . Theta_e e_ij`` for every edge and head, [E, H']."""
        if edge_attr is None or self.lin_edge is None:
            return None
        projected = self.lin_edge(edge_attr).unflatten(-1, (self.heads, self.out_channels))
        score = (projected * self.att_edge).sum(dim=-1)
        return score if nodes is None or nodes.batch is None else score.repeat(1, nodes.batch)

    def edge_update(
        self,
        alpha_j: Tensor,
        alpha_i: OptTensor,
        edge_attr: OptTensor,
        index: Tensor,
        ptr: OptTensor,
        dim_size: Optional[int],
    ) -> Tensor:
        """PyG's step: attention coefficients [E, H] from the scores of both ends."""
        alpha = alpha_j if alpha_i is None else alpha_j + alpha_i
        edge_score = self._edge_score(edge_attr)
        if edge_score is not None:
            alpha = alpha + edge_score.repeat(1, alpha.shape[1] // self.heads)
        alpha = self._strength() * F.leaky_relu(alpha, self.negative_slope)
        alpha = softmax(alpha, index, ptr, dim_size)
        return F.dropout(alpha, p=self.dropout, training=self.training)
