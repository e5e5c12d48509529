"""SAGEConv: a map of the neighbors' mean (or sum, maximum, ...) and one of the node itself."""

from __future__ import annotations

import torch.nn.functional as F
import torch_geometric.nn
from torch import Tensor
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.typing import Adj, OptPairTensor, Size
from typing_extensions import Unpack

from lcat.nn import _checks
from lcat.nn._linear import map_rows
from lcat.nn._neighbors import NeighborConv, source_map
from lcat.nn._options import OtherOptions

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class SAGEConv(NeighborConv, torch_geometric.nn.SAGEConv):
    r"""GraphSAGE, as :class:`torch_geometric.nn.SAGEConv`: same arguments, ``state_dict`` and numbers.

    From `"Inductive Representation Learning on Large Graphs" <https://arxiv.org/abs/1706.02216>`_:

    .. math::
        x'_i = W_1 x_i + W_2 \operatorname{mean}_{j \in N(i)} x_j

    The mean, a sum, a minimum or a maximum never forms messages, and a mean or sum is taken after :math:`W_2` where
    that makes fewer numbers of it. Other aggregations, and everything that looks at messages, run PyG's steps. The
    class is a subclass of PyG's.

    Args:
        in_channels: features per node; -1 takes the size of the first input; a pair for bipartite graphs.
        out_channels: features of the output.
        aggr: ``"mean"``, ``"sum"``, ``"min"``, ``"max"``, another aggregation of PyG, such as ``"lstm"``, or a list.
        normalize: divide the output by its Euclidean norm.
        root_weight: add :math:`W_1 x_i`.
        project: map sources by a layer with ReLU first.
        bias: add a learned bias.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``flow``, ``node_dim``, ``aggr_kwargs``).

    Shapes:
        - x: ``[N, in_channels]``, ``[..., N, in_channels]``, or a pair ``(x_source, x_target)`` whose second one may be
          ``None``
        - edge_index: ``[2, E]`` integers, EdgeIndex, torch.sparse or SparseTensor matrix [targets, sources]
        - output: ``[N_target, out_channels]``

    Complexity:
        O(N in_channels out_channels + E min(in_channels, out_channels)) time for a mean or sum.

    Example:
        >>> import torch
        >>> from lcat.nn import SAGEConv
        >>> conv = SAGEConv(8, 4)
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        aggr: str | list[str] | Aggregation | None = "mean",
        normalize: bool = False,
        root_weight: bool = True,
        project: bool = False,
        bias: bool = True,
        **kwargs: Unpack[OtherOptions],
    ) -> None:
        name = type(self).__name__
        self._check_options(aggr, kwargs)
        in_channels = _checks.read_channels(name, in_channels)
        out_channels = _checks.read_size(name, "out_channels", out_channels)
        switches = {"normalize": normalize, "root_weight": root_weight, "project": project, "bias": bias}
        flags = {flag: _checks.read_flag(name, flag, value) for flag, value in switches.items()}
        first = in_channels if isinstance(in_channels, int) else in_channels[0]
        if flags["project"] and first == -1:
            raise ValueError(
                f"'{name}' does not support lazy initialization with `project=True`: 'in_channels' is {in_channels!r}; "
                f"pass the number of features, or project=False"
            )
        try:
            super().__init__(in_channels, out_channels, aggr=aggr, **flags, **kwargs)
        except (TypeError, ValueError) as error:
            raise self._unusable(aggr, kwargs, error) from None

    def forward(self, x: Tensor | OptPairTensor, edge_index: Adj, size: Size = None) -> Tensor:
        """Run the layer.

        Args:
            x: features of the nodes, or a pair of those of sources and of targets.
            edge_index: the edges in any format.
            size: numbers of sources and targets, where ``x`` does not say them.

        Raises:
            TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.
        """
        projects = self.project and hasattr(self, "lin")
        maps = (self.lin if projects else source_map(self, "lin_l"), self.lin_r if self.root_weight else None)
        source, target = self._read_nodes(x, edge_index, size, channels=self.in_channels, maps=maps)
        messages = map_rows(self.lin, source).relu() if projects else source
        out = self._aggregated_and_mapped(self.lin_l, edge_index, (messages, target), size)
        if self.root_weight and target is not None:
            out = out + map_rows(self.lin_r, target)
        if self.normalize:
            out = F.normalize(out, p=2.0, dim=-1)
        return out
