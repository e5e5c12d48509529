"""GraphConv: a map of the weighted sum of the neighbors (or their mean, maximum, ...) and one of the node itself."""

from __future__ import annotations

import torch_geometric.nn
from torch import Tensor
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size
from typing_extensions import Unpack

from lcat.nn import _checks
from lcat.nn._linear import map_rows
from lcat.nn._neighbors import NeighborConv, source_map
from lcat.nn._options import OtherOptions

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class GraphConv(NeighborConv, torch_geometric.nn.GraphConv):
    r"""The operator of k-GNN, as :class:`torch_geometric.nn.GraphConv`: same arguments, ``state_dict`` and numbers.

    From `"Weisfeiler and Leman Go Neural" <https://arxiv.org/abs/1810.02244>`_:

    .. math::
        x'_i = W_1 x_i + W_2 \sum_{j \in N(i)} w_{ij} x_j

    The sum, a mean, a minimum or a maximum never forms messages, and a mean or sum is taken after :math:`W_2` where
    that makes fewer numbers of it. Other aggregations, and everything that looks at messages, run PyG's steps. The
    class is a subclass of PyG's.

    Args:
        in_channels: features per node; -1 takes the size of the first input; a pair for bipartite graphs.
        out_channels: features of the output.
        aggr: ``"add"``, ``"mean"``, ``"min"``, ``"max"``, or another aggregation of PyG that keeps the width.
        bias: add a learned bias.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``flow``, ``node_dim``, ``aggr_kwargs``).

    Shapes:
        - x: ``[N, in_channels]``, ``[..., N, in_channels]``, or a pair ``(x_source, x_target)`` whose second one may be
          ``None``
        - edge_index: ``[2, E]`` integers, EdgeIndex, torch.sparse or SparseTensor matrix [targets, sources], whose
          entries are the edge weights
        - edge_weight: ``[E]`` or ``[E, 1]``
        - output: ``[N_target, out_channels]``

    Complexity:
        O(N in_channels out_channels + E min(in_channels, out_channels)) time for a mean or sum.

    Example:
        >>> import torch
        >>> from lcat.nn import GraphConv
        >>> conv = GraphConv(8, 4, aggr="max")
        >>> conv(
        ...     torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.rand(3)
        ... ).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        aggr: str | list[str] | Aggregation | None = "add",
        bias: bool = True,
        **kwargs: Unpack[OtherOptions],
    ) -> None:
        name = type(self).__name__
        self._check_options(aggr, kwargs)
        in_channels = _checks.read_channels(name, in_channels)
        out_channels = _checks.read_size(name, "out_channels", out_channels)
        bias = _checks.read_flag(name, "bias", bias)
        try:
            super().__init__(in_channels, out_channels, aggr=aggr, bias=bias, **kwargs)
        except (TypeError, ValueError) as error:
            raise self._unusable(aggr, kwargs, error) from None

    def forward(
        self, x: Tensor | OptPairTensor, edge_index: Adj, edge_weight: OptTensor = None, size: Size = None
    ) -> Tensor:
        """Run the layer.

        Args:
            x: features of the nodes, or a pair of those of sources and of targets.
            edge_index: the edges in any format.
            edge_weight: weights of the edges; ``None`` means 1, or the entries of a matrix.
            size: numbers of sources and targets, where ``x`` does not say them.

        Raises:
            TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.
        """
        maps = (source_map(self, "lin_rel"), self.lin_root)
        pair = self._read_nodes(x, edge_index, size, channels=self.in_channels, maps=maps)
        if edge_weight is not None:
            edge_weight = self._read_weight(edge_weight, edge_index, pair[0])
        out = self._aggregated_and_mapped(self.lin_rel, edge_index, pair, size, edge_weight=edge_weight)
        return out if pair[1] is None else out + map_rows(self.lin_root, pair[1])
