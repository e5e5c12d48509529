"""A partition of the nodes of a graph without METIS."""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from lcat.data.storage.csc import CSCGraph

# Regions per part: with more of them, parts are more equal in size, and more edges are cut.
_REGIONS = 8


def partition(graph: CSCGraph, num_parts: int, seed: int) -> Tensor:
    """``[N]`` part numbers: regions grown around random centers, packed into parts of about equal size.

    All regions grow by one hop a round, an unclaimed node joining the region of one of its claimed in-neighbors (the
    last one in a random order of the edges); nodes that no center reaches are regions of their own. Then regions, the
    largest first, go to the part that has the fewest nodes.

    Complexity:
        O((N + E) rounds), rounds being the radius of regions.
    """
    generator = torch.Generator().manual_seed(seed)
    nodes = graph.num_targets
    region = torch.full((nodes,), -1)
    centers = torch.randperm(nodes, generator=generator)[: _REGIONS * num_parts]
    region[centers] = torch.arange(centers.numel())
    source, target = graph.edge_index()
    order = torch.randperm(source.numel(), generator=generator)
    source, target = source[order], target[order]
    while True:
        open_edges = region[target] < 0
        source, target = source[open_edges], target[open_edges]
        reached = region[source] >= 0
        if not bool(reached.any()):
            break
        # Of several neighbors the highest edge wins, whatever the number of threads.
        winner = torch.full((nodes,), -1).scatter_reduce_(0, target[reached], reached.nonzero().flatten(), "amax")
        new = (winner >= 0).nonzero().flatten()
        region[new] = region[source[winner[new]]]
    alone = (region < 0).nonzero().flatten()
    region[alone] = centers.numel() + torch.arange(alone.numel())
    return _packed(region, num_parts)


def _packed(region: Tensor, num_parts: int) -> Tensor:
    """Parts of about equal size from regions: the largest first, each to the smallest part."""
    sizes = torch.bincount(region)
    filled = [(0, number) for number in range(num_parts)]  # a heap
    part_of = torch.empty_like(sizes)
    for number in torch.argsort(sizes, descending=True, stable=True).tolist():
        size, smallest = filled[0]
        heapq.heapreplace(filled, (size + int(sizes[number]), smallest))
        part_of[number] = smallest
    return part_of[region]
