"""LCATv2Conv and CATv2Conv: attention on neighborhood averages (v2)."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size, SparseTensor
from typing_extensions import Unpack

from lcat.nn._inputs import FillValue, LayerOutput
from lcat.nn._interpolation import NeighborAggregation
from lcat.nn._lambda import Parametrization
from lcat.nn._lcat import LCATMixin
from lcat.nn._options import AttentionOptions
from lcat.nn.gatv2_conv import GATv2Conv

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class LCATv2Conv(LCATMixin, GATv2Conv):
    r"""Learnable graph convolutional attention (v2): one layer that interpolates a uniform mean, GATv2 and CATv2.

    From `"Learnable Graph Convolutional Attention Networks" <https://arxiv.org/abs/2211.11853>`_:

    .. math::
        x'_i = \sum_{j \in N(i) \cup \{i\}} w_{ij} \alpha_{ij} \Theta_v x_j, \qquad
        \alpha_{ij} = \mathrm{softmax}_j\, \lambda_1 a^\top \mathrm{LeakyReLU}\!\left(
        \tilde h^l_j + \tilde h^r_i + \Theta_e e_{ij}\right)

    with the averages :math:`\tilde h_i = (h_i + \lambda_2 \sum_{j \in N(i)} h_j) / (1 + \lambda_2 |N(i)|)` of the
    projections, as in :class:`~lcat.nn.LCATConv`, which describes the limits and the bipartite case.

    Args:
        in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim, fill_value, bias,
            share_weights, residual, separate_self, symmetric_norm, edge_dropout, **kwargs: as
            :class:`~lcat.nn.GATv2Conv`.
        lambda1, lambda2, share_values, parametrization, lambda1_init, lambda2_init, neighbor_aggr,
            cache_neighbor_sum, lambdas_per_head: as :class:`~lcat.nn.LCATConv`; with ``share_values=False`` the value
            projection has a bias if ``bias``.

    Shapes:
        as :class:`~lcat.nn.GATConv`.

    Complexity:
        GATv2Conv's, and O(E min(in_channels, 2 H F)) for the averages: averaging is linear, so it is done before the
        linear maps where that is narrower.

    Example:
        >>> import torch
        >>> from lcat.nn import LCATv2Conv
        >>> conv = LCATv2Conv(8, 4, heads=2, lambda2=0.0)  # between a mean and GATv2
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 8])
        >>> conv
        LCATv2Conv(8, 4, heads=2, lambda1=learned(0.500), lambda2=0)
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
        share_weights: bool = False,
        residual: bool = False,
        lambda1: float | None = None,
        lambda2: float | None = None,
        share_values: bool = True,
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
            share_weights=share_weights,
            residual=residual,
            **kwargs,
        )
        self._interpolate(
            lambda1=lambda1,
            lambda2=lambda2,
            share_values=share_values,
            value_bias=bool(bias),
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
        return_attention_weights: Literal[False] | None = ...,
        size: Size = ...,
        edge_weight: OptTensor = ...,
        statistic: OptTensor = ...,
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
        statistic: OptTensor = ...,
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
        statistic: OptTensor = ...,
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
        statistic: OptTensor = ...,
    ) -> LayerOutput: ...

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_attr: OptTensor = None,
        return_attention_weights: bool | None = None,
        size: Size = None,
        edge_weight: OptTensor = None,
        statistic: OptTensor = None,
    ) -> LayerOutput:
        """Run the layer: :meth:`lcat.nn.GATConv.forward` describes the arguments, the result and the errors.

        Args:
            x: node features.
            edge_index: the edges in any format.
            edge_attr: features of the edges, for the score.
            return_attention_weights: if True, return ``(out, (edge_index, alpha))``.
            size: numbers of (source, target) nodes, where ``x`` does not state them.
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


class CATv2Conv(LCATv2Conv):
    r"""Convolved graph attention (v2): :class:`LCATv2Conv` with :math:`\lambda_1 = \lambda_2 = 1`.

    That is a GATv2 whose scores see neighborhood averages while its values do not. From
    `"Learnable Graph Convolutional Attention Networks" <https://arxiv.org/abs/2211.11853>`_. Arguments, shapes, errors
    and complexity are those of :class:`LCATv2Conv`, with other defaults for ``lambda1`` and ``lambda2``; with them it
    has GATv2Conv's ``state_dict``.

    Example:
        >>> import torch
        >>> from lcat.nn import CATv2Conv
        >>> conv = CATv2Conv(8, 4, heads=2)
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
        share_weights: bool = False,
        residual: bool = False,
        lambda1: float | None = 1.0,
        lambda2: float | None = 1.0,
        share_values: bool = True,
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
            share_weights=share_weights,
            residual=residual,
            lambda1=lambda1,
            lambda2=lambda2,
            share_values=share_values,
            parametrization=parametrization,
            lambda1_init=lambda1_init,
            lambda2_init=lambda2_init,
            neighbor_aggr=neighbor_aggr,
            cache_neighbor_sum=cache_neighbor_sum,
            lambdas_per_head=lambdas_per_head,
            **kwargs,
        )
