"""UpgradedGCNConv: an L-CAT whose corner lambda1 = 0 is GCNConv itself."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor
from typing_extensions import Unpack

from lcat._tracing import is_traced, outside_inference_mode
from lcat.graph import CacheKey, Graph
from lcat.nn import _checks
from lcat.nn._gcn_cache import GCNCache
from lcat.nn._gcn_norm import normalized_per_edge, per_target
from lcat.nn._inputs import AttentionEdges, LayerOutput, Nodes, read_edge_weight, read_graph
from lcat.nn._options import MessagePassingOptions
from lcat.nn.lcat_conv import LCATConv

_FACTOR: CacheKey[tuple[Graph, Tensor]] = CacheKey("GCN's factors relative to those of a mean")

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class UpgradedGCNConv(GCNCache, LCATConv):
    r"""What :func:`lcat.nn.upgrade` makes of a GCNConv: attention times GCN's own weights.

    .. math::
        x'_i = \sum_{j \in N(i) \cup \{i\}} n_i \alpha_{ij} \frac{w_{ij}}{\sqrt{\hat d_i \hat d_j}} \Theta x_j

    with the attention :math:`\alpha` of :class:`~lcat.nn.LCATConv` with one head, and the number :math:`n_i` of
    in-edges, self-loop included. At :math:`\lambda_1 = 0` all :math:`\alpha_{ij} = 1 / n_i`: that is GCNConv, for any
    edge weights, ``improved``, existing self-loops (which keep their weights) and without normalization.

    The parameters are those of GCNConv (``lin``, ``bias``), ``att_src``, ``att_dst`` and the two scalars. ``forward``
    takes what that of GCNConv takes, ``[N, in_channels]`` or ``[..., N, in_channels]``.

    Args:
        in_channels, out_channels, improved, cached, add_self_loops, normalize, bias: as :class:`~lcat.nn.GCNConv`.
        lambda1_init, lambda2_init: where the scalars start, in [0, 1].
        lambdas_per_head: as :class:`~lcat.nn.LCATConv`; there is one head.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``aggr``, ``flow``).

    Example:
        >>> import torch
        >>> from lcat.nn.upgraded_gcn_conv import UpgradedGCNConv
        >>> conv = UpgradedGCNConv(8, 4)
        >>> conv
        UpgradedGCNConv(8, 4, lambda1=learned(0.000), lambda2=learned(0.000))
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 4])
    """

    # It is; so a block of rows has not the degrees of its sources.
    symmetric_norm = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        improved: bool = False,
        cached: bool = False,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        *,
        lambda1_init: float = 0.0,
        lambda2_init: float = 0.0,
        lambdas_per_head: bool = False,
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        name = type(self).__name__
        self_loops = normalize if add_self_loops is None else _checks.read_flag(name, "add_self_loops", add_self_loops)
        super().__init__(
            _checks.read_size_or_lazy(name, "in_channels", in_channels),
            out_channels,
            add_self_loops=self_loops,
            bias=bias,
            parametrization="reflected",
            lambda1_init=lambda1_init,
            lambda2_init=lambda2_init,
            lambdas_per_head=lambdas_per_head,
            symmetric_norm=True,
            **kwargs,
        )
        self.improved = _checks.read_flag(name, "improved", improved)
        self.cached = _checks.read_flag(name, "cached", cached)
        self.normalize = _checks.read_flag(name, "normalize", normalize)
        self._forget_edges()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, and forget a cached normalization."""
        super().reset_parameters()
        self._forget_edges()

    def forward(  # type: ignore[override]  # the arguments of GCNConv, which it takes the place of
        self,
        x: Tensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        return_attention_weights: bool | None = None,
    ) -> LayerOutput:
        """Run the layer.

        Args:
            x: node features.
            edge_index: the edges in any format; the entries of a matrix are their weights.
            edge_weight: weights of the edges.
            return_attention_weights: if True, return ``(out, (edge_index, alpha))``; ``alpha`` is what multiplies the
                values.

        Raises:
            TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.
        """
        if isinstance(x, (tuple, list)):
            raise ValueError(
                f"'x' of {type(self).__name__} is a {type(x).__name__}; it takes a tensor: a GCN has no bipartite form"
            )
        sets: tuple[int, ...] = ()
        if isinstance(x, Tensor) and x.layout is torch.strided and x.dim() > 3:
            sets = tuple(x.shape[:-2])  # attention layers take one dimension of feature sets, GCN any number
            x = x.reshape(math.prod(sets), *x.shape[-2:])
        out: Any = self._forward(
            x,
            edge_index,
            edge_attr=None,
            edge_weight=edge_weight,
            size=None,
            return_attention_weights=return_attention_weights,
        )
        if not sets:
            return out  # type: ignore[no-any-return]
        if not isinstance(out, tuple):
            return out.reshape(*sets, *out.shape[1:])  # type: ignore[no-any-return]
        out, (edges, attention) = out
        return out.reshape(*sets, *out.shape[1:]), (edges, attention.reshape(*sets, *attention.shape[1:]))

    def _read_edges(
        self, edge_index: Any, nodes: Nodes, *, edge_attr: Any, edge_weight: Any, size: Any, messages: bool
    ) -> AttentionEdges:
        """The edges of a GCN, with its self-loops and what multiplies their attention."""
        del edge_attr, size
        x = nodes.x[0]
        cached = self._edges_from_cache(edge_index, nodes.counts[0], messages=messages) if self.normalize else None
        if cached is not None:
            edge_index, edge_weight = cached.edges, cached.weight
        input_graph, edge_list = read_graph(self, edge_index, nodes.counts, x.device)
        weight = edge_list.values if edge_weight is None else edge_weight
        if isinstance(weight, Tensor) and weight.dim() == 2 and not weight.is_nested and weight.shape[1] == 1:
            weight = weight.squeeze(1)
        if weight is not None:
            weight = read_edge_weight(self, weight, edge_list, x)
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        if cached is not None:
            factor = _times_count(input_graph, _or_ones(weight, input_graph, dtype))
            return AttentionEdges(edge_list, input_graph, input_graph, None, factor)
        keeps = self.cached and self.normalize and not is_traced()

        def make() -> tuple[Graph, Tensor]:
            graph, factor = self._weighted(input_graph, weight, dtype)
            if keeps:
                self._keep_edges(graph, factor, edge_list)
            return graph, _times_count(graph, factor)

        if weight is None and not keeps:
            options = (self.normalize, self.add_self_loops, dtype)
            graph, factor = input_graph.cached(_FACTOR, make, *options)
        else:
            with outside_inference_mode() if keeps else nullcontext():
                graph, factor = make()
        return AttentionEdges(edge_list, input_graph, graph, None, factor)

    def _weighted(self, input_graph: Graph, weight: Tensor | None, dtype: torch.dtype) -> tuple[Graph, Tensor]:
        """The edges with self-loops, and GCN's weight for each, [E']."""
        if self.normalize:
            return normalized_per_edge(
                input_graph, weight, dtype, add_self_loops=self.add_self_loops, improved=self.improved
            )
        return input_graph, _or_ones(weight, input_graph, dtype)

    def __repr__(self) -> str:
        return super().__repr__().replace(", heads=1", "", 1)


def _times_count(graph: Graph, factor: Tensor) -> Tensor:
    """``n_i`` times the factor of each edge, [E']."""
    count = graph.in_degree.to(torch.promote_types(factor.dtype, torch.float32))
    return (per_target(graph, count) * factor).to(factor.dtype)


def _or_ones(weight: Tensor | None, graph: Graph, dtype: torch.dtype) -> Tensor:
    return torch.ones(graph.num_edges, dtype=dtype, device=graph.device) if weight is None else weight
