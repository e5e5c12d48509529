"""Generated graphs of the shape of known data sets: nodes, edges, features, classes, largest degree, density."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Data


@dataclass(frozen=True)
class Shape:
    """Of a data set.

    Attributes:
        nodes: number of nodes.
        edges: in both directions.
        features: of a node.
        classes: of the labels.
        largest: degree of the largest hub.
        density: share of features that are not 0; 1 for numbers that are no bag of words.
        training: share of the nodes that are trained on.
    """

    nodes: int
    edges: int
    features: int
    classes: int
    largest: int
    density: float
    training: float = 0.6


SHAPES = {
    "cora": Shape(2708, 10_556, 1433, 7, largest=168, density=0.0127, training=0.052),
    "photo": Shape(7650, 238_162, 745, 8, largest=1434, density=0.347),
    "computers": Shape(13_752, 491_722, 767, 10, largest=2992, density=0.348),
    "tolokers": Shape(11_758, 1_038_000, 10, 2, largest=2138, density=1.0),
    "citeseer": Shape(3327, 9104, 3703, 6, largest=99, density=0.0085, training=0.036),
    "cs": Shape(18_333, 163_788, 6805, 15, largest=136, density=0.0088),
}


def stand_in(shape: Shape, seed: int = 0) -> Data:
    """A graph with both directions of each edge, ordered by source; features, labels and ``train_mask``."""
    draw = torch.Generator().manual_seed(seed)
    weight = _weights(shape)
    pairs = torch.empty(0, dtype=torch.long)
    missing = shape.edges // 2
    while missing > 0:  # pairs that were drawn twice are drawn again
        ends = torch.multinomial(weight, 4 * missing, replacement=True, generator=draw).view(2, -1)
        low, high = ends.min(0).values, ends.max(0).values
        pairs = torch.cat([pairs, (low * shape.nodes + high)[low != high]]).unique()
        missing = shape.edges // 2 - pairs.numel()
    pairs = pairs[torch.randperm(pairs.numel(), generator=draw)[: shape.edges // 2]]
    ends = torch.stack([pairs // shape.nodes, pairs % shape.nodes])
    ends = torch.randperm(shape.nodes, generator=draw)[ends]  # hubs anywhere
    both = torch.cat([ends, ends.flip(0)], dim=1)
    both = both[:, torch.argsort(both[0] * shape.nodes + both[1])].contiguous()
    if shape.density < 1:
        x = (torch.rand(shape.nodes, shape.features, generator=draw) < shape.density).float()
    else:
        x = torch.randn(shape.nodes, shape.features, generator=draw)
    return Data(
        x=x,
        edge_index=both,
        y=torch.randint(shape.classes, (shape.nodes,), generator=draw),
        train_mask=torch.rand(shape.nodes, generator=draw) < shape.training,
    )


def _weights(shape: Shape) -> Tensor:
    """``rank ** -power`` with the power at which the first node has about the largest degree."""
    rank = torch.arange(1, shape.nodes + 1, dtype=torch.double)
    low, high = 0.0, 2.0
    for _ in range(40):
        power = (low + high) / 2
        weight = rank**-power
        if shape.edges * float(weight[0] / weight.sum()) > shape.largest:
            high = power
        else:
            low = power
    return rank**-low
