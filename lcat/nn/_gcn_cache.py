"""The edges that a GCN layer keeps with ``cached=True``, normalized, in the form of PyG's, as users read and set it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from lcat._edge_formats import EdgeList, read_edges
from lcat.graph import Graph


class CachedEdges(NamedTuple):
    """What is kept, and what was passed.

    Attributes:
        edges: ``[2, E]`` or a matrix.
        weight: of the edges, [E]; ``None`` for a matrix, whose entries they are.
        edge_list: the edges of the call, where somebody needs their form.
    """

    edges: Any
    weight: Tensor | None
    edge_list: EdgeList | None


class GCNCache:
    """The cache of a layer: a pair, and a matrix for calls with a SparseTensor."""

    if TYPE_CHECKING:  # TorchScript reads annotations of classes, and knows no Any
        flow: Any
        _cached_edge_index: Any
        _cached_adj_t: Any
        _cached_nodes: Any

    def _forget_edges(self) -> None:
        self._cached_edge_index = None
        self._cached_adj_t = None
        self._cached_nodes = None

    def _keep_edges(self, graph: Graph, factor: Tensor, edge_list: EdgeList) -> None:
        """Keep normalized edges, and the number of nodes that they are of."""
        rows = graph.edge_index(self.flow)
        if edge_list.layout == "SparseTensor":
            self._cached_adj_t, _ = edge_list.with_values(rows, factor, (graph.num_targets, graph.num_sources))
            self._cached_nodes = (self._cached_adj_t, graph.num_targets)
        else:
            self._cached_edge_index = (rows, factor)
            self._cached_nodes = (rows, graph.num_targets)

    def _edges_from_cache(self, edge_index: Any, num_nodes: int, *, messages: bool) -> CachedEdges | None:
        """What is kept for such a call: as in PyG, the matrix for a SparseTensor.

        Raises:
            ValueError: it is of another number of nodes, or has another form.
        """
        cached: Any = self._cached_edge_index
        if cached is None and self._cached_adj_t is None:
            return None
        edge_list = None
        if messages or self._cached_adj_t is not None:
            edge_list = read_edges(edge_index, flow=self.flow, name="edge_index")
            if edge_list.layout == "SparseTensor":
                cached = self._cached_adj_t
        if cached is None:
            return None
        name = type(self).__name__
        if isinstance(cached, (tuple, list)) and len(cached) == 2:
            edges, weight = cached
        elif edge_list is not None and edge_list.layout == "SparseTensor":
            edges, weight = cached, None
        else:
            raise ValueError(
                f"'_cached_edge_index' of {name} is of type {type(cached).__name__}; it takes a pair (edge_index, "
                f"edge_weight) as torch_geometric's gcn_norm returns it, or None"
            )
        if self._cached_nodes is not None and self._cached_nodes[0] is edges and self._cached_nodes[1] != num_nodes:
            raise ValueError(
                f"{name} was made with cached=True and has cached the normalization of a graph with "
                f"{self._cached_nodes[1]} nodes, but 'x' has {num_nodes}: use cached=False for more than one graph, or "
                f"call reset_parameters() or set _cached_edge_index = None"
            )
        return CachedEdges(edges, weight, edge_list)
