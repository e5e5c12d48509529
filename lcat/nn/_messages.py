"""PyG's way to compute attention: every message exists and passes through ``message()``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import softmax

from lcat.nn._edge_order import input_order
from lcat.nn._inputs import AttentionEdges, AttentionInputs, Nodes
from lcat.nn._message_passing import matrix_of


class AttentionMessages(AttentionInputs):
    """An attention layer's ``edge_updater()`` and ``propagate()``, for hooks, explainers and overridden steps."""

    # The argument of `edge_update` that gets what the score sees of the nodes: as `<argument>_i`, `<argument>_j`.
    _score_argument: str
    # Whether PyG's layer passes ``size`` to its steps: those of users may take it, or not.
    _passes_size = False

    def _attend_by_messages(
        self,
        nodes: Nodes,
        edges: AttentionEdges,
        values: tuple[Tensor | None, ...],
        score_inputs: tuple[Tensor | None, ...],
        keep: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Step 5 with PyG's steps. Returns the output [N, H', F] and the attention [E', H'], 0 where not ``keep``."""
        self._check_messages_possible(nodes)
        edge_index: Any = edges.graph.edge_index(self.flow)
        attr, weight, order = edges.attr, edges.weight, None
        if self._multiplies_matrix(edges.edge_list):
            shape = (nodes.counts[1], nodes.counts[0])
            edge_index, order = matrix_of(edges.edge_list, edge_index, self._entries(edges), shape)
        elif self._wants_messages():
            # Only who looks at messages needs that order; without, dropout draws in PyG's order, as PyG does.
            order = input_order(edges.graph, edges.edge_list)
            edge_index = edge_index if order is None else edge_index[:, order]
        if order is not None:
            attr = None if attr is None else attr[order]
            weight = None if weight is None else weight[order]
            keep = None if keep is None else keep[order]
        size = {"size": nodes.counts} if self._passes_size else {}
        updater_input: dict[str, Any] = {self._score_argument: self._by_row(_folded(score_inputs, nodes))}
        if "keep" in self._edge_user_args:
            updater_input["keep"] = keep
        elif keep is not None:
            self._refuse_to_drop()
        alpha = self.edge_updater(edge_index, edge_attr=attr, **updater_input, **size)
        if weight is not None:
            alpha = alpha * weight.unsqueeze(-1)
        out = self.propagate(edge_index, x=self._by_row(_folded(values, nodes)), alpha=alpha, **size)
        if order is not None:
            alpha = alpha[torch.argsort(order)]
        return out, alpha

    def _entries(self, edges: AttentionEdges) -> Tensor | None:
        """The entries of the input's matrix for the edges of the layer; ``None`` if it has none."""
        entries = edges.edge_list.values
        if entries is None or not self.add_self_loops:
            return entries
        entries = edges.graph.select(entries)
        return torch.cat([entries, self._loop_features(entries, edges.graph, edges.graph.num_loops)])

    def _by_row(self, pair: tuple[Any, ...]) -> tuple[Any, ...]:
        """(source, target) as PyG's steps take it: by row of ``edge_index``."""
        return pair if self.flow == "source_to_target" else pair[::-1]

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

    def _refuse_to_drop(self) -> None:
        raise ValueError(
            f"'edge_update' of {type(self).__name__} takes no argument 'keep', so that edge_dropout="
            f"{self.edge_dropout} would have no effect: add keep=None, [E'] of bool, and give edges that are not kept "
            f"no attention, or make the layer with edge_dropout=0"
        )

    def message(self, x_j: Tensor, alpha: Tensor) -> Tensor:
        """``alpha_ij v_j``: [E, H, F] from the values [E, H, F] and the attention [E, H]."""
        return alpha.unsqueeze(-1) * x_j


def softmax_of_kept(
    score: Tensor, index: Tensor, ptr: Tensor | None, dim_size: int | None, keep: Tensor | None
) -> Tensor:
    """PyG's softmax over the in-edges [E, H], over those that ``keep`` [E] leaves if there is one; 0 at the others."""
    if keep is None:
        attention: Tensor = softmax(score, index, ptr, dim_size)
        return attention
    rows = int(index.max()) + 1 if dim_size is None else dim_size
    attention = softmax(score, index.masked_fill(~keep, rows), None, rows + 1)  # those dropped: a row of their own
    return attention.masked_fill(~keep.unsqueeze(-1), 0.0)


def _folded(pair: tuple[Tensor | None, ...], nodes: Nodes) -> tuple[Tensor | None, ...]:
    return tuple(None if values is None else nodes.fold(values) for values in pair)
