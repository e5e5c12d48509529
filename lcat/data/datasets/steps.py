"""What can be done to a data set that was read, and the lines that say what was done."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat._text import counted
from lcat.data.datasets.link_dataset import LinkDataset
from lcat.data.datasets.node_dataset import NodeDataset

__all__ = ["both_directions", "edge_counts", "with_both_directions", "with_scaled_features", "with_steps"]

_Dataset = TypeVar("_Dataset", NodeDataset, LinkDataset)


def with_steps(dataset: _Dataset, *lines: str) -> _Dataset:
    """The data set with more lines on what was done to it."""
    return replace(dataset, steps=(*dataset.steps, *lines))


def edge_counts(edge_index: Tensor) -> tuple[int, int]:
    """Number of self-loops, and of edges that repeat an earlier one.

    Complexity:
        E log E for E edges.
    """
    if edge_index.numel() == 0:
        return 0, 0
    source, target = edge_index.as_subclass(Tensor).long()
    codes = source * (int(edge_index.max()) + 1) + target
    return int((source == target).sum()), codes.numel() - codes.unique().numel()


def both_directions(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor, int, int]:
    """Every edge once in each direction, in the order of sources.

    Args:
        edge_index: ``[2, E]``.
        num_nodes: of the graph.

    Returns:
        The edges; for each the column that it comes from, the first one of several; the number of reverses that were
        added; the number of repetitions that were left out.
    """
    source, target = edge_index.long()
    forward, backward = source * num_nodes + target, target * num_nodes + source
    codes = torch.cat([forward, backward])
    unique, inverse = codes.unique(return_inverse=True)
    # The first column of each code: of those that were listed before those that were added.
    first = torch.full((unique.numel(),), codes.numel(), dtype=torch.long)
    first.scatter_reduce_(0, inverse, torch.arange(codes.numel()), "amin")
    added = int((first >= forward.numel()).sum())
    repeated = forward.numel() - (unique.numel() - added)
    edges = torch.stack([unique // num_nodes, unique % num_nodes]).to(edge_index.dtype)
    return edges, first % max(1, forward.numel()), added, repeated


def with_both_directions(dataset: NodeDataset) -> NodeDataset:
    """The data set with every edge in both directions, once; the reverse has the weight and the features of the edge.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from lcat.data import from_data
        >>> from lcat.data.datasets.steps import with_both_directions
        >>> data = Data(
        ...     x=torch.ones(3, 1),
        ...     y=torch.tensor([0, 1, 0]),
        ...     edge_index=torch.tensor([[0, 1], [1, 2]]),
        ... )
        >>> with_both_directions(from_data(data)).steps
        ('2 reverses of edges added',)
    """
    data = dataset.data
    edges, columns, added, repeated = both_directions(data.edge_index, data.num_nodes)
    values = {key: data[key][columns] for key in ("edge_weight", "edge_attr") if data.get(key) is not None}
    graph = Data(**{**data.to_dict(), "edge_index": edges, **values})
    lines = [f"{counted(added, 'reverse')} of edges added"]
    lines += [f"{counted(repeated, 'repetition')} of edges left out"] if repeated else []
    return with_steps(replace(dataset, data=graph), *lines)


def with_scaled_features(dataset: NodeDataset) -> NodeDataset:
    """The data set with features of mean 0 and standard deviation 1 over all nodes; constant ones become 0."""
    x = dataset.data.x
    std = x.std(dim=0, correction=0)
    constant = std <= 1e-12 * x.abs().amax(dim=0).clamp(min=1e-30)
    scaled = (x - x.mean(dim=0)) / torch.where(constant, torch.ones_like(std), std)
    scaled[:, constant] = 0
    graph = Data(**{**dataset.data.to_dict(), "x": scaled})
    line = "features scaled to mean 0 and standard deviation 1 over all nodes"
    return with_steps(replace(dataset, data=graph), line)
