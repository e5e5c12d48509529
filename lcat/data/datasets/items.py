"""Labels of items, nodes or graphs: what they must be for each task, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lcat._measures import TaskName, find_measure, measures_of
from lcat._text import hint
from lcat.data.splits.splits import Split, SplitError

__all__ = [
    "DataError",
    "check_items",
    "check_metric",
    "classes_of",
    "classes_without_items",
    "outputs_of",
    "split_of",
]

# Class numbers below this, or below the number of items, are accepted also where most classes have no item.
_MANY_CLASSES = 10_000
_TWO_CLASSES = ("roc-auc", "average-precision")


class DataError(ValueError):
    """A data set that cannot be used; the message names what is wrong with it and what is accepted."""


def check_items(name: str, task: TaskName, y: Tensor, count: int, what: str) -> None:
    """Refuse labels that do not fit the task.

    Args:
        name: of the data set.
        task: what is predicted.
        y: the labels.
        count: number of items.
        what: ``"node"`` or ``"graph"``.

    Raises:
        DataError: names the labels, what they are and what they should be.
    """
    if task.endswith("regression"):
        _check_numbers(name, y, count, what)
    elif task.endswith("multilabel"):
        _check_labels(name, y, count, what)
    else:
        _check_classes(name, y, count, what)


def split_of(name: str, splits: Callable[[int], Split], seed: int) -> Split:
    """The split of a data set that belongs to ``seed``.

    Raises:
        DataError: if there is none; the message names the data set.
    """
    try:
        return splits(seed)
    except SplitError as error:
        raise DataError(f"{name}: {error}") from None


def check_metric(name: str, metric: str, task: TaskName, num_classes: int) -> None:
    """Refuse a metric that is not one of the task.

    Raises:
        DataError: names the metrics of the task.
    """
    try:
        fits = task in find_measure(metric).tasks
    except ValueError:
        fits = False
    if not fits:
        known = measures_of(task)
        raise DataError(
            f"{name}: the metric of {task} must be one of {', '.join(known)}{hint(metric, known)}; got {metric!r}"
        )
    if metric in _TWO_CLASSES and task.endswith("classification") and num_classes != 2:
        raise DataError(f"{name}: the metric {metric} needs two classes; y holds {num_classes}")


def outputs_of(task: str, y: Tensor) -> int:
    """Outputs of a model: classes, labels, or targets."""
    if task.endswith("regression"):
        return int(y.size(1)) if y.dim() == 2 else 1
    return int(y.size(1)) if task.endswith("multilabel") else int(y.max()) + 1


def classes_of(task: str, y: Tensor) -> Tensor:
    """Integers per item: its class, or 0 where classes mean nothing; -1 where no label is known."""
    if not task.endswith(("regression", "multilabel")):
        return y
    known = ~y.isnan() if y.is_floating_point() else torch.ones_like(y, dtype=torch.bool)
    if known.dim() == 2:
        known = known.any(dim=1)
    return torch.where(known, 0, -1)


def _check_numbers(name: str, y: Tensor, count: int, what: str) -> None:
    if y.dim() not in (1, 2) or y.size(0) != count or 0 in y.shape or not y.is_floating_point():
        raise DataError(
            f"{name}: y must be floats for regression, [{count}] with one per {what} or [{count}, targets] with "
            f"several (y.float() for whole numbers); got {y.dtype} {list(y.shape)}"
        )
    if bool(y.isinf().any()):
        raise DataError(f"{name}: y must hold finite numbers, and nan where unknown; got inf")
    for number, target in enumerate(y.reshape(count, -1).unbind(dim=1)):
        known = target[~target.isnan()]
        if known.numel() < 2 or bool((known == known[0]).all()):
            where = f" in target {number}, y[:, {number}]" if y.dim() == 2 else ""
            way_out = ": leave this target out" if y.dim() == 2 and y.size(1) > 1 else ""
            raise DataError(
                f"{name}: y must hold at least two different numbers{where}; got {known.unique().tolist()}{way_out}"
            )


def _check_labels(name: str, y: Tensor, count: int, what: str) -> None:
    if y.dim() != 2 or y.size(0) != count or y.size(1) == 0 or y.is_complex():
        raise DataError(
            f"{name}: y must be [{count}, labels] for several labels per {what}, of 0 and 1 (nan where unknown); got "
            f"{y.dtype} {list(y.shape)}"
        )
    known = y[~y.isnan()] if y.is_floating_point() else y
    wrong = known[(known != 0) & (known != 1)]
    if wrong.numel():
        raise DataError(f"{name}: y must hold 0 and 1, and nan where unknown; got {float(wrong[0]):g}")
    if not known.numel():
        raise DataError(f"{name}: y must hold labels; got nan alone")


def _check_classes(name: str, y: Tensor, count: int, what: str) -> None:
    if y.dim() != 1 or y.size(0) != count or y.dtype != torch.int64:
        others = {
            "node": ' (task = "node-multilabel" takes [N, labels], "node-regression" floats [N] or [N, targets])',
            "graph": ' (task = "graph-regression" takes numbers [G] or [G, targets])',
        }[what]
        raise DataError(
            f"{name}: y must be int64 labels [{count}], one per {what} (convert others with .long()); got {y.dtype} "
            f"{list(y.shape)}{others}"
        )
    negative = y[y < -1].unique()
    if negative.numel():
        values = ", ".join(map(str, y.unique()[:5].tolist())) + (", ..." if y.unique().numel() > 5 else "")
        raise DataError(
            f"{name}: y must hold class numbers 0 .. C - 1, and -1 for {what}s without a label; got {values}: "
            "torch.unique(y, return_inverse=True)[1] numbers the classes anew"
        )
    largest = int(y.max())
    if largest >= max(_MANY_CLASSES, count):
        raise DataError(
            f"{name}: y must hold class numbers 0 .. C - 1; got {largest} as the largest of {count} {what}s, and "
            "models get an output for each number: "
            "y[y >= 0] = torch.unique(y[y >= 0], return_inverse=True)[1] numbers the classes anew"
        )
    if largest < 1:
        raise DataError(f"{name}: y must hold at least two classes; got {largest + 1}")


def classes_without_items(y: Tensor, num_classes: int, what: str) -> list[str]:
    """What the owner of class numbers should know where some have no item, as with labels that begin with 1.

    Args:
        y: class numbers, -1 where there is none.
        num_classes: outputs of a model.
        what: an item, ``"node"`` or ``"graph"``.

    Returns:
        A line, or none.
    """
    labels = y[y >= 0].unique()
    if labels.numel() >= num_classes:
        return []
    empty = sorted(set(range(min(num_classes, _MANY_CLASSES))) - set(labels.tolist()))
    names = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
    return [
        f"y names {num_classes} classes (0 .. {num_classes - 1}), of which {labels.numel()} have {what}s, and models "
        f"get an output for each; without {what}s: {names} (torch.unique(y, return_inverse=True)[1] numbers the "
        "classes anew)"
    ]
