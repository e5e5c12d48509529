"""Metrics by name, from scikit-learn; those of links rank them among pairs without a link."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lcat._measures import TaskName, find_measure
from lcat._text import counted
from lcat.train import accuracy

__all__ = ["FROM_TABLE", "UndefinedMetric", "class_table", "metric_value", "of_class_table"]

#: Metrics that follow from the figures of each class.
FROM_TABLE = ("balanced-accuracy", "macro-f1")

Array = NDArray[Any]


class UndefinedMetric(ValueError):
    """A metric has no value for these items; the message says why, in a few words."""


def metric_value(name: str, task: TaskName, outputs: Tensor, y: Tensor) -> float:
    """A metric of the outputs of a model.

    Args:
        name: of the metric.
        task: what is predicted.
        outputs: of classes and labels logits ``[n, C]``, of regression numbers ``[n]`` or ``[n, T]``, of links scores
            ``[n]``.
        y: ``[n]`` classes, ``[n, C]`` labels (nan where unknown), ``[n]`` or ``[n, T]`` numbers (nan where unknown), or
            1 for linked pairs and 0 for others.

    Returns:
        The metric; of several labels or targets the mean of those for which it is defined.

    Raises:
        UndefinedMetric: if there is no value, for example a ROC-AUC of items of one class.

    Example:
        >>> import torch
        >>> from lcat.study.tasks.metrics import metric_value
        >>> metric_value(
        ...     "rmse",
        ...     "node-regression",
        ...     torch.tensor([1.0, 2.0]),
        ...     torch.tensor([1.0, 4.0]),
        ... ) ** 2
        2.0
    """
    if y.size(0) == 0:
        raise UndefinedMetric("there is no item")
    outputs = outputs.detach()
    if task.endswith("multilabel"):
        return _of_labels(name, outputs, y)
    if name in ("accuracy", "micro-f1"):  # every item has one class and gets one, so these are equal
        return accuracy(outputs, y)
    if task.endswith("classification"):
        return _of_classes(name, outputs, y)
    scores, truth = outputs.double().cpu().numpy(), y.cpu().numpy()
    if task.endswith("regression"):
        return _of_numbers(name, scores, truth.astype(np.float64))
    return _of_links(name, scores, truth.astype(np.int64))


def class_table(outputs: Tensor, y: Tensor) -> list[dict[str, Any]]:
    """Precision, recall and F1 of every class with an item, or a prediction.

    Args:
        outputs: logits ``[n, C]``.
        y: classes ``[n]``.

    Returns:
        One row per class: ``class``, ``precision`` (``None`` if it is never predicted), ``recall`` (``None`` if it has
        no item), ``f1``, ``items``.

    Example:
        >>> import torch
        >>> from lcat.study.tasks.metrics import class_table
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> class_table(logits, torch.tensor([0, 1, 1]))[1]
        {'class': 1, 'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'items': 2}
    """
    from sklearn.metrics import precision_recall_fscore_support

    predicted, truth = outputs.argmax(dim=1).cpu().numpy(), y.cpu().numpy()
    classes = np.union1d(predicted, truth)
    rows = zip(
        classes.tolist(),
        *precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=np.nan),
        strict=True,
    )
    return [
        {
            "class": int(number),
            "precision": None if math.isnan(precision) else float(precision),
            "recall": None if math.isnan(recall) else float(recall),
            "f1": None if math.isnan(f1) else float(f1),
            "items": int(items),
        }
        for number, precision, recall, f1, items in rows
    ]


def of_class_table(name: str, table: Sequence[Mapping[str, Any]]) -> float:
    """A metric that follows from the figures of each class.

    Args:
        name: ``"balanced-accuracy"`` (mean recall of the classes with an item) or ``"macro-f1"`` (mean F1 of the
            classes with an item or a prediction).
        table: of :func:`class_table`.
    """
    key = "recall" if name == "balanced-accuracy" else "f1"
    values = [row[key] for row in table if row[key] is not None]
    return float(sum(values) / len(values))


def _of_classes(name: str, logits: Tensor, y: Tensor) -> float:
    if name in FROM_TABLE:
        return of_class_table(name, class_table(logits, y))
    if name not in ("roc-auc", "average-precision"):
        raise _wrong(name, "classes")
    if logits.shape[1] != 2:
        raise UndefinedMetric(f"it needs two classes, and the model has {counted(logits.shape[1], 'output')}")
    return _ranking(name, (logits[:, 1] - logits[:, 0]).double().cpu().numpy(), y.cpu().numpy())


def _of_labels(name: str, logits: Tensor, y: Tensor) -> float:
    """The unknown labels left out."""
    from sklearn import metrics

    scores, truth = logits.double().cpu().numpy(), y.double().cpu().numpy()
    known = ~np.isnan(truth)
    if name == "micro-f1":
        if not (truth[known] == 1).any() and not (scores[known] > 0).any():
            raise UndefinedMetric("no item has or gets a label")
        return float(metrics.f1_score(truth[known].astype(int), (scores[known] > 0).astype(int)))
    values = []
    for column in range(truth.shape[1]):
        rows = known[:, column]
        labels = truth[rows, column].astype(int)
        if name == "macro-f1":
            guess = (scores[rows, column] > 0).astype(int)
            if labels.any() or guess.any():
                values.append(float(metrics.f1_score(labels, guess)))
        elif name in ("roc-auc", "average-precision"):
            if 0 < labels.sum() < labels.size:
                values.append(_ranking(name, scores[rows, column], labels))
        else:
            raise _wrong(name, "labels")
    if not values:
        raise UndefinedMetric("no label has items with and without it")
    return sum(values) / len(values)


def _of_numbers(name: str, predicted: Array, y: Array) -> float:
    """Of several targets the mean, as scikit-learn's ``uniform_average``; what is unknown or undefined is left out."""
    if y.ndim == 1:
        return _of_target(name, predicted, y)
    if not np.isnan(y).any() and (name != "r2" or (y != y[0]).any(axis=0).all()):
        return _measured(name, predicted, y)
    values, reason = [], ""
    for scores, truth in zip(predicted.T, y.T, strict=True):
        known = ~np.isnan(truth)
        try:
            values.append(_of_target(name, scores[known], truth[known]))
        except UndefinedMetric as error:
            reason = str(error)
    if not values:
        raise UndefinedMetric(f"it is undefined for every target: {reason}" if y.shape[1] > 1 else reason)
    return sum(values) / len(values)


def _of_target(name: str, predicted: Array, y: Array) -> float:
    if not y.size:
        raise UndefinedMetric("no item has a known target")
    if name == "r2" and (y == y[0]).all():
        raise UndefinedMetric(f"the only target is {y[0]:g}" if y.size == 1 else f"all {y.size} targets are {y[0]:g}")
    return _measured(name, predicted, y)


def _measured(name: str, predicted: Array, y: Array) -> float:
    from sklearn import metrics

    measures: dict[str, Callable[..., Any]] = {
        "r2": metrics.r2_score,
        "rmse": metrics.root_mean_squared_error,
        "mae": metrics.mean_absolute_error,
    }
    if name not in measures:
        raise _wrong(name, "numbers")
    return float(measures[name](y, predicted))


def _of_links(name: str, scores: Array, y: Array) -> float:
    if name in ("roc-auc", "average-precision"):
        return _ranking(name, scores, y)
    linked, others = scores[y == 1], np.sort(scores[y == 0])
    if not linked.size or not others.size:
        raise UndefinedMetric("it needs pairs with and without a link")
    if name == "mrr":
        above = others.size - np.searchsorted(others, linked, side="right")
        equal = np.searchsorted(others, linked, side="right") - np.searchsorted(others, linked, side="left")
        return float((1 / (1 + above + equal / 2)).mean())
    best = int(find_measure(name).title.removeprefix("Hits@"))
    if others.size < best:
        raise UndefinedMetric(f"it needs {counted(best, 'pair')} without a link, and has {others.size}")
    return float((linked > others[-best]).mean())


def _ranking(name: str, scores: Array, y: Array) -> float:
    from sklearn import metrics

    if (y == y[0]).all():
        items = "the only item is" if y.size == 1 else f"all {y.size} items are"
        raise UndefinedMetric(f"{items} of class {int(y[0])}")
    measure: Callable[..., Any] = metrics.roc_auc_score if name == "roc-auc" else metrics.average_precision_score
    return float(measure(y, scores))


def _wrong(name: str, what: str) -> ValueError:
    return ValueError(f"{name} does not judge {what}")
