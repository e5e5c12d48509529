"""GATv2Conv: graph attention (v2)."""

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

from lcat.nn import _checks
from lcat.nn._attention import AttentionConv
from lcat.nn._inputs import AttentionEdges, FillValue, LayerOutput, Nodes
from lcat.nn._linear import is_plain, map_rows
from lcat.nn._messages import softmax_of_kept
from lcat.nn._options import AttentionOptions
from lcat.ops import gatv2_attention

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class GATv2Conv(AttentionConv):
    r"""Graph attention (v2), as :class:`torch_geometric.nn.GATv2Conv`: same arguments, ``state_dict`` and numbers.

    From `"How Attentive are Graph Attention Networks?" <https://arxiv.org/abs/2105.14491>`_:

    .. math::
        x'_i = \sum_{j \in N(i) \cup \{i\}} w_{ij} \alpha_{ij} \Theta_l x_j, \qquad
        \alpha_{ij} = \mathrm{softmax}_j\, a^\top \mathrm{LeakyReLU}\!\left(
        \Theta_l x_j + \Theta_r x_i + \Theta_e e_{ij}\right)

    More than PyG's: ``edge_weight``, ``size``, targets without features, static graphs, CSC matrices, errors that
    say what is wrong.

    Args:
        in_channels: features per node; -1 takes the size of the first input; a pair (sources, targets) for
            bipartite graphs.
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
        bias: biases in the projections and after the sum.
        share_weights: one projection for sources and targets.
        residual: add a learned linear map of the (target) features.
        separate_self, symmetric_norm, edge_dropout: keywords, as :class:`~lcat.nn.GATConv`.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``aggr``, ``flow``).

    Shapes:
        as :class:`~lcat.nn.GATConv`.

    Complexity:
        O(N in_channels H F + E H F) time.

    Example:
        >>> import torch
        >>> from lcat.nn import GATv2Conv
        >>> conv = GATv2Conv(8, 4, heads=2)
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 8])
    """

    _score_argument = "x"
    _score_heads_dim = -2

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
        share_weights: bool = False,
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
        name = type(self).__name__
        bias = _checks.read_flag(name, "bias", bias)
        share_weights = _checks.read_flag(name, "share_weights", share_weights)
        if share_weights and self._channels(0) != self._channels(1):
            raise ValueError(
                f"share_weights=True of {type(self).__name__} needs sources and targets with the same number of "
                f"features, but in_channels is {self.in_channels}: use share_weights=False"
            )
        self.share_weights = share_weights
        self.lin_l = self._linear(0, bias=bias)
        self.lin_r = self.lin_l if share_weights else self._linear(1, bias=bias)
        self.att = Parameter(torch.empty(1, self.heads, self.out_channels))
        if self.edge_dim is not None:
            width = self.heads * self.out_channels
            self.lin_edge = Linear(self.edge_dim, width, bias=False, weight_initializer="glorot")
        else:
            self.lin_edge = None
        self._make_output(bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew (Glorot for matrices and attention vectors, zero bias)."""
        super().reset_parameters()
        for linear in (self.lin_l, self.lin_r, self.lin_edge, self.res):
            if linear is not None:
                linear.reset_parameters()
        glorot(self.att)
        zeros(self.bias)

    def _maps(self) -> tuple[Any, ...]:
        return (self.lin_l,) if self.lin_r is self.lin_l else (self.lin_l, self.lin_r)

    def _attention_weight(self) -> Tensor:
        return self.att

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = ...,
        return_attention_weights: Literal[False] | None = ...,
        size: Size = ...,
        edge_weight: OptTensor = ...,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Tensor,
        edge_attr: OptTensor = ...,
        return_attention_weights: Literal[True] = ...,
        size: Size = ...,
        edge_weight: OptTensor = ...,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]: ...

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: SparseTensor,
        edge_attr: OptTensor = ...,
        return_attention_weights: Literal[True] = ...,
        size: Size = ...,
        edge_weight: OptTensor = ...,
    ) -> tuple[Tensor, SparseTensor]: ...

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = ...,
        return_attention_weights: bool | None = ...,
        size: Size = ...,
        edge_weight: OptTensor = ...,
    ) -> LayerOutput: ...

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = None,
        return_attention_weights: bool | None = None,
        size: Size = None,
        edge_weight: OptTensor = None,
    ) -> LayerOutput:
        """Run the layer; arguments, result and errors as :meth:`lcat.nn.GATConv.forward`.

        ``size`` and ``edge_weight`` come last, so that positional arguments mean what they mean in PyG. A target
        without features (``x=(x_source, None)``) counts as zero in the score.
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

    def _project(self, nodes: Nodes) -> tuple[Tensor, Tensor]:
        """Step 2: the projections [.., N, H, F] of sources and targets; one tensor twice where they are the same."""
        first, second = nodes.x
        source = self._by_head(map_rows(self.lin_l, first), nodes, 0)
        if second is None:
            return source, source.new_zeros(*source.shape[:-3], nodes.counts[1], self.heads, self.out_channels)
        if nodes.one_set and self.lin_r is self.lin_l:
            return source, source
        return source, self._by_head(map_rows(self.lin_r, second), nodes, 1)

    def _score_inputs(self, nodes: Nodes, projected: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Step 4: the keys of sources and the queries of targets, [.., N, H, F]: their projections."""
        return self._project(nodes) if projected is None else projected

    def _sent_score_inputs(self, nodes: Nodes, projected: tuple[Tensor, Tensor]) -> Tensor:
        """Step 4 in a bipartite graph: the keys of sources, which enter the averages of the queries, [.., N, H, F]."""
        del nodes
        return projected[0]

    def _averages_features(self, nodes: Nodes) -> bool:
        """Step 4: averages are taken of ``x`` also where it is narrower than the keys and queries."""
        x, maps = nodes.x[0], self._maps()
        if self._smooths_by_head():
            return False
        if x.layout == torch.strided and x.shape[-1] < len(maps) * self.heads * self.out_channels:
            assert self.interpolation is not None
            # Not for weights that do not sum to 1, as under an explainer's mask: the biases would be scaled.
            if self.interpolation.neighbor_aggr == "sum" and not self.explain and self._has_plain_maps():
                return True
        return super()._averages_features(nodes)

    def _along(self, per_head: Tensor, rows: Tensor) -> Tensor:
        """Numbers of heads beside keys and queries, [..., H, F], the heads of both or of one."""
        if per_head.dim() == 0:
            return per_head
        times = rows.shape[-2] // max(per_head.shape[0], 1)
        return (per_head if times == 1 else per_head.repeat(times)).to(rows.dtype).unsqueeze(-1)

    def _attention_vector(self, batch: int | None) -> Tensor:
        """The vector of the score, times lambda1, [H', F]."""
        att: Tensor = self.att.squeeze(0)
        strength = self._strength()
        if not isinstance(strength, float) or strength != 1.0:
            if isinstance(strength, Tensor):
                strength = self._along(strength, att)
            att = strength * att  # no kernel needs to know of it
        return att if batch is None else att.repeat(batch, 1)

    def _attend(
        self, nodes: Nodes, edges: AttentionEdges, values: tuple[Any, Any], score_inputs: tuple[Any, Any]
    ) -> Tensor:
        """Step 5: :func:`lcat.ops.gatv2_attention`, [N, H', F]."""
        key = nodes.fold(score_inputs[0])
        # Where values and keys are one tensor, the primitive learns it by getting the same object.
        value = key if values[0] is score_inputs[0] else nodes.fold(values[0])
        return gatv2_attention(
            key,
            nodes.fold(score_inputs[1]),
            value,
            self._attention_vector(nodes.batch),
            edges.graph,
            negative_slope=self.negative_slope,
            **self._edge_features(edges.attr, nodes.batch or 1),
            edge_weight=edges.weight,
            dropout=self.dropout if self.training else 0.0,
        )

    def _edge_features(self, edge_attr: Tensor | None, batch: int) -> dict[str, Tensor | None]:
        """The edge's part of the score: unprojected where the map is a plain matrix, so that kernels may project."""
        linear = self.lin_edge
        if edge_attr is None or not is_plain(linear) or linear.bias is not None:
            return {"edge_key": self._edge_key(edge_attr, batch)}
        matrix = linear.weight
        return {"edge_attr": edge_attr, "edge_matrix": matrix if batch == 1 else matrix.repeat(batch, 1)}

    def _edge_key(self, edge_attr: Tensor | None, batch: int) -> Tensor | None:
        """``Theta_e e_ij`` for every edge and head, [E, H', F]."""
        if edge_attr is None or self.lin_edge is None:
            return None
        key = self._edges_by_head(edge_attr)
        return key if batch == 1 else key.repeat(1, batch, 1)

    def edge_update(
        self,
        x_j: Tensor,
        x_i: Tensor,
        edge_attr: OptTensor,
        index: Tensor,
        ptr: OptTensor,
        dim_size: Optional[int],
        keep: OptTensor = None,
    ) -> Tensor:
        """Step 5 by messages: attention coefficients [E, H] from keys and queries [E, H, F]."""
        batch = x_j.shape[1] // self.heads
        hidden = x_i + x_j
        edge_key = self._edge_key(edge_attr, batch)
        if edge_key is not None:
            hidden = hidden + edge_key
        att = self._attention_vector(None if batch == 1 else batch)
        alpha = (F.leaky_relu(hidden, self.negative_slope) * att).sum(dim=-1)
        alpha = softmax_of_kept(alpha, index, ptr, dim_size, keep)
        return F.dropout(alpha, p=self.dropout, training=self.training)
