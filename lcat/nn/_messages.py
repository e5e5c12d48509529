"""PyG's way to compute attention: every message exists and passes through ``message()``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.graph import Graph
from lcat.nn._edge_order import input_order
from lcat.nn._inputs import AttentionEdges, AttentionInputs, Nodes


class AttentionMessages(AttentionInputs):
    """An attention layer's ``edge_updater()`` and ``propagate()``, for hooks, explainers and overridden steps."""

    # The argument of `edge_update` that gets what the score sees of the nodes: as `<argument>_i`, `<argument>_j`.
    _score_argument: str

    def _attend_by_messages(
        self,
        nodes: Nodes,
        edges: AttentionEdges,
        values: tuple[Tensor | None, ...],
        score_inputs: tuple[Tensor | None, ...],
    ) -> tuple[Tensor, Tensor]:
        """Step 5 with PyG's steps. Returns the output [N, H', F] and the attention [E', H']."""
        self._check_messages_possible(nodes)
        # Only who looks at messages needs that order; without, dropout draws in PyG's order, as PyG does.
        order = input_order(edges.graph, edges.edge_list) if self._wants_messages() else None
        edge_index, attr, weight = self._edge_index(edges.graph), edges.attr, edges.weight
        if order is not None:
            edge_index = edge_index[:, order]
            attr = None if attr is None else attr[order]
            weight = None if weight is None else weight[order]
        pair = self._in_pyg_order(_folded(score_inputs, nodes), self.edge_updater)
        updater_input = {self._score_argument: pair}
        alpha = self.edge_updater(edge_index, edge_attr=attr, size=nodes.counts, **updater_input)
        if weight is not None:
            alpha = alpha * weight.unsqueeze(-1)
        pair = self._in_pyg_order(_folded(values, nodes), self.propagate)
        out = self.propagate(edge_index, x=pair, alpha=alpha, size=nodes.counts)
        if order is not None:
            alpha = alpha[torch.argsort(order)]
        return out, alpha

    def _edge_index(self, graph: Graph) -> Tensor:
        rows = (graph.source, graph.target) if self.flow == "source_to_target" else (graph.target, graph.source)
        return torch.stack(rows)

    def _in_pyg_order(self, pair: tuple[Any, ...], step: Any) -> tuple[Any, ...]:
        """(source, target) as ``propagate`` or ``edge_updater`` wants it.

        The code that PyG generates for a class takes pairs by role; the generic code, which runs with explainers and
        where generating failed, takes them by row of ``edge_index``.
        """
        # Of the function: torch.compile in torch 2.11 has no __module__ for a bound method.
        generated = getattr(step, "__func__", step).__module__.endswith(("_propagate", "_edge_updater"))
        return pair if generated or self.flow == "source_to_target" else pair[::-1]

    def _check_messages_possible(self, nodes: Nodes) -> None:
        name = type(self).__name__
        if self.decomposed_layers > 1:
            raise ValueError(
                f"{name} has decomposed_layers={self.decomposed_layers}; attention cannot be split by features: use "
                f"decomposed_layers=1"
            )
        if self.flow == "target_to_source" and nodes.counts[0] != nodes.counts[1]:
            raise ValueError(
                f"{name} has flow='target_to_source' on a bipartite graph of {nodes.counts} nodes, where PyG's message "
                f"passing (needed for hooks, explainers, return_attention_weights and aggr) does not work: flip "
                f"edge_index and use flow='source_to_target'"
            )

    def message(self, x_j: Tensor, alpha: Tensor) -> Tensor:
        """``alpha_ij v_j``: [E, H, F] from the values [E, H, F] and the attention [E, H]."""
        return alpha.unsqueeze(-1) * x_j


def _folded(pair: tuple[Tensor | None, ...], nodes: Nodes) -> tuple[Tensor | None, ...]:
    return tuple(None if values is None else nodes.fold(values) for values in pair)
