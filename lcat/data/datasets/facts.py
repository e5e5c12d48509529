"""What a reader wants to know of a graph: its size, whether it is directed, and how alike neighbors are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.data.datasets.node_dataset import NodeDataset

__all__ = ["graph_facts"]


def graph_facts(dataset: NodeDataset) -> dict[str, Any]:
    """Facts about a graph, as plain values.

    Args:
        dataset: with its graph.

    Returns:
        ``nodes``; ``edges`` (columns of ``edge_index``: an undirected edge counts twice); ``features``; ``classes``;
        ``labeled`` (nodes with a label); ``directed`` (``False`` if every edge is there in both directions);
        ``homophily`` (share of edges whose ends have the same label, without self-loops and nodes without a label;
        ``None`` if there is no such edge).

    Complexity:
        E log E for E edges.

    Example:
        >>> from lcat.data import NodeDataset, csbm, random_splits
        >>> from lcat.data.datasets.facts import graph_facts
        >>> data = csbm(n=100, seed=0)
        >>> facts = graph_facts(NodeDataset("mine", data, random_splits(data.y)))
        >>> facts["nodes"], facts["classes"], facts["directed"]
        (100, 2, False)
    """
    data = dataset.data
    source, target = data.edge_index.as_subclass(Tensor).long()
    labels = data.y
    counted = (source != target) & (labels[source] >= 0) & (labels[target] >= 0)
    total = int(counted.sum())
    alike = int((labels[source] == labels[target])[counted].sum())
    return {
        "nodes": int(data.x.size(0)),
        "edges": int(source.numel()),
        "features": int(data.x.size(1)),
        "classes": dataset.num_classes,
        "labeled": int((labels >= 0).sum()),
        "directed": not _is_symmetric(source, target, int(data.x.size(0))),
        "homophily": alike / total if total else None,
    }


def _is_symmetric(source: Tensor, target: Tensor, num_nodes: int) -> bool:
    """Every edge has its reverse, as often as it is there itself."""
    forward = (source * num_nodes + target).sort().values
    backward = (target * num_nodes + source).sort().values
    return bool(torch.equal(forward, backward))
