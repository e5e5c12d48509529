"""GINConv: a network of the sum of the neighbors and the node itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch_geometric.nn
from torch import Tensor
from torch_geometric.typing import Adj, OptPairTensor, Size
from typing_extensions import Unpack

from lcat.nn import _checks
from lcat.nn._linear import dense_rows
from lcat.nn._neighbors import NeighborConv
from lcat.nn._options import MessagePassingOptions

# No __all__: the code that PyG generates for the class star-imports this module for its type names.


class GINConv(NeighborConv, torch_geometric.nn.GINConv):
    r"""Graph isomorphism operator, as :class:`torch_geometric.nn.GINConv`: same arguments, ``state_dict`` and numbers.

    From `"How Powerful are Graph Neural Networks?" <https://arxiv.org/abs/1810.00826>`_:

    .. math::
        x'_i = h\Bigl((1 + \epsilon) x_i + \sum_{j \in N(i)} x_j\Bigr)

    The sum, a mean, a minimum or a maximum never forms messages. Other aggregations, and everything that looks at
    messages, run PyG's steps. The class is a subclass of PyG's. (GINEConv, whose messages are not linear in the edge
    features, is left to PyG.)

    Args:
        nn: the network h, a module such as ``torch.nn.Sequential``.
        eps: initial value of :math:`\epsilon`.
        train_eps: learn :math:`\epsilon`.
        **kwargs: of :class:`torch_geometric.nn.MessagePassing` (``aggr``, ``flow``, ``node_dim``).

    Shapes:
        - x: ``[N, F]``, ``[..., N, F]``, or a pair ``(x_source, x_target)`` whose second one may be ``None``
        - edge_index: ``[2, E]`` integers, EdgeIndex, torch.sparse or SparseTensor matrix [targets, sources]
        - output: what ``nn`` makes of ``[N_target, F]``

    Complexity:
        O(E F) time beside the network.

    Example:
        >>> import torch
        >>> from lcat.nn import GINConv
        >>> conv = GINConv(torch.nn.Linear(8, 4), train_eps=True)
        >>> conv(torch.randn(3, 8), torch.tensor([[0, 1, 2], [1, 2, 0]])).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        nn: Callable[..., Any],
        eps: float = 0.0,
        train_eps: bool = False,
        **kwargs: Unpack[MessagePassingOptions],
    ) -> None:
        name = type(self).__name__
        aggr = kwargs.get("aggr", "add")
        self._check_options(aggr, kwargs)
        if not callable(nn) or isinstance(nn, type):
            got = f"the class {nn.__name__}" if isinstance(nn, type) else repr(nn)
            raise TypeError(f"'nn' of {name} is {got}; it takes a module, such as torch.nn.Sequential(...)")
        eps, train_eps = _checks.read_number(name, "eps", eps), _checks.read_flag(name, "train_eps", train_eps)
        try:
            super().__init__(nn, eps, train_eps, **kwargs)
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
        pair = self._read_nodes(x, edge_index, size, channels=-1, maps=(None, None))
        source = dense_rows(pair[0])
        pair = (source, source if pair[1] is pair[0] else dense_rows(pair[1]))
        out: Tensor = super().forward(pair, edge_index, size)
        _checks.check_mapped(type(self).__name__, "nn", out)
        return out
