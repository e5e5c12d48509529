"""LCATv2Conv and CATv2Conv: attention on neighborhood averages (v2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.nn._attention import Edges, Nodes
from lcat.nn._lcat import LCATMixin
from lcat.nn.gatv2_conv import GATv2Conv

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class LCATv2Conv(LCATMixin, GATv2Conv):
    r"""Learnable graph convolutional attention (v2), `"Learnable Graph Convolutional Attention Networks"
    <https://arxiv.org/abs/2211.11853>`_: one layer that interpolates a uniform mean, GATv2 and CATv2.

    .. math::
        x'_i = \sum_{j \in N(i) \cup \{i\}} w_{ij} \alpha_{ij} \Theta_v x_j, \qquad
        \alpha_{ij} = \mathrm{softmax}_j\, \lambda_1 a^\top \mathrm{LeakyReLU}\!\left(
        \tilde h^l_j + \tilde h^r_i + \Theta_e e_{ij}\right)

    with the averages :math:`\tilde h_i = (h_i + \lambda_2 \sum_{j \in N(i)} h_j) / (1 + \lambda_2 |N(i)|)` of the
    projections, as in :class:`~lcat.nn.LCATConv`, where the limits and the bipartite case are told.

    Args:
        in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim, fill_value, bias,
            share_weights, residual, **kwargs: as :class:`~lcat.nn.GATv2Conv`.
        lambda1, lambda2, share_values, parametrization, lambda1_init, lambda2_init, neighbor_aggr,
            cache_neighbor_sum: as :class:`~lcat.nn.LCATConv`; a value projection of its own has a bias if ``bias``.

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
        fill_value: float | Tensor | str = "mean",
        bias: bool = True,
        share_weights: bool = False,
        residual: bool = False,
        lambda1: float | None = None,
        lambda2: float | None = None,
        share_values: bool = True,
        parametrization: str = "published",
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
        neighbor_aggr: str = "sum",
        cache_neighbor_sum: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim, fill_value,
            bias, share_weights, residual, **kwargs,
        )  # fmt: skip
        self._make_lcat(
            lambda1, lambda2, share_values, bias, parametrization, lambda1_init, lambda2_init, neighbor_aggr,
            cache_neighbor_sum,
        )  # fmt: skip

    def _keys(self, nodes: Nodes, projected: tuple[Tensor, Tensor], edges: Edges) -> tuple[Tensor, Tensor]:
        lambda2 = self._lambda("lambda2")
        if isinstance(lambda2, float) and lambda2 == 0.0:
            return projected
        if not nodes.one_set:
            return self._receiver_averaged(nodes, projected, edges, lambda2)
        p0, p1 = projected
        width = p0.shape[-2] * p0.shape[-1] * (1 if p1 is p0 else 2)
        x = nodes.x[0]
        # Before the maps only for weights that sum to 1: otherwise the bias would be scaled.
        narrower = self.neighbor_aggr == "sum" and x.layout == torch.strided and x.shape[-1] < width
        if (narrower and self._maps_are_plain()) or self._averages_input(nodes):
            return self._project(self._averaged_input(edges, nodes, lambda2))
        if p1 is p0:
            k = self._node_averaged(p0, edges, nodes, lambda2)
            return k, k
        k, q = self._node_averaged(torch.cat([p0, p1], dim=-1), edges, nodes, lambda2).chunk(2, dim=-1)
        return k, q

    def _node_averaged(self, h: Tensor, edges: Edges, nodes: Nodes, lambda2: Tensor | float) -> Tensor:
        """The averages of ``[.., N, H, F]``, in the same shape."""
        nodes_first = h.movedim(-3, 0)
        return self._averaged(nodes_first, nodes_first, edges, nodes, lambda2).movedim(0, -3)

    def _receiver_averaged(
        self, nodes: Nodes, projected: tuple[Tensor, Tensor], edges: Edges, lambda2: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        sent, own = projected[0].movedim(-3, 0), projected[1].movedim(-3, 0)
        return projected[0], self._averaged(own, sent, edges, nodes, lambda2).movedim(0, -3)


class CATv2Conv(LCATv2Conv):
    r"""Convolved graph attention (v2): :class:`LCATv2Conv` with :math:`\lambda_1 = \lambda_2 = 1`, that is GATv2 whose
    scores see neighborhood averages while its values do not.

    From `"Learnable Graph Convolutional Attention Networks" <https://arxiv.org/abs/2211.11853>`_. Arguments, shapes,
    errors and complexity are those of :class:`LCATv2Conv`, with other defaults for ``lambda1`` and ``lambda2``; with
    them it has GATv2Conv's ``state_dict``.

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
        fill_value: float | Tensor | str = "mean",
        bias: bool = True,
        share_weights: bool = False,
        residual: bool = False,
        lambda1: float | None = 1.0,
        lambda2: float | None = 1.0,
        share_values: bool = True,
        parametrization: str = "published",
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
        neighbor_aggr: str = "sum",
        cache_neighbor_sum: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim, fill_value,
            bias, share_weights, residual, lambda1, lambda2, share_values, parametrization, lambda1_init, lambda2_init,
            neighbor_aggr, cache_neighbor_sum, **kwargs,
        )  # fmt: skip
