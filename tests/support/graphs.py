"""Small random graphs of every kind that has ever broken a graph layer."""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = ("plain", "duplicates", "loops", "loop_everywhere", "isolated", "hub", "no_edges", "no_nodes", "one_node")


def random_edges(kind: str, num_sources: int, num_targets: int, num_edges: int, generator: torch.Generator) -> Tensor:
    """``[2, E]`` edges of the given kind."""

    def draw(high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=generator)

    if kind == "no_edges" or num_sources == 0 or num_targets == 0:
        return torch.empty(2, 0, dtype=torch.long)
    edges = torch.stack([draw(num_sources, num_edges), draw(num_targets, num_edges)])
    if kind == "duplicates":
        edges = torch.cat([edges, edges[:, : num_edges // 2], edges[:, :3]], dim=1)
    elif kind == "loops":
        nodes = draw(min(num_sources, num_targets), 4)
        edges = torch.cat([edges, nodes.repeat(2, 1), nodes[:1].repeat(2, 2)], dim=1)
        edges = edges[:, torch.randperm(edges.shape[1], generator=generator)]
    elif kind == "loop_everywhere":
        nodes = torch.arange(min(num_sources, num_targets))
        edges = torch.cat([edges[:, edges[0] != edges[1]], nodes.repeat(2, 1)], dim=1)
        edges = edges[:, torch.randperm(edges.shape[1], generator=generator)]
    elif kind == "isolated":
        edges = torch.stack([edges[0] % max(1, num_sources // 2), edges[1] % max(1, num_targets // 2)])
    elif kind == "hub":
        edges[1, : num_edges // 2] = 0
    return edges


def size_of(kind: str, seed: int) -> tuple[int, int]:
    """(nodes, edges) of a graph of this kind."""
    if kind == "no_nodes":
        return 0, 0
    if kind == "one_node":
        return 1, 2
    return 5 + seed % 4, 9 + seed % 11


def edge_formats(edges: Tensor, num_sources: int, num_targets: int) -> dict[str, object]:
    """The same edges in every format, and for each the order of its edges (a permutation of the input's)."""
    from torch_geometric import EdgeIndex

    values = torch.ones(edges.shape[1], dtype=torch.double)
    coo = torch.sparse_coo_tensor(edges.flip(0), values, (num_targets, num_sources))
    by_target = torch.argsort(edges[0], stable=True)
    by_target = by_target[torch.argsort(edges[1][by_target], stable=True)]
    by_source = torch.argsort(edges[1], stable=True)
    by_source = by_source[torch.argsort(edges[0][by_source], stable=True)]
    row_pointer = torch.searchsorted(edges[1][by_target], torch.arange(num_targets + 1))
    column_pointer = torch.searchsorted(edges[0][by_source], torch.arange(num_sources + 1))
    shape = (num_targets, num_sources)
    everything = torch.arange(edges.shape[1])
    return {
        "int32": (edges.int(), everything),
        "non_contiguous": (edges.t().contiguous().t(), everything),
        "EdgeIndex": (EdgeIndex(edges, sparse_size=(num_sources, num_targets)), everything),
        "EdgeIndex_no_size": (EdgeIndex(edges), everything),
        "EdgeIndex_by_col": (
            EdgeIndex(edges[:, by_target], sparse_size=(num_sources, num_targets), sort_order="col"),
            by_target,
        ),
        "coo": (coo, everything),
        "csr": (torch.sparse_csr_tensor(row_pointer, edges[0][by_target], values[by_target], shape), by_target),
        "csc": (torch.sparse_csc_tensor(column_pointer, edges[1][by_source], values[by_source], shape), by_source),
    }
