"""GATConv: graph attention (v1)."""

from __future__ import annotations

from typing import Any, Literal, Optional, overload

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.nn.inits import glorot, zeros
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size, SparseTensor
from typing_extensions import Unpack

from lcat.nn._attention import AttentionConv
from lcat.nn._checks import under_autocast
from lcat.nn._inputs import AttentionEdges, FillValue, LayerOutput, Nodes
from lcat.nn._linear import is_plain, map_rows
from lcat.nn._messages import softmax_of_kept
from lcat.nn._options import AttentionOptions
from lcat.ops import gat_attention, gat_attention_of_values, gat_scores

# Projections that are this many times as wide as the input cost more to read than the input times a folded matrix: a
# step reads and writes each four times, but the folded product takes some thirty operations more, which small graphs
# feel, and the input up to twelve times where it needs a gradient of its own.
_WIDER = 4

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class GATConv(AttentionConv):
    r"""Graph attention (v1), as :class:`torch_geometric.nn.GATConv`: same arguments, ``state_dict`` and numbers.

    From `"Graph Attention Networks" <https://arxiv.org/abs/1710.10903>`_:

    .. math::
        x'_i = \sum_{j \in N(i) \cup \{i\}} w_{ij} \alpha_{ij} \Theta_s x_j, \qquad
        \alpha_{ij} = \mathrm{softmax}_j\, \mathrm{LeakyReLU}\!\left(
        a_s^\top \Theta_s x_j + a_t^\top \Theta_t x_i + a_e^\top \Theta_e e_{ij}\right)

    More than PyG's: ``edge_weight``, static graphs, CSC matrices, errors that say what is wrong.

    Args:
        in_channels: features per node; -1 takes the size of the first input; a pair (sources, targets) makes two
            projections, for bipartite graphs.
        out_channels: features per head, F.
        heads: number of heads, H.
        concat: concatenate the heads (else average them).
        negative_slope: LeakyReLU's slope below zero.
        dropout: probability of dropping an attention coefficient in training.
        add_self_loops: replace the graph's self-loops by one per node.
        edge_dim: features per edge, D; ``None`` if there are none; -1 and, as in PyG, 0 take the size of the
            first ones.
        fill_value: features of the added self-loops: a float, a tensor ``[D]``, or how to reduce the features of
            the edges that point to the node ("add", "mean", "min", "max", "mul").
        bias: add a learned bias.
        residual: add a learned linear map of the (target) features.
        separate_self: keyword; put a node's own features beside what it attends to, and mix both by a matrix:
            :math:`x'_i = W [h_i \Vert \sum_j w_{ij} \alpha_{ij} h_j]`. Heads are put together first, residual and bias
            added last. :math:`h_i` is what the node itself sends; in a bipartite graph, the target's projection, or 0
            where it has no features. :math:`W` is ``lin_mix``. From `"A critical look at the evaluation of GNNs under
            heterophily" <https://arxiv.org/abs/2302.11640>`_ (GAT-sep), which has no self-loops.
        symmetric_norm: keyword; multiply the attention by :math:`\sqrt{d_i / d_j}`, with the in-degrees :math:`d` that
            the layer's self-loops are part of; with edge weights by :math:`n_i / \sqrt{d_i d_j}`, where :math:`n_i` is
            the number of in-edges and :math:`d` the sum of their weights. Equal coefficients become those of
            :class:`~lcat.nn.GCNConv`. In a bipartite graph :math:`d_j` is the out-degree of the source; where
            :math:`d_j = 0`, the factor is 0, as in GCN. A sampled batch has its own degrees.
        edge_dropout: keyword; probability of leaving out an edge (self-loops included) in training, before the softmax:
            the attention of the others still sums to 1. A node without in-edges gets 0. Averages of CAT and L-CAT, and
            the degrees of ``symmetric_norm``, are over all edges.
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
    _score_argument = "alpha"
    _passes_size = True

    lin: Any  # Linear or None, as lin_src and lin_dst
    lin_src: Any
    lin_dst: Any

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
        fill_value: FillValue = "mean",
        bias: bool = True,
        residual: bool = False,
        **kwargs: Unpack[AttentionOptions],
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            heads=heads,
            concat=concat,
            negative_slope=negative_slope,
            dropout=dropout,
            add_self_loops=add_self_loops,
            edge_dim=edge_dim,
            fill_value=fill_value,
            residual=residual,
            **kwargs,
        )
        self._make_projections(separate=not isinstance(self.in_channels, int), bias=False)
        shape = (1, self.heads, self.out_channels)
        self.att_src = Parameter(torch.empty(shape))
        self.att_dst = Parameter(torch.empty(shape))
        if self.edge_dim is not None:
            width = self.heads * self.out_channels
            self.lin_edge = Linear(self.edge_dim, width, bias=False, weight_initializer="glorot")
            self.att_edge = Parameter(torch.empty(shape))
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

    def _attention_weight(self) -> Tensor:
        return self.att_src

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = ...,
        size: Size = ...,
        return_attention_weights: Literal[False] | None = ...,
        edge_weight: OptTensor = ...,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Tensor,
        edge_attr: OptTensor = ...,
        size: Size = ...,
        return_attention_weights: Literal[True] = ...,
        edge_weight: OptTensor = ...,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]: ...

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: SparseTensor,
        edge_attr: OptTensor = ...,
        size: Size = ...,
        return_attention_weights: Literal[True] = ...,
        edge_weight: OptTensor = ...,
    ) -> tuple[Tensor, SparseTensor]: ...

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = ...,
        size: Size = ...,
        return_attention_weights: bool | None = ...,
        edge_weight: OptTensor = ...,
    ) -> LayerOutput: ...

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = None,
        size: Size = None,
        return_attention_weights: bool | None = None,
        edge_weight: OptTensor = None,
    ) -> LayerOutput:
        """Run the layer. The steps are listed in ``AttentionConv._forward`` (``lcat/nn/_attention.py``).

        Args:
            x: node features, see the class for shapes.
            edge_index: the edges in any format.
            edge_attr: features of the edges, for the score.
            size: numbers of (source, target) nodes, where ``x`` does not state them.
            return_attention_weights: if True, return ``(out, (edge_index, alpha))`` with ``alpha`` of shape
                ``[E', H]`` (``[B, E', H]`` for static graphs): what multiplies the values, that is after dropout
                and edge weights. The edges are those that the layer used: the input's without its self-loops, then
                the loops 0, 1, .... For a matrix: ``(out, (matrix with entries [H], alpha))``; for a
                SparseTensor: ``(out, SparseTensor)``.
            edge_weight: factors of the messages, after the softmax; added self-loops have weight 1.

        Raises:
            TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.
        """
        out: LayerOutput = self._forward(
            x,
            edge_index,
            edge_attr=edge_attr,
            edge_weight=edge_weight,
            size=size,
            return_attention_weights=return_attention_weights,
        )
        return out

    def _project(self, nodes: Nodes) -> tuple[Tensor, Tensor | None]:
        """Step 2: the projections [.., N, H, F] of sources and targets; one tensor twice where they are the same."""
        first, second = nodes.x
        maps = self._maps()
        source = self._by_head(map_rows(maps[0], first), nodes, 0)
        if second is None:
            return source, None
        if nodes.one_set and len(maps) == 1:
            return source, source
        return source, self._by_head(map_rows(maps[-1], second), nodes, 1)

    def _score_inputs(
        self, nodes: Nodes, projected: tuple[Tensor, Tensor | None] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Step 4: the scalars ``a_s . Theta x`` of sources and ``a_t . Theta x`` of targets, [.., N, H]."""
        maps = self._maps()
        if projected is None and not all(self._folds(linear, nodes.x[0]) for linear in maps):
            projected = self._project(nodes)
        source, target = (None, None) if projected is None else projected
        if source is not None and source is target and self._scores_projected(nodes):
            return gat_scores(source, self.att_src, self.att_dst)  # type: ignore[return-value]
        s = self._scalar(nodes.x[0], source, linear=maps[0], attention=self.att_src)
        if nodes.x[1] is None:
            return s, None
        return s, self._scalar(nodes.x[1], target, linear=maps[-1], attention=self.att_dst)

    def _along(self, per_head: Tensor, rows: Tensor) -> Tensor:
        """Numbers of heads beside the scalars of the score, whose last dimension is a multiple of the heads."""
        if per_head.dim() == 0:
            return per_head
        return per_head.to(rows.dtype).repeat(rows.shape[-1] // max(per_head.shape[0], 1))

    def _scores_projected(self, nodes: Nodes) -> bool:
        """Step 4: whether scores are computed from the projections of one set of nodes, by kernels made for it.

        That is one pass over them. Where they are much wider than ``x``, a product of ``x`` with a folded matrix reads
        less, see :meth:`_scalar`.
        """
        x, att_source, att_target = nodes.x[0], self.att_src, self.att_dst
        if nodes.batch is not None or not (x.is_cpu or x.is_cuda) or att_source is None or att_target is None:
            return False
        # Vectors that somebody has put there may be broadcast, as the formula does.
        if att_source.shape != att_target.shape or att_source.shape != (1, self.heads, self.out_channels):
            return False
        if not att_source.is_floating_point() or att_source.dtype is not att_target.dtype:
            return False
        # Compiled for GPUs, these sums over features are kernels of inductor; on an H100 some of them ended in a
        # misaligned address (torch 2.11, 170,000 nodes, 8 heads of 32, PyG's GATConv too).
        by_inductor = x.is_cuda and torch.compiler.is_compiling()
        folded = by_inductor or self.heads * self.out_channels > _WIDER * x.shape[-1]
        return not (folded and self._folds(self.lin, x))

    def _scores_values(self, nodes: Nodes, values: tuple[Any, Any]) -> bool:
        """Steps 4 and 5: whether :meth:`_attend_scoring` is both."""
        source, target = values
        one_set = source is target and self.lin is not None
        return one_set and self._scores_projected(nodes)

    def _attend_scoring(self, edges: AttentionEdges, values: tuple[Any, Any]) -> Tensor:
        """Steps 4 and 5: :func:`lcat.ops.gat_attention_of_values`, [N, H, F]."""
        return gat_attention_of_values(
            values[0],
            self.att_src,
            self.att_dst,
            edges.graph,
            negative_slope=self.negative_slope,
            edge_score=self._edge_score(edges.attr),
            edge_weight=edges.weight,
            dropout=self.dropout if self.training else 0.0,
        )

    def _sent_score_inputs(self, nodes: Nodes, projected: tuple[Tensor, Tensor | None]) -> Tensor:
        """Step 4 in a bipartite graph: the scalars that sources would have as targets, [.., N, H]."""
        return self._scalar(nodes.x[0], projected[0], linear=self._maps()[0], attention=self.att_dst)

    def _scalar(self, x: Any, projected: Tensor | None, *, linear: Any, attention: Tensor) -> Tensor:
        """``a . Theta x`` for every node and head, [.., N, H].

        ``(a Theta) x`` is the same and reads ``x`` instead of the H times wider projection, forward and backward. Not
        under autocast, where it would round the scores to half precision, nor with a bias, whose gradient is a small
        difference of large terms and rounds less the other way.
        """
        if not self._folds(linear, x):
            assert projected is not None
            return (projected * attention).sum(dim=-1)
        heads = (self.heads, self.out_channels)
        weight = (linear.weight.unflatten(0, heads) * attention.squeeze(0).unsqueeze(-1)).sum(dim=1)
        return F.linear(x, weight)

    @staticmethod
    def _folds(linear: Any, x: Any) -> bool:
        """Whether the attention vector may be multiplied with the matrix of the map first."""
        plain = is_plain(linear) and linear.bias is None
        return plain and x.layout == torch.strided and not under_autocast(x)

    def _attend(
        self, nodes: Nodes, edges: AttentionEdges, values: tuple[Any, Any], score_inputs: tuple[Any, Any]
    ) -> Tensor:
        """Step 5: :func:`lcat.ops.gat_attention`, [N, H', F]."""
        s, t = score_inputs
        s = nodes.fold(s)
        t = None if t is None else nodes.fold(t)
        edge_score = self._edge_score(edges.attr, nodes.batch)
        strength = self._strength()
        if not isinstance(strength, float) or strength != 1.0:
            if isinstance(strength, Tensor):
                strength = self._along(strength, s)
            # A factor >= 0 may go inside LeakyReLU, so no kernel needs to know of it.
            s = strength * s
            t = None if t is None else strength * t
            edge_score = None if edge_score is None else strength * edge_score
        return gat_attention(
            s,
            t,
            nodes.fold(values[0]),
            edges.graph,
            negative_slope=self.negative_slope,
            edge_score=edge_score,
            edge_weight=edges.weight,
            dropout=self.dropout if self.training else 0.0,
        )

    def _edge_score(self, edge_attr: Tensor | None, batch: int | None = None) -> Tensor | None:
        """``a_e . Theta_e e_ij`` for every edge and head, [E, H']."""
        if edge_attr is None or self.lin_edge is None:
            return None
        projected = self._edges_by_head(edge_attr)
        score: Tensor = (projected * self.att_edge).sum(dim=-1)
        return score if batch is None else score.repeat(1, batch)

    def edge_update(
        self,
        alpha_j: Tensor,
        alpha_i: OptTensor,
        edge_attr: OptTensor,
        index: Tensor,
        ptr: OptTensor,
        dim_size: Optional[int],
        keep: OptTensor = None,
    ) -> Tensor:
        """Step 5 by messages: attention coefficients [E, H] from the scalars of both ends."""
        alpha = alpha_j if alpha_i is None else alpha_j + alpha_i
        edge_score = self._edge_score(edge_attr)
        if edge_score is not None:
            alpha = alpha + edge_score.repeat(1, alpha.shape[1] // self.heads)
        strength = self._strength()
        if isinstance(strength, Tensor):
            strength = self._along(strength, alpha)
        alpha = strength * F.leaky_relu(alpha, self.negative_slope)
        alpha = softmax_of_kept(alpha, index, ptr, dim_size, keep)
        return F.dropout(alpha, p=self.dropout, training=self.training)
