"""A data set for the task of a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat._measures import TaskName
from lcat.data import DataError, GraphDataset, LinkDataset, NodeDataset, as_dataset

__all__ = ["AnyDataset", "as_task", "made_for", "own_dataset"]

#: What a study can work on.
AnyDataset: TypeAlias = NodeDataset | GraphDataset | LinkDataset


def as_task(dataset: AnyDataset, task: TaskName | None, metric: str | None) -> AnyDataset:
    """The data set for another task or metric, itself if it has both.

    Links can be predicted in any graph; classes of graphs can be taken as numbers. Everything else needs other labels.

    Args:
        dataset: as it was read.
        task: ``None`` for its own.
        metric: ``None`` for its own.

    Raises:
        DataError: if it has no such labels, or the metric does not fit.

    Example:
        >>> from lcat.data import NodeDataset, csbm, random_splits
        >>> from lcat.study.plan.as_task import as_task
        >>> data = csbm(n=100, seed=0)
        >>> as_task(
        ...     NodeDataset("mine", data, random_splits(data.y)), "link-prediction", "mrr"
        ... ).metric
        'mrr'
    """
    if task is None or task == dataset.task:
        return dataset if metric in (None, dataset.metric) else replace(dataset, metric=metric)
    if task == "link-prediction" and isinstance(dataset, NodeDataset):
        if dataset.is_inductive:
            raise DataError(
                f"{dataset.name}: its split is inductive, and links are predicted in one graph; take another one"
            )
        keys = ("x", "edge_index", "edge_weight", "edge_attr")
        graph = Data(**{key: dataset.data[key] for key in keys if dataset.data.get(key) is not None})
        return LinkDataset(dataset.name, graph, metric=metric or "", steps=dataset.steps)
    if task == "graph-regression" and isinstance(dataset, GraphDataset):
        y = torch.where(dataset.y < 0, torch.nan, dataset.y.float())  # classes have -1 where nothing is known
        return replace(dataset, y=y, task=task, metric=metric or "")
    raise DataError(f"{dataset.name}: its labels are those of {dataset.task}; got task {task}")


def made_for(value: Any, name: str, metric: str | None, task: TaskName | None) -> AnyDataset:
    """A data set of any kind of graph, for a task; a graph for link prediction needs no labels.

    Args:
        value: see :func:`lcat.data.as_dataset`.
        name: how tables call it.
        metric: ``None`` for that of the data set.
        task: ``None`` for its own.

    Raises:
        DataError: if it cannot be used.
    """
    dataset = as_dataset(value, name, metric if task != "link-prediction" else None, task)
    return as_task(dataset, task, metric) if task == "link-prediction" else dataset


def own_dataset(name: str, value: Any, task: TaskName | None) -> AnyDataset:
    """An own data set that a caller passes under a name of the plan, which is its name in tables.

    Raises:
        TypeError: if it is none.
        lcat.data.DataError: if it cannot be used.
    """
    if isinstance(value, AnyDataset):
        return value
    try:
        return made_for(value, name, None, task)
    except DataError as error:
        if isinstance(value, (type(None), str, int, float, Tensor)):
            raise TypeError(
                f"expected own[{name!r}] of type NodeDataset, GraphDataset or LinkDataset, got {type(value).__name__}"
            ) from error
        raise
