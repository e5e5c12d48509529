"""From one of OGB's data sets to the graph that a model is trained on."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.utils import scatter, to_undirected

from lcat._seeds import derive_seed
from lcat.data import OGBDataset, noisy_edges
from lcat.ogb.settings import Settings

__all__ = ["node_graph"]

#: Data sets whose edges are made undirected, as the public protocols do (the others are undirected as OGB makes them).
_DIRECTED = ("ogbn-arxiv", "ogbn-mag", "ogbn-papers100M")


def node_graph(dataset: OGBDataset, settings: Settings, seed: int = 0) -> Data:
    """Nodes of one type with features, labels and edges.

    - ogbn-arxiv, ogbn-papers100M: both directions of every edge.
    - ogbn-mag: papers and citations alone, both directions.
    - ogbn-proteins has no node features: a node gets the sum of its in-edges' features.

    Args:
        dataset: as :func:`lcat.data.load_ogb` reads it.
        settings: ``edge_features`` and ``noise`` are used.
        seed: of the noise.

    Returns:
        ``x`` float32 ``[N, F]``, ``edge_index`` int64 ``[2, E]``, ``y`` (int64 ``[N]``, or float32 ``[N, tasks]`` for
        the metric rocauc), ``train_mask`` bool ``[N]`` and, where there are any and they are wanted, ``edge_attr``
        float32 ``[E, D]``.
    """
    source = dataset.data
    if dataset.node_type is None:
        x, edge_index, edge_attr = source.get("x"), source.edge_index, source.get("edge_attr")
    else:
        kind = dataset.node_type
        x, edge_attr = source.x_dict[kind], None
        edge_index = next(edges for (a, _, b), edges in source.edge_index_dict.items() if a == b == kind)
    y = dataset.y
    if dataset.name in _DIRECTED:
        edge_index = to_undirected(edge_index, num_nodes=y.size(0))
    if x is None:
        x = scatter(edge_attr, edge_index[1], dim=0, dim_size=y.size(0), reduce="sum")
    if not settings.edge_features:
        edge_attr = None
    if settings.noise > 0:
        before = edge_index.size(1)
        edge_index = noisy_edges(Data(x=x, edge_index=edge_index), settings.noise, seed).edge_index
        if edge_attr is not None:  # a wrong edge looks like any other
            generator = torch.Generator().manual_seed(derive_seed(seed, "noise on edge features"))
            drawn = torch.randint(before, (edge_index.size(1) - before,), generator=generator)
            edge_attr = torch.cat([edge_attr, edge_attr[drawn]])
    train = torch.zeros(y.size(0), dtype=torch.bool)
    train[dataset.split["train"]] = True
    labels = y.float() if dataset.metric == "rocauc" else y.view(-1).nan_to_num(-1).long()
    graph = Data(x=x.float(), edge_index=edge_index.contiguous(), y=labels, train_mask=train)
    if edge_attr is not None:
        graph.edge_attr = edge_attr.float()
    return graph
