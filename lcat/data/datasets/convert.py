"""An own data set from a graph in memory: a PyG ``Data``, or tensors by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

from lcat._edge_formats import read_edges
from lcat._measures import TaskName
from lcat._pyg_datasets import one_graph_of
from lcat._text import counted
from lcat.data.datasets.items import DataError, classes_of
from lcat.data.datasets.link_dataset import LinkDataset
from lcat.data.datasets.node_dataset import NodeDataset, random_splits, splits_from_masks

__all__ = [
    "dataset_of_values",
    "from_data",
    "has_labels_per_node",
    "links_of_values",
    "only_graph",
    "what_it_is",
    "with_edge_index",
]

_NEEDED = ("x", "edge_index", "y")
_EDGE_VALUES = ("edge_weight", "edge_attr")
_MASKS = ("train_mask", "val_mask", "test_mask")
# What files say beside a graph that needs no word; metric and task are read by load_file.
_SILENT = ("metric", "task", "num_nodes", "name")
# Other names for what is needed, as other libraries and users write it.
_OTHER_NAMES = {
    "x": ("feat", "feats", "feature", "features", "node_feat", "node_features", "attr_matrix", "X"),
    "edge_index": ("edge", "edges", "edge_list", "edgelist", "edge_idx", "adj", "adj_matrix"),
    "y": ("label", "labels", "node_label", "target", "targets", "Y"),
}


def from_data(
    data: Data | Sequence[Data], name: str = "own", metric: str = "", task: TaskName | None = None
) -> NodeDataset:
    """A data set from a PyG ``Data``: its masks if it has all three, else stratified random 60/20/20 splits.

    Features of another type (NumPy's float64, counts) become float32, whole numbers as labels int64, and labels of
    shape ``[N, 1]`` ``[N]``; ``data`` itself stays as it is. Several graphs with a label per node become one graph
    without edges between them; masks that hold all nodes of a graph split by graphs.

    Args:
        data: ``x``, ``edge_index`` (or ``adj_t``, as PyG's ``ToSparseTensor`` makes it), ``y`` and perhaps
            ``edge_weight``, ``edge_attr``, ``train_mask``, ``val_mask``, ``test_mask``; or a list of such graphs, which
            all have the same of these.
        name: how tables call it.
        metric: that of the task by default.
        task: ``"node-classification"`` by default, ``"node-multilabel"`` or ``"node-regression"``.

    Raises:
        DataError: on data that cannot be used, or with one or two of the three masks only.

    Example:
        >>> from lcat.data import csbm, from_data
        >>> from_data(csbm(n=100, seed=0), "mine").split_rule
        'own masks'
    """
    if isinstance(data, (list, tuple)) and data and all(isinstance(graph, Data) for graph in data):
        joined = dataset_of_values(_joined(data, name), name, metric, task)
        line = f"{len(data)} graphs joined to one, without edges between them"
        return replace(joined, steps=(line, *joined.steps)) if len(data) > 1 else joined
    if not isinstance(data, Data):
        raise DataError(f"{name}: {what_it_is(data)}")
    return dataset_of_values(data.to_dict(), name, metric, task)


def has_labels_per_node(graphs: Sequence[Data], task: TaskName | None = None) -> bool:
    """Whether ``y`` of every graph has a row per node; where all have one node, the task says what ``y`` is of."""
    if task is not None and task.startswith("graph-"):
        return False
    return all(
        isinstance(graph.get("y"), Tensor) and graph.y.dim() > 0 and graph.y.size(0) == graph.num_nodes
        for graph in graphs
    )


def _joined(graphs: Sequence[Data], name: str) -> Mapping[str, object]:
    """The graphs as one, whose nodes are those of the first, then those of the second, and so on.

    Raises:
        DataError: names the first graph that does not fit.
    """
    graphs = [
        Data(**with_edge_index(graph.to_dict(), f"{name}, graph {number}")) for number, graph in enumerate(graphs)
    ]
    names = [key for key in (*_NEEDED, *_EDGE_VALUES, *_MASKS) if graphs[0].get(key) is not None]
    for number, graph in enumerate(graphs):
        own = [key for key in (*_NEEDED, *_EDGE_VALUES, *_MASKS) if graph.get(key) is not None]
        if own != names:
            raise DataError(
                f"{name}: expected graphs with the same tensors, {', '.join(names)} as graph 0 has them, got "
                f"{', '.join(own) or 'none of them'} in graph {number}"
            )
        x, y = graph.get("x"), graph.get("y")
        if not isinstance(x, Tensor) or not isinstance(y, Tensor):
            dataset_of_values(graph.to_dict(), f"{name}, graph {number}")  # says what is wrong
            raise DataError(f"{name}, graph {number}: expected tensors x and y")
        if y.dim() == 0 or y.size(0) != x.size(0):
            raise DataError(
                f"{name}: expected a label per node, y of {x.size(0)} in graph {number}, got {list(y.shape)}; graphs "
                "with one label each are a data set of graphs (from_graphs)"
            )
        width = graphs[0].x.size(1) if graphs[0].x.dim() == 2 else None
        if x.dim() != 2 or x.size(1) != width:
            raise DataError(
                f"{name}: expected x of [nodes, {width}] in graph {number}, as in graph 0, got {list(x.shape)}"
            )
    plain = [Data(**{key: graph[key] for key in names}) for graph in graphs]
    batch: Mapping[str, object] = Batch.from_data_list(plain).to_dict()
    return {key: batch[key] for key in names}


def dataset_of_values(values: Mapping[str, object], name: str, metric: str = "", task: object = None) -> NodeDataset:
    """The same from tensors by name; what is not used is said.

    Args:
        values: ``x``, ``edge_index``, ``y``, ...
        name: how tables call it.
        metric: as for :class:`NodeDataset`.
        task: the same; ``None`` for classification.

    Raises:
        DataError: on tensors that cannot be used.
    """
    task = "node-classification" if task is None else str(task)
    values = with_edge_index({key: value for key, value in values.items() if value is not None}, name)
    masks = {part: values.get(f"{part}_mask") for part in ("train", "val", "test")}
    present = [part for part, mask in masks.items() if mask is not None]
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        raise DataError(f"{name}: {_missing(missing, list(values))}")
    edges = {key: _edge_values(key, values[key]) for key in _EDGE_VALUES if key in values}
    x, y = _features(values["x"]), _labels(values["y"], task)
    graph = Data(x=x, edge_index=_edges(values["edge_index"]), y=y, **edges)
    used = (*_NEEDED, *_EDGE_VALUES, *_MASKS, *_SILENT)
    unused = tuple(str(key) for key in values if key not in used)
    graph_nodes = values.get("num_nodes")
    if isinstance(graph_nodes, int) and isinstance(graph.x, Tensor) and graph_nodes != graph.x.size(0):
        rows = counted(graph.x.size(0), "row")
        raise DataError(f"{name}: num_nodes is {graph_nodes}, and x has {rows}; they must agree")
    if not present:
        # The labels are checked by NodeDataset before any split is drawn.
        stratified = task == "node-classification"
        rule = "random stratified 60/20/20 by seed" if stratified else "random 60/20/20 by seed"
        labels = classes_of(task, graph.y) if isinstance(graph.y, Tensor) else graph.y
        return NodeDataset(name, graph, random_splits(labels), metric, rule, unused, task=task)  # type: ignore[arg-type]
    if len(present) < 3:
        raise DataError(
            f"{name}: train_mask, val_mask and test_mask come together or not at all; got only {', '.join(present)}"
        )
    train, val, test = masks.values()
    try:
        splits = splits_from_masks(train, val, test)  # type: ignore[arg-type]
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    count = max(mask.size(1) if mask.dim() == 2 else 1 for mask in (train, val, test))  # type: ignore[attr-defined]
    rule = f"own {count} masks, seed s takes number s mod {count}" if count > 1 else "own masks"
    return NodeDataset(name, graph, splits, metric, rule, unused, task=task)  # type: ignore[arg-type]


def with_edge_index(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    """The same, with the edges of a matrix ``adj_t`` where there is no ``edge_index``. Entries that are all 1 are none.

    Args:
        values: tensors by name.
        name: of the data set.

    Raises:
        DataError: if ``adj_t`` is no matrix.
    """
    if values.get("edge_index") is not None or values.get("adj_t") is None:
        return values
    try:
        edges = read_edges(values["adj_t"], flow="source_to_target", name="adj_t")
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: {error}") from None
    if edges.layout == "edge_index":
        raise DataError(
            f"{name}: adj_t must be a sparse matrix [targets, sources]; got a dense tensor: call it edge_index"
        )
    made: dict[str, object] = {key: value for key, value in values.items() if key != "adj_t"}
    made["edge_index"] = torch.stack(edges.endpoints())
    entries = edges.values
    if entries is not None and not bool((entries == 1).all()):
        made.setdefault("edge_weight" if entries.dim() == 1 else "edge_attr", entries)
    return made


def links_of_values(values: Mapping[str, object], name: str, metric: str = "") -> LinkDataset:
    """The links of a graph in tensors by name; labels are not used.

    Args:
        values: ``x``, ``edge_index``, ...
        name: how tables call it.
        metric: as for :class:`LinkDataset`.

    Raises:
        DataError: on tensors that cannot be used.
    """
    values = with_edge_index(values, name)
    missing = [key for key in ("x", "edge_index") if values.get(key) is None]
    if missing:
        raise DataError(f"{name}: {_missing(missing, list(values))}")
    edges = {key: _edge_values(key, values[key]) for key in _EDGE_VALUES if values.get(key) is not None}
    graph = Data(x=_features(values["x"]), edge_index=_edges(values["edge_index"]), **edges)
    return LinkDataset(name, graph, metric=metric)


def only_graph(graphs: Sequence[Data], name: str) -> Data:
    """The one graph of a list in which links are predicted.

    Raises:
        DataError: for more of them, with the way out.
    """
    if len(graphs) > 1:
        raise DataError(
            f"{name}: links are predicted in one graph, got {len(graphs)}: "
            "torch_geometric.data.Batch.from_data_list(graphs) is one graph without edges between them"
        )
    return graphs[0]


def _missing(missing: Sequence[str], keys: Sequence[object]) -> str:
    """What is missing, what there is, and which of it may be meant."""
    text = (
        f"there is no {' and no '.join(missing)}; a data set has x, edge_index and y, got "
        f"{', '.join(map(str, keys)) or 'nothing'}"
    )
    meant = [f"{key} to {name}" for name in missing for key in keys if key in _OTHER_NAMES[name]]
    return text + (f": rename {', '.join(meant)}" if meant else "")


def what_it_is(value: object) -> str:
    """What was given in place of a graph, and the way out."""
    needed = "expected one graph, a PyG Data or a dictionary of tensors with x, edge_index and y"
    if isinstance(value, HeteroData):
        return f"{needed}, got a HeteroData: heterogeneous graphs are not supported (value.to_homogeneous() joins them)"
    if isinstance(value, (list, tuple)):
        kinds = ", ".join(dict.fromkeys(type(part).__name__ for part in value)) or "nothing"
        return f"{needed}, or a list of such Data, got a {type(value).__name__} of {len(value)} ({kinds})"
    if isinstance(value, (str, Path)):
        return f"{needed}, got the text {str(value)!r}: lcat.data.load takes names of data sets, load_file files"
    return f"{needed}, got a {type(value).__name__}{one_graph_of(value)}"


def _features(x: object) -> object:
    if not isinstance(x, Tensor) or x.layout != torch.strided or x.is_complex():
        return x  # refused by NodeDataset
    return x.to(torch.float32)


def _edges(edge_index: object) -> object:
    if not isinstance(edge_index, Tensor) or edge_index.layout != torch.strided:
        return edge_index
    whole = not edge_index.is_floating_point() and not edge_index.is_complex() and edge_index.dtype != torch.bool
    return edge_index.to(torch.int64) if whole else edge_index


def _edge_values(key: str, values: object) -> object:
    if not isinstance(values, Tensor) or values.layout != torch.strided or values.is_complex():
        return values  # refused by NodeDataset
    if key == "edge_weight" and values.dim() == 2 and values.size(1) == 1:
        values = values.squeeze(1)
    if key == "edge_attr" and values.dim() == 1:
        values = values.unsqueeze(1)
    return values.to(torch.float32)


def _labels(y: object, task: str) -> object:
    if not isinstance(y, Tensor) or y.layout != torch.strided:
        return y
    if task == "node-multilabel":
        return y if y.is_complex() else y.to(torch.float32)
    y = y.squeeze(1) if y.dim() == 2 and y.size(1) == 1 else y
    if task == "node-regression":
        return y if y.is_complex() else y.to(torch.float32)
    return y if y.is_floating_point() or y.is_complex() else y.to(torch.int64)
