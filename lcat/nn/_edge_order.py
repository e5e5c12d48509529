"""The order of edges in which explainers find the edges of the input."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat._edge_formats import EdgeList
from lcat.graph import CacheKey, Graph

_INPUT_ORDER: CacheKey[Tensor | None] = CacheKey("order of the input's edges")


def input_order(graph: Graph, edge_list: EdgeList) -> Tensor | None:
    """The order of the edges of ``graph`` in which row e belongs to edge e of the input, for as many as possible.

    AttentionExplainer reads the first E rows of alpha as those of the input's edges. PyG's order, in which a
    graph's own self-loops are dropped and new ones appended, breaks that; so new loops take the rows of the old ones.
    ``None`` where PyG's order is already right.
    """
    if graph.num_loops == 0 or graph.kept_edges is None or torch.compiler.is_compiling():
        return None

    def make() -> Tensor | None:
        assert graph.kept_edges is not None
        num_input, num_rows = edge_list.num_edges, graph.num_edges
        if num_rows < num_input:  # more parallel self-loops than nodes: no such order exists
            return None
        num_kept = graph.kept_edges.shape[0]
        device = graph.device
        row_of_loop = torch.arange(num_kept, num_rows, device=device)
        source, _ = edge_list.endpoints()
        vacant = torch.ones(num_input, dtype=torch.bool, device=device)
        vacant[graph.kept_edges] = False
        rows = torch.full((num_rows,), -1, dtype=torch.long, device=device)
        rows[graph.kept_edges] = torch.arange(num_kept, device=device)
        positions = vacant.nonzero().flatten()
        nodes = source[positions]
        rows[positions] = row_of_loop[nodes]
        # Of parallel loops the first stands for the new one; the others' places go to loops of other nodes.
        none = num_rows
        first_of_node = torch.full((graph.num_loops,), none, device=device).scatter_reduce(0, nodes, positions, "amin")
        first = torch.zeros(num_rows, dtype=torch.bool, device=device)
        first[first_of_node[first_of_node < none]] = True
        first[graph.kept_edges] = True
        unused = torch.ones(num_rows, dtype=torch.bool, device=device)
        unused[rows[first]] = False
        rows[~first] = unused.nonzero().flatten()
        return rows

    return graph.cached(_INPUT_ORDER, make)
