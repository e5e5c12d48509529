"""Anything that a graph may be in, as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch_geometric.data import Data, HeteroData, InMemoryDataset

from lcat._arrays import tensor_of
from lcat._measures import TaskName
from lcat.data.datasets.convert import (
    dataset_of_values,
    from_data,
    has_labels_per_node,
    links_of_values,
    only_graph,
    what_it_is,
)
from lcat.data.datasets.graph_dataset import GraphDataset, from_graphs
from lcat.data.datasets.items import DataError
from lcat.data.datasets.link_dataset import LinkDataset
from lcat.data.datasets.networkx_graphs import from_networkx, is_networkx, links_of_networkx
from lcat.data.datasets.node_dataset import NodeDataset
from lcat.data.datasets.tables import from_frames, links_of_frames

__all__ = ["as_dataset"]

_OR_ELSE = "; or a NetworkX graph, or a pair of pandas frames, nodes and edges"


def as_dataset(
    value: Any, name: str = "own", metric: str | None = None, task: TaskName | None = None
) -> NodeDataset | GraphDataset | LinkDataset:
    """A data set from a graph of any kind that studies know.

    Args:
        value: a :class:`NodeDataset`, :class:`GraphDataset` or :class:`LinkDataset`; a PyG ``Data``, a list of them, or
            a data set of PyG; a dictionary of tensors or arrays; a NetworkX graph; a pair of pandas frames, of nodes
            and of edges.
        name: how tables call it.
        metric: what it is judged by; by default what it says itself, or that of the task.
        task: of what is no data set yet, see :func:`from_data` and :func:`from_graphs`; ``"link-prediction"`` makes a
            :class:`LinkDataset` of one graph, which needs no labels.

    Raises:
        DataError: if it is something else, or cannot be used.

    Example:
        >>> from lcat.data import as_dataset, csbm
        >>> as_dataset(csbm(n=60, seed=0), "mine").name
        'mine'
    """
    if isinstance(value, (NodeDataset, GraphDataset, LinkDataset)):
        return replace(value, name=name, metric=metric or value.metric)
    measure = metric or ""
    if task == "link-prediction":
        return _as_links(value, name, measure)
    if isinstance(value, Data):
        return from_data(value, name, measure, task)
    if isinstance(value, InMemoryDataset):
        value = [value[number] for number in range(len(value))]
    if isinstance(value, (list, tuple)) and value and all(isinstance(graph, Data) for graph in value):
        if has_labels_per_node(value, task):
            return from_data(value, name, measure, task)
        return from_graphs(value, name, task=task, metric=measure)
    if is_networkx(value):
        return from_networkx(value, name=name, metric=measure, task=task)
    if _is_pair_of_frames(value):
        return from_frames(*value, name=name, metric=measure, task=task)
    if isinstance(value, Mapping) and not isinstance(value, HeteroData):
        measure = metric or str(value.get("metric") or "")
        return dataset_of_values(_tensors(value, name), name, measure, task or value.get("task"))
    raise DataError(f"{name}: {what_it_is(value)}{_OR_ELSE}")


def _as_links(value: Any, name: str, metric: str) -> LinkDataset:
    """The same for the links of one graph, which needs no labels."""
    if isinstance(value, InMemoryDataset):
        value = [value[number] for number in range(len(value))]
    if isinstance(value, (list, tuple)) and value and all(isinstance(graph, Data) for graph in value):
        value = only_graph(value, name)
    if isinstance(value, Data):
        return links_of_values(value.to_dict(), name, metric)
    if is_networkx(value):
        return links_of_networkx(value, name, metric)
    if _is_pair_of_frames(value):
        nodes, edges = value
        return links_of_frames(nodes, edges, name, metric)
    if isinstance(value, Mapping) and not isinstance(value, HeteroData):
        return links_of_values(_tensors(value, name), name, metric)
    raise DataError(f"{name}: {what_it_is(value)}{_OR_ELSE}")


def _is_pair_of_frames(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_frame(part) for part in value)


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def _tensors(values: Mapping[Any, Any], name: str) -> dict[str, object]:
    """Arrays among the values as tensors.

    Raises:
        DataError: for an array of something else than numbers.
    """
    tensors: dict[str, object] = {}
    for key, value in values.items():
        tensors[str(key)] = value
        if type(value).__module__ == "numpy" and hasattr(value, "dtype") and getattr(value, "ndim", None):
            try:
                tensors[str(key)] = tensor_of(value)
            except ValueError as error:
                raise DataError(f"{name}: {key} is {error}") from None
    return tensors
