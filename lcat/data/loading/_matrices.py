"""Graphs given as a matrix of torch.sparse (``adj_t``), which PyG cannot cut batches out of."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from lcat._edge_formats import read_edges

__all__ = ["with_edge_index", "with_matrices"]

_VALUES = "edge_values_of_adj_t"  # PyG takes it for an attribute of edges


def with_edge_index(data: Any) -> tuple[Any, dict[Any, torch.layout]]:
    """The graph with ``edge_index`` in place of matrices of torch.sparse, and their layouts by edge type.

    Edges are numbered as the entries of the matrix. Of a ``Data`` the type is ``None``.
    """
    relations: list[Any] = []
    if isinstance(data, Data):
        relations = [None]
    elif isinstance(data, HeteroData):
        relations = list(data.edge_types)
    layouts: dict[Any, torch.layout] = {}
    for relation in relations:
        store = data if relation is None else data[relation]
        matrix = store["adj_t"] if "adj_t" in store else None  # noqa: SIM401  a store of PyG has no get
        if isinstance(matrix, Tensor) and matrix.layout != torch.strided and "edge_index" not in store:
            layouts[relation] = matrix.layout
    if not layouts:
        return data, {}
    data = copy.copy(data)
    for relation in layouts:
        store = data if relation is None else data[relation]
        edges = read_edges(store["adj_t"], flow="source_to_target", name="adj_t")
        values = edges.values
        count = store.num_nodes if relation is None else None
        del store["adj_t"]
        store["edge_index"] = torch.stack(edges.endpoints())
        store[_VALUES] = values.detach() if values is not None else None
        if relation is None:
            store.num_nodes = count
    return data, layouts


def with_matrices(batch: Any, layouts: dict[Any, torch.layout]) -> Any:
    """The batch with matrices of these layouts in place of edge lists."""
    for relation, layout in layouts.items():
        store = batch if relation is None else batch[relation]
        ends = (batch, batch) if relation is None else (batch[relation[0]], batch[relation[2]])
        edge_index, values = store["edge_index"], store[_VALUES]
        del store["edge_index"], store[_VALUES]
        size = (int(ends[1].num_nodes), int(ends[0].num_nodes), *values.shape[1:])
        matrix = torch.sparse_coo_tensor(edge_index.flip(0), values, size).coalesce()
        if layout == torch.sparse_csr:
            matrix = matrix.to_sparse_csr()
        elif layout == torch.sparse_csc:
            matrix = matrix.to_sparse_csc()
        store["adj_t"] = matrix
    return batch
