"""Tasks and what each is judged by: names, directions and units, readable without torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from lcat._numbers import as_float
from lcat._text import hint

__all__ = [
    "MEASURES",
    "TASK_NAMES",
    "Measure",
    "MeasureName",
    "TaskName",
    "check_margin",
    "default_metric",
    "find_measure",
    "measures_of",
    "metrics_with_unit",
    "sign_of",
]

TaskName = Literal[
    "node-classification",
    "node-multilabel",
    "node-regression",
    "graph-classification",
    "graph-regression",
    "link-prediction",
]
#: Names of metrics for type checkers; at run time there is ``hits@K`` for every K.
MeasureName = Literal[
    "accuracy",
    "balanced-accuracy",
    "macro-f1",
    "micro-f1",
    "roc-auc",
    "average-precision",
    "r2",
    "rmse",
    "mae",
    "mrr",
    "hits@10",
    "hits@20",
    "hits@50",
    "hits@100",
]
#: What a model may have to predict.
TASK_NAMES: tuple[TaskName, ...] = get_args(TaskName)

_CLASSES = ("node-classification", "graph-classification")
_NUMBERS = ("node-regression", "graph-regression")
_LABELS = ("node-multilabel",)
_LINKS = ("link-prediction",)
_HITS = re.compile(r"hits@([1-9]\d{0,6})")


@dataclass(frozen=True)
class Measure:
    """A metric.

    Attributes:
        name: in plans and tables.
        title: on axes of figures.
        tasks: that it can judge.
        higher_is_better: direction.
        low, high: no value lies outside; infinite where there is no limit.
        is_share: shown in per cent.
        summary: what it is, in a line.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    summary: str
    higher_is_better: bool = True
    low: float = 0.0
    high: float = 1.0
    is_share: bool = True

    @property
    def has_unit(self) -> bool:
        """Its values are in the unit of the targets, so that no difference of it is large or small by itself."""
        return self.high == float("inf")

    @property
    def sign(self) -> float:
        """1 if higher is better, else -1: what a value is multiplied with so that more is better."""
        return 1.0 if self.higher_is_better else -1.0


_ALL = (
    Measure("accuracy", "accuracy", _CLASSES, "share of items whose class is predicted"),
    Measure("balanced-accuracy", "balanced accuracy", _CLASSES, "mean over classes of the share that is found"),
    Measure("macro-f1", "macro F1", (*_CLASSES, *_LABELS), "mean of F1 over classes or labels"),
    Measure("micro-f1", "micro F1", (*_CLASSES, *_LABELS), "F1 of all decisions together"),
    Measure(
        "roc-auc",
        "ROC-AUC",
        (*_CLASSES, *_LABELS, *_LINKS),
        "area under the ROC curve; two classes, or the mean over labels that have both",
    ),
    Measure(
        "average-precision",
        "average precision",
        (*_CLASSES, *_LABELS, *_LINKS),
        "area under precision over recall; two classes, or the mean over labels that have both",
    ),
    Measure(
        "r2", "R²", _NUMBERS, "share of the variance that is explained; below 0 if the mean is closer",
        low=float("-inf"), is_share=False,
    ),
    Measure(
        "rmse", "RMSE", _NUMBERS, "root of the mean squared error, in the unit of the targets",
        higher_is_better=False, high=float("inf"), is_share=False,
    ),
    Measure(
        "mae", "MAE", _NUMBERS, "mean absolute error, in the unit of the targets",
        higher_is_better=False, high=float("inf"), is_share=False,
    ),
    Measure("mrr", "MRR", _LINKS, "mean of 1 / rank of a link among all that are none"),
)  # fmt: skip

#: Metrics by name; ``hits@K`` exists for every K.
MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
_DEFAULTS: dict[TaskName, str] = {
    "node-classification": "accuracy",
    "node-multilabel": "micro-f1",
    "node-regression": "r2",
    "graph-classification": "accuracy",
    "graph-regression": "mae",
    "link-prediction": "roc-auc",
}
_SHOWN_HITS = ("hits@10", "hits@50", "hits@100")


def default_metric(task: TaskName) -> str:
    """What a task is judged by where nothing is said.

    Example:
        >>> from lcat._measures import default_metric
        >>> default_metric("node-regression")
        'r2'
    """
    return _DEFAULTS[task]


def find_measure(name: str) -> Measure:
    """The metric of a name.

    Raises:
        ValueError: if there is none; the message lists all.

    Example:
        >>> from lcat._measures import find_measure
        >>> find_measure("rmse").higher_is_better, find_measure("hits@20").title
        (False, 'Hits@20')
    """
    if name in MEASURES:
        return MEASURES[name]
    hits = _HITS.fullmatch(name)
    if hits is None:
        known = [*MEASURES, "hits@K"]
        raise ValueError(f"metric must be one of {', '.join(known)}{hint(name, known)}; got {name!r}")
    return Measure(name, f"Hits@{hits[1]}", _LINKS, f"share of links that score above the {hits[1]} best of no links")


def check_margin(margin: float, metrics: Iterable[str]) -> None:
    """Raise a ValueError for a margin that is no number, or that no difference of these metrics can exceed.

    Example:
        >>> from lcat._measures import check_margin
        >>> check_margin(2.0, ["mae"])
        >>> check_margin(2.0, ["accuracy"])
        Traceback (most recent call last):
        ValueError: margin must be below 1 for a share such as accuracy (0.01 is one percentage point); got 2
    """
    number = as_float(margin)
    if number is None:
        raise ValueError(
            f"margin must be a number, in the unit of the scores (0.01 is one point of a share); got {margin!r}"
        )
    names = list(dict.fromkeys(metrics))
    shares = [name for name in names if _is_share(name)]
    if number >= 1 and names and len(shares) == len(names):
        raise ValueError(
            f"margin must be below 1 for a share such as {shares[0]} (0.01 is one percentage point); got {number:g}"
        )


def metrics_with_unit(metrics: Iterable[str]) -> list[str]:
    """Those of the metrics that are in the unit of the targets: the default margin says nothing of them.

    Example:
        >>> from lcat._measures import metrics_with_unit
        >>> metrics_with_unit(["accuracy", "mae", "r2", "mine"])
        ['mae']
    """
    return [name for name in dict.fromkeys(metrics) if name in MEASURES and MEASURES[name].has_unit]


def _is_share(name: str) -> bool:
    return bool(name in MEASURES or _HITS.fullmatch(name)) and find_measure(name).is_share


def sign_of(metric: str) -> float:
    """1 if higher is better, as in metrics that lcat does not know, else -1: times this, more is better.

    Example:
        >>> from lcat._measures import sign_of
        >>> sign_of("mae"), sign_of("my metric")
        (-1.0, 1.0)
    """
    return MEASURES[metric].sign if metric in MEASURES else 1.0


def measures_of(task: str) -> list[str]:
    """Names of the metrics of a task, the default one first.

    Example:
        >>> from lcat._measures import measures_of
        >>> measures_of("graph-regression")
        ['mae', 'r2', 'rmse']
    """
    names = [name for name, measure in MEASURES.items() if task in measure.tasks]
    names += _SHOWN_HITS if task in _LINKS else ()
    return sorted(names, key=lambda name: name != _DEFAULTS.get(task))  # type: ignore[call-overload]
