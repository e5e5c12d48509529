"""LCATGCN2Conv and LCATv2GCN2Conv: GCNII whose weights of the neighbors are learned by L-CAT."""

from __future__ import annotations

from typing_extensions import Unpack

from lcat.nn._initial_residual import InitialResidualMixin
from lcat.nn._inputs import FillValue
from lcat.nn._interpolation import NeighborAggregation
from lcat.nn._lambda import Parametrization
from lcat.nn._options import MessagePassingOptions, check_own_options
from lcat.nn.lcat_conv import LCATConv
from lcat.nn.lcatv2_conv import LCATv2Conv

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class LCATGCN2Conv(InitialResidualMixin, LCATConv):  # type: ignore[misc]  # x_0 comes second, as in PyG's GCN2Conv
    r"""GCNII with the attention of L-CAT (v1): a deep layer that interpolates GCNII, its GAT and its CAT.

    From `"Learnable Graph Convolutional Attention Networks" <https://arxiv.org/abs/2211.11853>`_ and
    `"Simple and Deep Graph Convolutional Networks" <https://arxiv.org/abs/2007.02133>`_:

    .. math::
        X' = \left((1 - \alpha) P X + \alpha X_0\right) \left((1 - \beta) I + \beta \Theta\right), \qquad
        P_{ij} = \left|N^*(i)\right| \alpha_{ij}\, \frac{w_{ij}}{\sqrt{\hat d_j \hat d_i}}

    with the attention :math:`\alpha_{ij}` of :class:`~lcat.nn.LCATConv` over the in-edges :math:`N^*(i)` of a node,
    self-loop included, and :math:`\beta = \log(\theta / \ell + 1)`. Attention sums to 1 over the in-edges; times their
    number it redistributes the weights of the normalization. With :math:`\lambda_1 = 0` it is 1, and the layer is
    :class:`torch_geometric.nn.GCN2Conv`; :math:`(\lambda_1, \lambda_2) = (1, 0)` scores as GAT, (1, 1) as CAT. Values
    are the features themselves, each head's ``channels // heads`` of them.

    Args:
        channels: features per node, before and after.
        alpha: strength of the initial residual.
        theta, layer: :math:`\theta` and the number :math:`\ell` of the layer, from 1 on; :math:`\beta = 1` without.
        shared_weights: one matrix for the aggregate and the initial residual (else two, "GCNII*").
        cached: taken from GCN2Conv, without effect: what depends on the edges alone is kept with them anyway.
        add_self_loops: add a self-loop to each node that has none (with ``normalize``, as in GCN2Conv).
        normalize: apply the symmetric normalization.
        heads: number of attention heads; they share the channels.
        negative_slope, dropout, edge_dim, fill_value, edge_dropout: as :class:`~lcat.nn.GATConv`.
        lambda1, lambda2, share_weights, score_bias, parametrization, lambda1_init, lambda2_init, neighbor_aggr,
            cache_neighbor_sum, lambdas_per_head: as :class:`~lcat.nn.LCATConv`.
        share_values: :math:`\Theta` is the transposed matrix of the sources' map of the score, as in the published code
            (else a matrix of its own, ``weight1``, as in GCN2Conv).
        loop_weight: weight of the self-loops in the place of the normalization's :math:`1 / \hat d_i`. The published
            code has 1. With a number, self-loops are added also without ``normalize``.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``aggr``, ``flow``).

    Shapes:
        - x: ``[N, channels]`` or ``[B, N, channels]`` (B feature sets on one graph)
        - x_0: as x; it may have more rows, of which the first N are used
        - edge_index: as :class:`~lcat.nn.GATConv`; the entries of a matrix are edge weights
        - edge_weight: ``[E]``; edge_attr: ``[E, edge_dim]``
        - output: as x

    Complexity:
        O(N channels^2 + E channels) time.

    Example:
        >>> import torch
        >>> from lcat.nn import LCATGCN2Conv
        >>> conv = LCATGCN2Conv(8, alpha=0.1, theta=0.5, layer=1, heads=2)
        >>> x = torch.randn(3, 8)
        >>> conv(x, x, torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 8])
        >>> conv
        LCATGCN2Conv(8, alpha=0.1, beta=0.405465, heads=2, lambda1=learned(0.500), lambda2=learned(0.500))
    """

    def __init__(
        self,
        channels: int,
        alpha: float,
        theta: float | None = None,
        layer: int | None = None,
        shared_weights: bool = True,
        cached: bool = False,
        add_self_loops: bool = True,
        normalize: bool = True,
        heads: int = 1,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        edge_dim: int | None = None,
        fill_value: FillValue = "mean",
        lambda1: float | None = None,
        lambda2: float | None = None,
        share_weights: bool = True,
        share_values: bool = True,
        score_bias: bool = False,
        loop_weight: float | None = None,
        parametrization: Parametrization = "published",
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
        neighbor_aggr: NeighborAggregation = "sum",
        cache_neighbor_sum: bool = False,
        *,
        edge_dropout: float = 0.0,
        lambdas_per_head: bool = False,
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        check_own_options(type(self), LCATGCN2Conv, kwargs)
        channels, width = self._read_channels(channels, heads)
        super().__init__(
            in_channels=channels,
            out_channels=width,
            heads=heads,
            negative_slope=negative_slope,
            dropout=dropout,
            add_self_loops=add_self_loops,
            edge_dim=edge_dim,
            fill_value=fill_value,
            bias=False,
            lambda1=lambda1,
            lambda2=lambda2,
            share_weights=share_weights,
            score_bias=score_bias,
            parametrization=parametrization,
            lambda1_init=lambda1_init,
            lambda2_init=lambda2_init,
            neighbor_aggr=neighbor_aggr,
            cache_neighbor_sum=cache_neighbor_sum,
            edge_dropout=edge_dropout,
            lambdas_per_head=lambdas_per_head,
            **kwargs,
        )
        self._make_initial_residual(
            channels=channels,
            alpha=alpha,
            theta=theta,
            layer=layer,
            shared_weights=shared_weights,
            share_values=share_values,
            cached=cached,
            add_self_loops=add_self_loops,
            normalize=normalize,
            loop_weight=loop_weight,
        )


class LCATv2GCN2Conv(InitialResidualMixin, LCATv2Conv):  # type: ignore[misc]  # as above
    r"""GCNII with the attention of L-CAT (v2): :class:`LCATGCN2Conv` with the score of :class:`~lcat.nn.LCATv2Conv`.

    Args:
        channels, alpha, theta, layer, shared_weights, cached, add_self_loops, normalize, share_values, loop_weight:
            as :class:`LCATGCN2Conv`.
        heads, negative_slope, dropout, edge_dim, fill_value, share_weights, edge_dropout: as
            :class:`~lcat.nn.GATv2Conv`.
        bias: biases in the projections of the score.
        lambda1, lambda2, parametrization, lambda1_init, lambda2_init, neighbor_aggr, cache_neighbor_sum,
            lambdas_per_head, **kwargs: as :class:`~lcat.nn.LCATConv`.

    Shapes:
        as :class:`LCATGCN2Conv`.

    Complexity:
        O(N channels^2 + E channels) time.

    Example:
        >>> import torch
        >>> from lcat.nn import LCATv2GCN2Conv
        >>> conv = LCATv2GCN2Conv(8, alpha=0.1, theta=0.5, layer=1, heads=2)
        >>> x = torch.randn(3, 8)
        >>> conv(x, x, torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        channels: int,
        alpha: float,
        theta: float | None = None,
        layer: int | None = None,
        shared_weights: bool = True,
        cached: bool = False,
        add_self_loops: bool = True,
        normalize: bool = True,
        heads: int = 1,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        edge_dim: int | None = None,
        fill_value: FillValue = "mean",
        bias: bool = True,
        lambda1: float | None = None,
        lambda2: float | None = None,
        share_weights: bool = False,
        share_values: bool = True,
        loop_weight: float | None = None,
        parametrization: Parametrization = "published",
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
        neighbor_aggr: NeighborAggregation = "sum",
        cache_neighbor_sum: bool = False,
        *,
        edge_dropout: float = 0.0,
        lambdas_per_head: bool = False,
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        check_own_options(type(self), LCATv2GCN2Conv, kwargs)
        channels, width = self._read_channels(channels, heads)
        super().__init__(
            in_channels=channels,
            out_channels=width,
            heads=heads,
            negative_slope=negative_slope,
            dropout=dropout,
            add_self_loops=add_self_loops,
            edge_dim=edge_dim,
            fill_value=fill_value,
            bias=bias,
            lambda1=lambda1,
            lambda2=lambda2,
            share_weights=share_weights,
            parametrization=parametrization,
            lambda1_init=lambda1_init,
            lambda2_init=lambda2_init,
            neighbor_aggr=neighbor_aggr,
            cache_neighbor_sum=cache_neighbor_sum,
            edge_dropout=edge_dropout,
            lambdas_per_head=lambdas_per_head,
            **kwargs,
        )
        self.register_parameter("bias", None)  # the one after the sum, which GCNII does not have
        self._make_initial_residual(
            channels=channels,
            alpha=alpha,
            theta=theta,
            layer=layer,
            shared_weights=shared_weights,
            share_values=share_values,
            cached=cached,
            add_self_loops=add_self_loops,
            normalize=normalize,
            loop_weight=loop_weight,
        )
