"""What a layer must know of the neighborhoods of source nodes, so that it can be computed block by block."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

__all__ = ["NeighborhoodStatistic", "StatisticInputs"]

StatisticInputs: TypeAlias = Literal["edges", "features"]


@runtime_checkable
class NeighborhoodStatistic(Protocol):
    r"""A layer whose output at a node depends on one quantity of each *source* that takes the source's own in-edges.

    A block of a large graph consists of some targets, all of their in-edges, and the sources of these. Most layers
    can compute the targets of a block from that: they look one hop far. Some need one quantity more for each source
    :math:`j`, which only a block in which :math:`j` is a target can compute:

    ===================  ==========================================================================
    GCN                  :math:`1 / \sqrt{\hat d_j}`, from its degree
    CAT, L-CAT           the average over its neighborhood that enters the score
    ===================  ==========================================================================

    Such a layer has these three members, and :func:`lcat.train.layerwise_inference` computes it exactly, in two passes
    over the blocks: one that collects the statistic of all nodes, one that hands it back. A layer of your own can have
    them too; inheriting from this class is not needed. A layer that looks one hop far and nothing more declares
    ``statistic_depends_on = None`` and needs no other member.

    Example:
        A layer that weighs messages by how far a source is from the mean of its own in-neighbors.

        >>> import torch
        >>> from torch_geometric.nn import MessagePassing
        >>> from lcat.nn import NeighborhoodStatistic
        >>> class Surprise(MessagePassing):
        ...     statistic_depends_on = "features"
        ...
        ...     def neighborhood_statistic(self, x, edge_index):
        ...         source, target = edge_index
        ...         mean = torch.zeros_like(x).index_reduce(
        ...             0, target, x[source], "mean", include_self=False
        ...         )
        ...         return (x - mean).norm(dim=1, keepdim=True)
        ...
        ...     def forward(self, x, edge_index, statistic=None):
        ...         if statistic is None:
        ...             statistic = self.neighborhood_statistic(x, edge_index)
        ...         return self.propagate(edge_index, x=x * statistic)
        >>> isinstance(Surprise(), NeighborhoodStatistic)
        True
    """

    @property
    def statistic_depends_on(self) -> StatisticInputs | None:
        """What the statistic is computed from, ``"edges"`` (and their weights) or ``"features"`` too.

        ``None`` if the layer, as it was made, needs no statistic. With ``"edges"``, the ``x`` that
        :meth:`neighborhood_statistic` gets tells the number of nodes, the dtype and the device; its values are zeros.
        """
        ...

    def neighborhood_statistic(self, x: Tensor, edge_index: Any, *args: Any, **kwargs: Any) -> Tensor | None:
        """``[N, ...]``, one row per node; right for each node whose in-edges are all in ``edge_index``.

        Args:
            x: ``[N, F]`` features.
            edge_index: the edges.
            *args: nothing.
            **kwargs: what else the layer takes for edges: ``edge_attr``, ``edge_weight``.

        Returns:
            the statistic, or ``None`` if these arguments need none. The layer's own forward hooks do not run.
        """
        ...

    def __call__(self, x: Tensor, edge_index: Any, *args: Any, **kwargs: Any) -> Any:
        """The layer; with ``statistic=`` it uses this instead of computing the statistic itself."""
        ...
