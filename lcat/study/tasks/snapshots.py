"""The graph that each part of a split is measured on: one for all, or, with an inductive split, one for each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat.data import NodeDataset, Split
from lcat.study.tasks.base import PARTS

__all__ = ["Snapshot", "snapshots"]


class Snapshot(NamedTuple):
    """The graph of a part.

    Attributes:
        graph: with the nodes that exist then.
        nodes: numbers in it of the nodes of the part.
    """

    graph: Data
    nodes: Tensor


def snapshots(dataset: NodeDataset, split: Split) -> dict[str, Snapshot]:
    """The graph of every part, on the CPU; the same object where the split is not inductive."""
    masks = dict(zip(PARTS, (split.train, split.val, split.test), strict=True))
    if not dataset.is_inductive:
        return {name: Snapshot(dataset.data, mask.nonzero().view(-1)) for name, mask in masks.items()}
    made = {}
    for stage, (name, mask) in enumerate(masks.items()):
        graph = dataset.graph_at(stage)
        made[name] = Snapshot(graph, torch.searchsorted(graph.n_id, mask.nonzero().view(-1)))
    return made
