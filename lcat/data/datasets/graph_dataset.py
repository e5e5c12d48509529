"""Many graphs, each with labels of its own: what graph classification and regression work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat._files import as_path
from lcat._measures import TaskName, default_metric
from lcat._text import counted
from lcat.data.datasets.convert import with_edge_index
from lcat.data.datasets.folders import check_folder
from lcat.data.datasets.items import (
    DataError,
    check_items,
    check_metric,
    classes_of,
    classes_without_items,
    outputs_of,
    split_of,
)
from lcat.data.datasets.node_dataset import check_graph
from lcat.data.splits.splits import Split, random_split

__all__ = ["GraphDataset", "from_graphs", "load_tu"]

_TASKS = ("graph-classification", "graph-regression")
_PARTS = ("x", "edge_index", "edge_weight", "edge_attr")
#: Prefix of the names of data sets of TU Dortmund.
TU = "tu:"


@dataclass(frozen=True)
class GraphDataset:
    """A list of graphs with a label each, checked when made.

    Args:
        name: how tables call it.
        graphs: each with ``x`` (floats ``[N, F]``), ``edge_index`` and perhaps ``edge_weight``, ``edge_attr``; all with
            the same features.
        y: labels of the graphs: integers ``[G]`` in ``0 .. C - 1`` (-1 where unknown); for regression floats ``[G]``,
            or ``[G, T]`` for several targets (nan where unknown).
        splits: from a seed to the split of that seed, whose masks have one entry per graph; stratified random
            80/10/10 by default.
        metric: a metric of the task, that of the task by default: ``"accuracy"`` or ``"mae"``.
        split_rule: one line on what ``splits`` does, for tables.
        task: ``"graph-classification"`` or ``"graph-regression"``.
        steps: what was done to what was read, one line each, for the record of a study.

    Raises:
        DataError: names the part that does not fit, what it is and what it should be.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from lcat.data import GraphDataset
        >>> edge = torch.tensor([[0, 1], [1, 0]])
        >>> graphs = [Data(x=torch.ones(2, 3), edge_index=edge) for _ in range(10)]
        >>> GraphDataset("pairs", graphs, torch.arange(10) % 2).split(seed=0).sizes
        (6, 2, 2)
    """

    name: str
    graphs: Sequence[Data]
    y: Tensor
    splits: Callable[[int], Split] | None = None
    metric: str = ""
    split_rule: str = ""
    task: TaskName = "graph-classification"
    steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in _TASKS:
            raise DataError(f"{self.name}: the task must be one of {', '.join(_TASKS)}; got {self.task!r}")
        if isinstance(self.graphs, Data):
            raise DataError(f"{self.name}: expected a list of graphs, got one Data: pass [data]")
        if not len(self.graphs):
            raise DataError(f"{self.name}: expected at least one graph, got none")
        if not isinstance(self.y, Tensor):
            raise DataError(f"{self.name}: y must be a tensor, one label per graph; got {type(self.y).__name__}")
        for number, graph in enumerate(self.graphs):
            check_graph(f"{self.name}, graph {number}", graph, labels=False)
        for key in ("x", "edge_attr"):
            widths = {None if graph.get(key) is None else int(graph[key].size(1)) for graph in self.graphs}
            if len(widths) > 1:
                got = ", ".join(sorted(map(str, widths)))
                raise DataError(f"{self.name}: all graphs must have as many columns of {key}; got {got}")
        if len({graph.get("edge_weight") is None for graph in self.graphs}) > 1:
            raise DataError(f"{self.name}: either all graphs have edge_weight, or none")
        check_items(self.name, self.task, self.y, len(self.graphs), "graph")
        object.__setattr__(self, "metric", self.metric or default_metric(self.task))
        check_metric(self.name, self.metric, self.task, self.num_classes)
        if self.splits is None:
            rule = "random stratified 80/10/10 by seed" if self.is_stratified else "random 80/10/10 by seed"
            object.__setattr__(self, "splits", partial(_random_rule, self.classes))
            object.__setattr__(self, "split_rule", self.split_rule or rule)
        elif not self.split_rule:
            object.__setattr__(self, "split_rule", "own splits")

    @property
    def num_classes(self) -> int:
        """Outputs that a model needs, for classes (largest label plus one) or targets of a regression."""
        return outputs_of(self.task, self.y)

    @property
    def num_items(self) -> int:
        """Number of graphs, for which masks of splits have an entry."""
        return len(self.graphs)

    @property
    def num_features(self) -> int:
        """Columns of ``x``."""
        return int(self.graphs[0].x.size(1))

    @property
    def num_edge_features(self) -> int:
        """Columns of ``edge_attr``; 0 without it."""
        edge_attr = self.graphs[0].get("edge_attr")
        return 0 if edge_attr is None else int(edge_attr.size(1))

    @property
    def classes(self) -> Tensor:
        """Integers ``[G]`` that folds distribute evenly. Classes, or 0 for graphs with any label, -1 for others."""
        return classes_of(self.task, self.y)

    @property
    def is_stratified(self) -> bool:
        """Whether :attr:`classes` are classes."""
        return self.task == "graph-classification"

    def tensors(self) -> list[Tensor]:
        """All that decides results, for a hash."""
        values = [self.y]
        for graph in self.graphs:
            values += [graph[key] for key in _PARTS if graph.get(key) is not None]
        return values

    def remarks(self) -> list[str]:
        """What its owner should know of it."""
        empty = sum(graph.edge_index.numel() == 0 for graph in self.graphs)
        lines = [f"{empty} of {counted(len(self.graphs), 'graph')} without an edge"] if empty else []
        return lines + (classes_without_items(self.y, self.num_classes, "graph") if self.is_stratified else [])

    def split(self, seed: int) -> Split:
        """The split that belongs to ``seed``, checked against the graphs.

        Raises:
            DataError: if there is none, its masks have another length, or select graphs without a label.
        """
        assert self.splits is not None
        return self.checked(split_of(self.name, self.splits, seed), f"the split of seed {seed}")

    def checked(self, split: Split, name: str = "the split") -> Split:
        """``split`` itself, if it fits the graphs.

        Raises:
            DataError: if its masks have another length, or select graphs without a label.
        """
        if split.num_nodes != self.num_items:
            raise DataError(
                f"{self.name}: {name} has {counted(split.num_nodes, 'entry')} for {counted(self.num_items, 'graph')}; "
                "they must agree"
            )
        unlabeled = int((self.classes[split.train | split.val | split.test] < 0).sum())
        if unlabeled:
            raise DataError(
                f"{self.name}: {name} selects {counted(unlabeled, 'graph')} without a label; leave them out of all "
                "three masks"
            )
        return split


def from_graphs(
    graphs: Sequence[Data], name: str = "own", *, task: TaskName | None = None, metric: str = ""
) -> GraphDataset:
    """A data set from a list of PyG's ``Data``, each with its label in ``y``: one number, or ``[1, T]`` for T targets.

    Graphs without ``x`` get the degree of each node as its only feature.

    Args:
        graphs: a list, or a data set of PyG.
        name: how tables call it.
        task: classification if all labels are whole numbers, else regression, by default.
        metric: that of the task by default.

    Raises:
        DataError: on graphs that cannot be used.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from lcat.data import from_graphs
        >>> edge = torch.tensor([[0, 1], [1, 0]])
        >>> graphs = [
        ...     Data(edge_index=edge, num_nodes=2, y=torch.tensor([number / 4]))
        ...     for number in range(10)
        ... ]
        >>> from_graphs(graphs, "pairs").task
        'graph-regression'
    """
    labels = []
    made = []
    for number, graph in enumerate(graphs):
        if not isinstance(graph, Data):
            raise DataError(f"{name}: expected a list of torch_geometric.data.Data; got {type(graph).__name__}")
        graph = Data(**with_edge_index(graph.to_dict(), f"{name}: graph {number}"))
        labels.append(_label_of(graph, f"{name}: graph {number}"))
        if labels[-1].shape != labels[0].shape:
            raise DataError(
                f"{name}: graph {number} must have as many targets as graph 0, {labels[0].numel()}; got "
                f"{labels[-1].numel()}"
            )
        made.append(_plain(graph))
    if not made:
        raise DataError(f"{name}: expected at least one graph, got none")
    y = torch.stack(labels)
    if task is None:
        task = "graph-regression" if y.is_floating_point() else "graph-classification"
    y = y.float() if task == "graph-regression" else y if y.is_floating_point() else y.long()
    return GraphDataset(name, made, y, metric=metric, task=task)


def load_tu(name: str, root: str | Path, *, task: TaskName | None = None, metric: str = "") -> GraphDataset:
    """A data set of TU Dortmund by PyG's ``TUDataset``; it is downloaded if its files are missing.

    Args:
        name: such as ``"tu:MUTAG"``.
        root: data folder; the files are in ``TUDataset`` there.
        task: see :func:`from_graphs`.
        metric: that of the task by default.

    Raises:
        DataError: if it cannot be had.
    """
    from torch_geometric.datasets import TUDataset

    short = name.removeprefix(TU) if isinstance(name, str) else ""
    root = check_folder(as_path("root", root), "root")
    if not short.replace("-", "").replace("_", "").isalnum():
        raise DataError(f"data set {name!r}: expected a name of TU Dortmund after tu:, as in tu:MUTAG")
    try:
        graphs = list(TUDataset(str(root / "TUDataset"), short, use_edge_attr=True))
    except Exception as error:  # of the download, or of files that are damaged
        raise DataError(
            f"data set {name!r} cannot be read or downloaded ({' '.join(str(error).split())[:200]}); its files belong "
            f"into {root / 'TUDataset' / short / 'raw'}"
        ) from error
    return from_graphs(graphs, name, task=task, metric=metric)


def _label_of(graph: Data, called: str) -> Tensor:
    """The label of a graph, ``[]`` for one number and ``[T]`` for several.

    Raises:
        DataError: if it is something else.
    """
    y = graph.get("y")
    y = torch.as_tensor(y) if isinstance(y, (int, float)) else y
    if isinstance(y, Tensor) and y.numel() == 1:
        return y.reshape(())
    if isinstance(y, Tensor) and y.dim() == 2 and y.size(0) == 1 and y.numel():
        return y.reshape(-1)
    got = list(y.shape) if isinstance(y, Tensor) else type(y).__name__
    way_out = ": y.view(1, -1) for several" if isinstance(y, Tensor) and y.dim() == 1 and y.numel() else ""
    raise DataError(f"{called} must have one number in y, or [1, targets] for several; got {got}{way_out}")


def _plain(graph: Data) -> Data:
    """The parts of a graph that are used, in the types that models take."""
    x: Any = graph.get("x")
    if x is None and isinstance(graph.get("edge_index"), Tensor) and graph.num_nodes is not None:
        x = torch.bincount(graph.edge_index[1].long(), minlength=graph.num_nodes).float().view(-1, 1)
    if isinstance(x, Tensor):
        x = x.float().view(-1, 1) if x.dim() == 1 else x.float()
    plain = Data(x=x, edge_index=graph.get("edge_index"))
    for key in ("edge_weight", "edge_attr"):
        value = graph.get(key)
        if isinstance(value, Tensor):
            plain[key] = value.float().view(-1, 1) if key == "edge_attr" and value.dim() == 1 else value.float()
    return plain


def _random_rule(classes: Tensor, seed: int) -> Split:
    return random_split(classes, (0.8, 0.1, 0.1), seed)
