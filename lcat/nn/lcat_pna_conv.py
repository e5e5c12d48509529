"""LCATPNAConv and LCATv2PNAConv: principal neighborhood aggregation of messages that L-CAT weighs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch_geometric.nn.aggr import Aggregation
from typing_extensions import Unpack

from lcat.nn._inputs import FillValue
from lcat.nn._interpolation import NeighborAggregation
from lcat.nn._lambda import Parametrization
from lcat.nn._options import MessagePassingOptions, check_own_options
from lcat.nn._principal_neighborhood import PrincipalNeighborhoodMixin, Scaler
from lcat.nn.lcat_conv import LCATConv
from lcat.nn.lcatv2_conv import LCATv2Conv

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class LCATPNAConv(PrincipalNeighborhoodMixin, LCATConv):
    r"""PNA with the attention of L-CAT (v1): several aggregations of weighed messages, scaled by degrees.

    From `"Learnable Graph Convolutional Attention Networks" <https://arxiv.org/abs/2211.11853>`_ and
    `"Principal Neighbourhood Aggregation for Graph Nets" <https://arxiv.org/abs/2004.05718>`_:

    .. math::
        x'_i = \gamma\left(v_i, \bigoplus_{j \in N(i)} m_{ij}\right), \qquad
        m_{ij} = \left|N(i)\right| w_{ij} \alpha_{ij} v_j, \qquad v_j = \Theta_v x_j

    with the attention :math:`\alpha_{ij}` of :class:`~lcat.nn.LCATConv` over the in-edges of a node, and PNA's
    :math:`\bigoplus`: all aggregators, each times all scalers. Attention sums to 1 over the in-edges; times their
    number it says how much of each message enters. With :math:`\lambda_1 = 0` that is 1, and the layer is a PNA whose
    messages are linear in the sources; :math:`(\lambda_1, \lambda_2) = (1, 0)` scores as GAT, (1, 1) as CAT.

    Messages are formed, [E, heads, head_channels], and aggregated by PyG: maxima and deviations need them.

    Args:
        in_channels: features per node; -1, with ``head_channels``, takes the size of the first input.
        out_channels: features of the output.
        aggregators: names ("sum", "mean", "min", "max", "var", "std", ...) or aggregations of
            ``torch_geometric.nn.aggr``.
        scalers: "identity", "amplification", "attenuation", "linear", "inverse_linear".
        deg: histogram of the in-degrees of the training set, ``deg[d]`` nodes of degree d;
            ``LCATPNAConv.get_degree_histogram(loader)`` computes one.
        edge_dim: features per edge, which enter the score.
        towers: number of networks :math:`\gamma`; they share the heads and ``out_channels``, as those of
            :class:`torch_geometric.nn.PNAConv` with ``divide_input=True``.
        post_layers: linear maps of each network, with ``act`` between.
        act, act_kwargs: the activation, as PNAConv.
        train_norm: learn the average degrees of the scalers.
        heads: number of attention heads.
        head_channels: features of a message per head; ``None`` means ``in_channels // heads``.
        bias: bias in the last map.
        negative_slope, dropout, add_self_loops, fill_value: as :class:`~lcat.nn.GATConv`; as in PNA, no self-loops are
            added by default.
        lambda1, lambda2, share_weights, share_values, score_bias, parametrization, lambda1_init, lambda2_init,
            neighbor_aggr, cache_neighbor_sum, lambdas_per_head: as :class:`~lcat.nn.LCATConv`.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``flow``).

    The attribute ``out_channels`` counts the features of a message per head, as in all attention layers; ``width`` are
    those of the output.

    Shapes:
        - x: ``[N, in_channels]``, ``[B, N, in_channels]`` (B feature sets on one graph), or a pair (sources, targets)
          of nodes of one kind
        - edge_index: as :class:`~lcat.nn.GATConv`
        - edge_attr: ``[E, edge_dim]``; edge_weight: ``[E]``
        - output: ``[N, out_channels]``, with a leading B for static graphs

    Complexity:
        O(N in_channels H F + E H F) for each aggregator, with F features per head; memory O(E H F).

    Example:
        >>> import torch
        >>> from lcat.nn import LCATPNAConv
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> deg = torch.bincount(edge_index[1].bincount(minlength=3))
        >>> conv = LCATPNAConv(
        ...     8, 4, ["mean", "max", "std"], ["identity", "amplification"], deg, heads=2
        ... )
        >>> conv(torch.randn(3, 8), edge_index).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        aggregators: Sequence[str | Aggregation],
        scalers: Sequence[Scaler],
        deg: Tensor,
        edge_dim: int | None = None,
        towers: int = 1,
        post_layers: int = 1,
        act: str | Callable[..., Any] | None = "relu",
        act_kwargs: dict[str, Any] | None = None,
        train_norm: bool = False,
        heads: int = 1,
        head_channels: int | None = None,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = False,
        fill_value: FillValue = "mean",
        bias: bool = True,
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
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        check_own_options(type(self), LCATPNAConv, kwargs, without=("aggr", "aggr_kwargs", "decomposed_layers"))
        in_channels, head_channels = self._read_channels(in_channels, heads, head_channels)
        kwargs["aggr"] = self._read_aggregation(aggregators, scalers, deg, train_norm)
        super().__init__(
            in_channels=in_channels,
            out_channels=head_channels,
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
        self._make_networks(
            out_channels=out_channels,
            num_aggregates=len(aggregators) * len(scalers),
            towers=towers,
            post_layers=post_layers,
            act=act,
            act_kwargs=act_kwargs,
            bias=bias,
        )


class LCATv2PNAConv(PrincipalNeighborhoodMixin, LCATv2Conv):
    r"""PNA with the attention of L-CAT (v2): :class:`LCATPNAConv` with the score of :class:`~lcat.nn.LCATv2Conv`.

    Args:
        in_channels, out_channels, aggregators, scalers, deg, edge_dim, towers, post_layers, act, act_kwargs,
            train_norm, heads, head_channels, add_self_loops, fill_value: as :class:`LCATPNAConv`.
        bias: biases in the projections and in the last map.
        negative_slope, dropout, share_weights: as :class:`~lcat.nn.GATv2Conv`.
        lambda1, lambda2, share_values, parametrization, lambda1_init, lambda2_init, neighbor_aggr, cache_neighbor_sum,
            lambdas_per_head: as :class:`~lcat.nn.LCATv2Conv`.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``flow``).

    Shapes:
        as :class:`LCATPNAConv`.

    Complexity:
        as :class:`LCATPNAConv`.

    Example:
        >>> import torch
        >>> from lcat.nn import LCATv2PNAConv
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> deg = torch.bincount(edge_index[1].bincount(minlength=3))
        >>> conv = LCATv2PNAConv(
        ...     8, 4, ["mean", "max", "std"], ["identity", "amplification"], deg, heads=2
        ... )
        >>> conv(torch.randn(3, 8), edge_index).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        aggregators: Sequence[str | Aggregation],
        scalers: Sequence[Scaler],
        deg: Tensor,
        edge_dim: int | None = None,
        towers: int = 1,
        post_layers: int = 1,
        act: str | Callable[..., Any] | None = "relu",
        act_kwargs: dict[str, Any] | None = None,
        train_norm: bool = False,
        heads: int = 1,
        head_channels: int | None = None,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = False,
        fill_value: FillValue = "mean",
        bias: bool = True,
        share_weights: bool = False,
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
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        check_own_options(type(self), LCATv2PNAConv, kwargs, without=("aggr", "aggr_kwargs", "decomposed_layers"))
        in_channels, head_channels = self._read_channels(in_channels, heads, head_channels)
        kwargs["aggr"] = self._read_aggregation(aggregators, scalers, deg, train_norm)
        super().__init__(
            in_channels=in_channels,
            out_channels=head_channels,
            heads=heads,
            negative_slope=negative_slope,
            dropout=dropout,
            add_self_loops=add_self_loops,
            edge_dim=edge_dim,
            fill_value=fill_value,
            bias=bias,
            share_weights=share_weights,
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
        self.register_parameter("bias", None)  # the one after the sum; PNA's is in its last map
        self._make_networks(
            out_channels=out_channels,
            num_aggregates=len(aggregators) * len(scalers),
            towers=towers,
            post_layers=post_layers,
            act=act,
            act_kwargs=act_kwargs,
            bias=bias,
        )
