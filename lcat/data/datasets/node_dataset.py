"""A graph with labels, the metric it is judged by, and how its nodes are split: what a study works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from lcat._measures import TaskName, default_metric
from lcat._numbers import as_int
from lcat._text import counted
from lcat.data.datasets.items import (
    DataError,
    check_items,
    check_metric,
    classes_of,
    classes_without_items,
    outputs_of,
    split_of,
)
from lcat.data.splits.splits import Split, SplitError, check_fractions, random_split

__all__ = ["DataError", "NodeDataset", "check_graph", "random_splits", "splits_from_masks"]


_NODE_TASKS = ("node-classification", "node-multilabel", "node-regression")


@dataclass(frozen=True)
class NodeDataset:
    """A graph whose nodes have labels, checked when made.

    Args:
        name: how tables call it.
        data: ``x`` (floats ``[N, F]``), ``edge_index`` (int64 ``[2, E]``) and ``y``, by the task. Classes: integers
            ``[N]`` in ``0 .. C - 1``, -1 where unlabeled. Several labels: ``[N, T]`` of 0 and 1, nan where unknown.
            Regression: floats ``[N]``, or ``[N, T]`` for several targets, nan where unknown. If it has them, also
            ``edge_weight`` (floats ``[E]``, 0 or more), which weighs the messages of every layer, and ``edge_attr``
            (floats ``[E, D]``), which enters the scores of attention layers.
        splits: from a seed to the split of that seed; see :func:`splits_from_masks`, :func:`random_splits`.
        metric: a metric of the task, see :func:`lcat.study.metrics_of`; ``"roc-auc"`` and ``"average-precision"``
            need two classes. That of the task by default: ``"accuracy"``, ``"micro-f1"`` or ``"r2"``.
        split_rule: one line on what ``splits`` does, for tables.
        unused: names of what came with the graph and is not used.
        steps: what was done to what was read, one line each, for the record of a study.
        task: ``"node-classification"``, ``"node-multilabel"`` or ``"node-regression"``.
        stages: for an inductive split, integers ``[N]``: 0 for nodes that training sees, 1 for those that appear for
            validation, 2 for those that appear for the test. Training nodes of a split are of stage 0, and validation
            nodes of stage 0 or 1. ``None`` if training sees the whole graph, without labels of others.

    Raises:
        DataError: names the part that does not fit, what it is and what it should be.

    Example:
        >>> from lcat.data import NodeDataset, csbm, random_splits
        >>> data = csbm(n=100, seed=0)
        >>> own = NodeDataset("mine", data, random_splits(data.y))
        >>> own.num_classes, own.split(seed=1).sizes
        (2, (60, 20, 20))
    """

    name: str
    data: Data
    splits: Callable[[int], Split]
    metric: str = ""
    split_rule: str = "own splits"
    unused: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    task: TaskName = "node-classification"
    stages: Tensor | None = None

    def __post_init__(self) -> None:
        if self.task not in _NODE_TASKS:
            of_links = ": LinkDataset is for links" if self.task == "link-prediction" else ""
            raise DataError(
                f"{self.name}: the task must be one of {', '.join(_NODE_TASKS)}; got {self.task!r}{of_links}"
            )
        check_graph(self.name, self.data)
        check_items(self.name, self.task, self.data.y, self.num_items, "node")
        if not self.metric:
            object.__setattr__(self, "metric", default_metric(self.task))
        check_metric(self.name, self.metric, self.task, self.num_classes)
        if self.stages is not None:
            _check_stages(self.name, self.stages, self.num_items)

    @property
    def is_inductive(self) -> bool:
        """Whether training sees a part of the graph."""
        return self.stages is not None

    def graph_at(self, stage: int) -> Data:
        """The graph of a stage: its nodes and those of earlier ones in their order, and the edges between them.

        Args:
            stage: 0 for training, 1 for validation, 2 for the test.

        Returns:
            A ``Data`` with ``x``, ``edge_index``, ``y``, values of the edges, and ``n_id``, the numbers that its nodes
            have in the whole graph; of a data set that is not inductive, always the whole graph.

        Example:
            >>> import torch
            >>> from lcat.data import NodeDataset, csbm, splits_from_masks
            >>> data = csbm(n=100, seed=0)
            >>> stages = torch.arange(100) // 40  # 40, 40 and 20 nodes
            >>> rule = splits_from_masks(stages == 0, stages == 1, stages == 2)
            >>> dataset = NodeDataset("mine", data, rule, stages=stages)
            >>> (
            ...     dataset.graph_at(0).num_nodes,
            ...     dataset.graph_at(1).num_nodes,
            ...     dataset.graph_at(2).num_nodes,
            ... )
            (40, 80, 100)
        """
        data = self.data
        nodes = torch.arange(self.num_items)
        values = {key: data[key] for key in ("edge_weight", "edge_attr") if data.get(key) is not None}
        if self.stages is None:
            return Data(x=data.x, edge_index=data.edge_index, y=data.y, **values, n_id=nodes)
        seen = self.stages <= stage
        edges = seen[data.edge_index].all(dim=0)
        number = seen.cumsum(0) - 1
        edge_index = number[data.edge_index[:, edges]].to(data.edge_index.dtype)
        values = {key: value[edges] for key, value in values.items()}
        return Data(x=data.x[seen], edge_index=edge_index, y=data.y[seen], **values, n_id=nodes[seen])

    @property
    def num_classes(self) -> int:
        """Outputs that a model needs, for classes (largest label plus one), labels, or targets of a regression."""
        return outputs_of(self.task, self.data.y)

    @property
    def num_items(self) -> int:
        """Number of nodes, for which masks of splits have an entry."""
        return int(self.data.x.size(0))

    @property
    def num_features(self) -> int:
        """Columns of ``x``."""
        return int(self.data.x.size(1))

    @property
    def classes(self) -> Tensor:
        """Integers ``[N]`` that folds distribute evenly. Classes, or 0 for nodes with any label, -1 for others."""
        return classes_of(self.task, self.data.y)

    @property
    def is_stratified(self) -> bool:
        """Whether :attr:`classes` are classes."""
        return self.task == "node-classification"

    def tensors(self) -> list[Tensor]:
        """All that decides results, for a hash."""
        data = self.data
        values = [data[key] for key in ("edge_weight", "edge_attr") if data.get(key) is not None]
        stages = [] if self.stages is None else [self.stages]
        return [data.x, data.edge_index, data.y, *values, *stages]

    @property
    def num_edge_features(self) -> int:
        """Columns of ``edge_attr``; 0 without it."""
        edge_attr = self.data.get("edge_attr")
        return 0 if edge_attr is None else int(edge_attr.size(1))

    def remarks(self) -> list[str]:
        """What its owner should know: what of it is used how, what is not, and what looks like a slip.

        Complexity:
            E log E for E edges.
        """
        lines = []
        row, col = (ends.long() for ends in self.data.edge_index)
        num_nodes = int(self.data.x.size(0))
        codes = (row * num_nodes + col)[row != col]
        if codes.numel() and not bool(torch.isin(codes, (col * num_nodes + row)[row != col]).any()):
            lines.append(
                "every edge is listed in one direction only, so messages flow that way alone; if the graph is "
                "undirected, list both directions (torch_geometric.utils.to_undirected does it)"
            )
        if self.is_stratified:
            lines += classes_without_items(self.data.y, self.num_classes, "node")
        if self.num_edge_features:
            lines.append(
                f"edge_attr (features per edge: {self.num_edge_features}) enters the scores of attention layers; gcn "
                "and gcn-mean have no scores and do not use it"
            )
        if self.data.get("edge_weight") is not None:
            lines.append("edge_weight weighs the messages of all layers")
        if self.unused:
            lines.append(f"not used: {', '.join(self.unused)}")
        return lines

    def split(self, seed: int) -> Split:
        """The split that belongs to ``seed``, checked against the graph.

        Raises:
            DataError: if there is none, its masks have another length than the graph, or select unlabeled nodes.
        """
        return self.checked(split_of(self.name, self.splits, seed), f"the split of seed {seed}")

    def checked(self, split: Split, name: str = "the split") -> Split:
        """``split`` itself, if it fits the graph.

        Args:
            split: of nodes of this graph.
            name: how an error calls it.

        Raises:
            DataError: if its masks have another length than the graph, select unlabeled nodes, or train on nodes that
                are not in the graph of the training.
        """
        if split.num_nodes != self.data.num_nodes:
            raise DataError(
                f"{self.name}: {name} has {counted(split.num_nodes, 'node')} and the graph "
                f"{self.data.num_nodes}; they must agree"
            )
        unlabeled = int((self.classes[split.train | split.val | split.test] < 0).sum())
        if unlabeled:
            sign = "y < 0" if self.is_stratified else "y is nan"
            raise DataError(
                f"{self.name}: {name} selects {counted(unlabeled, 'node')} without a label ({sign}); "
                "leave them out of all three masks"
            )
        if self.stages is not None:
            for mask, stage, words in ((split.train, 0, "training"), (split.val, 1, "validation")):
                later = int((self.stages[mask] > stage).sum())
                if later:
                    raise DataError(
                        f"{self.name}: {name} has {later} {words} nodes that appear later than the graph of the "
                        f"{words}; the data set is inductive: take its own split"
                    )
        return split


def random_splits(y: Tensor, fractions: Sequence[float] = (0.6, 0.2, 0.2)) -> Callable[[int], Split]:
    """A rule that draws a stratified random split for every seed, see :func:`lcat.data.random_split`.

    Raises:
        SplitError: on fractions that are not three positive numbers with sum 1.

    Example:
        >>> import torch
        >>> from lcat.data import random_splits
        >>> random_splits(torch.arange(20) % 2)(0).sizes
        (12, 4, 4)
    """
    check_fractions(fractions)
    # Not a closure: processes hand data sets to each other, and only named functions can be pickled.
    return partial(_random_rule, y, tuple(fractions))


def _random_rule(y: Tensor, fractions: tuple[float, ...], seed: int) -> Split:
    return random_split(y, fractions, seed)


def splits_from_masks(train: Tensor, val: Tensor, test: Tensor) -> Callable[[int], Split]:
    """A rule that hands out given splits in turn: seed ``s`` gets split ``s mod S``.

    Args:
        train, val, test: boolean ``[N]`` for one split or ``[N, S]`` for ``S`` splits; a one-dimensional mask
            beside two-dimensional ones belongs to all splits.

    Raises:
        DataError: if the masks disagree about ``N`` or ``S`` or are not boolean.

    Example:
        >>> import torch
        >>> from lcat.data import splits_from_masks
        >>> part = torch.tensor([[0, 1], [1, 2], [2, 0]])  # two splits of three nodes
        >>> rule = splits_from_masks(part == 0, part == 1, part == 2)
        >>> rule(0).train.tolist(), rule(3).train.tolist()
        ([True, False, False], [False, False, True])
    """
    masks = {"train": train, "val": val, "test": test}
    for name, mask in masks.items():
        if not isinstance(mask, Tensor):
            raise DataError(
                f"the {name} mask must be a boolean tensor; got {type(mask).__name__}: convert it with torch.as_tensor"
            )
        _refuse_meta(f"the {name} mask", mask)
        if mask.dtype != torch.bool or mask.dim() not in (1, 2):
            raise DataError(f"the {name} mask must be boolean, [N] or [N, S]; got {mask.dtype}, {list(mask.shape)}")
    columns = {mask.size(1) for mask in masks.values() if mask.dim() == 2}
    if len({mask.size(0) for mask in masks.values()}) > 1 or len(columns) > 1 or 0 in columns:
        shapes = ", ".join(f"{name} {list(mask.shape)}" for name, mask in masks.items())
        raise DataError(f"the masks must agree on the number of nodes and of splits; got {shapes}")
    count = columns.pop() if columns else 1
    wide = {name: mask if mask.dim() == 2 else mask.view(-1, 1).expand(-1, count) for name, mask in masks.items()}
    return partial(_mask_rule, wide["train"], wide["val"], wide["test"])


def _mask_rule(train: Tensor, val: Tensor, test: Tensor, seed: int) -> Split:
    if (number := as_int(seed)) is None:
        raise SplitError(f"the seed of a split must be a whole number; got {seed!r}")
    column = number % train.size(1)
    return Split(*(mask[:, column].contiguous() for mask in (train, val, test)))


def check_graph(name: str, data: Data, *, labels: bool = True) -> None:
    """Refuse a graph that no model can take.

    Args:
        name: of the data set.
        data: the graph.
        labels: it must have a tensor ``y``.

    Raises:
        DataError: names the part, what it is and what it should be.
    """
    if not isinstance(data, Data):
        raise DataError(f"{name}: expected a torch_geometric.data.Data; got {type(data).__name__}")
    for key in ("x", "edge_index", "y") if labels else ("x", "edge_index"):
        if not isinstance(data.get(key), Tensor):
            hint = "; encode labels that are words as numbers 0 .. C - 1" if key == "y" else ""
            raise DataError(f"{name}: data.{key} must be a tensor; got {type(data.get(key)).__name__}{hint}")
    for key in ("x", "edge_index", "y", "edge_weight", "edge_attr"):
        _refuse_meta(f"{name}: {key}", data.get(key))
    x, edge_index = data.x, data.edge_index
    if x.layout != torch.strided:
        raise DataError(f"{name}: x must be a dense tensor; got {x.layout}: convert it with .to_dense()")
    if x.dim() == 2 and x.size(0) == 0:
        raise DataError(f"{name}: expected at least one node, got x of {list(x.shape)}: leave graphs without nodes out")
    if x.dim() != 2 or not x.is_floating_point() or x.size(1) == 0:
        raise DataError(f"{name}: x must be floats [nodes, features]; got {x.dtype} {list(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        raise DataError(f"{name}: x holds nan or inf; fill or drop those entries first")
    if edge_index.layout != torch.strided:
        raise DataError(f"{name}: edge_index must be a dense tensor [2, edges]; got {edge_index.layout}")
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.dtype not in (torch.int64, torch.int32):
        got = f"{edge_index.dtype} {list(edge_index.shape)}"
        way_out = ": pass edge_index.T" if edge_index.dim() == 2 and edge_index.size(1) == 2 else ""
        raise DataError(f"{name}: edge_index must be int64 or int32 [2, edges]; got {got}{way_out}")
    if edge_index.numel() and (int(edge_index.min()) < 0 or int(edge_index.max()) >= x.size(0)):
        raise DataError(
            f"{name}: edge_index must name nodes 0 .. {x.size(0) - 1}; "
            f"got {int(edge_index.min())} .. {int(edge_index.max())}"
        )
    _check_edge_values(name, data)


def _check_stages(name: str, stages: Tensor, num_nodes: int) -> None:
    """Refuse stages that are none.

    Raises:
        DataError: says what they should be.
    """
    is_whole = isinstance(stages, Tensor) and stages.dtype in (torch.int64, torch.int32, torch.uint8, torch.int8)
    if not is_whole or list(stages.shape) != [num_nodes]:
        shape = f"{stages.dtype} {list(stages.shape)}" if isinstance(stages, Tensor) else type(stages).__name__
        raise DataError(f"{name}: stages must be integers [{num_nodes}], one per node; got {shape}")
    if num_nodes and (int(stages.min()) < 0 or int(stages.max()) > 2):
        raise DataError(
            f"{name}: stages must be 0 (training), 1 (validation) or 2 (test); got {int(stages.min())} .. "
            f"{int(stages.max())}"
        )


def _refuse_meta(name: str, value: Any) -> None:
    if isinstance(value, Tensor) and value.is_meta:
        raise DataError(f"{name} is on the device meta, which holds shapes and no numbers: make it on another device")


def _check_edge_values(name: str, data: Data) -> None:
    num_edges = int(data.edge_index.size(1))
    shapes = {"edge_weight": f"[{num_edges}]", "edge_attr": f"[{num_edges}, features]"}
    for key, shape in shapes.items():
        values = data.get(key)
        if values is None:
            continue
        if not isinstance(values, Tensor) or not values.is_floating_point() or values.layout != torch.strided:
            kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise DataError(f"{name}: {key} must be a dense tensor of floats {shape}; got {kind}")
        right = values.dim() == (1 if key == "edge_weight" else 2) and values.size(0) == num_edges
        if not right or 0 in values.shape[1:]:
            raise DataError(
                f"{name}: {key} must have the shape {shape}, a row for every edge; got {list(values.shape)}"
            )
        if not bool(torch.isfinite(values).all()):
            raise DataError(f"{name}: {key} holds nan or inf; fill or drop those entries first")
    weight = data.get("edge_weight")
    if weight is not None and bool((weight < 0).any()):
        raise DataError(
            f"{name}: edge_weight must be 0 or more, as GCN takes roots of its sums; got {float(weight.min()):g}: "
            "numbers with a sign are features of edges, edge_attr"
        )
