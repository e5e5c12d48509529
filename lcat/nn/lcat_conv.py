"""LCATConv and CATConv: attention on neighborhood averages (v1)."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size, SparseTensor
from typing_extensions import Unpack

from lcat.nn import _checks
from lcat.nn._inputs import FillValue, LayerOutput
from lcat.nn._interpolation import NeighborAggregation
from lcat.nn._lambda import Parametrization
from lcat.nn._lcat import LCATMixin
from lcat.nn._options import AttentionOptions
from lcat.nn.gat_conv import GATConv

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class LCATConv(LCATMixin, GATConv):
    r"""Learnable graph convolutional attention (v1): one layer that interpolates a uniform mean, GAT and CAT.

    From `"Learnable Graph Convolutional Attention Networks" <https://arxiv.org/abs/2211.11853>`_:

    .. math::
        x'_i = \sum_{j \in N(i) \cup \{i\}} w_{ij} \alpha_{ij} \Theta_v x_j, \qquad
        \alpha_{ij} = \mathrm{softmax}_j\, \lambda_1 \mathrm{LeakyReLU}\!\left(
        a_s^\top \tilde h^s_j + a_t^\top \tilde h^t_i + a_e^\top \Theta_e e_{ij}\right)

    with averages over the neighborhood :math:`N(i)` (without self-loops, parallel edges counted, edge weights
    ignored) of the projections :math:`h = \Theta x + b`:

    .. math:: \tilde h_i = \frac{h_i + \lambda_2 \sum_{j \in N(i)} h_j}{1 + \lambda_2 |N(i)|}

    :math:`(\lambda_1, \lambda_2)` = (0, any) is the mean over in-edges, (1, 0) is
    :class:`~lcat.nn.GATConv`, (1, 1) is :class:`CATConv`. In a bipartite graph a target averages its own projection
    with the *source* projections of its in-neighbors, and a source keeps its own; ``x=(x, x)`` with one and the
    same tensor is an ordinary graph.

    Args:
        in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim, fill_value, bias,
            residual, separate_self, symmetric_norm, edge_dropout, **kwargs: as :class:`~lcat.nn.GATConv`.
        lambda1: strength of the score: ``None`` learns it, a float in [0, 1] fixes it.
        lambda2: strength of the averaging: ``None`` learns it, a float in [0, 1] fixes it.
        share_weights: one projection for sources and targets, as GATConv (else two, as a bipartite GATConv).
        share_values: the values are the sources' projection, as in GATConv (else they have their own projection).
        score_bias: biases in the projections, which GATv2Conv has and GATConv does not have.
        parametrization: how a learned scalar is stored: "published" (as in the paper's code), "sigmoid", or
            "reflected", which has a gradient at 0 and 1 too; see the page on mathematics.
        lambda1_init: where a learned lambda1 starts, in (0.0025, 1), (0, 1) or [0, 1].
        lambda2_init: where a learned lambda2 starts.
        neighbor_aggr: "sum" is the formula above, the paper's; "mean" divides the neighbors' sum by their number
            once more, as the published code does with PyG 2.1 and later (see :func:`lcat.nn.from_published`).
        cache_neighbor_sum: for a first layer on fixed features: keep :math:`\sum_{j \in N(i)} x_j`, [N, in_channels],
            from call to call, as long as ``x`` and ``edge_index`` are the same tensors with the same numbers. Without
            effect where ``x`` needs a gradient, for ``neighbor_aggr="mean"``, for bipartite graphs, and where each head
            has its own lambda2.
        lambdas_per_head: keyword; each head learns its own scalars (else the layer has one of each, as in the paper).

    Shapes:
        as :class:`~lcat.nn.GATConv`.

    Complexity:
        GATConv's, and O(E H) for the averages, which are taken of 2 H scalars per node, not of its features.

    Example:
        >>> import torch
        >>> from lcat.nn import LCATConv
        >>> conv = LCATConv(8, 4, heads=2)
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 8])
        >>> round(conv.lambda1.item(), 3), round(conv.lambda2.item(), 3)
        (0.5, 0.5)
        >>> conv
        LCATConv(8, 4, heads=2, lambda1=learned(0.500), lambda2=learned(0.500))
    """

    _ignores_unused_edge_attr = False

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
        lambda1: float | None = None,
        lambda2: float | None = None,
        share_weights: bool = True,
        share_values: bool = True,
        score_bias: bool = False,
        parametrization: Parametrization = "published",
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
        neighbor_aggr: NeighborAggregation = "sum",
        cache_neighbor_sum: bool = False,
        *,
        lambdas_per_head: bool = False,
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
            bias=bias,
            residual=residual,
            **kwargs,
        )
        name = type(self).__name__
        share_weights = _checks.read_flag(name, "share_weights", share_weights)
        score_bias = _checks.read_flag(name, "score_bias", score_bias)
        self.share_weights = share_weights
        self.score_bias = score_bias
        if score_bias or not share_weights:
            self._make_projections(separate=not share_weights or not isinstance(self.in_channels, int), bias=score_bias)
        self._interpolate(
            lambda1=lambda1,
            lambda2=lambda2,
            share_values=share_values,
            value_bias=score_bias,
            parametrization=parametrization,
            lambda1_init=lambda1_init,
            lambda2_init=lambda2_init,
            neighbor_aggr=neighbor_aggr,
            cache_neighbor_sum=cache_neighbor_sum,
            per_head=lambdas_per_head,
        )

    @overload
    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = ...,
        size: Size = ...,
        return_attention_weights: Literal[False] | None = ...,
        edge_weight: OptTensor = ...,
        statistic: OptTensor = ...,
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
        statistic: OptTensor = ...,
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
        statistic: OptTensor = ...,
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
        statistic: OptTensor = ...,
    ) -> LayerOutput: ...

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = None,
        size: Size = None,
        return_attention_weights: bool | None = None,
        edge_weight: OptTensor = None,
        statistic: OptTensor = None,
    ) -> LayerOutput:
        """Run the layer: :meth:`lcat.nn.GATConv.forward` describes the arguments, the result and the errors.

        Args:
            x: node features.
            edge_index: the edges in any format.
            edge_attr: features of the edges, for the score.
            size: numbers of (source, target) nodes, where ``x`` does not state them.
            return_attention_weights: if True, return ``(out, (edge_index, alpha))``.
            edge_weight: factors of the messages, after the softmax.
            statistic: what :meth:`neighborhood_statistic` returns for all edges of a graph, where ``edge_index`` has
                only some of them.
        """
        out: LayerOutput = self._forward(
            x,
            edge_index,
            edge_attr=edge_attr,
            edge_weight=edge_weight,
            size=size,
            return_attention_weights=return_attention_weights,
            statistic=statistic,
        )
        return out


class CATConv(LCATConv):
    r"""Convolved graph attention (v1): :class:`LCATConv` with :math:`\lambda_1 = \lambda_2 = 1`.

    That is a GAT whose scores see neighborhood averages
    :math:`\tilde h_i = (h_i + \sum_{j \in N(i)} h_j) / (1 + |N(i)|)` while its values do not. From
    `"Learnable Graph Convolutional Attention Networks" <https://arxiv.org/abs/2211.11853>`_. Arguments, shapes, errors
    and complexity are those of :class:`LCATConv`, with other defaults for ``lambda1`` and ``lambda2``; with them it
    has GATConv's ``state_dict``.

    Example:
        >>> import torch
        >>> from lcat.nn import CATConv
        >>> conv = CATConv(8, 4, heads=2)
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 8])
    """

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
        lambda1: float | None = 1.0,
        lambda2: float | None = 1.0,
        share_weights: bool = True,
        share_values: bool = True,
        score_bias: bool = False,
        parametrization: Parametrization = "published",
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
        neighbor_aggr: NeighborAggregation = "sum",
        cache_neighbor_sum: bool = False,
        *,
        lambdas_per_head: bool = False,
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
            bias=bias,
            residual=residual,
            lambda1=lambda1,
            lambda2=lambda2,
            share_weights=share_weights,
            share_values=share_values,
            score_bias=score_bias,
            parametrization=parametrization,
            lambda1_init=lambda1_init,
            lambda2_init=lambda2_init,
            neighbor_aggr=neighbor_aggr,
            cache_neighbor_sum=cache_neighbor_sum,
            lambdas_per_head=lambdas_per_head,
            **kwargs,
        )
