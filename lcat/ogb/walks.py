"""Batches from random walks: the subgraph of all nodes that the walks of a step meet."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import subgraph

from lcat.data import CSCGraph
from lcat.data.batches import mixed
from lcat.train.distributed import Processes

__all__ = ["WalkBatches"]


class WalkBatches:
    """Subgraphs of random walks, as GraphSAINT draws them, in plain torch.

    Roots are drawn uniformly with replacement; every walk goes from a node to the source of one of its in-edges, drawn
    uniformly, and stays where there is none. A batch holds the nodes met and all edges between them. Losses are not
    reweighted by how often a node is met ("GraphSAINT", https://arxiv.org/abs/1907.04931, has that as an option).

    Args:
        graph: tensors with a row a node are cut to the batch's nodes, ``edge_attr`` to its edges.
        roots: walks a batch, those of all processes together.
        length: steps of a walk.
        steps: batches an epoch.
        seed: batches are a function of it, the epoch and the batch's number.
        group: the processes that train together; each gets its share of the walks.
    """

    def __init__(self, graph: Data, roots: int, length: int, steps: int, seed: int, group: Processes) -> None:
        self.graph, self.roots, self.length, self.steps = graph, roots, length, steps
        self.seed, self.group = seed, group
        self.neighbours = CSCGraph.from_edges(graph.edge_index, graph.num_nodes)

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.steps

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[Data]:
        """The batches of one epoch, from number ``batch`` on."""
        for number in range(batch, self.steps):
            generator = torch.Generator().manual_seed(mixed(self.seed, "walk", epoch, number))
            yield self._cut(self._nodes_met(generator))

    def _nodes_met(self, generator: torch.Generator) -> Tensor:
        num_nodes = self.neighbours.num_targets
        place = torch.randint(num_nodes, (self.roots,), generator=generator)
        met = [place]
        degree = self.neighbours.pointer.diff()
        for _ in range(self.length):
            choice = (torch.rand(self.roots, generator=generator, dtype=torch.float64) * degree[place]).long()
            slot = (self.neighbours.pointer[place] + choice).clamp(max=max(0, self.neighbours.num_edges - 1))
            place = torch.where(degree[place] > 0, self.neighbours.source[slot].long(), place)
            met.append(place)
        walks = torch.stack(met)[:, self.group.rank :: self.group.world_size]
        return torch.unique(walks)

    def _cut(self, nodes: Tensor) -> Data:
        graph = self.graph
        edge_index, _, kept = subgraph(
            nodes, graph.edge_index, relabel_nodes=True, num_nodes=graph.num_nodes, return_edge_mask=True
        )
        values = {name: value[nodes] for name, value in graph if graph.is_node_attr(name)}
        if "edge_attr" in graph:
            values["edge_attr"] = graph.edge_attr[kept]
        return Data(edge_index=edge_index, n_id=nodes, **values)
