"""What CAT and L-CAT add to the attention layers of either version: two scalars, averages, values of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.graph import Graph
from lcat.nn._attention import AttentionConv, Edges, Nodes
from lcat.nn._lambda import LambdaMixin
from lcat.nn._linear import is_plain
from lcat.nn._neighbor_sum import NeighborSum
from lcat.ops import aggregate

_NEIGHBOR_AGGREGATIONS = ("sum", "mean")
# Edges, beyond which a second sorted copy of them, 16 bytes an edge, is worth a rounding.
_LARGE = 10_000_000


class LCATMixin(LambdaMixin, AttentionConv):
    """Goes before GATConv or GATv2Conv in the bases of a layer; its constructor calls :meth:`_make_lcat` last."""

    neighbor_aggr: str
    # The constructor of the GAT layer resets parameters before ours exist.
    _complete = False

    def _make_lcat(
        self,
        lambda1: float | None,
        lambda2: float | None,
        share_values: bool,
        value_bias: bool,
        parametrization: str,
        lambda1_init: float,
        lambda2_init: float,
        neighbor_aggr: str,
        cache_neighbor_sum: bool,
    ) -> None:
        if neighbor_aggr not in _NEIGHBOR_AGGREGATIONS:
            raise ValueError(
                f"'neighbor_aggr' of {type(self).__name__} is {neighbor_aggr!r}; it takes "
                f"{' or '.join(map(repr, _NEIGHBOR_AGGREGATIONS))}"
            )
        self.neighbor_aggr = neighbor_aggr
        self.cache_neighbor_sum = cache_neighbor_sum
        self._neighbor_sum = NeighborSum()
        self.share_values = share_values
        self.lin_value = None if share_values else self._linear(0, bias=value_bias)
        self._make_lambdas(lambda1, lambda2, parametrization, lambda1_init, lambda2_init)
        self._complete = True
        self._reset_lcat()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; lambda1 and lambda2 go back to where they start."""
        super().reset_parameters()
        if self._complete:
            self._reset_lcat()

    def _reset_lcat(self) -> None:
        if self.lin_value is not None:
            self.lin_value.reset_parameters()
        self._reset_lambdas()

    def _strength(self) -> Tensor | float:
        return self._lambda("lambda1")

    def _values(self, nodes: Nodes, projected: tuple[Any, Any]) -> tuple[Any, Any]:
        if self.lin_value is None:
            return projected
        return self.lin_value(nodes.x[0]).unflatten(-1, (self.heads, self.out_channels)), projected[1]

    def _averages_input(self, nodes: Nodes) -> bool:
        """Whether the average is taken of ``x`` itself, because its neighbor sum is kept from call to call.

        Averaging and projecting change places only for weights that sum to 1: otherwise the bias would be scaled.
        """
        asked = self.cache_neighbor_sum and nodes.one_set and self.neighbor_aggr == "sum" and not self.explain
        return asked and self._neighbor_sum.can_keep(nodes.x[0]) and self._maps_are_plain()

    def _maps_are_plain(self) -> bool:
        """Whether the average may be taken before the maps, which then do not see ``x``."""
        return all(is_plain(linear) for linear in self._maps())

    def _averaged_input(self, edges: Edges, nodes: Nodes, lambda2: Tensor | float) -> Nodes:
        """The nodes with the average of their features in place of them."""
        x = nodes.x[0]
        rows = x.movedim(-2, 0)
        kept = self._averages_input(nodes)
        total = self._neighbor_sum.of(x, self._neighborhood(edges, nodes), -2) if kept else None
        averaged = self._averaged(rows, rows, edges, nodes, lambda2, total).movedim(0, -2)
        return Nodes((averaged, averaged), nodes.counts, True, nodes.batch)

    def _neighborhood(self, edges: Edges, nodes: Nodes) -> Graph:
        loops_are_edges = not nodes.one_set and not self.add_self_loops
        return edges.bare if loops_are_edges else edges.bare.without_self_loops()

    def _averaged(
        self,
        own: Tensor,
        sent: Tensor,
        edges: Edges,
        nodes: Nodes,
        lambda2: Tensor | float,
        total: Tensor | None = None,
    ) -> Tensor:
        r""":math:`(h_i + \lambda_2 \sum_{j \in N(i)} h_j) / (1 + \lambda_2 |N(i)|)` over neighbors, no self-loops.

        ``own`` [N_target, ...] are the :math:`h_i`, ``sent`` [N_source, ...] the :math:`h_j`. In a bipartite graph
        where the layer adds no self-loops, equal indices are different nodes, and all edges are neighbors. ``total``
        is the sum where it is known.
        """
        graph = self._neighborhood(edges, nodes)
        if total is None:
            mask = self._masked_edges() if self.explain else None
            looped = nodes.one_set and self.add_self_loops and edges.graph.num_loops == nodes.counts[0]
            if mask is None and looped and not torch.compiler.is_compiling() and edges.graph.num_edges > _LARGE:
                # Over the edges of the attention, which are sorted anyway; its one loop a node is taken off again.
                total = aggregate(sent, edges.graph) - own
            else:
                total = aggregate(sent, graph, None if mask is None else graph.select(mask))
        degree = graph.in_degree.to(own.dtype).view(-1, *[1] * (own.dim() - 1))
        if self.neighbor_aggr == "mean":
            total = total / degree.clamp(min=1.0)
        return (own + lambda2 * total) / (1.0 + lambda2 * degree)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {self._lambda_repr()})"
