"""What a reader wants to know of a graph: its size, whether it is directed, and how alike neighbors are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.data.datasets.graph_dataset import GraphDataset
from lcat.data.datasets.link_dataset import LinkDataset
from lcat.data.datasets.node_dataset import NodeDataset
from lcat.data.datasets.steps import edge_counts

__all__ = ["graph_facts"]


def graph_facts(dataset: NodeDataset | GraphDataset | LinkDataset) -> dict[str, Any]:
    """Facts about a graph, or about all graphs of a data set together, as plain values.

    Args:
        dataset: with its graph.

    Returns:
        ``nodes``; ``edges`` (columns of ``edge_index``: an undirected edge counts twice); ``features``; ``classes``;
        ``labeled`` (nodes, graphs or pairs with a label); ``directed`` (``False`` if every edge is there in both
        directions); ``homophily`` (share of edges whose ends have the same label, without self-loops and nodes without
        a label; ``None`` if there is no such edge, and where nodes have no classes); ``self_loops`` and ``repeated``
        (edges from a node to itself, and edges that are listed once more); ``steps`` (what was done to what was read,
        in one line).

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
    graphs = dataset.graphs if isinstance(dataset, GraphDataset) else [dataset.data]
    ends = [graph.edge_index.as_subclass(Tensor).long() for graph in graphs]
    pairs = zip(ends, graphs, strict=True)
    symmetric = all(_is_symmetric(edges[0], edges[1], int(graph.x.size(0))) for edges, graph in pairs)
    counts = [edge_counts(edges) for edges in ends]
    return {
        "nodes": sum(int(graph.x.size(0)) for graph in graphs),
        "edges": sum(int(edges.size(1)) for edges in ends),
        "features": dataset.num_features,
        "classes": dataset.num_classes,
        "labeled": int((dataset.classes >= 0).sum()),
        "directed": not symmetric,
        "homophily": _homophily(ends[0], graphs[0].y) if dataset.task == "node-classification" else None,
        "self_loops": sum(loops for loops, _ in counts),
        "repeated": sum(repeated for _, repeated in counts),
        "steps": "; ".join(dataset.steps),
    }


def _homophily(edges: Tensor, labels: Tensor) -> float | None:
    source, target = edges
    counted = (source != target) & (labels[source] >= 0) & (labels[target] >= 0)
    total = int(counted.sum())
    alike = int((labels[source] == labels[target])[counted].sum())
    return alike / total if total else None


def _is_symmetric(source: Tensor, target: Tensor, num_nodes: int) -> bool:
    """Every edge has its reverse, as often as it is there itself."""
    forward = (source * num_nodes + target).sort().values
    backward = (target * num_nodes + source).sort().values
    return bool(torch.equal(forward, backward))
