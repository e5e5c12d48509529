"""LCATConv and CATConv: attention on neighborhood averages (v1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.nn._attention import Edges, Nodes
from lcat.nn._lcat import LCATMixin
from lcat.nn.gat_conv import GATConv

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class LCATConv(LCATMixin, GATConv):
    r"""Learnable graph convolutional attention (v1), `"Learnable Graph Convolutional Attention Networks"
    <https://arxiv.org/abs/2211.11853>`_: one layer that interpolates a uniform mean, GAT and CAT.

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
            residual, **kwargs: as :class:`~lcat.nn.GATConv`.
        lambda1: strength of the score: ``None`` learns it, a float in [0, 1] fixes it.
        lambda2: strength of the averaging: ``None`` learns it, a float in [0, 1] fixes it.
        share_weights: one projection for sources and targets, as GATConv (else two, as a bipartite GATConv).
        share_values: the values are the sources' projection, as in GATConv (else they have one of their own).
        score_bias: biases in the projections, as GATv2Conv has and GATConv has not.
        parametrization: "published" (that of the paper's code) or "sigmoid"; see :mod:`lcat.nn._lambda`.
        lambda1_init: where a learned lambda1 starts, in (0.0025, 1) or (0, 1).
        lambda2_init: where a learned lambda2 starts.
        neighbor_aggr: "sum" is the formula above, the paper's; "mean" divides the neighbors' sum by their number
            once more, as the published code does with PyG 2.1 and later (see :func:`lcat.nn.from_published`).
        cache_neighbor_sum: for a first layer on fixed features: keep :math:`\sum_{j \in N(i)} x_j`, [N, in_channels],
            from call to call, for as long as ``x`` and ``edge_index`` are the same tensors and not written to. Without
            effect where ``x`` has a gradient, for ``neighbor_aggr="mean"`` and for bipartite graphs.

    Shapes:
        as :class:`~lcat.nn.GATConv`.

    Complexity:
        GATConv's, and O(E H) for the averages, which are taken of the 2 H scalars a node, not of its features.

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
        fill_value: float | Tensor | str = "mean",
        bias: bool = True,
        residual: bool = False,
        lambda1: float | None = None,
        lambda2: float | None = None,
        share_weights: bool = True,
        share_values: bool = True,
        score_bias: bool = False,
        parametrization: str = "published",
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
        neighbor_aggr: str = "sum",
        cache_neighbor_sum: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim, fill_value,
            bias, residual, **kwargs,
        )  # fmt: skip
        self.share_weights = share_weights
        self.score_bias = score_bias
        if score_bias or not share_weights:
            self._make_projections(separate=not share_weights or not isinstance(in_channels, int), bias=score_bias)
        self._make_lcat(
            lambda1, lambda2, share_values, score_bias, parametrization, lambda1_init, lambda2_init, neighbor_aggr,
            cache_neighbor_sum,
        )  # fmt: skip

    def _scalars(self, nodes: Nodes, projected: tuple[Any, Any], edges: Edges) -> tuple[Any, Any]:
        lambda2 = self._lambda("lambda2")
        averages = not (isinstance(lambda2, float) and lambda2 == 0.0)
        if averages and self._averages_input(nodes):
            averaged = self._averaged_input(edges, nodes, lambda2)
            needless = all(self._folds(linear, averaged.x[0]) for linear in self._maps())
            return super()._scalars(averaged, (None, None) if needless else self._project(averaged), edges)
        s0, s1 = super()._scalars(nodes, projected, edges)
        if not averages:
            return s0, s1
        if nodes.one_set:
            both = torch.cat([s0, s1], dim=-1)
            a0, a1 = self._averaged(both, both, edges, nodes, lambda2).chunk(2, dim=-1)
            return a0, a1
        linear = self.lin if self.lin is not None else self.lin_src
        sent = self._fold(self._scalar(nodes.x[0], projected[0], linear, self.att_dst), nodes)
        if s1 is None:  # a target without features scores 0, here as in GATConv
            s1 = sent.new_zeros(nodes.counts[1], sent.shape[1])
        return s0, self._averaged(s1, sent, edges, nodes, lambda2)


class CATConv(LCATConv):
    r"""Convolved graph attention (v1): :class:`LCATConv` with :math:`\lambda_1 = \lambda_2 = 1`, that is GAT whose
    scores see neighborhood averages :math:`\tilde h_i = (h_i + \sum_{j \in N(i)} h_j) / (1 + |N(i)|)` while its
    values do not.

    From `"Learnable Graph Convolutional Attention Networks" <https://arxiv.org/abs/2211.11853>`_. Arguments, shapes,
    errors and complexity are those of :class:`LCATConv`, with other defaults for ``lambda1`` and ``lambda2``; with
    them it has GATConv's ``state_dict``.

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
        fill_value: float | Tensor | str = "mean",
        bias: bool = True,
        residual: bool = False,
        lambda1: float | None = 1.0,
        lambda2: float | None = 1.0,
        share_weights: bool = True,
        share_values: bool = True,
        score_bias: bool = False,
        parametrization: str = "published",
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
        neighbor_aggr: str = "sum",
        cache_neighbor_sum: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim, fill_value,
            bias, residual, lambda1, lambda2, share_weights, share_values, score_bias, parametrization, lambda1_init,
            lambda2_init, neighbor_aggr, cache_neighbor_sum, **kwargs,
        )  # fmt: skip
