"""PyG's feature store and graph store on files: graphs that do not fit into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import FeatureStore, GraphStore
from torch_geometric.data.feature_store import TensorAttr
from torch_geometric.data.graph_store import EdgeAttr, EdgeLayout

from lcat._files import as_path
from lcat.data.storage.csc import CSCGraph
from lcat.data.storage.feature_file import FeatureFile

__all__ = ["FileFeatureStore", "FileGraphStore", "open_stores"]


class FileFeatureStore(FeatureStore):
    """PyG's ``FeatureStore`` over :class:`FeatureFile` and tensors: rows are read when a batch asks for them.

    Example:
        >>> import torch
        >>> from lcat.data import FeatureFile, FileFeatureStore
        >>> store = FileFeatureStore()
        >>> file = FeatureFile.write("x.npy", [torch.eye(3)])
        >>> store.put_tensor(file, group_name=None, attr_name="x", index=None)
        True
        >>> store.get_tensor(
        ...     group_name=None, attr_name="x", index=torch.tensor([2])
        ... ).tolist()
        [[0.0, 0.0, 1.0]]
    """

    def __init__(self) -> None:
        super().__init__()
        self._stored: dict[tuple[Any, Any], Any] = {}

    def _put_tensor(self, tensor: Any, attr: TensorAttr) -> bool:
        if attr.index is not None:
            raise ValueError(
                "a FileFeatureStore takes whole matrices: pass index=None, and write rows to the file itself"
            )
        stored = tensor if isinstance(tensor, FeatureFile) else torch.as_tensor(tensor)
        self._stored[attr.group_name, attr.attr_name] = stored
        return True

    def _get_tensor(self, attr: TensorAttr) -> Tensor | None:
        stored = self._stored.get((attr.group_name, attr.attr_name))
        if stored is None:
            return None
        rows: Tensor = stored[slice(None) if attr.index is None else attr.index]
        return rows

    def _remove_tensor(self, attr: TensorAttr) -> bool:
        return self._stored.pop((attr.group_name, attr.attr_name), None) is not None

    def _get_tensor_size(self, attr: TensorAttr) -> tuple[int, ...] | None:
        stored = self._stored.get((attr.group_name, attr.attr_name))
        return None if stored is None else tuple(stored.shape)

    def get_all_tensor_attrs(self) -> list[TensorAttr]:
        """What is stored: group and name of every matrix."""
        return [TensorAttr(group, name) for group, name in self._stored]


class FileGraphStore(GraphStore):
    """PyG's ``GraphStore`` over :class:`CSCGraph`, memory-mapped or not.

    Example:
        >>> import torch
        >>> from lcat.data import CSCGraph, FileGraphStore
        >>> store = FileGraphStore()
        >>> store.put_graph(CSCGraph.from_edges(torch.tensor([[0, 1], [1, 0]]), 2))
        >>> row, colptr = store.get_edge_index(edge_type=None, layout="csc")
        >>> row.tolist(), colptr.tolist()
        ([1, 0], [0, 1, 2])
    """

    def __init__(self) -> None:
        super().__init__()
        self.graphs: dict[Any, CSCGraph] = {}

    def put_graph(self, graph: CSCGraph, edge_type: tuple[str, str, str] | None = None) -> None:
        """Store the edges of one type; ``None`` for an ordinary graph."""
        self.graphs[edge_type] = graph

    def _put_edge_index(self, edge_index: Any, edge_attr: EdgeAttr) -> bool:
        row, column = edge_index
        if edge_attr.size is None:
            raise ValueError("a FileGraphStore needs the number of nodes: pass size=(sources, targets)")
        if edge_attr.layout == EdgeLayout.CSC:
            graph = CSCGraph(column, row, edge_attr.size[0])
        elif edge_attr.layout == EdgeLayout.COO:
            graph = CSCGraph.from_edges(torch.stack([row, column]), tuple(edge_attr.size))
        else:
            raise ValueError("a FileGraphStore takes edges in the layouts 'csc' and 'coo'; got 'csr'")
        self.graphs[edge_attr.edge_type] = graph
        return True

    def _get_edge_index(self, edge_attr: EdgeAttr) -> tuple[Tensor, Tensor] | None:
        graph = self.graphs.get(edge_attr.edge_type)
        if graph is None or edge_attr.layout != EdgeLayout.CSC:
            return None
        graph.check_edges()  # PyG's samplers trust them
        return graph.indices, graph.indptr

    def _remove_edge_index(self, edge_attr: EdgeAttr) -> bool:
        return self.graphs.pop(edge_attr.edge_type, None) is not None

    def get_all_edge_attrs(self) -> list[EdgeAttr]:
        """What is stored: type and size of every set of edges."""
        return [
            EdgeAttr(edge_type, EdgeLayout.CSC, is_sorted=True, size=(graph.num_sources, graph.num_targets))
            for edge_type, graph in self.graphs.items()
        ]


def open_stores(folder: str | Path, resident: int | None = None) -> tuple[FileFeatureStore, FileGraphStore]:
    """The graph in a folder as PyG's pair of stores, for :func:`neighbor_loader` and any ``NodeLoader``.

    Every ``NAME.npy`` in the folder is a node attribute of that name (``x.npy``, ``y.npy``, ...), written by
    :meth:`FeatureFile.write`; ``graph/`` holds the edges, written by :meth:`CSCGraph.save` or :meth:`CSCGraph.write`.

    Args:
        folder: where they are.
        resident: see :class:`FeatureFile`; a bound for each attribute.

    Raises:
        FileNotFoundError, ValueError: a part is missing, damaged, or of another number of nodes.

    Example:
        >>> import torch
        >>> from lcat.data import CSCGraph, FeatureFile, neighbor_loader, open_stores
        >>> CSCGraph.from_edges(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3).save("ring/graph")
        >>> file = FeatureFile.write("ring/x.npy", [torch.eye(3)])
        >>> loader = neighbor_loader(
        ...     open_stores("ring"), [1], torch.arange(3), batch_size=2
        ... )
        >>> [batch.x.shape[0] for batch in loader]
        [3, 2]
    """
    folder = as_path("folder", folder)
    graph = CSCGraph.open(folder / "graph")
    features, edges = FileFeatureStore(), FileGraphStore()
    edges.put_graph(graph)
    files = sorted(folder.glob("*.npy"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no .npy file: write node attributes with FeatureFile.write")
    for path in files:
        file = FeatureFile(path, resident=resident)
        if len(file) != graph.num_targets:
            raise ValueError(f"{path} has {len(file)} rows and the graph {graph.num_targets} nodes; they must agree")
        features.put_tensor(file, group_name=None, attr_name=path.stem, index=None)
    return features, edges
