"""Batches whose edges come grouped by both of their ends, so that nothing sorts them again."""

from __future__ import annotations

from typing import Any

import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import HeteroData

__all__ = ["with_grouped_edges"]


def with_grouped_edges(batch: Any) -> Any:
    """The batch with a ``torch_geometric.EdgeIndex`` in place of each ``edge_index``, its groups filled in.

    The edges stay in their order, which must be that of their targets: :class:`TorchNeighborSampler` and PyG's sampler
    make them so. Edges in another order, as a transform may leave them, stay plain.

    Args:
        batch: ``Data`` or ``HeteroData``.
    """
    stores = batch.edge_stores if isinstance(batch, HeteroData) else [batch]
    for store in stores:
        edges = store.get("edge_index")
        if type(edges) is not torch.Tensor or bool((edges[1].diff() < 0).any()):
            continue
        ends = (batch[store._key[0]], batch[store._key[2]]) if isinstance(batch, HeteroData) else (batch, batch)
        size = (int(ends[0].num_nodes), int(ends[1].num_nodes))
        store["edge_index"] = EdgeIndex(edges, sparse_size=size, sort_order="col").fill_cache_()
    return batch
